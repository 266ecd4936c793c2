/* Twins of kernels of reservoir.h for cores with DSP instructions: the same integers. */
#ifndef LSM_RESERVOIR_DSP_H
#define LSM_RESERVOIR_DSP_H

#include "dsp.h"
#include "reservoir.h"

/* Takes the highest bit out of a word that is not 0; returns how many are above it.
 * It is the easiest to find: words of spikes are turned round for it. */
LSM_KERNEL uint32_t take_highest(uint32_t *word)
{
    uint32_t above = leading_zeros(*word);
    *word &= ~(0x80000000U >> above);
    return above;
}

/* Nothing has arrived yet. */
LSM_KERNEL void clear_currents_dsp(int16_t *recurrent, size_t n_neurons, int is_aligned)
{
    void *at = recurrent;
    size_t n;
    for (n = 0; n + 16U <= n_neurons; n += 16U) {
        at = clear_eight(at, is_aligned);
    }
    for (n = 0; n < n_neurons % 16U; n++) {
        recurrent[n_neurons - 1U - n] = 0;
    }
}

/* deliver to the four neurons at an address: their weights are the bytes of a word,
 * in the order 0, 2, 1, 3. */
LSM_PIECE void deliver_four_dsp(uint8_t *recurrent, uint32_t weights, int is_aligned)
{
    uint32_t low;
    uint32_t high;
    read_two(recurrent, &low, &high, is_aligned);
    write_two(recurrent, sxtab16(low, weights, 0U), sxtab16_odd(high, weights), is_aligned);
}

/* deliver, where every source reaches aligned blocks of four neurons: where each
 * block begins, in bytes, says place. Of a source there are n_blocks, or as
 * recurrent_start says if that is 0. Two are read at once. */
LSM_KERNEL void deliver_blocks_dsp(int16_t *recurrent, uint32_t *due, const uint32_t *recurrent_start,
                                   const uint16_t *place, const int8_t *weight, size_t n_neurons, size_t n_blocks,
                                   int is_aligned)
{
    uint8_t *base = (uint8_t *)recurrent;
    size_t word;
    clear_currents_dsp(recurrent, n_neurons, is_aligned);
    for (word = 0; word < SPIKE_WORDS(n_neurons); word++) {
        uint32_t waiting = rbit(due[word]);
        due[word] = 0;
        while (waiting != 0U) {
            size_t source = 32U * word + take_highest(&waiting);
            size_t first = n_blocks != 0U ? n_blocks * source : recurrent_start[source] / 4U;
            size_t left = n_blocks != 0U ? n_blocks : recurrent_start[source + 1U] / 4U - first;
            const void *weights = &weight[4U * first];
            const uint16_t *at = &place[first];
            for (; left >= 2U; left -= 2U) {
                uint32_t places = load_word(at);
                uint32_t one;
                uint32_t other;
                weights = load_two(weights, &one, &other, is_aligned);
                at += 2;
                deliver_four_dsp(&base[places & 0xFFFFU], one, is_aligned);
                deliver_four_dsp(&base[places >> 16], other, is_aligned);
            }
            if (left != 0U) {
                deliver_four_dsp(&base[*at], load_word(weights), is_aligned);
            }
        }
    }
}

/* deliver, four at a time. */
LSM_KERNEL void deliver_dsp(int16_t *current, const uint16_t *target, const int8_t *weight, size_t first, size_t end)
{
    const uint16_t *to = &target[first];
    const int8_t *adds = &weight[first];
    size_t left = end - first;
    for (; left >= 4U; left -= 4U) {
        current[to[0]] = (int16_t)(current[to[0]] + adds[0]);
        current[to[1]] = (int16_t)(current[to[1]] + adds[1]);
        current[to[2]] = (int16_t)(current[to[2]] + adds[2]);
        current[to[3]] = (int16_t)(current[to[3]] + adds[3]);
        to += 4;
        adds += 4;
    }
    for (; left > 0U; left--) {
        current[*to] = (int16_t)(current[*to] + *adds);
        to++;
        adds++;
    }
}

/* deliver_spikes. */
LSM_KERNEL void deliver_spikes_dsp(int16_t *recurrent, uint32_t *due, const uint32_t *recurrent_start,
                                   const uint16_t *recurrent_target, const int8_t *recurrent_weight,
                                   size_t n_neurons, int is_aligned)
{
    size_t word;
    clear_currents_dsp(recurrent, n_neurons, is_aligned);
    for (word = 0; word < SPIKE_WORDS(n_neurons); word++) {
        uint32_t waiting = rbit(due[word]);
        due[word] = 0;
        while (waiting != 0U) {
            size_t source = 32U * word + take_highest(&waiting);
            deliver_dsp(recurrent, recurrent_target, recurrent_weight, recurrent_start[source],
                        recurrent_start[source + 1U]);
        }
    }
}

/* decay of two potentials by leaks that are all 1 - 2^-shift, 1 <= shift <= 14:
 * floor(v - v / 2^shift) by halving, into which 2^shift goes where v is below
 * zero. `signs` is 2^shift twice. */
LSM_KERNEL uint32_t decay_two_by_shift(uint32_t v, uint32_t signs, uint32_t shift)
{
    uint32_t left = (v >> (15U - shift)) & signs;
    uint32_t i;
    for (i = 0; i < shift; i++) {
        left = shadd16(v, left);
    }
    return left;
}

/* The same by any two leaks. */
LSM_KERNEL uint32_t decay_two_dsp(uint32_t v, uint32_t leaks_q15, uint32_t ones)
{
    uint32_t low = (uint32_t)(low_half(v) * low_half(leaks_q15));
    uint32_t high = (uint32_t)(high_half(v) * high_half(leaks_q15));
    return sadd16(pkhtb_q15(high << 1, low), (v >> 15) & ones);
}

/* integrate two: the drive in 16 bits, which the generator has proven to do. */
LSM_KERNEL uint32_t integrate_two_dsp(uint32_t decayed, uint32_t current, uint32_t recurrent, uint32_t kept,
                                  uint32_t weight_shift)
{
    return qadd16(decayed, sadd16(current, (recurrent << weight_shift) & kept));
}

/* The same in 32 bits: |sum| <= 2^15 + 2^15 + 2^23. */
LSM_KERNEL uint32_t integrate_two_wide(uint32_t decayed, uint32_t current, uint32_t recurrent, uint32_t weight_shift)
{
    int32_t scale = (int32_t)1 << weight_shift;
    int32_t low = low_half(decayed) + low_half(current) + low_half(recurrent) * scale;
    int32_t high = high_half(decayed) + high_half(current) + high_half(recurrent) * scale;
    return pkhbt_low((uint32_t)ssat16(low), (uint32_t)ssat16(high));
}

/* fire and reset two: v where it reaches its threshold, but for those `resting`
 * (all bits of a half set). Returns 1 in the halves that fired, out of `ones`.
 * Instructions around the flags are kept together. */
LSM_KERNEL uint32_t fire_two_dsp(uint32_t *v, uint32_t threshold, uint32_t resting, int reset_to_zero, uint32_t ones)
{
    uint32_t after = *v;
    uint32_t over = after & ~resting; /* 0 is below every threshold */
    uint32_t reset = ssub16(over, threshold); /* and sets the flags */
#if LSM_HAS_DSP
    *v = (uint32_t)__sel((uint8x4_t)(reset_to_zero != 0 ? 0U : reset), (uint8x4_t)after);
    return (uint32_t)__sel((uint8x4_t)ones, (uint8x4_t)0U);
#else
    *v = select16(over, threshold, reset_to_zero != 0 ? 0U : reset, after);
    return select16(over, threshold, ones, 0U);
#endif
}

/* Where the state and tables of the next neuron are; all move on together. */
typedef struct {
    void       *v;
    void       *refractory;
    const void *current;
    const void *recurrent;
    const void *leak_q15;
    const void *threshold;
} lane_t;

/* What all neurons share; constants, of which the compiler makes what is needed. */
typedef struct {
    uint32_t leak_shift;   /* 0: by the table */
    uint32_t weight_shift;
    int      is_recurrent;
    int      is_wide;      /* the drive may not fit int16_t */
    int      is_aligned;   /* all but refractory counters, to four bytes */
    int      reset_to_zero;
    uint8_t  refractory_steps;
    uint32_t ones;         /* 1 in both halves, in a register, and so on */
    uint32_t signs;
    uint32_t kept;
} shared_t;

/* decay, integrate, refractory, fire, reset: four neurons. They fired where bits 0,
 * 16, 2 and 18 are set, in this order. */
LSM_PIECE uint32_t fire_four(lane_t *at, const shared_t *shared)
{
    uint32_t v[2];
    uint32_t input[2];
    uint32_t other[2] = { 0U, 0U };
    uint32_t rest = 0;
    uint32_t fired[2];
    size_t i;
    read_two(at->v, &v[0], &v[1], shared->is_aligned);
    if (shared->leak_shift != 0U) {
        v[0] = decay_two_by_shift(v[0], shared->signs, shared->leak_shift);
        v[1] = decay_two_by_shift(v[1], shared->signs, shared->leak_shift);
    } else {
        at->leak_q15 = load_two(at->leak_q15, &other[0], &other[1], shared->is_aligned);
        v[0] = decay_two_dsp(v[0], other[0], shared->ones);
        v[1] = decay_two_dsp(v[1], other[1], shared->ones);
    }
    at->current = load_two(at->current, &input[0], &input[1], shared->is_aligned);
    if (shared->is_recurrent != 0) {
        at->recurrent = load_two(at->recurrent, &other[0], &other[1], shared->is_aligned);
    }
    for (i = 0; i < 2U; i++) {
        if (shared->is_recurrent == 0) {
            v[i] = qadd16(v[i], input[i]);
        } else if (shared->is_wide != 0) {
            v[i] = integrate_two_wide(v[i], input[i], other[i], shared->weight_shift);
        } else {
            v[i] = integrate_two_dsp(v[i], input[i], other[i], shared->kept, shared->weight_shift);
        }
    }
    if (shared->refractory_steps != 0U) {
        rest = load_word(at->refractory);
    }
    if (rest != 0U) {
        uint32_t bytes = shared->refractory_steps == 1U ? (rest << 8) - rest : nonzero8(rest);
        uint32_t even = sxtb16(bytes, 0U);
        uint32_t odd = sxtb16_odd(bytes);
        rest = shared->refractory_steps == 1U ? 0U : uqsub8(rest, 0x01010101U);
        at->threshold = load_two(at->threshold, &other[0], &other[1], shared->is_aligned);
        fired[0] = fire_two_dsp(&v[0], other[0], pkhbt_low(even, odd), shared->reset_to_zero, shared->ones);
        fired[1] = fire_two_dsp(&v[1], other[1], pkhtb_high(odd, even), shared->reset_to_zero, shared->ones);
    } else {
        at->threshold = load_two(at->threshold, &other[0], &other[1], shared->is_aligned);
        fired[0] = fire_two_dsp(&v[0], other[0], 0U, shared->reset_to_zero, shared->ones);
        fired[1] = fire_two_dsp(&v[1], other[1], 0U, shared->reset_to_zero, shared->ones);
    }
    at->v = store_two(at->v, v[0], v[1], shared->is_aligned);
    if (shared->refractory_steps != 0U) {
        uint32_t bytes = pkhbt_low(fired[0] | (fired[0] >> 8), fired[1] | (fired[1] >> 8));
        at->refractory = store_one(at->refractory, rest + bytes * shared->refractory_steps);
    }
    return fired[0] | (fired[1] << 2);
}

/* Every spike is counted. */
LSM_KERNEL void count_spikes(uint16_t *counts, const uint32_t *spikes, size_t n_neurons)
{
    size_t word;
    for (word = 0; word < SPIKE_WORDS(n_neurons); word++) {
        uint32_t fired = rbit(spikes[word]);
        while (fired != 0U) {
            counts[32U * word + take_highest(&fired)]++;
        }
    }
}

/* fire_neurons. All leaks are 1 - 2^-leak_shift, or any if it is 0; the drive fits
 * int16_t unless it is_wide. What follows threshold is the same at every call. */
LSM_KERNEL void fire_neurons_dsp(int16_t *v, uint8_t *refractory, uint16_t *counts, uint32_t *spikes,
                                 const int16_t *current, const int16_t *recurrent, const uint16_t *leak_q15,
                                 const int16_t *threshold, size_t n_neurons, uint32_t weight_shift,
                                 int reset_to_zero, uint8_t refractory_steps, uint32_t leak_shift, int is_wide,
                                 int is_aligned)
{
    uint8_t *sixteen = (uint8_t *)spikes;
    size_t n;
    size_t i;
    shared_t shared;
    lane_t at;
    at.v = v;
    at.refractory = refractory;
    at.current = current;
    at.recurrent = recurrent;
    at.leak_q15 = leak_q15;
    at.threshold = threshold;
    shared.leak_shift = leak_shift;
    shared.weight_shift = weight_shift;
    shared.is_recurrent = recurrent != NULL;
    shared.is_wide = is_wide;
    shared.is_aligned = is_aligned;
    shared.reset_to_zero = reset_to_zero;
    shared.refractory_steps = refractory_steps;
    shared.ones = in_register(0x00010001U);
    shared.signs = in_register(0x00010001U << leak_shift);
    shared.kept = in_register(0x00010001U * (0xFFFFU & (0xFFFFU << weight_shift)));
    if (n_neurons % 32U != 0U) {
        spikes[n_neurons / 32U] = 0;
    }
    for (n = n_neurons / 16U; n > 0U; n--) {
        uint32_t fired = 0;
        for (i = 0; i < 4U; i++) {
            fired |= fire_four(&at, &shared) << (4U * i);
        }
        store_half(sixteen, fired | (fired >> 15));
        sixteen = &sixteen[2];
    }
    for (n = n_neurons - n_neurons % 16U; n < n_neurons - n_neurons % 4U; n += 4U) {
        uint32_t fired = fire_four(&at, &shared);
        spikes[n / 32U] |= ((fired | (fired >> 15)) & 15U) << (n % 32U);
    }
    for (; n < n_neurons; n++) {
        int32_t drive = current[n];
        if (recurrent != NULL) {
            drive += recurrent[n] * ((int32_t)1 << weight_shift);
        }
        spikes[n / 32U] |= (uint32_t)lif_step(&v[n], &refractory[n], leak_q15[n], drive, threshold[n], reset_to_zero,
                                    refractory_steps) << (n % 32U);
    }
    count_spikes(counts, spikes, n_neurons);
}

#endif
