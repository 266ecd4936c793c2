/* Levelled frames -> input currents. Golden model: stages/encoder.py. */
#ifndef LSM_ENCODER_H
#define LSM_ENCODER_H

#include "fixed.h"

/* saturate_int16, or x if it is known to fit. */
LSM_KERNEL int16_t narrowed(int32_t x, int fits)
{
    return fits != 0 ? (int16_t)x : saturate_int16(x);
}

/* current: each neuron is driven by a weighted sum of a few bands at a few
 * delays. oldest points at the oldest frame that a tap reaches.
 * |sum| <= n_taps * 127 * 255 <= 32 * 32385 < 2^21. */
LSM_KERNEL void encode_current(int16_t *current, const uint8_t *oldest, const uint16_t *tap_offset,
                               const int8_t *tap_weight, size_t n_neurons, size_t n_taps, uint32_t shift)
{
    size_t n;
    size_t k;
    for (n = 0; n < n_neurons; n++) {
        int32_t sum = 0;
        for (k = 0; k < n_taps; k++) {
            sum += *tap_weight++ * (int32_t)oldest[*tap_offset++];
        }
        current[n] = saturate_int16(sum >> shift);
    }
}

/* current for four frames in a row, for each a row of currents: what a tap is and
 * weighs is read once for all. oldest points at the oldest frame that a tap of the
 * first of them reaches. Of the bytes from there on n_missing lie before all that is
 * kept: they are zero. If there are none, first is oldest; else it is where the rest
 * begins, and a tap that finds its first byte missing finds its last three as well.
 * fits: no sum leaves int16_t. */
LSM_KERNEL void encode_four(int16_t *current, const uint8_t *first, size_t n_missing, const uint16_t *tap_offset,
                            const int8_t *tap_weight, size_t n_neurons, size_t n_taps, size_t n_bands, uint32_t shift,
                            int fits)
{
    size_t n_few = n_taps < 4U ? n_taps : 4U; /* most models have no more: they take no loop */
    size_t n;
    size_t k;
    for (n = 0; n < n_neurons; n++) {
        int32_t a = 0;
        int32_t b = 0;
        int32_t c = 0;
        int32_t d = 0;
        LSM_UNROLL
        for (k = 0; k < n_few; k++) {
            size_t offset = *tap_offset++;
            int8_t weight = *tap_weight++;
            if (offset >= n_missing) {
                const uint8_t *tapped = &first[offset - n_missing];
                a += weight * (int32_t)tapped[0];
                b += weight * (int32_t)tapped[n_bands];
                c += weight * (int32_t)tapped[2U * n_bands];
                d += weight * (int32_t)tapped[3U * n_bands];
            }
        }
        for (; k < n_taps; k++) {
            size_t offset = *tap_offset++;
            int8_t weight = *tap_weight++;
            if (offset >= n_missing) {
                const uint8_t *tapped = &first[offset - n_missing];
                a += weight * (int32_t)tapped[0];
                b += weight * (int32_t)tapped[n_bands];
                c += weight * (int32_t)tapped[2U * n_bands];
                d += weight * (int32_t)tapped[3U * n_bands];
            }
        }
        current[n] = narrowed(a >> shift, fits);
        current[n_neurons + n] = narrowed(b >> shift, fits);
        current[2U * n_neurons + n] = narrowed(c >> shift, fits);
        current[3U * n_neurons + n] = narrowed(d >> shift, fits);
    }
}

/* Add the weights of one source's synapses to the currents of their targets, modulo
 * 2^16. */
LSM_KERNEL void deliver(uint16_t *current, const uint16_t *target, const int8_t *weight, size_t first, size_t end)
{
    const uint16_t *to = &target[first];
    const int8_t *adds = &weight[first];
    while (to < &target[end]) {
        current[*to] = (uint16_t)(current[*to] + (uint32_t)(int32_t)*adds);
        to++;
        adds++;
    }
}

/* delta: a band that has moved by delta since its last event sends one up spike
 * (line 2 * band) or one down spike (line 2 * band + 1) a step. The generator
 * has checked that no neuron's weights can sum beyond int16_t. In most steps no band
 * sends, and nothing is to be scaled. */
LSM_KERNEL void encode_delta(int16_t *current, uint8_t *reference, const uint8_t *frame, const uint16_t *input_start,
                             const uint16_t *input_target, const int8_t *input_weight, size_t n_bands,
                             size_t n_neurons, int32_t delta, uint32_t shift)
{
    uint16_t *sums = (uint16_t *)current;
    int sends = 0;
    size_t band;
    size_t n;
    for (n = 0; n < n_neurons; n++) {
        current[n] = 0;
    }
    for (band = 0; band < n_bands; band++) {
        int32_t moved = (int32_t)frame[band] - reference[band];
        if (moved >= delta) {
            reference[band] = (uint8_t)(reference[band] + delta);
            deliver(sums, input_target, input_weight, input_start[2U * band], input_start[2U * band + 1U]);
            sends = 1;
        } else if (-moved >= delta) {
            reference[band] = (uint8_t)(reference[band] - delta);
            deliver(sums, input_target, input_weight, input_start[2U * band + 1U], input_start[2U * band + 2U]);
            sends = 1;
        } else {
            /* nothing to send */
        }
    }
    if (sends != 0) {
        for (n = 0; n < n_neurons; n++) {
            current[n] = saturate_int16((int32_t)current[n] * ((int32_t)1 << shift));
        }
    }
}

#endif
