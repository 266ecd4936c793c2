/* Twins of kernels of reservoir.h for machines with vectors: the same integers. Synapses
 * come as rows, a weight for every neuron that there is, most of them 0: to add a whole row
 * takes less time than to look a few of its neurons up. */
#ifndef LSM_RESERVOIR_WIDE_H
#define LSM_RESERVOIR_WIDE_H

#include "lanes.h"
#include "reservoir.h"

#define LANES_AT_ONCE 8U /* what stays in registers while rows are added */

/* A row: what the synapses of one source add to every neuron. Two that reach the same
 * neuron add twice; the generator has checked that no sum leaves int8_t. */
LSM_KERNEL void spread_row(int8_t *row, const uint16_t *target, const int8_t *weight, size_t first, size_t end,
                           size_t n_neurons)
{
    size_t i;
    memset(row, 0, n_neurons);
    for (i = first; i < end; i++) {
        row[target[i]] = (int8_t)(row[target[i]] + weight[i]);
    }
}

/* Each neuron's sum over the rows that are listed, from `start` on. */
LSM_KERNEL void add_rows(uint16_t *sums, uint16_t start, const int8_t *rows, const uint16_t *listed, size_t n_listed,
                         size_t n_neurons)
{
    const lanes_t starts = (lanes_t){ 0 } + (int16_t)start;
    size_t n_in_lanes = n_neurons - n_neurons % N_LANES;
    size_t at = 0;
    size_t i;
    size_t j;
    for (; at + LANES_AT_ONCE * N_LANES <= n_in_lanes; at += LANES_AT_ONCE * N_LANES) {
        lanes_t sum[LANES_AT_ONCE];
        for (j = 0; j < LANES_AT_ONCE; j++) {
            sum[j] = starts;
        }
        for (i = 0; i < n_listed; i++) {
            const int8_t *row = &rows[listed[i] * n_neurons + at];
            for (j = 0; j < LANES_AT_ONCE; j++) {
                sum[j] = add_lanes(sum[j], widen(load_bytes(&row[j * N_LANES])));
            }
        }
        for (j = 0; j < LANES_AT_ONCE; j++) {
            store_lanes(&sums[at + j * N_LANES], sum[j]);
        }
    }
    for (; at < n_in_lanes; at += N_LANES) {
        lanes_t sum = starts;
        for (i = 0; i < n_listed; i++) {
            sum = add_lanes(sum, widen(load_bytes(&rows[listed[i] * n_neurons + at])));
        }
        store_lanes(&sums[at], sum);
    }
    for (; at < n_neurons; at++) {
        int32_t sum = start;
        for (i = 0; i < n_listed; i++) {
            sum += rows[listed[i] * n_neurons + at];
        }
        sums[at] = (uint16_t)sum;
    }
}

#define USUAL_BITS 6U /* of two words of spikes: more are rare */

/* The places of all bits that are set; returns how many. The usual number is written
 * whether they are there or not, which no branch has to guess: listed has room for
 * USUAL_BITS more. */
LSM_KERNEL size_t list_bits(uint16_t *listed, const uint32_t *words, size_t n_words)
{
    size_t n_listed = 0;
    size_t word;
    size_t i;
    for (word = 0; word < n_words; word += 2U) {
        uint64_t left = words[word] | (word + 1U < n_words ? (uint64_t)words[word + 1U] << 32 : 0U);
        size_t count = (size_t)__builtin_popcountll(left);
        for (i = 0; i < USUAL_BITS; i++) {
            listed[n_listed + i] = (uint16_t)(32U * word + (uint32_t)__builtin_ctzll(left | (uint64_t)1 << 63));
            left &= left - 1U;
        }
        for (; i < count; i++) {
            listed[n_listed + i] = (uint16_t)(32U * word + (uint32_t)__builtin_ctzll(left));
            left &= left - 1U;
        }
        n_listed += count;
    }
    return n_listed;
}

/* deliver_spikes: currents are kept 2^15 above what they are. listed is scratch for as
 * many spikes as there are neurons and USUAL_BITS. */
LSM_KERNEL void deliver_spikes_wide(uint16_t *recurrent, uint32_t *due, const int8_t *rows, uint16_t *listed,
                                    size_t n_neurons)
{
    size_t n_listed = list_bits(listed, due, SPIKE_WORDS(n_neurons));
    memset(due, 0, SPIKE_WORDS(n_neurons) * sizeof due[0]);
    add_rows(recurrent, 0x8000U, rows, listed, n_listed, n_neurons);
}

/* decay by a leak of 1 - 2^-shift: floor(v - v / 2^shift) is v - floor(v / 2^shift), less
 * one if that division leaves a rest. */
LSM_LANES lanes_t decay_lanes_by_shift(lanes_t v, uint32_t shift)
{
    lanes_t has_rest = (lanes_t)((v & (int16_t)((1 << shift) - 1)) != 0); /* -1 */
    lanes_t is_negative = v >> 15;                                        /* -1 */
    return add_lanes(subtract_lanes(v, v >> (int16_t)shift), subtract_lanes(has_rest, is_negative));
}

/* The same by any leaks. */
LSM_LANES lanes_t decay_lanes(lanes_t v, lanes_t leaks_q15)
{
    wide_lanes_t product = __builtin_convertvector(v, wide_lanes_t) * __builtin_convertvector(leaks_q15, wide_lanes_t);
    return subtract_lanes(__builtin_convertvector(product >> 15, lanes_t), v >> 15);
}

/* integrate, with a drive in 32 bits: |sum| <= 2^15 + 2^15 + 2^23. */
LSM_LANES lanes_t integrate_lanes_wide(lanes_t decayed, lanes_t current, lanes_t recurrent, uint32_t weight_shift)
{
    wide_lanes_t sum = __builtin_convertvector(decayed, wide_lanes_t) + __builtin_convertvector(current, wide_lanes_t)
                       + __builtin_convertvector(recurrent, wide_lanes_t) * ((int32_t)1 << weight_shift);
    wide_lanes_t is_over = (wide_lanes_t)(sum > INT16_MAX) | (wide_lanes_t)(sum < INT16_MIN);
    wide_lanes_t end = (sum >> 31) ^ INT16_MAX;
    return __builtin_convertvector((end & is_over) | (sum & ~is_over), lanes_t);
}

/* fire_neurons. All leaks are 1 - 2^-leak_shift, or any if it is 0; the drive fits int16_t
 * unless it is_wide. What follows threshold is the same at every call. */
LSM_KERNEL void fire_neurons_wide(int16_t *restrict v, uint8_t *restrict refractory, uint16_t *restrict counts,
                                  uint32_t *restrict spikes, const int16_t *restrict current,
                                  const uint16_t *restrict recurrent, const uint16_t *restrict leak_q15,
                                  const int16_t *restrict threshold, size_t n_neurons, uint32_t weight_shift,
                                  int reset_to_zero, uint8_t refractory_steps, uint32_t leak_shift, int is_wide)
{
    const lanes_t one = (lanes_t){ 0 } + 1;
    size_t n_in_lanes = n_neurons - n_neurons % N_LANES;
    size_t n;
    for (n = 0; n < n_in_lanes; n += N_LANES) {
        lanes_t after = load_lanes(&v[n]);
        lanes_t input = load_lanes(&current[n]);
        lanes_t arrived = { 0 };
        lanes_t limit = load_lanes(&threshold[n]);
        some_t fired;
        after = leak_shift != 0U ? decay_lanes_by_shift(after, leak_shift)
                                 : decay_lanes(after, load_lanes(&leak_q15[n]));
        if (recurrent != NULL) {
            arrived = load_lanes(&recurrent[n]) ^ INT16_MIN;
        }
        if (recurrent == NULL) {
            after = add_saturated(after, input);
        } else if (is_wide != 0) {
            after = integrate_lanes_wide(after, input, arrived, weight_shift);
        } else {
            after = add_saturated(after, add_lanes(input, scale_lanes(arrived, weight_shift)));
        }
        fired = at_least(after, limit);
        if (refractory_steps != 0U) {
            byte_lanes_t rest = load_bytes(&refractory[n]);
            fired = unless_counting(fired, rest);
            store_bytes(&refractory[n], count_down(rest, fired, refractory_steps));
        }
        store_lanes(&v[n], subtract_in(fired, after, reset_to_zero != 0 ? after : limit));
        store_lanes(&counts[n], subtract_in(fired, load_lanes(&counts[n]), -one));
        spikes[n / 32U] = (n % 32U != 0U ? spikes[n / 32U] : 0U) | bits_of(fired) << (n % 32U);
    }
    for (; n < n_neurons; n++) {
        int32_t drive = current[n];
        uint32_t fired;
        if (recurrent != NULL) {
            drive += ((int32_t)recurrent[n] - 32768) * ((int32_t)1 << weight_shift);
        }
        fired = lif_step(&v[n], &refractory[n], leak_q15[n], drive, threshold[n], reset_to_zero, refractory_steps);
        counts[n] = (uint16_t)(counts[n] + fired);
        spikes[n / 32U] = (n % 32U != 0U ? spikes[n / 32U] : 0U) | fired << (n % 32U);
    }
}

#endif
