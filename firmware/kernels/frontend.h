/* Samples -> frames of log mel band levels. Golden model: stages/frontend.py. */
#ifndef LSM_FRONTEND_H
#define LSM_FRONTEND_H

#include "fixed.h"

#define LEVEL_OFFSET_Q8 (-320)
#define LEVEL_SHIFT     5
#define PEAK_FLOOR      80U /* the running peak of silence */
#define ACTIVITY_FLOOR  60U
#define ACTIVITY_BASE   20U

/* A complex point is one word: real part in the low half, imaginary in the high. */
LSM_KERNEL int32_t real_of(uint32_t point)
{
    return (int16_t)(uint16_t)(point & 0xFFFFU);
}

LSM_KERNEL int32_t imag_of(uint32_t point)
{
    return (int16_t)(uint16_t)(point >> 16);
}

/* Both parts in int16 range. */
LSM_KERNEL uint32_t point_of(int32_t re, int32_t im)
{
    return ((uint32_t)re & 0xFFFFU) | ((uint32_t)im << 16);
}

/* Pre-emphasis: x - 31/32 of the sample before it. */
LSM_KERNEL int16_t emphasise(int16_t x, int16_t before)
{
    return saturate_int16((int32_t)x - before + (before >> 5));
}

/* How far a window can be shifted left until its largest sample fills 16 bits. */
LSM_KERNEL uint32_t headroom_of(const int16_t *samples, size_t n_samples)
{
    uint32_t used = 0;
    size_t i;
    for (i = 0; i < n_samples; i++) {
        int32_t x = samples[i];
        used |= (uint32_t)(x ^ (x >> 15));
    }
    used = bit_length(used);
    return used > 0U ? 15U - used : 0U;
}

/* Window function and block floating point: n_samples samples become half as
 * many complex points, |part| <= 2^14, in bit-reversed order.
 * weight << headroom < 2^15 << 14, sample << headroom < 2^15: the product,
 * (sample << headroom) * weight, stays within int32_t. */
LSM_KERNEL void normalise(uint32_t *points, const int16_t *samples, const int16_t *window_q15,
                          size_t n_samples, uint32_t headroom)
{
    size_t n_points = n_samples / 2U;
    size_t reversed = 0;
    size_t i;
    for (i = 0; i < n_points; i++) {
        size_t bit = n_points / 2U;
        int32_t even = (samples[2U * i] * ((int32_t)window_q15[2U * i] << headroom)) >> 16;
        int32_t odd = (samples[2U * i + 1U] * ((int32_t)window_q15[2U * i + 1U] << headroom)) >> 16;
        points[reversed] = point_of(even, odd);
        while ((reversed & bit) != 0U) {
            reversed ^= bit;
            bit >>= 1;
        }
        reversed |= bit;
    }
}

/* a, b <- (a + t) / 2, (a - t) / 2. */
LSM_KERNEL void butterfly(uint32_t *a, uint32_t *b, int32_t t_re, int32_t t_im)
{
    int32_t a_re = real_of(*a);
    int32_t a_im = imag_of(*a);
    *a = point_of((a_re + t_re) >> 1, (a_im + t_im) >> 1);
    *b = point_of((a_re - t_re) >> 1, (a_im - t_im) >> 1);
}

/* Complex FFT, decimation in time, in place, from bit-reversed order; halved at
 * every stage. In: |point| <= 2^14.5. Out: |point| <= 2^14.5 + 12, so that every
 * part, and every product with a twiddle, fits int16_t and nothing saturates.
 * n_points is a power of two from 4 up. */
LSM_KERNEL void transform(uint32_t *points, const uint32_t *twiddle_q15, size_t n_points)
{
    size_t span;
    size_t first;
    size_t k;
    for (first = 0; first < n_points; first += 2U) {
        butterfly(&points[first], &points[first + 1U], real_of(points[first + 1U]), imag_of(points[first + 1U]));
    }
    for (first = 0; first < n_points; first += 4U) {
        butterfly(&points[first], &points[first + 2U], real_of(points[first + 2U]), imag_of(points[first + 2U]));
        butterfly(&points[first + 1U], &points[first + 3U], imag_of(points[first + 3U]), -real_of(points[first + 3U]));
    }
    for (span = 4U; span < n_points; span *= 2U) {
        for (k = 0; k < span; k++) {
            uint32_t twiddle = twiddle_q15[k * (n_points / span)];
            int32_t w_re = real_of(twiddle);
            int32_t w_im = imag_of(twiddle);
            for (first = k; first < n_points; first += 2U * span) {
                int32_t b_re = real_of(points[first + span]);
                int32_t b_im = imag_of(points[first + span]);
                butterfly(&points[first], &points[first + span],
                          (b_re * w_re - b_im * w_im) >> 15, (b_re * w_im + b_im * w_re) >> 15);
            }
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
LSM_KERNEL void bin_power(uint32_t *points, const uint32_t *twiddle_q15, size_t n_points)
{
    size_t k;
    for (k = 1; k <= n_points / 2U; k++) {
        uint32_t a = points[k];
        uint32_t b = points[n_points - k];
        int32_t sum_re = (real_of(a) + real_of(b)) >> 1;
        int32_t sum_im = (imag_of(a) + imag_of(b)) >> 1;
        int32_t diff_re = (real_of(a) - real_of(b)) >> 1;
        int32_t diff_im = (imag_of(a) - imag_of(b)) >> 1;
        int32_t w_re = real_of(twiddle_q15[k]);
        int32_t w_im = imag_of(twiddle_q15[k]);
        int32_t t_re = (w_re * sum_im + w_im * diff_re) >> 15;
        int32_t t_im = (w_im * sum_im - w_re * diff_re) >> 15;
        points[n_points - k] = power_of((sum_re - t_re) >> 1, (diff_im - t_im) >> 1);
        points[k] = power_of((sum_re + t_re) >> 1, (diff_im + t_im) >> 1);
    }
}

/* Weighted bins of each band -> its level. A band's sum stays below 2^47. */
LSM_KERNEL void band_levels(uint8_t *levels, const uint32_t *power, const uint16_t *start, const uint16_t *end,
                            const uint8_t *weight_q8, size_t n_bands, uint32_t headroom)
{
    size_t band;
    size_t bin;
    for (band = 0; band < n_bands; band++) {
        uint64_t sum = 0;
        int32_t level;
        for (bin = start[band]; bin < end[band]; bin++) {
            sum += (uint64_t)power[bin] * *weight_q8++;
        }
        level = (log2_q8(sum) - (int32_t)(512U * headroom) + LEVEL_OFFSET_Q8) >> LEVEL_SHIFT;
        levels[band] = (uint8_t)(level < 0 ? 0 : level > 255 ? 255 : level);
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

/* A segment's frames -> the level, for each band, that becomes 255, when bands
 * are lowered by equalise_q8 / 256 of what they hold above the mean of all bands;
 * active frames count for more. sums: room for n_bands, each at most
 * 215 * 255 * 4095 < 2^28. 0 <= peaks[band] <= 511, none below a level of its band. */
LSM_KERNEL void band_peaks(int16_t *peaks, uint32_t *sums, const uint8_t *frames, size_t n_frames, size_t n_bands,
                           int32_t gain, int32_t equalise_q8)
{
    int32_t peak = loudest_of(frames, n_frames * n_bands);
    uint32_t total = 0;
    uint32_t total_q4 = 0;
    int32_t mean_q4;
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
    for (band = 0; band < n_bands; band++) {
        sums[band] = 16U * sums[band] / (total > 0U ? total : 1U);
        total_q4 += sums[band];
    }
    mean_q4 = (int32_t)(total_q4 / n_bands);
    peak = INT16_MIN;
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
