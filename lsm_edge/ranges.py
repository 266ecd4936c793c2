"""Worst cases of every accumulator, from the tables and over all possible inputs (not observed extremes).

Each `Range` becomes the comment above a table; one that fits nowhere refuses the model (`RangeError`).
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from lsm_edge.errors import RangeError
from lsm_edge.fixed import Ints
from lsm_edge.model import Model


@dataclass(frozen=True)
class Range:
    """Where `quantity` of `stage` can go, and whether it fits its type or saturates at its ends, by design."""

    stage: str
    quantity: str
    low: int
    high: int
    bits: int
    saturates: bool = False
    signed: bool = True

    @property
    def fits(self) -> bool:
        """Whether no value leaves the type."""
        magnitude = self.bits - self.signed
        return -(self.signed << magnitude) <= self.low and self.high < 1 << magnitude

    def __str__(self) -> str:
        verdict = "cannot overflow" if self.fits else "saturates, by design" if self.saturates else "OVERFLOWS"
        return f"{self.quantity} in [{self.low}, {self.high}]: {'' if self.signed else 'u'}int{self.bits}_t {verdict}"


def ranges_of(model: Model) -> dict[str, Range]:
    """Table name (and `trace`) -> the range of what is accumulated over it.

    Raises:
        RangeError: an accumulator that must not overflow could.
    """
    manifest = model.manifest
    bands, neurons = manifest.frontend.n_bands, manifest.reservoir.n_neurons
    found: dict[str, Range] = {}
    weights = model["mel_weight_q8"].astype(np.int64)
    edges = np.cumsum(np.concatenate([[0], model["mel_end"].astype(np.int64) - model["mel_start"]]))
    heaviest = max(int(weights[a:b].sum()) for a, b in pairwise(edges.tolist()))
    found["mel_weight_q8"] = Range("frontend", "a band's power", 0, heaviest << 30, 64)
    if manifest.encoder.kind == "current":
        low, high = _sums(model["tap_weight"].astype(np.int64), 255)
        found["tap_weight"] = Range("encoder", "a neuron's tap sum", low, high, 32)
    else:
        low, high = _synapse_sums(model, "input")
        found["input_weight"] = Range("encoder", "a neuron's summed input weights", low, high, 16)
    if manifest.reservoir.n_synapses:
        low, high = _synapse_sums(model, "recurrent")
        found["recurrent_weight"] = Range("reservoir", "a neuron's summed recurrent weights", low, high, 16)
    # |decayed v| <= 2^15, |current| <= 2^15, |recurrent current| <= 2^15 << 8.
    found["threshold"] = Range("reservoir", "a membrane potential", -(1 << 24), 1 << 24, 16, saturates=True)
    if manifest.readout.state == "trace":
        # The trace's fixed point when every step fires: x = floor(x * leak / 2^15) + steps * gain.
        gained = manifest.reservoir.steps_per_frame * manifest.readout.trace_gain
        highest = (gained << 15) // (32768 - manifest.readout.trace_leak_q15)
        found["trace"] = Range("readout", "a spike trace", 0, highest, 16, signed=False)
    readout = model["readout_weight"].astype(np.int64)
    low, high = _sums(readout.transpose(1, 0, 2).reshape(len(manifest.labels), -1), 255)
    bias = model["bias"].astype(np.int64)
    length = np.abs(model["length_weight"].astype(np.int64)).max() * 255 if manifest.readout.length_feature else 0
    found["readout_weight"] = Range(
        "readout", "a score", low + int(bias.min() - length), high + int(bias.max() + length), 32
    )
    for table, item in found.items():
        if not item.fits and not item.saturates:
            raise RangeError(f"{item.stage}: {item} (table {table}, {neurons} neurons, {bands} bands)")
    return found


def _synapse_sums(model: Model, name: str) -> tuple[int, int]:
    """Extremes of what any of a neuron's synapses, in any order, can add up to."""
    target, weight = model[f"{name}_target"].astype(np.int64), model[f"{name}_weight"].astype(np.int64)
    sums = np.zeros((2, model.manifest.reservoir.n_neurons), np.int64)
    np.add.at(sums[0], target, np.minimum(weight, 0))
    np.add.at(sums[1], target, np.maximum(weight, 0))
    return int(sums[0].min()), int(sums[1].max())


def _sums(weights: Ints, largest: int) -> tuple[int, int]:
    """Extremes of weights (rows, terms) @ x over all 0 <= x <= largest."""
    low = np.minimum(weights, 0).sum(axis=1).min(initial=0) * largest
    high = np.maximum(weights, 0).sum(axis=1).max(initial=0) * largest
    return int(low), int(high)
