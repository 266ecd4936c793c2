/* Samples -> frames of log mel band levels. Golden model: stages/frontend.py. */
#ifndef LSM_FRONTEND_H
#define LSM_FRONTEND_H

#include "fixed.h"

#define LEVEL_OFFSET_Q8 (-320)
#define LEVEL_SHIFT     5
#define PEAK_FLOOR      80U /* the running peak of silence */
#define ACTIVITY_FLOOR  60U
#define ACTIVITY_BASE   20U

/* Pre-emphasis: x - 31/32 of the sample before it. */
LSM_KERNEL int16_t emphasise(int16_t x, int16_t before)
{
    return saturate_int16((int32_t)x - before + (before >> 5));
}

/* A run of samples, given the one before it -> the last one. */
LSM_KERNEL int16_t emphasise_run(int16_t *to, const int16_t *samples, size_t n_samples, int16_t before)
{
    size_t i;
    for (i = 0; i < n_samples; i++) {
        int16_t x = samples[i];
        to[i] = emphasise(x, before);
        before = x;
    }
    return before;
}

/* How loud a hop is, in the steps of levels: n^2 times the variance of its n
 * samples, so that a constant offset is not loud. n <= 1024 keeps |sum| <= 2^25,
 * squares <= 2^40, and n * squares, which is at least sum * sum, <= 2^50. */
LSM_KERNEL uint32_t hop_loudness(const int16_t *samples, size_t n_samples)
{
    int32_t sum = 0;
    int64_t squares = 0; /* signed: one SMLALBB a sample */
    size_t i;
    for (i = 0; i < n_samples; i++) {
        int32_t y = samples[i];
        sum += y;
        squares += (int64_t)(y * y);
    }
    return (uint32_t)log2_q8((uint64_t)squares * n_samples - (uint64_t)((int64_t)sum * sum)) >> LEVEL_SHIFT;
}

/* From all x ^ (x << 1) of a window: that is a bit longer than the x >= 0, or -1 - x,
 * which has to fit; but for -1, and for 0. */
LSM_KERNEL uint32_t headroom_from(uint32_t used)
{
    used = bit_length((used | (used >> 16)) & 0xFFFFU);
    return used > 1U ? 16U - used : 0U;
}

/* How far a window can be shifted left until its largest sample fills 16 bits: 0 to
 * 14. Two samples at a time: what the one shifts into the other's lowest bit says
 * nothing, for it is never the highest of those that count. n_samples is even. */
LSM_KERNEL uint32_t headroom_of(const int16_t *samples, size_t n_samples)
{
    uint32_t used = 0;
    size_t i;
    for (i = 0; i < n_samples; i += 2U) {
        uint32_t pair = load_aligned(&samples[i]);
        used |= pair ^ (pair << 1);
    }
    return headroom_from(used);
}

/* Two samples under the window: one point, |part| <= 2^14. weight < 2^15 and
 * sample << headroom < 2^15: the product, shifted, stays within int32_t. */
LSM_KERNEL uint32_t windowed(const int16_t *samples, const int16_t *window_q15, size_t pair, uint32_t headroom)
{
    uint32_t x = load_aligned(&samples[2U * pair]);
    uint32_t re = (uint32_t)(low_half(x) * window_q15[2U * pair]) << headroom;
    uint32_t im = (uint32_t)(high_half(x) * window_q15[2U * pair + 1U]) << headroom;
    return (re >> 16) | (im & 0xFFFF0000U);
}

/* Window function and block floating point: n_samples samples become half as
 * many complex points, each a word with the real part in its low half, in
 * bit-reversed order. In that order a point of the first half has the one half of
 * all points further on as its neighbour. */
LSM_KERNEL_APART void normalise(uint32_t *points, const int16_t *samples, const int16_t *window_q15,
                          size_t n_samples, uint32_t headroom)
{
    size_t half = n_samples / 4U;
    size_t reversed = 0;
    size_t i;
    for (i = 0; i < half; i++) {
        size_t bit = half;
        points[reversed] = windowed(samples, window_q15, i, headroom);
        points[reversed + 1U] = windowed(samples, window_q15, i + half, headroom);
        while ((reversed & bit) != 0U) {
            reversed ^= bit;
            bit >>= 1;
        }
        reversed |= bit;
    }
}

/* A point; on Armv6-M, part by part: to put them together would take longer. */
LSM_KERNEL void store_point(uint32_t *point, int32_t re, int32_t im)
{
#if LSM_HAS_CLZ
    *point = halves(re, im);
#else
    uint8_t *at = (uint8_t *)point;
    store_half(at, (uint32_t)re);
    store_half(&at[2], (uint32_t)im);
#endif
}

/* a, b <- (a + t) / 2, (a - t) / 2. */
LSM_KERNEL void butterfly(uint32_t *a, uint32_t *b, int32_t t_re, int32_t t_im)
{
    int32_t a_re = low_half(*a);
    int32_t a_im = high_half(*a);
    store_point(a, (a_re + t_re) >> 1, (a_im + t_im) >> 1);
    store_point(b, (a_re - t_re) >> 1, (a_im - t_im) >> 1);
}

/* The butterflies between span points from a on and as many behind them; every
 * stride-th of the twiddles. */
LSM_KERNEL_APART void butterflies(uint32_t *a, size_t span, const uint32_t *twiddle_q15, size_t stride)
{
    const uint32_t *end = &a[span];
    for (; a < end; a++) {
        uint32_t *b = &a[span];
        int32_t w_re = low_half(*twiddle_q15);
        int32_t w_im = high_half(*twiddle_q15);
        int32_t b_re = low_half(*b);
        int32_t b_im = high_half(*b);
        butterfly(a, b, (b_re * w_re - b_im * w_im) >> 15, (b_re * w_im + b_im * w_re) >> 15);
        twiddle_q15 = &twiddle_q15[stride];
    }
}

/* Complex FFT, decimation in time, in place, from bit-reversed order; halved at
 * every stage. In: |point| <= 2^14.5. Out: |point| <= 2^14.5 + 12, so that every
 * part, and every product with a twiddle, fits int16_t and nothing saturates.
 * n_points is a power of two from 4 up. */
LSM_KERNEL_APART void transform(uint32_t *points, const uint32_t *twiddle_q15, size_t n_points)
{
    size_t span;
    size_t first;
    for (first = 0; first < n_points; first += 2U) {
        butterfly(&points[first], &points[first + 1U], low_half(points[first + 1U]), high_half(points[first + 1U]));
    }
    for (first = 0; first < n_points; first += 4U) {
        butterfly(&points[first], &points[first + 2U], low_half(points[first + 2U]), high_half(points[first + 2U]));
        butterfly(&points[first + 1U], &points[first + 3U], high_half(points[first + 3U]), -low_half(points[first + 3U]));
    }
    for (span = 4U; span < n_points; span *= 2U) {
        size_t stride = n_points / span;
        for (first = 0; first < n_points; first += 2U * span) {
            butterflies(&points[first], span, twiddle_q15, stride);
        }
    }
}

/* re^2 + im^2, at most 2^30. */
LSM_KERNEL uint32_t power_of(int32_t re, int32_t im)
{
    return (uint32_t)(re * re) + (uint32_t)(im * im);
}

/* The spectrum of a real signal from the transform of its even and odd samples,
 * as power, in place: points[k] becomes the power of bin k, 1 <= k < n_points.
 * points[0] is left as it is: no band reaches it. */
LSM_KERNEL_APART void bin_power(uint32_t *points, const uint32_t *twiddle_q15, size_t n_points)
{
    size_t k;
    for (k = 1; k <= n_points / 2U; k++) {
        uint32_t a = points[k];
        uint32_t b = points[n_points - k];
        int32_t sum_re = (low_half(a) + low_half(b)) >> 1;
        int32_t sum_im = (high_half(a) + high_half(b)) >> 1;
        int32_t diff_re = (low_half(a) - low_half(b)) >> 1;
        int32_t diff_im = (high_half(a) - high_half(b)) >> 1;
        int32_t w_re = low_half(twiddle_q15[k]);
        int32_t w_im = high_half(twiddle_q15[k]);
        int32_t t_re = (w_re * sum_im + w_im * diff_re) >> 15;
        int32_t t_im = (w_im * sum_im - w_re * diff_re) >> 15;
        points[n_points - k] = power_of((sum_re - t_re) >> 1, (diff_im - t_im) >> 1);
        points[k] = power_of((sum_re + t_re) >> 1, (diff_im + t_im) >> 1);
    }
}

/* At most 256 weighted bins, added up, where a product is not longer than a word: high
 * halves of powers apart, and whole powers modulo 2^32. What low halves add to the
 * former, at most 256 * 255 * 65535 < 2^32, is the difference. */
LSM_KERNEL_APART uint64_t short_band_power(const uint32_t *power, const uint8_t *weight_q8, size_t n_bins)
{
    uint32_t high = 0;
    uint32_t all = 0;
    size_t bin;
    for (bin = 0; bin < n_bins; bin++) {
        high += (power[bin] >> 16) * weight_q8[bin];
        all += power[bin] * weight_q8[bin];
    }
    return ((uint64_t)high << 16) + (all - (high << 16));
}

/* Weighted bins, added up; below 2^47. Armv6-M, which has no CLZ, has no longer products
 * either. */
LSM_KERNEL uint64_t band_power(const uint32_t *power, const uint8_t *weight_q8, size_t n_bins)
{
    uint64_t sum = 0;
    size_t bin = 0;
#if LSM_HAS_CLZ
    for (; bin < n_bins; bin++) {
        sum += (uint64_t)power[bin] * weight_q8[bin];
    }
#else
    while (bin < n_bins) {
        size_t some = n_bins - bin < 256U ? n_bins - bin : 256U;
        sum += short_band_power(&power[bin], &weight_q8[bin], some);
        bin += some;
    }
#endif
    return sum;
}

/* Weighted bins of each band -> its level. */
LSM_KERNEL_APART void band_levels(uint8_t *levels, const uint32_t *power, const uint16_t *start, const uint16_t *end,
                            const uint8_t *weight_q8, size_t n_bands, uint32_t headroom)
{
    int32_t offset_q8 = LEVEL_OFFSET_Q8 - (int32_t)(512U * headroom);
    size_t band;
    size_t first = 0;
    for (band = 0; band < n_bands; band++) {
        size_t n_bins = (size_t)end[band] - start[band];
        uint64_t sum = band_power(&power[start[band]], &weight_q8[first], n_bins);
        int32_t level = (log2_q8(sum) + offset_q8) >> LEVEL_SHIFT;
        level = level < 255 ? level : 255;
        levels[band] = (uint8_t)(level > 0 ? level : 0);
        first += n_bins;
    }
}

LSM_KERNEL uint8_t loudest_of(const uint8_t *levels, size_t n_levels)
{
    uint8_t loudest = 0;
    size_t i;
    for (i = 0; i < n_levels; i++) {
        if (levels[i] > loudest) {
            loudest = levels[i];
        }
    }
    return loudest;
}

/* What the bytes of a frame weigh, given their sum; at most 215 * n_bands. */
LSM_KERNEL uint32_t energy_of(uint32_t sum, size_t n_bands)
{
    uint32_t floor_sum = ACTIVITY_FLOOR * (uint32_t)n_bands;
    return (sum > floor_sum ? sum - floor_sum : 0U) + ACTIVITY_BASE * (uint32_t)n_bands;
}

/* What a levelled frame weighs in dividing its segment into windows of equal
 * energy. */
LSM_KERNEL uint32_t activity_of(const uint8_t *frame, size_t n_bands)
{
    uint32_t sum = 0;
    size_t band;
    for (band = 0; band < n_bands; band++) {
        sum += frame[band];
    }
    return energy_of(sum, n_bands);
}

/* A level under its peak, which becomes 255. peak >= level. */
LSM_KERNEL uint8_t level_under(int32_t peak, uint8_t level, int32_t gain)
{
    int32_t under = 255 - gain * (peak - level);
    return (uint8_t)(under < 0 ? 0 : under);
}

/* The end of band_peaks(): peaks has the largest level of each band, sums the levels
 * times what their frames weigh, total that weight. */
LSM_KERNEL void settle_peaks(int16_t *peaks, uint32_t *sums, uint32_t total, size_t n_bands, int32_t equalise_q8)
{
    int32_t peak = INT16_MIN;
    uint32_t total_q4 = 0;
    int32_t mean_q4;
    size_t band;
    for (band = 0; band < n_bands; band++) {
        sums[band] = 16U * sums[band] / (total > 0U ? total : 1U);
        total_q4 += sums[band];
    }
    mean_q4 = (int32_t)(total_q4 / n_bands);
    for (band = 0; band < n_bands; band++) {
        int32_t excess = (equalise_q8 * ((int32_t)sums[band] - mean_q4)) >> 12;
        if (peaks[band] - excess > peak) {
            peak = peaks[band] - excess;
        }
    }
    for (band = 0; band < n_bands; band++) {
        peaks[band] = (int16_t)(peak + ((equalise_q8 * ((int32_t)sums[band] - mean_q4)) >> 12));
    }
}

/* A segment's frames -> the level, for each band, that becomes 255, when bands
 * are lowered by equalise_q8 / 256 of what they hold above the mean of all bands;
 * active frames count for more. sums: room for n_bands, each at most
 * 215 * 255 * 4095 < 2^28. 0 <= peaks[band] <= 511, none below a level of its band. */
LSM_KERNEL void band_peaks(int16_t *peaks, uint32_t *sums, const uint8_t *frames, size_t n_frames, size_t n_bands,
                           int32_t gain, int32_t equalise_q8)
{
    int32_t peak = loudest_of(frames, n_frames * n_bands);
    uint32_t total = 0;
    size_t band;
    size_t t;
    for (band = 0; band < n_bands; band++) {
        peaks[band] = 0;
        sums[band] = 0;
    }
    for (t = 0; t < n_frames; t++) {
        const uint8_t *frame = &frames[t * n_bands];
        uint32_t weight = 0;
        for (band = 0; band < n_bands; band++) {
            weight += level_under(peak, frame[band], gain);
        }
        weight = energy_of(weight, n_bands) >> 5;
        total += weight;
        for (band = 0; band < n_bands; band++) {
            sums[band] += weight * frame[band];
            if (frame[band] > peaks[band]) {
                peaks[band] = frame[band];
            }
        }
    }
    settle_peaks(peaks, sums, total, n_bands, equalise_q8);
}

/* A segment's frames under the peak of each band, in place. */
LSM_KERNEL void level_by_band(uint8_t *frames, size_t n_frames, const int16_t *peaks, size_t n_bands, int32_t gain)
{
    size_t band;
    size_t t;
    for (t = 0; t < n_frames; t++) {
        for (band = 0; band < n_bands; band++) {
            frames[t * n_bands + band] = level_under(peaks[band], frames[t * n_bands + band], gain);
        }
    }
}

/* Levels relative to a peak, in place. peak >= levels[i]. */
LSM_KERNEL void level_by_peak(uint8_t *levels, size_t n_levels, uint8_t peak, int32_t gain)
{
    size_t i;
    for (i = 0; i < n_levels; i++) {
        levels[i] = level_under(peak, levels[i], gain);
    }
}

/* A peak that rises at once and falls by release_q8 a frame, to PEAK_FLOOR. */
LSM_KERNEL uint16_t running_peak(uint16_t peak_q8, uint8_t loudest, uint16_t release_q8)
{
    uint16_t fallen_q8 = (uint16_t)(peak_q8 > release_q8 ? peak_q8 - release_q8 : 0);
    uint16_t loudest_q8 = (uint16_t)((loudest > PEAK_FLOOR ? loudest : PEAK_FLOOR) << 8);
    return loudest_q8 > fallen_q8 ? loudest_q8 : fallen_q8;
}

#endif
