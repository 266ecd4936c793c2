"""MiniRocket (aeon) with ridge regression: A. Dempster, D. Schmidt, G. Webb, KDD (2021)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from aeon.transformations.collection.convolution_based import MiniRocket
from numpy.typing import NDArray

from benchmarks.accuracy import cost
from benchmarks.accuracy.peers.ridge import WideRidge
from benchmarks.accuracy.scene import Frames, Sounds


@dataclass(frozen=True)
class RandomKernels:
    """Fitted kernels and the ridge on what they say."""

    kernels: MiniRocket
    n_frames: int
    ridge: WideRidge

    def classify(self, frames: Frames) -> NDArray[np.int64]:
        """See `Peer`."""
        return self.ridge.predict(self.kernels.transform(_padded(frames, self.n_frames)))

    def cost(self, n_frames: int) -> cost.Cost:
        """See `Peer`; `kernel_channels` are pairs of a dilated kernel and a channel that it hears."""
        _n_channels, channels, _dilations, _n_features, biases = self.kernels.parameters
        return cost.minirocket(len(biases), len(channels), n_frames, self.ridge.weights.shape[1])


def fit(sounds: Sounds, seed: int, *, n_features: int = 10000) -> RandomKernels:
    """`n_features` is rounded down to a multiple of the 84 kernels."""
    longest = max(9, *map(len, sounds.frames))
    kernels = MiniRocket(n_kernels=n_features, random_state=seed, n_jobs=1)
    features = kernels.fit_transform(_padded(sounds.frames, longest))
    return RandomKernels(kernels, longest, WideRidge(features, sounds.targets, sounds.groups))


def _padded(frames: Frames, n_frames: int) -> NDArray[np.float32]:
    """As (recordings, bands, frames); silence follows shorter ones, longer ones are cut."""
    padded = np.zeros((len(frames), frames[0].shape[1], n_frames), np.float32)
    for row, segment in zip(padded, frames, strict=True):
        row[:, : len(segment)] = segment[:n_frames].T
    return padded
