/* Twin of a kernel of encoder.h for machines with vectors: the same integers. */
#ifndef LSM_ENCODER_WIDE_H
#define LSM_ENCODER_WIDE_H

#include "encoder.h"
#include "reservoir_wide.h"

/* There are at most 32 bands: a word of bits for their up lines, then one for their down
 * lines. Where the row of a line is, and how many rows there are: */
#define LINE_ROW(line) ((line) / 2U + 32U * ((line) % 2U))
#define N_LINE_ROWS    64U

typedef uint8_t bands_t __attribute__((vector_size(16), may_alias));

/* Bit i of the result: whether byte i is 255 and not 0. */
LSM_LANES uint32_t bits_of_bands(bands_t each)
{
#if defined(__SSE2__)
    return (uint32_t)_mm_movemask_epi8((__m128i)each);
#else
    const uint8_t *bytes = (const uint8_t *)&each;
    return bits_of_eight(bytes) | bits_of_eight(&bytes[8]) << 8;
#endif
}

/* The lines that send: a bit for each. */
LSM_LANES void send_deltas(uint32_t lines[2], uint8_t *reference, const uint8_t *frame, size_t n_bands, int32_t delta)
{
    size_t n_in_lanes = n_bands - n_bands % 16U;
    size_t i;
    lines[0] = 0;
    lines[1] = 0;
    for (i = 0; i < n_in_lanes; i += 16U) {
        bands_t now;
        bands_t sent;
        bands_t is_up;
        bands_t is_down;
        __builtin_memcpy(&now, &frame[i], sizeof now);
        __builtin_memcpy(&sent, &reference[i], sizeof sent);
        is_up = (bands_t)(now > sent) & (bands_t)(now - sent >= (uint8_t)delta);
        is_down = (bands_t)(sent > now) & (bands_t)(sent - now >= (uint8_t)delta);
        sent = sent + (is_up & (uint8_t)delta) - (is_down & (uint8_t)delta);
        __builtin_memcpy(&reference[i], &sent, sizeof sent);
        lines[0] |= bits_of_bands(is_up) << i;
        lines[1] |= bits_of_bands(is_down) << i;
    }
    for (; i < n_bands; i++) {
        int32_t moved = (int32_t)frame[i] - reference[i];
        uint32_t is_up = moved >= delta ? 1U : 0U;
        uint32_t is_down = -moved >= delta ? 1U : 0U;
        reference[i] = (uint8_t)(reference[i] + (int32_t)is_up * delta - (int32_t)is_down * delta);
        lines[0] |= is_up << i;
        lines[1] |= is_down << i;
    }
}

/* encode_delta, with a row of weights for every line. */
LSM_KERNEL void encode_delta_wide(int16_t *restrict current, uint8_t *restrict reference, const uint8_t *restrict frame,
                                  const int8_t *restrict rows, size_t n_bands, size_t n_neurons, int32_t delta,
                                  uint32_t shift)
{
    uint32_t lines[2];
    uint16_t listed[N_LINE_ROWS + USUAL_BITS];
    size_t n_in_lanes = n_neurons - n_neurons % N_LANES;
    size_t n_listed;
    size_t i;
    send_deltas(lines, reference, frame, n_bands, delta);
    if ((lines[0] | lines[1]) == 0U) {
        memset(current, 0, n_neurons * sizeof current[0]);
        return;
    }
    n_listed = list_bits(listed, lines, 2U);
    add_rows((uint16_t *)current, 0U, rows, listed, n_listed, n_neurons);
    for (i = 0; i < n_in_lanes; i += N_LANES) {
        store_lanes(&current[i], scale_saturated(load_lanes(&current[i]), shift));
    }
    for (; i < n_neurons; i++) {
        current[i] = saturate_int16((int32_t)current[i] * ((int32_t)1 << shift));
    }
}

#endif
