"""No liquid at all: the project's own readout on band levels in the liquid's windows, with or without their changes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchmarks.accuracy.cost import Cost, dense
from benchmarks.accuracy.peers.pooling import listener
from benchmarks.accuracy.scene import Frames, Sounds
from lsm_edge.learn.ablate import BANDS, DELTAS, band_features
from lsm_edge.learn.fit import Linear, fit_linear
from lsm_edge.model import Model


@dataclass(frozen=True)
class LinearOnBands:
    """`name` is one of those of `lsm_edge.learn.ablate`."""

    model: Model
    name: str
    linear: Linear

    def classify(self, frames: Frames) -> NDArray[np.int64]:
        """See `Peer`."""
        return self.linear.predict(band_features(self.model, frames)[self.name])

    def cost(self, _n_frames: int) -> Cost:
        """See `Peer`."""
        return dense(self.linear.weights.shape[1], len(self.linear.weights))


def fit(sounds: Sounds, _seed: int, *, deltas: bool) -> LinearOnBands:
    """Ridge, its strength by cross-validation over groups: nothing is drawn."""
    model, name = listener(sounds.config, sounds.labels), DELTAS if deltas else BANDS
    features = band_features(model, sounds.frames)[name]
    return LinearOnBands(model, name, fit_linear(features, sounds.targets, sounds.groups, sounds.config.readout))
