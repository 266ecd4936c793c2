"""Samples -> frames of log mel band levels.

Enters: int16 samples. Leaves: one frame a hop, a byte a band, 0.376 dB (1/8 octave of power) a step; then, levelled
against the segment's peak or a running peak, the bytes that the encoder hears. `docs/numerics.md` section 2.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from lsm_edge.fixed import Ints, bit_length, log2_q8, saturate_int16
from lsm_edge.model import Model

# A full-scale sine reads at most 254, noise of one bit about 3; an octave of power is 8 steps.
LEVEL_OFFSET_Q8: Final = -320
LEVEL_SHIFT: Final = 5
PEAK_FLOOR: Final = 80  # the running peak of silence, about 66 dB below full scale: noise below it is not blown up
# A frame weighs what its bands hold above 60 on average, plus 20, so that silence does not weigh nothing.
ACTIVITY_FLOOR: Final = 60
ACTIVITY_BASE: Final = 20


def emphasise(samples: Ints) -> Ints:
    """Pre-emphasis y[t] = x[t] - 31/32 x[t-1], saturated to int16; x[-1] = 0. Shape (..., samples) in and out."""
    before = np.concatenate([np.zeros_like(samples[..., :1]), samples[..., :-1]], axis=-1)
    return saturate_int16(samples - before + (before >> 5))


def hop_loudness(model: Model, samples: Ints) -> Ints:
    """How loud each whole hop of one clip is, shape (samples,) -> (frames,), in the steps of levels; below 400.

    Of its emphasised samples' power without their mean: a constant offset is not loud.
    """
    hop = model.manifest.frontend.hop_samples
    hops = emphasise(samples[: len(samples) // hop * hop]).reshape(-1, hop)
    return log2_q8(hop * (hops**2).sum(axis=-1) - hops.sum(axis=-1) ** 2) >> LEVEL_SHIFT


def frames_of(model: Model, samples: Ints) -> Ints:
    """One clip's samples, shape (samples,), as levels, shape (frames, bands), each 0 to 255.

    A frame is due after each whole hop; its window is the last `window_samples` samples, zero before the start.
    """
    hop, window = model.manifest.frontend.hop_samples, model.manifest.frontend.window_samples
    n_frames = len(samples) // hop
    padded = np.concatenate([np.zeros(window, np.int64), emphasise(samples[: n_frames * hop])])
    starts = (1 + np.arange(n_frames)) * hop
    return levels(model, padded[starts[:, None] + np.arange(window)])


def levels(model: Model, windows: Ints) -> Ints:
    """Windows of emphasised samples, shape (frames, window), as band levels, shape (frames, bands)."""
    headroom, points = normalise(model, windows)
    power = band_power(model, bin_power(model, transform(model, points)))
    level_q8 = log2_q8(power) - 512 * headroom[:, None] + LEVEL_OFFSET_Q8
    return np.asarray(np.clip(level_q8 >> LEVEL_SHIFT, 0, 255))


def normalise(model: Model, windows: Ints) -> tuple[Ints, Ints]:
    """Block floating point: shift each window left until its largest sample fills 16 bits; apply the window function.

    Returns the shift, shape (frames,), and the samples as complex points, shape (frames, window / 2, 2), |.| <= 2**14.
    """
    used = bit_length(np.bitwise_or.reduce(windows ^ (windows >> 15), axis=-1))
    headroom = np.where(used > 0, 15 - used, 0)
    weight = model["window_q15"].astype(np.int64) << headroom[:, None]
    return headroom, ((windows * weight) >> 16).reshape(len(windows), windows.shape[1] // 2, 2)


def transform(model: Model, points: Ints) -> Ints:
    """Complex FFT by decimation in time, halved at every stage: shape (frames, n, 2) in and out.

    A butterfly is t = b * twiddle, then (a + t) >> 1 and (a - t) >> 1. The twiddles of the first two stages, 1 and -j,
    are exact; later ones come from the table. |complex| never exceeds 2**14.5 + 12, so nothing saturates.
    """
    n = points.shape[1]
    order = _bit_reversed(n)
    re, im = points[:, order, 0], points[:, order, 1]
    twiddle = model["twiddle_q15"].astype(np.int64)
    span = 1
    while span < n:
        a_re, b_re = _halves(re, span)
        a_im, b_im = _halves(im, span)
        if span == 1:
            t_re, t_im = b_re, b_im
        elif span == 2:
            t_re = np.stack([b_re[..., 0], b_im[..., 1]], axis=-1)
            t_im = np.stack([b_im[..., 0], -b_re[..., 1]], axis=-1)
        else:
            w_re, w_im = twiddle[:: n // span].T
            t_re, t_im = (b_re * w_re - b_im * w_im) >> 15, (b_re * w_im + b_im * w_re) >> 15
        re = np.stack([(a_re + t_re) >> 1, (a_re - t_re) >> 1], axis=2).reshape(re.shape)
        im = np.stack([(a_im + t_im) >> 1, (a_im - t_im) >> 1], axis=2).reshape(im.shape)
        span *= 2
    return np.stack([re, im], axis=-1)


def _halves(x: Ints, span: int) -> tuple[Ints, Ints]:
    blocks = x.reshape(len(x), x.shape[1] // (2 * span), 2, span)
    return blocks[:, :, 0], blocks[:, :, 1]


def _bit_reversed(n: int) -> Ints:
    order = np.zeros(1, np.int64)
    while len(order) < n:
        order = np.concatenate([2 * order, 2 * order + 1])
    return order


def bin_power(model: Model, spectrum: Ints) -> Ints:
    """Power of bins 1 to n - 1 of the real signal whose even and odd samples made `spectrum`, shape (frames, n).

    Bin 0 is left zero: no band reaches it.
    """
    n = spectrum.shape[1]
    k = np.arange(1, n // 2 + 1)
    w_re, w_im = model["twiddle_q15"][k].astype(np.int64).T
    a, b = spectrum[:, k], spectrum[:, n - k]
    sum_re, sum_im = ((a + b) >> 1).transpose(2, 0, 1)
    diff_re, diff_im = ((a - b) >> 1).transpose(2, 0, 1)
    t_re = (w_re * sum_im + w_im * diff_re) >> 15
    t_im = (w_im * sum_im - w_re * diff_re) >> 15
    power = np.zeros((len(spectrum), n), np.int64)
    power[:, n - k] = ((sum_re - t_re) >> 1) ** 2 + ((diff_im - t_im) >> 1) ** 2
    power[:, k] = ((sum_re + t_re) >> 1) ** 2 + ((diff_im + t_im) >> 1) ** 2
    return power


def band_power(model: Model, power: Ints) -> Ints:
    """Weighted sum of the bins of each band, shape (frames, bands); below 2**47."""
    weights, sums, used = model["mel_weight_q8"].astype(np.int64), [], 0
    for start, end in zip(model["mel_start"].tolist(), model["mel_end"].tolist(), strict=True):
        sums.append(power[:, start:end] @ weights[used : used + end - start])
        used += end - start
    return np.stack(sums, axis=-1)


def level_by_segment_peak(model: Model, frames: Ints) -> Ints:
    """Levels relative to the loudest of the whole segment, which becomes 255. Shape (frames, bands) in and out."""
    return np.asarray(np.maximum(255 - model.manifest.frontend.range_gain * (band_peaks(model, frames) - frames), 0))


def band_peaks(model: Model, frames: Ints) -> Ints:
    """For each band the level that becomes 255, shape (bands,): the segment's peak, unless the bands are equalised.

    Then every band is first lowered by a share of what it holds above the mean of all bands, on average over the
    segment; active frames count for more. That takes out half, say, of a voice's or a microphone's colour (cepstral
    mean normalisation: B. Atal, J. Acoust. Soc. Am. 55 (1974) 1304).
    """
    frontend, peak = model.manifest.frontend, frames.max(initial=0)
    if not frontend.equalise_q8:
        return np.full(frontend.n_bands, peak)
    weight = energy(np.maximum(255 - frontend.range_gain * (peak - frames), 0)) >> 5
    mean_q4 = 16 * (weight @ frames) // max(int(weight.sum()), 1)
    excess = frontend.equalise_q8 * (mean_q4 - mean_q4.sum() // frontend.n_bands) >> 12
    return np.asarray((frames.max(axis=0, initial=0) - excess).max() + excess)


def energy(frames: Ints) -> Ints:
    """What each levelled frame weighs: shape (..., frames, bands) -> (..., frames), at most 215 a band."""
    bands = frames.shape[-1]
    return np.asarray(np.maximum(frames.sum(axis=-1) - ACTIVITY_FLOOR * bands, 0) + ACTIVITY_BASE * bands)


def level_by_running_peak(model: Model, frames: Ints) -> Ints:
    """Levels relative to a peak that rises at once and falls slowly, to `PEAK_FLOOR`. Shape (frames, bands)."""
    frontend, peak_q8 = model.manifest.frontend, 0
    levelled = np.empty_like(frames)
    for t, frame in enumerate(frames):
        peak_q8 = max(peak_q8 - frontend.release_q8, max(int(frame.max()), PEAK_FLOOR) << 8)
        levelled[t] = np.maximum(255 - frontend.range_gain * ((peak_q8 >> 8) - frame), 0)
    return levelled
