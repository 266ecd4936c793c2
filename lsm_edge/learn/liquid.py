"""One way to run a model over many recordings, whether or not the machine has a C compiler."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from lsm_edge import golden
from lsm_edge.model import Model
from lsm_edge.target.native import Native, Stirred, host_compiler

Progress = Callable[[int, int], None]


class Liquid(Protocol):
    """What training needs of an implementation; see `lsm_edge.target.native.Native`."""

    model: Model

    def load(self, model: Model) -> None:
        """Exchange the model for another of the same manifest."""

    def hear(self, clips: Sequence[NDArray[np.int16]], progress: Progress | None = None) -> list[NDArray[np.uint8]]:
        """Samples -> frames."""

    def stir(
        self, segments: Sequence[NDArray[np.uint8]], progress: Progress | None = None, *, count_spikes: bool = False
    ) -> Stirred:
        """Frames -> features, scores, classes, spikes."""


class GoldenLiquid:
    """The golden model behind the same three calls: slower, and the same integers."""

    BATCH = 32  # clips at a time: their membrane potentials of every step are held in memory

    def __init__(self, model: Model) -> None:
        self.model = model

    def load(self, model: Model) -> None:
        """Exchange the model for another."""
        self.model = model

    def hear(self, clips: Sequence[NDArray[np.int16]], progress: Progress | None = None) -> list[NDArray[np.uint8]]:
        """Samples -> frames."""
        frames = []
        for i, samples in enumerate(clips):
            frames.append(golden.hear(self.model, samples).astype(np.uint8))
            if progress is not None:
                progress(i + 1, len(clips))
        return frames

    def stir(
        self, segments: Sequence[NDArray[np.uint8]], progress: Progress | None = None, *, count_spikes: bool = False
    ) -> Stirred:
        """Frames -> features, scores, classes, spikes."""
        n = self.model.manifest.reservoir.n_neurons
        last = -1 if self.model.manifest.decision.mode == "live" else 0
        features, scores, classes, spikes = [], [], [], np.zeros(n, np.int64)
        for first in range(0, len(segments), self.BATCH):
            batch = [segment.astype(np.int64) for segment in segments[first : first + self.BATCH]]
            for clip in golden.run_frames(self.model, batch):
                features.append(clip.features[last:])
                scores.append(clip.taps["readout.scores"][-1])
                classes.append(clip.label)
                if count_spikes:
                    bits = np.unpackbits(clip.taps["reservoir.spikes"].view(np.uint8), axis=1, bitorder="little")
                    spikes += bits[:, :n].sum(axis=0, dtype=np.int64)
            if progress is not None:
                progress(min(first + self.BATCH, len(segments)), len(segments))
        return Stirred(np.array(features), np.array(scores), np.array(classes), spikes)


def liquid_for(model: Model) -> tuple[Liquid, str]:
    """The fastest implementation this machine has, and its name: "native" or "golden"."""
    if host_compiler() is None:
        return GoldenLiquid(model), "golden"
    return Native(model, writable=True), "native"
