/* Scores -> a class, and where in a stream something happens.
 * Golden model: stages/decision.py. */
#ifndef LSM_DECISION_H
#define LSM_DECISION_H

#include "fixed.h"

/* The highest score; the lowest index on a tie. */
LSM_KERNEL int32_t classify(const int32_t *scores, size_t n_classes)
{
    size_t best = 0;
    size_t c;
    for (c = 1; c < n_classes; c++) {
        if (scores[c] > scores[best]) {
            best = c;
        }
    }
    return (int32_t)best;
}

/* By how much `best` leads all other scores; nobody leads more than the only one. */
LSM_KERNEL uint32_t lead_of(const int32_t *scores, size_t n_classes, int32_t best)
{
    int64_t lead = UINT32_MAX;
    size_t c;
    for (c = 0; c < n_classes; c++) {
        int64_t over = (int64_t)scores[best] - scores[c]; /* 0 to 2^32 - 1 */
        if (c != (size_t)best && over < lead) {
            lead = over;
        }
    }
    return (uint32_t)lead;
}

/* How likely `best` is right, Q15: one part of the odds of all scores, which halve with
 * every octave that a score lies behind. A lead of 2^(shift + 16) is gain_q16 / 256
 * octaves. Odds sum to 32768 * n_classes < 2^31 at most. */
LSM_KERNEL uint16_t confidence_of(const int32_t *scores, size_t n_classes, size_t best, uint32_t gain_q16,
                                  uint32_t shift)
{
    uint32_t odds_q15 = 32768U; /* best's own */
    size_t c;
    for (c = 0; c < n_classes; c++) {
        int64_t ahead = (int64_t)scores[best] - scores[c]; /* 0 to 2^32 - 1 */
        uint32_t lead = (uint32_t)ahead >> shift;
        if (c != best) {
            odds_q15 += half_to_the_q15(((lead < 65535U ? lead : 65535U) * gain_q16) >> 16);
        }
    }
    return (uint16_t)(0x40000000U / odds_q15);
}

/* A noise floor, of frames or of hops: down at once, up by rise_q8 a frame.
 * floor_q8 <= 102400, loudness <= 400. */
LSM_KERNEL uint32_t follow_floor(uint32_t floor_q8, uint32_t loudness, uint32_t rise_q8)
{
    uint32_t risen_q8 = floor_q8 + rise_q8;
    uint32_t loudness_q8 = loudness << 8;
    return risen_q8 < loudness_q8 ? risen_q8 : loudness_q8;
}

/* The floor of frames that are not made: it moves as that of hops does, within
 * what bytes can say. Both floors of hops <= 102400. */
LSM_KERNEL uint16_t move_floor(uint16_t floor_q8, uint32_t hops_before_q8, uint32_t hops_q8)
{
    int32_t moved_q8 = (int32_t)floor_q8 + (int32_t)hops_q8 - (int32_t)hops_before_q8;
    return (uint16_t)(moved_q8 < 0 ? 0 : moved_q8 > 65280 ? 65280 : moved_q8);
}

#endif
