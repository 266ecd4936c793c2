"""Random convolution kernels: which bytes of the past each neuron's taps look at, and what they weigh.

A neuron that sums a few bands at a few delays, with weights of zero sum, and fires above a threshold is a dilated
random kernel whose spike count is its proportion of positive values: A. Dempster, F. Petitjean, G. Webb, ROCKET,
Data Min. Knowl. Discov. 34 (2020) 1454. `docs/training.md` section "Taps" says what was measured.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from lsm_edge.config import CurrentEncoder
from lsm_edge.errors import ConfigError
from lsm_edge.learn.draw import Draw

SHORTEST_SPAN_FRAMES: Final = 4  # of a log-uniform law
FEW_BANDS: Final = 9  # the most that `bands: few` takes, unless the taps need more places

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


def draw_kernels(encoder: CurrentEncoder, n_bands: int, n_neurons: int, draw: Draw) -> tuple[Ints, Ints]:
    """Offsets of each neuron's taps, counted from the oldest frame that any reaches, and weights: (neurons, taps).

    No two taps of a neuron look at the same place.

    Raises:
        ConfigError: there are more taps than pairs of band and delay.
    """
    places = (encoder.max_delay_frames + 1) * n_bands
    if encoder.n_taps > places:
        raise ConfigError(f"encoder.n_taps: {encoder.n_taps} taps, but only {places} pairs of band and delay")
    offsets = np.array([_offsets(encoder, n_bands, draw) for _ in range(n_neurons)])
    weights = np.array([zero_sum(draw.normal(encoder.n_taps), encoder.norm) for _ in range(n_neurons)])
    return offsets, weights


def _offsets(encoder: CurrentEncoder, n_bands: int, draw: Draw) -> Ints:
    """One neuron's: a span of delays, some bands, and different places among them."""
    longest, bands = encoder.max_delay_frames, np.arange(n_bands)
    span = longest
    if encoder.spans == "log_uniform":
        span = round(_log_uniform(draw, min(SHORTEST_SPAN_FRAMES, longest), longest))
    if encoder.bands == "few":
        needed = -(-encoder.n_taps // (span + 1))
        several = int(_log_uniform(draw, 1, min(FEW_BANDS, n_bands) + 1))
        bands = np.sort(draw.subset(n_bands, max(several, needed)))
    place = draw.subset((span + 1) * len(bands), encoder.n_taps)
    return (longest - span + place // len(bands)) * n_bands + bands[place % len(bands)]


def _log_uniform(draw: Draw, low: float, high: float) -> float:
    """In (low, high), or 0 if `low` is."""
    return low * float((high / low) ** draw.uniform(1)[0]) if low else 0.0


def zero_sum(drawn: Floats, norm: int) -> Ints:
    """Integers near `drawn` scaled to a Euclidean norm of about `norm`, that sum to exactly zero and fit int8."""
    centred = drawn - drawn.mean()
    scaled = np.clip(centred * norm / np.sqrt((centred**2).sum()), -120, 120)
    whole: Ints = np.round(scaled).astype(np.int64)
    while whole.sum():
        sign = int(np.sign(whole.sum()))
        worst = int(np.argmax(sign * (whole - scaled)))
        whole[worst] -= sign
    return whole
