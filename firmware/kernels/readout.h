/* The liquid's state -> scores. Golden model: stages/readout.py. */
#ifndef LSM_READOUT_H
#define LSM_READOUT_H

#include "fixed.h"

#define ACTIVITY_FLOOR 60U
#define ACTIVITY_BASE  20U

/* What a levelled frame weighs in dividing its segment into windows of equal
 * energy; at most 215 * n_bands. */
LSM_KERNEL uint32_t activity_of(const uint8_t *frame, size_t n_bands)
{
    uint32_t floor_sum = ACTIVITY_FLOOR * (uint32_t)n_bands;
    uint32_t sum = 0;
    size_t band;
    for (band = 0; band < n_bands; band++) {
        sum += frame[band];
    }
    return (sum > floor_sum ? sum - floor_sum : 0U) + ACTIVITY_BASE * (uint32_t)n_bands;
}

/* A leaky spike trace, once a frame. trace_gain is such that it stays below 2^16. */
LSM_KERNEL uint16_t trace_step(uint16_t trace, uint16_t count, uint16_t leak_q15, uint16_t gain)
{
    return (uint16_t)((((uint32_t)trace * leak_q15) >> 15) + (uint32_t)count * gain);
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

#endif
