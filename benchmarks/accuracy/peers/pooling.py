"""Frames of any number -> one row of numbers: what forests and perceptrons are given."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from benchmarks.accuracy.scene import Frames
from lsm_edge.config import Config, Readout
from lsm_edge.fixed import Ints
from lsm_edge.learn.wire import draft
from lsm_edge.model import Model
from lsm_edge.stages import readout

Floats = NDArray[np.float64]

WINDOWS = Readout(n_windows=3, window_by="energy")  # what serves spoken words best


def listener(config: Config, labels: Sequence[str]) -> Model:
    """A blank model that takes levelled frames as they are and divides them in three windows of equal energy."""
    return draft(
        as_levelled(Config(name="peer", dataset=config.dataset, frontend=config.frontend, readout=WINDOWS)), labels
    )


def as_levelled(config: Config) -> Config:
    """The config of a model that does not level what it hears."""
    settings = config.frontend.model_copy(update={"level": "running_peak", "equalise": 0.0})
    return config.model_copy(update={"frontend": settings})


def pooled(model: Model, frames: Frames) -> Floats:
    """Mean, deviation, maximum, rise and fall of every band in the whole and in each window; and the length."""
    rows = []
    for segment in frames:
        levels = segment.astype(np.int64)
        change = np.diff(levels, axis=0, prepend=np.zeros_like(levels[:1]))
        windows = readout.window_of(model, levels)
        parts = [_statistics(levels, change)]
        parts += [_statistics(levels[windows == w], change[windows == w]) for w in range(WINDOWS.n_windows)]
        rows.append(np.concatenate([*parts, [min(len(levels), 255)]]))
    return np.array(rows)


def _statistics(levels: Ints, change: Ints) -> Floats:
    if not len(levels):
        return np.zeros(5 * levels.shape[1])
    rise, fall = np.maximum(change, 0), np.maximum(-change, 0)
    return np.concatenate(
        [levels.mean(axis=0), levels.std(axis=0), levels.max(axis=0), rise.mean(axis=0), fall.mean(axis=0)]
    )
