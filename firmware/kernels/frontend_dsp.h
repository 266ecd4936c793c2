/* Twins of kernels of frontend.h for cores with DSP instructions: the same integers.
 * Where both parts of a point are taken at once, each must fit int16_t on the way:
 * of the transform's and the powers' products with twiddles the generator proves it. */
#ifndef LSM_FRONTEND_DSP_H
#define LSM_FRONTEND_DSP_H

#include "dsp.h"
#include "frontend.h"

#define EMPHASIS_Q16 (-63488) /* -31/32 */

/* Two samples at once: x - before + (before >> 5) is x + floor(before * -31/32), and
 * |floor| < 2^15. */
LSM_KERNEL int16_t emphasise_run_dsp(int16_t *to, const int16_t *samples, size_t n_samples, int16_t before)
{
    int32_t faded = smulwb(EMPHASIS_Q16, (uint32_t)before);
    size_t i;
    if ((n_samples & 1U) != 0U) {
        before = samples[0];
        to[0] = saturate_int16(before + faded);
        samples++;
        to++;
        faded = smulwb(EMPHASIS_Q16, (uint32_t)before);
    }
    for (i = n_samples / 2U; i > 0U; i--) {
        uint32_t pair = load_word(samples);
        uint32_t both = pkhbt_low((uint32_t)faded, (uint32_t)smulwb(EMPHASIS_Q16, pair));
        store_word(to, qadd16(pair, both));
        faded = smulwt(EMPHASIS_Q16, pair);
        before = (int16_t)high_half(pair);
        samples = &samples[2];
        to = &to[2];
    }
    return before;
}

/* As headroom_of(), four words at a time: n_samples is a multiple of eight. */
LSM_KERNEL uint32_t headroom_of_dsp(const int16_t *samples, size_t n_samples)
{
    const void *from = samples;
    uint32_t used = 0;
    size_t i;
    for (i = n_samples / 8U; i > 0U; i--) {
        uint32_t a;
        uint32_t b;
        uint32_t c;
        uint32_t d;
        from = load_two(from, &a, &b, 1);
        from = load_two(from, &c, &d, 1);
        used |= a ^ (a << 1);
        used |= b ^ (b << 1);
        used |= c ^ (c << 1);
        used |= d ^ (d << 1);
    }
    return headroom_from(used);
}

/* A point times a twiddle. */
LSM_KERNEL uint32_t turned_dsp(uint32_t point, uint32_t twiddle)
{
    return pkhtb_q15((uint32_t)smuadx(point, twiddle) << 1, (uint32_t)smusd(point, twiddle));
}

/* Two samples under the window: |product| < 2^30 >> headroom, so it may be shifted
 * afterwards. */
LSM_KERNEL uint32_t windowed_dsp(const int16_t *samples, const int16_t *window_q15, size_t pair, uint32_t headroom)
{
    uint32_t x = load_word(&samples[2U * pair]);
    uint32_t weight = in_register(load_word(&window_q15[2U * pair]));
    int32_t re = low_half(x) * low_half(weight);
    int32_t im = high_half(x) * high_half(weight);
    return pkhtb_high((uint32_t)im << headroom, (uint32_t)re << headroom);
}

/* The first two stages over four neighbours in bit-reversed order: the windowed
 * points at pair and one, two and three quarters of all points further on. */
LSM_KERNEL void start_four_dsp(uint32_t four[4], const int16_t *samples, const int16_t *window_q15, size_t pair,
                               size_t n_points, uint32_t headroom)
{
    uint32_t a = windowed_dsp(samples, window_q15, pair, headroom);
    uint32_t b = windowed_dsp(samples, window_q15, pair + n_points / 2U, headroom);
    uint32_t c = windowed_dsp(samples, window_q15, pair + n_points / 4U, headroom);
    uint32_t d = windowed_dsp(samples, window_q15, pair + n_points / 4U * 3U, headroom);
    uint32_t sum = shadd16(a, b);
    uint32_t difference = shsub16(a, b);
    uint32_t other_sum = shadd16(c, d);
    uint32_t other_difference = shsub16(c, d);
    four[0] = shadd16(sum, other_sum);
    four[1] = shsax(difference, other_difference);
    four[2] = shsub16(sum, other_sum);
    four[3] = shasx(difference, other_difference);
}

/* a, b <- (a + t) / 2, (a - t) / 2 with t = b times a twiddle. */
LSM_KERNEL void butterfly_dsp(uint32_t *a, uint32_t *b, uint32_t twiddle)
{
    uint32_t t = turned_dsp(*b, twiddle);
    *b = shsub16(*a, t);
    *a = shadd16(*a, t);
}

/* normalise() and the stages of spans 1 and 2. */
LSM_KERNEL void start_by_four_dsp(uint32_t *points, const int16_t *samples, const int16_t *window_q15,
                                  size_t n_points, uint32_t headroom)
{
    uint32_t step = 0x80000000U / (uint32_t)(n_points / 2U);
    uint32_t reversed = 0;
    size_t pair;
    for (pair = 0; pair < n_points / 4U; pair++) {
        start_four_dsp(&points[rbit(reversed)], samples, window_q15, pair, n_points, headroom);
        reversed += step;
    }
}

/* The same and the stage of span 4. */
LSM_KERNEL void start_by_eight_dsp(uint32_t *points, const int16_t *samples, const int16_t *window_q15,
                                   const uint32_t *twiddle_q15, size_t n_points, uint32_t headroom)
{
    uint32_t step = 0x80000000U / (uint32_t)(n_points / 2U);
    uint32_t reversed = 0;
    size_t quarter = n_points / 4U;
    size_t pair;
    for (pair = 0; pair < n_points / 8U; pair++) {
        uint32_t *eight = &points[rbit(reversed)];
        uint32_t four[4];
        start_four_dsp(eight, samples, window_q15, pair, n_points, headroom);
        LSM_IN_TURN();
        start_four_dsp(four, samples, window_q15, pair + n_points / 8U, n_points, headroom);
        butterfly_dsp(&eight[0], &four[0], in_register(twiddle_q15[0]));
        butterfly_dsp(&eight[1], &four[1], in_register(twiddle_q15[quarter]));
        butterfly_dsp(&eight[2], &four[2], in_register(twiddle_q15[2U * quarter]));
        butterfly_dsp(&eight[3], &four[3], in_register(twiddle_q15[3U * quarter]));
        eight[4] = four[0];
        eight[5] = four[1];
        eight[6] = four[2];
        eight[7] = four[3];
        reversed += step;
    }
}

/* The stages of a span and of twice that span, one after the other on four points
 * at a time. */
LSM_KERNEL void two_stages_dsp(uint32_t *points, const uint32_t *twiddle_q15, size_t n_points, size_t span)
{
    size_t stride = n_points / span / 2U;
    size_t k;
    for (k = 0; k < span; k++) {
        uint32_t w = twiddle_q15[2U * k * stride];
        uint32_t w_even = twiddle_q15[k * stride];
        uint32_t w_odd = twiddle_q15[k * stride + n_points / 2U];
        size_t first;
        for (first = k; first < n_points; first += 4U * span) {
            uint32_t a = points[first];
            uint32_t b = points[first + span];
            uint32_t c = points[first + 2U * span];
            uint32_t d = points[first + 3U * span];
            butterfly_dsp(&a, &b, w);
            butterfly_dsp(&c, &d, w);
            butterfly_dsp(&a, &c, w_even);
            butterfly_dsp(&b, &d, w_odd);
            points[first] = a;
            points[first + span] = b;
            points[first + 2U * span] = c;
            points[first + 3U * span] = d;
            LSM_IN_TURN();
        }
    }
}

/* normalise() and transform(). n_points is a power of two from 64 to 512. */
LSM_KERNEL void transform_dsp(uint32_t *points, const int16_t *samples, const int16_t *window_q15,
                              const uint32_t *twiddle_q15, size_t n_points, uint32_t headroom)
{
    if (n_points == 64U || n_points == 256U) {
        start_by_four_dsp(points, samples, window_q15, n_points, headroom);
        two_stages_dsp(points, twiddle_q15, n_points, 4U);
        two_stages_dsp(points, twiddle_q15, n_points, 16U);
        if (n_points == 256U) {
            two_stages_dsp(points, twiddle_q15, n_points, 64U);
        }
    } else {
        start_by_eight_dsp(points, samples, window_q15, twiddle_q15, n_points, headroom);
        two_stages_dsp(points, twiddle_q15, n_points, 8U);
        two_stages_dsp(points, twiddle_q15, n_points, 32U);
        if (n_points == 512U) {
            two_stages_dsp(points, twiddle_q15, n_points, 128U);
        }
    }
}

/* The bins of two points that mirror each other. The power of a bin is the same with
 * its imaginary part's sign changed, so -t_im, for which floor becomes ceil, does as
 * well: (... + 32767) >> 15. */
LSM_KERNEL void two_powers_dsp(uint32_t *a, uint32_t *b, uint32_t w)
{
    uint32_t sum = shadd16(*a, *b);
    uint32_t difference = shsub16(*a, *b);
    uint32_t even = pkhbt(sum, difference);
    uint32_t odd = pkhbt(difference, sum);
    uint32_t t_re = (uint32_t)smuadx(w, odd);
    uint32_t minus_t_im = (uint32_t)smlsd(w, odd, 32767);
    uint32_t t = pkhtb_q15(t_re << 1, minus_t_im);
    uint32_t upper = shasx(even, t);
    uint32_t lower = shsax(even, t);
    *b = (uint32_t)smuad(upper, upper);
    *a = (uint32_t)smuad(lower, lower);
}

/* n_points is a multiple of four. */
LSM_KERNEL void bin_power_dsp(uint32_t *points, const uint32_t *twiddle_q15, size_t n_points)
{
    uint32_t *up = &points[1];
    const void *twiddles = &twiddle_q15[1];
    size_t i;
    for (i = n_points / 4U; i > 0U; i--) {
        uint32_t *down = &up[4U * i - 3U]; /* both move by two */
        uint32_t w;
        uint32_t next_w;
        uint32_t a;
        uint32_t next_a;
        uint32_t b;
        uint32_t next_b;
        twiddles = load_two(twiddles, &w, &next_w, 1);
        read_two(up, &a, &next_a, 1);
        read_two(down, &next_b, &b, 1);
        two_powers_dsp(&a, &b, w);
        two_powers_dsp(&next_a, &next_b, next_w);
        (void)store_two(down, next_b, b, 1);
        (void)store_two(up, a, next_a, 1);
        up = &up[2];
    }
}

LSM_KERNEL uint8_t loudest_of_dsp(const uint8_t *levels, size_t n_levels)
{
    uint32_t loudest = 0;
    size_t i;
    for (i = n_levels / 4U; i > 0U; i--) {
        loudest = max8(loudest, load_word(levels));
        levels = &levels[4];
    }
    for (i = n_levels % 4U; i > 0U; i--) {
        loudest = max8(loudest, *levels);
        levels++;
    }
    loudest = max8(loudest, loudest >> 16);
    return (uint8_t)(max8(loudest, loudest >> 8) & 255U);
}

LSM_KERNEL uint32_t activity_of_dsp(const uint8_t *frame, size_t n_bands)
{
    uint32_t sum = 0;
    size_t i;
    for (i = n_bands / 4U; i > 0U; i--) {
        sum = usada8(load_word(frame), sum);
        frame = &frame[4];
    }
    for (i = n_bands % 4U; i > 0U; i--) {
        sum += *frame;
        frame++;
    }
    return energy_of(sum, n_bands);
}

/* Four levels under their peaks, each given as how much it is below 255 (`up`) or
 * above it (`down`). 255 - 2 (255 - x) is x - (255 - x); gain is 1, 2 or 4. */
LSM_KERNEL uint32_t levels_under_dsp(uint32_t levels, uint32_t up, uint32_t down, int32_t gain)
{
    levels = uqsub8(levels, down) + up;
    for (; gain > 1; gain /= 2) {
        levels = uqsub8(levels, ~levels);
    }
    return levels;
}

LSM_KERNEL void level_by_peak_dsp(uint8_t *levels, size_t n_levels, uint8_t peak, int32_t gain)
{
    uint32_t up = (255U - (uint32_t)peak) * 0x01010101U;
    size_t i;
    for (i = n_levels / 4U; i > 0U; i--) {
        store_word(levels, levels_under_dsp(load_word(levels), up, 0U, gain));
        levels = &levels[4];
    }
    level_by_peak(levels, n_levels % 4U, peak, gain);
}

/* What a frame weighs under the segment's peak; at most 215 * n_bands / 32. */
LSM_KERNEL uint32_t weight_of_dsp(const uint8_t *frame, size_t n_bands, uint8_t peak, int32_t gain)
{
    uint32_t up = (255U - (uint32_t)peak) * 0x01010101U;
    uint32_t sum = 0;
    size_t i;
    for (i = n_bands / 4U; i > 0U; i--) {
        sum = usada8(levels_under_dsp(load_word(frame), up, 0U, gain), sum);
        frame = &frame[4];
    }
    for (i = n_bands % 4U; i > 0U; i--) {
        sum += level_under(peak, *frame, gain);
        frame++;
    }
    return energy_of(sum, n_bands) >> 5;
}

/* The largest level of each band; four bands at a time, through all frames. */
LSM_KERNEL void loudest_by_band_dsp(int16_t *peaks, const uint8_t *frames, size_t n_frames, size_t n_bands)
{
    size_t n_whole = n_bands / 4U * 4U;
    size_t band;
    size_t t;
    for (band = 0; band < n_whole; band += 4U) {
        const uint8_t *four = &frames[band];
        uint32_t loudest = 0;
        size_t k;
        for (t = n_frames; t > 0U; t--) {
            loudest = max8(loudest, load_word(four));
            four = &four[n_bands];
        }
        for (k = 0; k < 4U; k++) {
            uint32_t level = loudest & 255U;
            peaks[band + k] = (int16_t)level;
            loudest >>= 8;
        }
    }
    for (band = n_whole; band < n_bands; band++) {
        peaks[band] = 0;
        for (t = 0; t < n_frames; t++) {
            int16_t level = frames[t * n_bands + band];
            peaks[band] = level > peaks[band] ? level : peaks[band];
        }
    }
}

LSM_KERNEL void band_peaks_dsp(int16_t *peaks, uint32_t *sums, const uint8_t *frames, size_t n_frames,
                               size_t n_bands, int32_t gain, int32_t equalise_q8)
{
    uint8_t peak = loudest_of_dsp(frames, n_frames * n_bands);
    uint32_t total = 0;
    size_t n_whole = n_bands / 4U * 4U;
    size_t band;
    size_t t;
    loudest_by_band_dsp(peaks, frames, n_frames, n_bands);
    for (band = 0; band < n_bands; band++) {
        sums[band] = 0;
    }
    for (t = n_frames; t > 0U; t--) {
        uint32_t weight = weight_of_dsp(frames, n_bands, peak, gain);
        void *to = sums;
        total += weight;
        for (band = 0; band < n_whole; band += 4U) {
            uint32_t levels = load_word(&frames[band]);
            uint32_t a;
            uint32_t b;
            read_two(to, &a, &b, 1);
            to = store_two(to, a + weight * (levels & 255U), b + weight * ((levels >> 8) & 255U), 1);
            read_two(to, &a, &b, 1);
            to = store_two(to, a + weight * ((levels >> 16) & 255U), b + weight * (levels >> 24), 1);
        }
        for (band = n_whole; band < n_bands; band++) {
            sums[band] += weight * frames[band];
        }
        frames = &frames[n_bands];
    }
    settle_peaks(peaks, sums, total, n_bands, equalise_q8);
}

/* Four bands at a time, through all frames. */
LSM_KERNEL void level_by_band_dsp(uint8_t *frames, size_t n_frames, const int16_t *peaks, size_t n_bands, int32_t gain)
{
    size_t n_whole = n_bands / 4U * 4U;
    size_t band;
    size_t t;
    for (band = 0; band < n_whole; band += 4U) {
        uint8_t *four = &frames[band];
        uint32_t up = 0;
        uint32_t down = 0;
        size_t k;
        for (k = 4; k > 0U; k--) {
            int32_t above = peaks[band + k - 1U] - 255; /* at most 256; 256 above leaves no more than 255 does */
            above = above < 255 ? above : 255;
            up = (up << 8) | (above < 0 ? (uint32_t)-above : 0U);
            down = (down << 8) | (above > 0 ? (uint32_t)above : 0U);
        }
        for (t = n_frames; t > 0U; t--) {
            store_word(four, levels_under_dsp(load_word(four), up, down, gain));
            four = &four[n_bands];
        }
    }
    for (t = 0; t < n_frames; t++) {
        for (band = n_whole; band < n_bands; band++) {
            frames[t * n_bands + band] = level_under(peaks[band], frames[t * n_bands + band], gain);
        }
    }
}

#endif
