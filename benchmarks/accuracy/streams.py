"""Tasks about order in time, made of random numbers: frames (levelled bytes) and what must be known at their end.

Delayed match and temporal parity are trials with two classes each, which differ in nothing that can be added up: no
linear readout of the frames themselves solves them, whatever it sees of the past. Memory capacity and NARMA-10 are
streams of random numbers; `lsm_edge.evaluation.metrics` makes their frames.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from lsm_edge.learn.draw import Draw

Floats = NDArray[np.float64]
Frames = NDArray[np.uint8]

N_BANDS: Final = 20
PATTERN_FRAMES: Final = 4
SPIKE_SHARE: Final = 0.25  # of a pattern's places (frame, band)
LEAD_FRAMES: Final = 8
BITS_SHOWN: Final = 12
NARMA_ORDER: Final = 10

_PATTERNS, _MATCH, _PARITY = (1 << 42 | kind << 32 for kind in range(3))  # streams of random numbers


@dataclass(frozen=True)
class Trials:
    """Frames (trials, frames, bands) and the class, 0 or 1, that is asked for after the last frame."""

    frames: Frames
    classes: NDArray[np.int64]


def delayed_match(gap_frames: int, seed: int, n_trials: int) -> Trials:
    """Noise, one of two patterns, `gap_frames` of noise, one of the two again: is it the same one?"""
    draw = Draw(seed, _MATCH)
    shown = draw.integers(0, 2, n_trials, 2)
    frames = _noise(draw, n_trials, LEAD_FRAMES + 2 * PATTERN_FRAMES + gap_frames)
    patterns = two_patterns(seed)
    _show(frames, LEAD_FRAMES, patterns[shown[:, 0]])
    _show(frames, frames.shape[1] - PATTERN_FRAMES, patterns[shown[:, 1]])
    return Trials(frames, (shown[:, 0] == shown[:, 1]).astype(np.int64))


def temporal_parity(n_bits: int, seed: int, n_trials: int) -> Trials:
    """`BITS_SHOWN` random bits, each one of two patterns, without a pause: is the number of ones among the last odd?"""
    draw = Draw(seed, _PARITY)
    bits = draw.integers(0, 2, n_trials, BITS_SHOWN)
    frames = _noise(draw, n_trials, BITS_SHOWN * PATTERN_FRAMES)
    patterns = two_patterns(seed)
    for i in range(BITS_SHOWN):
        _show(frames, i * PATTERN_FRAMES, patterns[bits[:, i]])
    return Trials(frames, bits[:, -n_bits:].sum(axis=1) % 2)


def two_patterns(seed: int) -> NDArray[np.bool_]:
    """Where each of two spike patterns has its spikes: (patterns, frames, bands)."""
    return Draw(seed, _PATTERNS).uniform(2, PATTERN_FRAMES, N_BANDS) < SPIKE_SHARE


def _noise(draw: Draw, n_trials: int, n_frames: int) -> Frames:
    """Bytes of 0 to 63."""
    return draw.integers(0, 64, n_trials, n_frames, N_BANDS).astype(np.uint8)


def _show(frames: Frames, first: int, patterns: NDArray[np.bool_]) -> None:
    """A spike is a band at 255 for one frame; elsewhere there is noise as before."""
    frames[:, first : first + PATTERN_FRAMES][patterns] = 255


def narma10(u: Floats) -> Floats:
    """What the input u (sequences, frames) in 0 to 0.5 has led to after each frame (sequences, frames).

    A. Atiya, A. Parlos, IEEE Trans. Neural Networks 11 (2000) 697: y(t + 1) = 0.3 y(t) + 0.05 y(t) (y(t) + ... +
    y(t - 9)) + 1.5 u(t - 9) u(t) + 0.1. For rare inputs it grows without bounds.
    """
    n = NARMA_ORDER
    before = np.zeros((len(u), n))
    u, y = np.concatenate([before, u], axis=1), np.concatenate([before, np.zeros_like(u)], axis=1)
    with np.errstate(over="ignore", invalid="ignore"):
        for t in range(n, u.shape[1]):
            last = y[:, t - 1]
            y[:, t] = 0.3 * last + 0.05 * last * y[:, t - n : t].sum(axis=1) + 1.5 * u[:, t - n + 1] * u[:, t] + 0.1
    return y[:, n:]


def lagged(values: NDArray[np.generic], n_frames: int) -> Floats:
    """The last `n_frames` of a stream at each frame: (sequences, frames) -> (sequences, frames, n_frames)."""
    padded = np.pad(values.astype(np.float64), ((0, 0), (n_frames - 1, 0)))
    return np.lib.stride_tricks.sliding_window_view(padded, n_frames, axis=1)
