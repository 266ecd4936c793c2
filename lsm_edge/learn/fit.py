"""The readout: fitted in float on the liquid's bytes, its strength chosen inside the training part."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import GroupKFold, StratifiedKFold
from sklearn.preprocessing import StandardScaler

from lsm_edge.config import Readout
from lsm_edge.errors import DataError
from lsm_edge.learn.confidence import Unseen, log_loss
from lsm_edge.learn.solvers import STRENGTHS, Classes, Floats, Folds, solve, unseen_scores


@dataclass(frozen=True)
class Linear:
    """A linear classifier on unscaled features: scores = features @ weights.T + bias."""

    weights: Floats  # (classes, features)
    bias: Floats  # (classes,)
    strength: float
    unseen: Unseen | None = None  # the training recordings, judged by its like

    def predict(self, features: NDArray[Any]) -> NDArray[np.int64]:
        """Features (clips, features) -> classes (clips,)."""
        scores: Floats = features @ self.weights.T + self.bias
        return np.asarray(np.argmax(scores, axis=1), np.int64)


def fit_linear(features: NDArray[Any], classes: Classes, groups: NDArray[Any] | None, settings: Readout) -> Linear:
    """Fit on training features (clips, features); `classes` are 0 to n - 1 and all present.

    The strength is the one that cross-validation prefers: over groups if there are enough of them, so that a strength
    is judged on speakers it was not fitted on; else stratified.

    Raises:
        DataError: a class has only one recording.
    """
    x = features.astype(np.float64)
    strengths = tuple(settings.strengths or STRENGTHS[settings.solver])
    scores, judged = unseen_scores(settings, x, classes, _folds(classes, groups, settings.folds), strengths)
    unseen = [Unseen(some, classes[judged]) for some in scores]
    best = int(np.argmin([_cost(some, settings) for some in unseen]))
    scaler = StandardScaler().fit(x)
    weights, bias = solve(settings, strengths[best], scaler.transform(x), classes)
    weights = weights / scaler.scale_
    return Linear(weights, bias - weights @ scaler.mean_, strengths[best], unseen[best])


def _cost(unseen: Unseen, settings: Readout) -> float:
    if settings.choose_by == "accuracy":
        return -unseen.n_right
    return unseen.squared_error if settings.choose_by == "squared_error" else log_loss(unseen)


def _folds(classes: Classes, groups: NDArray[Any] | None, n_folds: int) -> Folds:
    if groups is not None and len(np.unique(groups)) >= 3:
        splitter: Any = GroupKFold(min(n_folds, len(np.unique(groups))))
        folds = [fold for fold in splitter.split(classes, classes, groups) if set(classes) == set(classes[fold[0]])]
        if len(folds) > 1:
            return folds
    fewest = int(np.bincount(classes).min())
    if fewest < 2:
        raise DataError("a class has only one recording in the training part; record more, or leave it out")
    splitter = StratifiedKFold(min(n_folds, fewest), shuffle=True, random_state=0)
    return list(splitter.split(classes, classes))


def state_features(features: NDArray[np.uint8], n_frames: NDArray[np.int64], settings: Readout) -> NDArray[np.int64]:
    """The liquid's bytes (clips, windows, neurons) as rows; if asked for, the segment's length is the last column."""
    rows = features.reshape(len(features), -1).astype(np.int64)
    return np.column_stack([rows, np.minimum(n_frames, 255)]) if settings.length_feature else rows
