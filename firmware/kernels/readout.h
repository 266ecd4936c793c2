/* The liquid's state -> scores. Golden model: stages/readout.py. */
#ifndef LSM_READOUT_H
#define LSM_READOUT_H

#include "fixed.h"

/* A leaky spike trace, once a frame. trace_gain is such that it stays below 2^16. */
LSM_KERNEL uint16_t trace_step(uint16_t trace, uint16_t count, uint16_t leak_q15, uint16_t gain)
{
    return (uint16_t)((((uint32_t)trace * leak_q15) >> 15) + (uint32_t)count * gain);
}

/* The same for all neurons, whose counts begin anew. */
LSM_KERNEL void trace_all(uint16_t *trace, uint16_t *count, size_t n_neurons, uint16_t leak_q15, uint16_t gain)
{
    size_t n;
    for (n = 0; n < n_neurons; n++) {
        trace[n] = trace_step(trace[n], count[n], leak_q15, gain);
        count[n] = 0;
    }
}

/* Spikes a step in units of about 2^-16, at most 65535. count <= n_steps. */
LSM_KERNEL uint32_t rate_q16(uint16_t count, uint32_t reciprocal_q16)
{
    uint32_t rate = count * reciprocal_q16;
    return rate > 65535U ? 65535U : rate;
}

/* Scores of one window: |sum| <= n_neurons * 255 * 127 for each class. */
LSM_KERNEL void add_scores(int32_t *scores, const uint8_t *features, const int8_t *weight, size_t n_classes,
                           size_t n_neurons)
{
    size_t c;
    size_t n;
    for (c = 0; c < n_classes; c++) {
        int32_t sum = 0;
        for (n = 0; n < n_neurons; n++) {
            sum += *weight++ * (int32_t)features[n];
        }
        scores[c] += sum;
    }
}

/* The same with weights of 4 bits, two a byte, each plus 8, the even neuron's
 * in the low half: |sum| <= n_neurons * 255 * 8. */
LSM_KERNEL void add_packed_scores(int32_t *scores, const uint8_t *features, const uint8_t *weight, size_t n_classes,
                                  size_t n_neurons)
{
    size_t c;
    size_t n;
    for (c = 0; c < n_classes; c++) {
        int32_t sum = 0;
        for (n = 0; n + 1U < n_neurons; n += 2U) {
            sum += ((int32_t)(*weight & 15U) - 8) * (int32_t)features[n];
            sum += ((int32_t)(*weight >> 4) - 8) * (int32_t)features[n + 1U];
            weight++;
        }
        if (n < n_neurons) {
            sum += ((int32_t)(*weight & 15U) - 8) * (int32_t)features[n];
            weight++;
        }
        scores[c] += sum;
    }
}

#endif
