"""An echo state network (reservoirpy) read out like the liquid: the states' means over the same windows, ridge."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from reservoirpy.nodes import Reservoir

from benchmarks.accuracy import cost
from benchmarks.accuracy.peers.pooling import listener
from benchmarks.accuracy.peers.ridge import inner_folds
from benchmarks.accuracy.scene import Frames, Sounds
from lsm_edge.learn.fit import Linear, fit_linear
from lsm_edge.model import Model
from lsm_edge.stages import readout

# Leak rate, spectral radius, scale of inputs in 0 to 1. One of them is chosen inside the training part.
CHOICES: Final = ((0.1, 0.9, 1.0), (0.3, 0.9, 1.0), (0.3, 0.9, 3.0), (1.0, 0.9, 1.0), (0.3, 1.3, 1.0))
INPUT_CONNECTIVITY: Final = 0.2
BIAS: Final = 0.1
MOST_TO_CHOOSE: Final = 800  # recordings


@dataclass(frozen=True)
class EchoState:
    """A fixed reservoir and its trained readout."""

    model: Model
    reservoir: Reservoir
    linear: Linear

    def classify(self, frames: Frames) -> NDArray[np.int64]:
        """See `Peer`."""
        return self.linear.predict(_states(self.model, self.reservoir, frames))

    def cost(self, n_frames: int) -> cost.Cost:
        """See `Peer`."""
        synapses = sum(int(np.count_nonzero(w.toarray())) for w in (self.reservoir.W, self.reservoir.Win))
        readout_cost = cost.dense(self.linear.weights.shape[1], len(self.linear.weights))
        return cost.echo_state(self.reservoir.units, synapses, n_frames, readout_cost)


def fit(sounds: Sounds, seed: int, *, n_units: int = 256) -> EchoState:
    """Reservoirs differ in `seed` and in one of `CHOICES`."""
    model, settings = listener(sounds.config, sounds.labels), sounds.config.readout
    some = np.linspace(0, len(sounds.frames) - 1, min(MOST_TO_CHOOSE, len(sounds.frames))).astype(int)
    train, test = inner_folds(sounds.targets[some], sounds.groups[some])[0]

    def score(choice: tuple[float, float, float]) -> float:
        states = _states(model, _reservoir(n_units, seed, choice), [sounds.frames[i] for i in some])
        linear = fit_linear(states[train], sounds.targets[some[train]], sounds.groups[some[train]], settings)
        return float((linear.predict(states[test]) == sounds.targets[some[test]]).mean())

    reservoir = _reservoir(n_units, seed, max(CHOICES, key=score))
    states = _states(model, reservoir, sounds.frames)
    return EchoState(model, reservoir, fit_linear(states, sounds.targets, sounds.groups, settings))


def _reservoir(n_units: int, seed: int, choice: tuple[float, float, float]) -> Reservoir:
    leak, radius, scale = choice
    return Reservoir(
        n_units, lr=leak, sr=radius, input_scaling=scale, input_connectivity=INPUT_CONNECTIVITY, bias=BIAS, seed=seed
    )


def _states(model: Model, reservoir: Reservoir, frames: Frames) -> NDArray[np.float64]:
    """A row a recording: the mean state in each window, and the length. Every recording begins at rest."""
    rows = []
    n_windows = model.manifest.readout.n_windows
    if reservoir.initialized:
        reservoir.reset()  # or all would begin where the last run ended
    for segment, states in zip(frames, reservoir.run([segment / 255 for segment in frames]), strict=True):
        inside = readout.window_of(model, segment.astype(np.int64)) == np.arange(n_windows)[:, None]
        means = (inside @ states) / np.maximum(inside.sum(axis=1), 1)[:, None]
        rows.append(np.append(means.ravel(), min(len(segment), 255)))
    return np.array(rows)
