/* Twins of kernels of encoder.h for cores with DSP instructions: the same integers. */
#ifndef LSM_ENCODER_DSP_H
#define LSM_ENCODER_DSP_H

#include "dsp.h"
#include "encoder.h"

/* Four frames in a row, turned: of each band a word that holds its byte in each, the
 * oldest lowest. Each band has a row of n_kept / 4 such words and behind it the same
 * again, so that the last n_kept bytes lie in a row wherever they end. by_band points
 * at where the words go in the first row. */
LSM_KERNEL void keep_four(uint32_t *by_band, const uint8_t *frames, size_t n_bands, size_t n_kept)
{
    size_t band;
    for (band = 0; band < n_bands; band++) {
        uint32_t four = (uint32_t)frames[band] | ((uint32_t)frames[n_bands + band] << 8)
                        | ((uint32_t)frames[2U * n_bands + band] << 16) | ((uint32_t)frames[3U * n_bands + band] << 24);
        by_band[band * (n_kept / 2U)] = four;
        by_band[band * (n_kept / 2U) + n_kept / 4U] = four;
    }
}

/* A neuron's sums for four frames, two in the halves of a word: even for the first
 * and the third, odd for the others. Each must fit int16_t, and is kept 2^15 above
 * what it is: the words are right modulo 2^32 all along, and at the end no half has
 * borrowed from the other. */
LSM_PIECE void sum_taps(uint32_t *even, uint32_t *odd, const uint8_t *by_band, const uint16_t *tap_offset,
                        const int8_t *tap_weight, size_t n_taps, uint32_t zeros)
{
    uint32_t first = zeros;
    uint32_t second = zeros;
    size_t k;
    for (k = 0; k < n_taps; k++) {
        uint32_t four = load_word(&by_band[tap_offset[k]]);
        uint32_t weight = (uint32_t)(int32_t)tap_weight[k];
        first = in_register(first + weight * uxtb16(four, 0U));
        second = in_register(second + weight * uxtb16_odd(four));
        LSM_IN_TURN();
    }
    *even = first;
    *odd = second;
}

/* encode_four, where every sum fits int16_t. by_band points at the words that
 * keep_four kept last; offsets are from there. */
LSM_KERNEL void encode_four_dsp(int16_t *current, const uint8_t *by_band, const uint16_t *tap_offset,
                                const int8_t *tap_weight, size_t n_neurons, size_t n_taps, uint32_t shift)
{
    uint32_t zeros = in_register(0x80008000U);
    uint32_t kept = in_register(0x00010001U * (0xFFFFU >> shift));
    uint32_t less = in_register(0x00010001U * (0x8000U >> shift));
    uint32_t even[2];
    uint32_t odd[2];
    size_t n;
    for (n = 0; n + 2U <= n_neurons; n += 2U) {
        sum_taps(&even[0], &odd[0], by_band, &tap_offset[n * n_taps], &tap_weight[n * n_taps], n_taps, zeros);
        sum_taps(&even[1], &odd[1], by_band, &tap_offset[(n + 1U) * n_taps], &tap_weight[(n + 1U) * n_taps], n_taps,
                 zeros);
        store_word(&current[n], ssub16((pkhbt_low(even[0], even[1]) >> shift) & kept, less));
        store_word(&current[n_neurons + n], ssub16((pkhbt_low(odd[0], odd[1]) >> shift) & kept, less));
        store_word(&current[2U * n_neurons + n], ssub16((pkhtb_high(even[1], even[0]) >> shift) & kept, less));
        store_word(&current[3U * n_neurons + n], ssub16((pkhtb_high(odd[1], odd[0]) >> shift) & kept, less));
    }
    if (n < n_neurons) {
        sum_taps(&even[0], &odd[0], by_band, &tap_offset[n * n_taps], &tap_weight[n * n_taps], n_taps, zeros);
        even[0] = ssub16((even[0] >> shift) & kept, less);
        odd[0] = ssub16((odd[0] >> shift) & kept, less);
        store_half(&current[n], even[0]);
        store_half(&current[n_neurons + n], odd[0]);
        store_half(&current[2U * n_neurons + n], even[0] >> 16);
        store_half(&current[3U * n_neurons + n], odd[0] >> 16);
    }
}

#endif
