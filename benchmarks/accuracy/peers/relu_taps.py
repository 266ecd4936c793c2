"""The liquid's own taps without spikes: each neuron's current, rectified, its mean over each window, square root."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchmarks.accuracy.cost import Cost, dense
from benchmarks.accuracy.peers.pooling import as_levelled
from benchmarks.accuracy.scene import Frames, Sounds
from lsm_edge.fixed import Ints
from lsm_edge.learn.fit import Linear, fit_linear
from lsm_edge.learn.wire import draft
from lsm_edge.model import Model
from lsm_edge.stages import readout
from lsm_edge.stages.encoder import encode_current

BATCH = 64  # recordings at a time


@dataclass(frozen=True)
class RectifiedTaps:
    """`model` holds the taps that the liquid of the same seed has."""

    model: Model
    linear: Linear

    def classify(self, frames: Frames) -> NDArray[np.int64]:
        """See `Peer`."""
        return self.linear.predict(rectified(self.model, frames))

    def cost(self, n_frames: int) -> Cost:
        """See `Peer`: of a tap, its place (two bytes) and its weight are stored."""
        taps = self.model["tap_weight"].size
        return Cost(2 * taps, n_frames * taps, 3 * taps) + dense(self.linear.weights.shape[1], len(self.linear.weights))


def rectified(model: Model, frames: Frames) -> NDArray[np.float64]:
    """A row a recording: the windows' means of every rectified current, their roots, and the length."""
    order = np.argsort([len(segment) for segment in frames], kind="stable")
    rows: dict[int, NDArray[np.float64]] = {}
    for part in np.array_split(order, max(1, len(order) // BATCH)):  # of like length, the shorter ones padded
        longest = max(len(frames[i]) for i in part)
        levels = np.stack([np.pad(frames[i].astype(np.int64), ((0, longest - len(frames[i])), (0, 0))) for i in part])
        for i, currents in zip(part, encode_current(model, levels), strict=True):
            rows[i] = _pooled(model, frames[i].astype(np.int64), np.maximum(currents[: len(frames[i])], 0))
    return np.array([rows[i] for i in range(len(frames))])


def _pooled(model: Model, levels: Ints, currents: Ints) -> NDArray[np.float64]:
    inside = readout.window_of(model, levels) == np.arange(model.manifest.readout.n_windows)[:, None]
    means = (inside.astype(np.float64) @ currents) / np.maximum(inside.sum(axis=1), 1)[:, None]
    return np.append(np.sqrt(means).ravel(), min(len(levels), 255))


def fit(sounds: Sounds, seed: int) -> RectifiedTaps:
    """The taps are drawn from `seed`."""
    model = draft(as_levelled(sounds.config.model_copy(update={"seed": seed})), sounds.labels)
    rows = rectified(model, sounds.frames)
    return RectifiedTaps(model, fit_linear(rows, sounds.targets, sounds.groups, sounds.config.readout))
