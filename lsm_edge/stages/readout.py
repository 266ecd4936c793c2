"""The liquid's state -> scores.

Enters: spikes of every step, gathered in windows. Leaves: a byte a neuron and window (the features), and one int32
score a class. `docs/numerics.md` section 5.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from lsm_edge.fixed import Ints, multiply_q15, sqrt_floor
from lsm_edge.model import Model
from lsm_edge.stages.frontend import energy


def activity(model: Model, frames: Ints) -> Ints:
    """What each levelled frame weighs in dividing its segment: shape (..., frames, bands) -> (..., frames)."""
    by_length = model.manifest.readout.window_by == "length"
    return np.ones(frames.shape[:-1], np.int64) if by_length else energy(frames)


def window_of(model: Model, frames: Ints) -> Ints:
    """The window that each frame of one segment belongs to, shape (frames,).

    Frame t is in the window w for which w * total <= n_windows * (activity before t) < (w + 1) * total.
    """
    weight = activity(model, frames)
    before = np.cumsum(weight) - weight
    return (model.manifest.readout.n_windows * before) // max(int(weight.sum()), 1)


def trace_step(model: Model, trace: Ints, counts: Ints) -> Ints:
    """A leaky spike trace after a frame in which each neuron fired `counts` times; below 2**16."""
    readout = model.manifest.readout
    return multiply_q15(trace, readout.trace_leak_q15) + counts * readout.trace_gain


def rate_q16(counts: Ints, n_steps: Ints) -> Ints:
    """Spikes a step in units of about 2**-16, at most 65535; 0 for a window without steps."""
    reciprocal_q16 = 65536 // np.maximum(n_steps, 1)
    return np.asarray(np.minimum(counts * reciprocal_q16, 65535))


def features_of(model: Model, state_q16: Ints) -> Ints:
    """A state in [0, 65535] as a byte: its square root, or its high byte."""
    return sqrt_floor(state_q16) if model.manifest.readout.transform == "sqrt" else state_q16 >> 8


def weights_of(model: Model) -> Ints:
    """Readout weights, shape (windows, classes, neurons)."""
    table = model["readout_weight"].astype(np.int64)
    if model.manifest.readout.weight_bits == 8:
        return table
    halves = np.stack([table & 15, table >> 4], axis=-1).reshape(*table.shape[:-1], -1) - 8
    return np.asarray(halves[..., : model.manifest.reservoir.n_neurons])


def pack_weights(weights: NDArray[np.integer[Any]]) -> NDArray[np.uint8]:
    """Weights in [-8, 7] as `readout_weight` holds those of 4 bits: two a byte, each plus 8, the even neuron's low."""
    even = np.zeros((*weights.shape[:-1], -(-weights.shape[-1] // 2), 2), np.int64)
    even.reshape(*weights.shape[:-1], -1)[..., : weights.shape[-1]] = weights
    return np.asarray(even[..., 0] + 8 | even[..., 1] + 8 << 4, np.uint8)


def scores_of(model: Model, features: Ints, n_frames: Ints) -> Ints:
    """Features (clips, windows, neurons) and lengths (clips,) -> scores (clips, rows, classes).

    Row w holds the scores after window w was added; the last row adds the segment's length, at most 255 frames.
    """
    partial = np.einsum("kwn,wcn->kwc", features, weights_of(model))
    length = np.zeros_like(partial[:, :1])
    if model.manifest.readout.length_feature:
        length[:, 0] = np.minimum(n_frames, 255)[:, None] * model["length_weight"].astype(np.int64)
    return np.asarray(model["bias"].astype(np.int64) + np.cumsum(np.concatenate([partial, length], axis=1), axis=1))
