"""A random forest on pooled frames (scikit-learn), as emlearn would put it on a microcontroller."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import RandomForestClassifier

from benchmarks.accuracy import cost
from benchmarks.accuracy.peers.pooling import listener, pooled
from benchmarks.accuracy.scene import Frames, Sounds
from lsm_edge.model import Model


@dataclass(frozen=True)
class Forest:
    """Trained trees."""

    model: Model
    trees: RandomForestClassifier

    def classify(self, frames: Frames) -> NDArray[np.int64]:
        """See `Peer`."""
        return np.asarray(self.trees.predict(pooled(self.model, frames)), np.int64)

    def cost(self, _n_frames: int) -> cost.Cost:
        """See `Peer`: leaves are shared by emlearn, decisions are not."""
        return cost.forest(sum(int((tree.tree_.feature >= 0).sum()) for tree in self.trees.estimators_))


def fit(sounds: Sounds, seed: int, *, n_trees: int = 200) -> Forest:
    """Grown out, as is usual."""
    model = listener(sounds.config, sounds.labels)
    trees = RandomForestClassifier(n_trees, random_state=seed, n_jobs=1)
    return Forest(model, trees.fit(pooled(model, sounds.frames), sounds.targets))
