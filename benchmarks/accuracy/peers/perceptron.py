"""A multi-layer perceptron on pooled frames (scikit-learn)."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from benchmarks.accuracy.cost import Cost, layers
from benchmarks.accuracy.peers.pooling import listener, pooled
from benchmarks.accuracy.scene import Frames, Sounds
from lsm_edge.model import Model


@dataclass(frozen=True)
class Perceptron:
    """Trained weights, behind a standardisation that folds into the first layer."""

    model: Model
    pipeline: Pipeline
    sizes: tuple[int, ...]

    def classify(self, frames: Frames) -> NDArray[np.int64]:
        """See `Peer`."""
        return np.asarray(self.pipeline.predict(pooled(self.model, frames)), np.int64)

    def cost(self, _n_frames: int) -> Cost:
        """See `Peer`."""
        return layers(*self.sizes)


def fit(sounds: Sounds, seed: int, *, n_hidden: int = 128, epochs: int = 40, decay: float = 1.0) -> Perceptron:
    """One hidden layer; `decay` is scikit-learn's alpha."""
    model = listener(sounds.config, sounds.labels)
    rows = pooled(model, sounds.frames)
    net = MLPClassifier((n_hidden,), alpha=decay, max_iter=epochs, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # `epochs` is when it is meant to stop
        pipeline = make_pipeline(StandardScaler(), net).fit(rows, sounds.targets)
    return Perceptron(model, pipeline, (rows.shape[1], n_hidden, len(sounds.labels)))
