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

/* deliver to four neurons in a row. */
LSM_KERNEL void deliver_row(int16_t *restrict to, const int8_t *restrict adds)
{
    size_t i;
#if defined(__GNUC__) && defined(__arm__)
#pragma GCC unroll 4
#elif defined(__GNUC__)
#pragma GCC unroll 1 /* a vector of four, not one after the other */
#endif
    for (i = 0; i < 4U; i++) {
        to[i] = (int16_t)(to[i] + adds[i]);
    }
}

/* deliver: the spikes that are due now add their weights to the recurrent
 * current of their targets, and are forgotten. The generator has checked that
 * no neuron's weights can sum beyond int16_t. in_fours says that every four synapses
 * reach neurons in a row, beginning with the target of the first. */
LSM_KERNEL void deliver_spikes(int16_t *recurrent, uint32_t *due, const uint32_t *recurrent_start,
                               const uint16_t *recurrent_target, const int8_t *recurrent_weight, size_t n_neurons,
                               int in_fours)
{
    size_t word;
    size_t n;
    for (n = 0; n < n_neurons; n++) {
        recurrent[n] = 0;
    }
    for (word = 0; word < SPIKE_WORDS(n_neurons); word++) {
        uint32_t waiting = due[word];
        due[word] = 0;
        while (waiting != 0U) {
            size_t source = 32U * word + lowest_bit(waiting);
            size_t end = recurrent_start[source + 1U];
            waiting &= waiting - 1U;
            if (in_fours != 0) {
                for (n = recurrent_start[source]; n < end; n += 4U) {
                    deliver_row(&recurrent[recurrent_target[n]], &recurrent_weight[n]);
                }
            } else {
                deliver(recurrent, recurrent_target, recurrent_weight, recurrent_start[source], end);
            }
        }
    }
}

/* decay, integrate, refractory, fire, reset: one neuron. Returns 1 if it fired.
 * |v| <= 2^15, |drive| <= 2^15 + 2^23; *refractory <= refractory_steps. Without
 * branches, so that compilers take many neurons at once where they can. */
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

/* The same for all neurons; recurrent may be NULL. Spikes go into words, neuron
 * n at bit n % 32 of word n / 32, and are counted. */
LSM_KERNEL void fire_neurons(int16_t *restrict v, uint8_t *restrict refractory, uint16_t *restrict counts,
                             uint32_t *restrict spikes, const int16_t *restrict current,
                             const int16_t *restrict recurrent, const uint16_t *restrict leak_q15,
                             const int16_t *restrict threshold, size_t n_neurons, uint32_t weight_shift,
                             int reset_to_zero, uint8_t refractory_steps)
{
    size_t first;
    size_t i;
    for (first = 0; first < n_neurons; first += 32U) {
        size_t count = n_neurons - first < 32U ? n_neurons - first : 32U;
        uint32_t word = 0;
        for (i = 0; i < count; i++) {
            size_t n = first + i;
            int32_t drive = recurrent != NULL ? current[n] + recurrent[n] * ((int32_t)1 << weight_shift) : current[n];
            uint32_t fired = lif_step(&v[n], &refractory[n], leak_q15[n], drive, threshold[n], reset_to_zero,
                                      refractory_steps);
            counts[n] = (uint16_t)(counts[n] + fired);
            word |= fired << i;
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
