/* Twins of kernels of readout.h for cores with DSP instructions: the same integers. */
#ifndef LSM_READOUT_DSP_H
#define LSM_READOUT_DSP_H

#include "dsp.h"
#include "readout.h"

/* trace_step for all neurons, whose counts begin anew. Few have fired. */
LSM_KERNEL void trace_all_dsp(uint16_t *trace, uint16_t *count, size_t n_neurons, uint16_t leak_q15, uint16_t gain)
{
    size_t n;
    for (n = 0; n + 2U <= n_neurons; n += 2U) {
        uint32_t traces = load_word(&trace[n]);
        uint32_t fired = load_word(&count[n]);
        uint32_t low = ((traces & 0xFFFFU) * leak_q15) >> 15;
        uint32_t high = ((traces >> 16) * leak_q15) >> 15;
        if (fired != 0U) {
            low += (fired & 0xFFFFU) * gain;
            high += (fired >> 16) * gain;
            store_word(&count[n], 0U);
        }
        store_word(&trace[n], pkhbt_low(low, high));
    }
    if (n < n_neurons) {
        trace[n] = trace_step(trace[n], count[n], leak_q15, gain);
        count[n] = 0;
    }
}

/* Four features times four weights. */
LSM_PIECE int32_t add_four(uint32_t even, uint32_t odd, uint32_t weights, int32_t sum)
{
    return smlad(odd, sxtb16_odd(weights), smlad(even, sxtb16(weights, 0U), sum));
}

/* add_scores: two classes share what the features take. */
LSM_KERNEL void add_scores_dsp(int32_t *scores, const uint8_t *features, const int8_t *weight, size_t n_classes,
                               size_t n_neurons)
{
    size_t c;
    size_t n;
    for (c = 0; c + 2U <= n_classes; c += 2U) {
        const int8_t *other = &weight[n_neurons];
        int32_t sum = scores[c];
        int32_t others = scores[c + 1U];
        for (n = 0; n + 4U <= n_neurons; n += 4U) {
            uint32_t four = load_word(&features[n]);
            uint32_t even = uxtb16(four, 0U);
            uint32_t odd = uxtb16_odd(four);
            sum = add_four(even, odd, load_word(&weight[n]), sum);
            others = add_four(even, odd, load_word(&other[n]), others);
        }
        for (; n < n_neurons; n++) {
            sum += weight[n] * (int32_t)features[n];
            others += other[n] * (int32_t)features[n];
        }
        scores[c] = sum;
        scores[c + 1U] = others;
        weight = &other[n_neurons];
    }
    if (c < n_classes) {
        add_scores(&scores[c], features, weight, 1U, n_neurons);
    }
}

/* Eight features, as pairs four neurons apart, times the eight halves of a word. */
LSM_PIECE int32_t add_eight(const uint32_t *pairs, uint32_t weights, int32_t sum)
{
    sum = smlad(pairs[0], weights & 0x000F000FU, sum);
    sum = smlad(pairs[1], (weights >> 4) & 0x000F000FU, sum);
    sum = smlad(pairs[2], (weights >> 8) & 0x000F000FU, sum);
    return smlad(pairs[3], (weights >> 12) & 0x000F000FU, sum);
}

/* add_packed_scores: 8, which is in every weight, is taken off in one. */
LSM_KERNEL void add_packed_scores_dsp(int32_t *scores, const uint8_t *features, const uint8_t *weight,
                                      size_t n_classes, size_t n_neurons)
{
    size_t n_eights = n_neurons / 8U;
    size_t row = (n_neurons + 1U) / 2U;
    int32_t all = 0;
    size_t c;
    size_t i;
    for (i = 0; i < 8U * n_eights; i++) {
        all += features[i];
    }
    for (c = 0; c < n_classes; c++) {
        int32_t sum = scores[c] - 8 * all;
        for (i = 0; i < n_eights; i++) {
            uint32_t low = load_word(&features[8U * i]);
            uint32_t high = load_word(&features[8U * i + 4U]);
            uint32_t pairs[4];
            pairs[0] = pkhbt_low(uxtb16(low, 0U), uxtb16(high, 0U));
            pairs[1] = pkhbt_low(uxtb16_odd(low), uxtb16_odd(high));
            pairs[2] = pkhtb_high(uxtb16(high, 0U), uxtb16(low, 0U));
            pairs[3] = pkhtb_high(uxtb16_odd(high), uxtb16_odd(low));
            sum = add_eight(pairs, load_word(&weight[c * row + 4U * i]), sum);
        }
        scores[c] = sum;
        add_packed_scores(&scores[c], &features[8U * n_eights], &weight[c * row + 4U * n_eights], 1U,
                          n_neurons - 8U * n_eights);
    }
}

#endif
