/* The liquid: one step of every leaky integrate-and-fire neuron.
 * Golden model: stages/reservoir.py, which states the order of a step:
 *     deliver, decay, integrate, refractory, fire, reset, emit. */
#ifndef LSM_RESERVOIR_H
#define LSM_RESERVOIR_H

#include "encoder.h"

#define SPIKE_WORDS(n_neurons) (((n_neurons) + 31U) / 32U)

/* The place of the lowest bit of a word that is not 0. Where no instruction says
 * it, a product moves it to one of 32 patterns of five bits. */
LSM_KERNEL uint32_t lowest_bit(uint32_t word)
{
#if LSM_HAS_CLZ
    return (uint32_t)__builtin_ctz(word);
#else
    static const uint8_t place[32] = {
        0,  1,  28, 2,  29, 14, 24, 3, 30, 22, 20, 15, 25, 17, 4,  8,
        31, 27, 13, 23, 21, 19, 16, 7, 26, 12, 18, 6,  11, 5,  10, 9,
    };
    return place[((word & (0U - word)) * 0x077CB531U) >> 27];
#endif
}

/* Two numbers of 16 bits are added, and shifted left, at once if they are taken as the
 * one number low + 2^16 * high, modulo 2^32. Where each is kept 2^15 above what it is,
 * and is in int16_t, they are the halves of that word: neither has borrowed from the
 * other. Two int16_t as they lie in memory become so, or again what they were, by their
 * highest bits. */
#define LSM_ONES   0x00010001U
#define LSM_ABOVE  0x80008000U

/* Nothing has arrived yet. Recurrent currents are kept 2^15 above what they are. */
LSM_KERNEL void clear_currents(uint16_t *recurrent, size_t n_neurons, int is_aligned)
{
    size_t n_eights = is_aligned != 0 ? n_neurons / 8U : 0U;
    size_t n;
    size_t i;
    for (n = 0; n < 8U * n_eights; n += 8U) {
        LSM_UNROLL
        for (i = 0; i < 8U; i += 2U) {
            store_aligned(&recurrent[n + i], LSM_ABOVE);
        }
    }
    for (n = 8U * n_eights; n < n_neurons; n++) {
        recurrent[n] = 0x8000U;
    }
}

/* Spikes of 32 neurons, from that on whose first synapse `start` points at. */
LSM_KERNEL_APART void deliver_word(uint16_t *recurrent, uint32_t waiting, const uint32_t *start,
                                   const uint16_t *recurrent_target, const int8_t *recurrent_weight)
{
    while (waiting != 0U) {
        uint32_t source = lowest_bit(waiting);
        waiting &= waiting - 1U;
        deliver(recurrent, recurrent_target, recurrent_weight, start[source], start[source + 1U]);
    }
}

/* deliver: the spikes that are due now add their weights to the recurrent
 * current of their targets, and are forgotten. The generator has checked that
 * no neuron's weights can sum beyond int16_t. */
LSM_KERNEL void deliver_spikes(uint16_t *recurrent, uint32_t *due, const uint32_t *recurrent_start,
                               const uint16_t *recurrent_target, const int8_t *recurrent_weight, size_t n_neurons,
                               int is_aligned)
{
    size_t word;
    clear_currents(recurrent, n_neurons, is_aligned);
    for (word = 0; word < SPIKE_WORDS(n_neurons); word++) {
        uint32_t waiting = due[word];
        if (waiting != 0U) {
            due[word] = 0;
            deliver_word(recurrent, waiting, &recurrent_start[32U * word], recurrent_target, recurrent_weight);
        }
    }
}

/* The same for blocks, as below; place and weight begin with those of the first of the
 * 32 neurons if n_blocks is not 0. */
LSM_KERNEL_APART void deliver_word_of_blocks(uint16_t *recurrent, uint32_t waiting, const uint32_t *start,
                                             const uint16_t *place, const uint8_t *weight, size_t n_blocks)
{
    uint8_t *base = (uint8_t *)recurrent;
    uint32_t even = in_register(0x00FF00FFU);
    uint32_t above = in_register(0x00800080U);
    while (waiting != 0U) {
        uint32_t source = lowest_bit(waiting);
        size_t first = n_blocks != 0U ? n_blocks * source : start[source] / 4U;
        size_t count = n_blocks != 0U ? n_blocks : start[source + 1U] / 4U - first;
        const uint16_t *at = &place[first];
        const uint16_t *end = &at[count];
        const uint8_t *four = &weight[4U * first];
        waiting &= waiting - 1U;
        while (at < end) {
            uint32_t weights = load_aligned(four);
            uint8_t *to = &base[*at];
            store_aligned(to, load_aligned(to) + (weights & even) - above);
            store_aligned(&to[4], load_aligned(&to[4]) + ((weights >> 8) & even) - above);
            at = &at[1];
            four = &four[4];
        }
    }
}

/* deliver, where every source reaches aligned blocks of four neurons: where each block
 * begins, in bytes, says place. Of a source there are n_blocks, or as recurrent_start
 * says if that is 0. A block's weights are the bytes of a word, each 2^7 above what it
 * is, in the order 0, 2, 1, 3: every other byte makes two numbers in a word, as above. */
LSM_KERNEL void deliver_blocks(uint16_t *recurrent, uint32_t *due, const uint32_t *recurrent_start,
                               const uint16_t *place, const uint8_t *weight, size_t n_neurons, size_t n_blocks)
{
    size_t word;
    clear_currents(recurrent, n_neurons, 1);
    for (word = 0; word < SPIKE_WORDS(n_neurons); word++) {
        size_t before = 32U * word * n_blocks;
        uint32_t waiting = due[word];
        if (waiting != 0U) {
            due[word] = 0;
            deliver_word_of_blocks(recurrent, waiting, &recurrent_start[32U * word], &place[before],
                                   &weight[4U * before], n_blocks);
        }
    }
}

/* decay, integrate, refractory, fire, reset: one neuron. Returns 1 if it fired.
 * |v| <= 2^15, |drive| <= 2^15 + 2^23; *refractory <= refractory_steps. */
LSM_KERNEL uint8_t lif_step(int16_t *v, uint8_t *refractory, int32_t leak_q15, int32_t drive, int16_t threshold,
                            int reset_to_zero, uint8_t refractory_steps)
{
    int16_t after = saturate_int16(decay_q15(*v, leak_q15) + drive);
    uint32_t fired = after >= threshold ? 1U : 0U;
    if (refractory_steps != 0U) {
        uint32_t resting = *refractory > 0U ? 1U : 0U;
        fired &= resting ^ 1U;
        *refractory = (uint8_t)(*refractory - resting + ((0U - fired) & refractory_steps));
    }
    *v = (int16_t)(after - (reset_to_zero ? (int32_t)fired * after : (int32_t)fired * threshold));
    return (uint8_t)fired;
}

/* Where the state and tables of all neurons begin. */
typedef struct {
    int16_t        *v;
    uint8_t        *refractory;
    const int16_t  *current;
    const uint16_t *recurrent; /* or NULL */
    const uint16_t *leak_q15;
    const int16_t  *threshold;
} liquid_t;

/* What they share; constants, of which the compiler makes what is needed. */
typedef struct {
    uint32_t leak_shift; /* all leaks are 1 - 2^-leak_shift, 1 <= leak_shift <= 13; 0: they are in the table */
    uint32_t weight_shift;
    int      is_wide;    /* not all drives are in [-2^14, 2^14) */
    int      reset_to_zero;
    uint8_t  refractory_steps;
    uint32_t ones;       /* in a register */
    uint32_t settled;    /* what words of two neurons are above what they should be, and below it */
} settings_t;

/* decay and integrate two neurons, n and n + 1, one after the other. */
LSM_PIECE uint32_t integrate_each(const liquid_t *at, const settings_t *settings, uint32_t n, uint32_t v)
{
    int32_t scale = (int32_t)1 << settings->weight_shift;
    uint32_t leak = 32768U - (32768U >> settings->leak_shift);
    uint32_t leaks = settings->leak_shift != 0U ? LSM_ONES * leak : load_aligned(&at->leak_q15[n]);
    uint32_t input = load_aligned(&at->current[n]);
    uint32_t arrived = at->recurrent != NULL ? load_aligned(&at->recurrent[n]) : LSM_ABOVE;
    int32_t low = low_half(input) + low_half(arrived ^ LSM_ABOVE) * scale;
    int32_t high = high_half(input) + high_half(arrived ^ LSM_ABOVE) * scale;
    return halves(saturate_int16(decay_q15(low_half(v), (int32_t)(leaks & 0xFFFFU)) + low),
                  saturate_int16(decay_q15(high_half(v), (int32_t)(leaks >> 16)) + high));
}

/* What leaks that are 1 - 2^-shift leave of two potentials, of which none is -2^15, but
 * 2^15 - 2^(15 - shift) above it: v - 1 less floor((v - 1) / 2^shift), and one more
 * if v is below zero. */
LSM_KERNEL uint32_t decay_two(uint32_t v, uint32_t shift, uint32_t ones)
{
    uint32_t less = (v ^ LSM_ABOVE) - ones;
    return less + ((v >> 15) & ones) - ((less >> shift) & (LSM_ONES * (0xFFFFU >> shift)));
}

/* The same at once, if -2^14 <= v < 2^14 and all drives are in that range as well: no
 * sum leaves int16_t. */
LSM_PIECE uint32_t integrate_two(const liquid_t *at, const settings_t *settings, uint32_t n, uint32_t v)
{
    uint32_t sum;
    if (settings->leak_shift != 0U) {
        sum = decay_two(v, settings->leak_shift, settings->ones);
    } else {
        uint32_t leaks = load_aligned(&at->leak_q15[n]);
        sum = (uint32_t)decay_q15(low_half(v), (int32_t)(leaks & 0xFFFFU))
              + ((uint32_t)decay_q15(high_half(v), (int32_t)(leaks >> 16)) << 16);
    }
    sum += load_aligned(&at->current[n]) ^ LSM_ABOVE;
    if (at->recurrent != NULL) {
        sum += load_aligned(&at->recurrent[n]) << settings->weight_shift;
    }
    return (sum + settings->settled) ^ LSM_ABOVE;
}

/* decay, integrate, refractory, fire, reset: two neurons. Returns their spikes, in bits
 * 0 and 1. Most neither fire nor rest, and are far from the ends of int16_t. */
LSM_PIECE uint32_t fire_two(const liquid_t *at, const settings_t *settings, uint32_t n)
{
    uint32_t v = load_aligned(&at->v[n]);
    uint32_t fired = 0;
    uint32_t over;
    uint32_t rest;
    if (settings->is_wide != 0 || LSM_RARELY(((v ^ (v << 1)) & LSM_ABOVE) != 0U)) {
        v = integrate_each(at, settings, n, v);
    } else {
        v = integrate_two(at, settings, n, v);
    }
    /* The highest bit of each half: v, if it is not negative, reaches the threshold. */
    over = ((v | LSM_ABOVE) - load_aligned(&at->threshold[n])) & ~v & LSM_ABOVE;
    rest = settings->refractory_steps != 0U ? load_half(&at->refractory[n]) : 0U;
    if (LSM_RARELY((over | rest) != 0U)) {
        uint32_t same = in_register(n); /* addresses are found again, not kept for what is rare */
        if (rest != 0U) {
            uint32_t resting = rest; /* a one in each byte that is not 0 */
            if (settings->refractory_steps != 1U) {
                resting = (rest & 0xFFU) != 0U ? 1U : 0U;
                resting += rest > 0xFFU ? 0x100U : 0U;
            }
            store_half(&at->refractory[same], rest - resting);
            over &= ~((resting << 15) | (resting << 23));
        }
        if (over != 0U) {
            uint32_t fires = over >> 15;
            v -= (settings->reset_to_zero != 0 ? v : load_aligned(&at->threshold[same])) & ((fires << 16) - fires);
            fired = (fires | (fires >> 15)) & 3U;
        }
    }
    store_aligned(&at->v[n], v);
    return fired;
}

/* Every spike of 32 neurons is counted, and they rest from now on. */
LSM_KERNEL void note_spikes(uint16_t *counts, uint8_t *refractory, uint32_t fired, uint8_t refractory_steps)
{
    while (fired != 0U) {
        uint32_t n = lowest_bit(fired);
        fired &= fired - 1U;
        counts[n]++;
        if (refractory_steps != 0U) {
            refractory[n] = refractory_steps;
        }
    }
}

/* The same for all neurons; recurrent may be NULL. Spikes go into words, neuron
 * n at bit n % 32 of word n / 32, and are counted. What follows threshold is the same
 * at every call. is_aligned: there is an even number of neurons, and what is kept of
 * them begins at multiples of four bytes, refractory at one of two. */
LSM_KERNEL void fire_neurons(int16_t *v, uint8_t *refractory, uint16_t *counts, uint32_t *spikes,
                             const int16_t *current, const uint16_t *recurrent, const uint16_t *leak_q15,
                             const int16_t *threshold, size_t n_neurons, uint32_t weight_shift, int reset_to_zero,
                             uint8_t refractory_steps, uint32_t leak_shift, int is_wide, int is_aligned)
{
    uint32_t first;
    uint32_t n;
    liquid_t at;
    settings_t settings;
    at.v = v;
    at.refractory = refractory;
    at.current = current;
    at.recurrent = recurrent;
    at.leak_q15 = leak_q15;
    at.threshold = threshold;
    settings.leak_shift = leak_shift;
    settings.weight_shift = weight_shift;
    settings.is_wide = is_wide;
    settings.reset_to_zero = reset_to_zero;
    settings.refractory_steps = refractory_steps;
    settings.ones = in_register(LSM_ONES);
    settings.settled = in_register(LSM_ONES * (0x8000U >> leak_shift) - LSM_ABOVE
                                 - (recurrent != NULL ? LSM_ABOVE << weight_shift : 0U));
    for (first = 0; first < n_neurons; first += 32U) {
        uint32_t end = n_neurons - first < 32U ? (uint32_t)n_neurons : first + 32U;
        uint32_t word = 0;
        if (is_aligned != 0) {
            for (n = first; n < end; n = in_register(n + 2U)) {
                word |= fire_two(&at, &settings, n) << (n % 32U);
            }
            note_spikes(&counts[first], &refractory[first], word, refractory_steps);
        } else {
            for (n = first; n < end; n++) {
                int32_t arrived = recurrent != NULL ? (int32_t)recurrent[n] - 32768 : 0;
                int32_t drive = current[n] + arrived * ((int32_t)1 << weight_shift);
                uint32_t fired = lif_step(&v[n], &refractory[n], leak_q15[n], drive, threshold[n], reset_to_zero,
                                          refractory_steps);
                counts[n] = (uint16_t)(counts[n] + fired);
                word |= fired << (n % 32U);
            }
        }
        spikes[first / 32U] = word;
    }
}

/* emit: every spike is written into the slot of the step at which it is due;
 * 1 <= delay_steps[n] <= n_slots. A delay of n_slots lands in the present slot,
 * which was emptied by deliver_spikes. */
LSM_KERNEL void emit_spikes(uint32_t *pending, const uint32_t *spikes, const uint8_t *delay_steps, size_t n_neurons,
                            size_t slot, size_t n_slots)
{
    size_t word;
    for (word = 0; word < SPIKE_WORDS(n_neurons); word++) {
        uint32_t fired = spikes[word];
        if (n_slots == 1U) { /* all are due at the next step */
            pending[word] |= fired;
            continue;
        }
        while (fired != 0U) {
            uint32_t bit = lowest_bit(fired);
            size_t arrival = slot + delay_steps[32U * word + bit];
            fired &= fired - 1U;
            if (arrival >= n_slots) {
                arrival -= n_slots;
            }
            pending[arrival * SPIKE_WORDS(n_neurons) + word] |= (uint32_t)1 << bit;
        }
    }
}

#endif
