"""Homeostasis: one threshold a neuron, set once and without labels, so that it fires near its target rate.

After W. Maass et al. (2002) the liquid itself is never trained; a threshold only places a neuron's working point.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from lsm_edge.config import Config
from lsm_edge.fixed import INT16_MAX
from lsm_edge.learn.draw import Draw
from lsm_edge.learn.liquid import Liquid
from lsm_edge.model import Model

LOWEST_THRESHOLD = 16
HALVINGS = 11  # of the interval [16, 32767] on a log scale: ends within 0.4 %
CORRECTIONS = 12  # with recurrence a neuron's rate depends on all others', so bisection does not apply
MOST_SEGMENTS = 240

Floats = NDArray[np.float64]


def calibrate(config: Config, liquid: Liquid, segments: Sequence[NDArray[np.uint8]]) -> Model:
    """`liquid`'s model with thresholds set on training segments (frames of levels); leaves it loaded."""
    model = liquid.model
    chosen = [segments[i] for i in np.linspace(0, len(segments) - 1, min(MOST_SEGMENTS, len(segments))).astype(int)]
    n = model.manifest.reservoir.n_neurons
    spread = np.exp(config.reservoir.rate_spread * Draw(config.seed, 3).normal(n))
    highest = 0.9 / (1 + config.reservoir.refractory_steps)
    target = np.clip(config.reservoir.target_rate * spread, 0.002, highest)
    threshold = _bisect(liquid, chosen, target)
    if model.manifest.reservoir.n_synapses:
        for _ in range(CORRECTIONS):
            ratio = np.maximum(_rates(liquid, chosen, threshold), 1e-4) / target
            threshold = np.clip(threshold * np.clip(ratio, 0.25, 4) ** 0.4, LOWEST_THRESHOLD, INT16_MAX)
    calibrated = model.replace(threshold=_whole(threshold))
    liquid.load(calibrated)
    return calibrated


def _bisect(liquid: Liquid, segments: Sequence[NDArray[np.uint8]], target: Floats) -> Floats:
    low = np.full(len(target), np.log(LOWEST_THRESHOLD))
    high = np.full(len(target), np.log(INT16_MAX))
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        too_busy = _rates(liquid, segments, np.exp(middle)) > target
        low, high = np.where(too_busy, middle, low), np.where(too_busy, high, middle)
    return np.asarray(np.exp((low + high) / 2))


def _rates(liquid: Liquid, segments: Sequence[NDArray[np.uint8]], threshold: Floats) -> Floats:
    """Spikes a step of each neuron."""
    manifest = liquid.model.manifest
    liquid.load(liquid.model.replace(threshold=_whole(threshold)))
    longest = manifest.decision.max_frames if manifest.decision.mode == "segment" else None
    n_steps = sum(len(segment[:longest]) for segment in segments) * manifest.reservoir.steps_per_frame
    return np.asarray(liquid.stir(segments, count_spikes=True).spikes / max(n_steps, 1))


def _whole(threshold: Floats) -> NDArray[np.int16]:
    return np.clip(np.round(threshold), 1, INT16_MAX).astype(np.int16)
