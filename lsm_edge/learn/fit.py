"""The readout: fitted in float on the liquid's bytes, its strength chosen inside the training part, then quantised.

Ridge regression on one-against-all targets (scikit-learn's `RidgeClassifier`) or multinomial logistic regression.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression, RidgeClassifier
from sklearn.model_selection import GroupKFold, StratifiedKFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from lsm_edge.config import Readout
from lsm_edge.errors import DataError
from lsm_edge.model import Model

Floats = NDArray[np.float64]
Folds = list[tuple[NDArray[np.intp], NDArray[np.intp]]]

RIDGE_STRENGTHS = tuple(float(10**e) for e in np.arange(1.0, 5.01, 0.5))
LOGISTIC_STRENGTHS = (1e2, 1e3, 1e4)


@dataclass(frozen=True)
class Linear:
    """A linear classifier on unscaled features: scores = features @ weights.T + bias."""

    weights: Floats  # (classes, features)
    bias: Floats  # (classes,)
    strength: float

    def predict(self, features: NDArray[Any]) -> NDArray[np.int64]:
        """Features (clips, features) -> classes (clips,)."""
        scores: Floats = features @ self.weights.T + self.bias
        return np.asarray(np.argmax(scores, axis=1), np.int64)


def fit_linear(
    features: NDArray[Any], classes: NDArray[np.int64], groups: NDArray[Any] | None, settings: Readout
) -> Linear:
    """Fit on training features (clips, features); `classes` are 0 to n - 1 and all present.

    The strength is the one that cross-validation prefers: over groups if there are enough of them, so that a strength
    is judged on speakers it was not fitted on; else stratified.
    """
    x = features.astype(np.float64)
    folds = _folds(classes, groups, settings.folds)
    if settings.solver == "ridge":
        strengths = tuple(settings.strengths or RIDGE_STRENGTHS)
        strength = strengths[int(np.argmax(_ridge_path_scores(x, classes, folds, strengths)))]
        estimator: Any = RidgeClassifier(alpha=strength)
    else:
        strengths = tuple(settings.strengths or LOGISTIC_STRENGTHS)
        strength = max(strengths, key=lambda s: _cross_validated(_logistic(s), x, classes, folds))
        estimator = _logistic(strength)
    scaler = StandardScaler().fit(x)
    estimator.fit(scaler.transform(x), classes)
    weights, bias = np.atleast_2d(estimator.coef_), np.atleast_1d(estimator.intercept_)
    if len(weights) == 1:  # two classes: scikit-learn keeps the second one's weights only
        weights, bias = np.concatenate([-weights, weights]), np.concatenate([-bias, bias])
    weights = weights / scaler.scale_
    return Linear(weights, bias - weights @ scaler.mean_, strength)


def _logistic(strength: float) -> Any:
    return LogisticRegression(C=1 / strength, max_iter=2000, tol=1e-6)


def _cross_validated(estimator: Any, x: Floats, classes: NDArray[np.int64], folds: Folds) -> float:
    return float(cross_val_score(make_pipeline(StandardScaler(), estimator), x, classes, cv=folds).mean())


def _folds(classes: NDArray[np.int64], groups: NDArray[Any] | None, n_folds: int) -> Folds:
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


def _ridge_path_scores(x: Floats, classes: NDArray[np.int64], folds: Folds, strengths: tuple[float, ...]) -> Floats:
    """Accuracy of every strength, summed over folds: one eigendecomposition serves all strengths of a fold."""
    targets = 2.0 * (classes[:, None] == np.arange(classes.max() + 1)) - 1
    correct = np.zeros(len(strengths))
    for train, test in folds:
        scaler = StandardScaler().fit(x[train])
        z, centre = scaler.transform(x[train]), targets[train].mean(axis=0)
        values, vectors = np.linalg.eigh(z.T @ z)
        projected = vectors.T @ (z.T @ (targets[train] - centre))
        seen = scaler.transform(x[test]) @ vectors
        for i, strength in enumerate(strengths):
            scores = seen @ (projected / (values + strength)[:, None]) + centre
            correct[i] += (scores.argmax(axis=1) == classes[test]).sum()
    return correct


def state_features(features: NDArray[np.uint8], n_frames: NDArray[np.int64], settings: Readout) -> NDArray[np.int64]:
    """The liquid's bytes (clips, windows, neurons) as rows; if asked for, the segment's length is the last column."""
    rows = features.reshape(len(features), -1).astype(np.int64)
    return np.column_stack([rows, np.minimum(n_frames, 255)]) if settings.length_feature else rows


def quantise(model: Model, linear: Linear) -> Model:
    """The model with int8 readout weights, int16 length weights and int32 biases, all on one scale.

    One scale for all classes keeps the order of scores; the largest weight becomes 127.
    """
    readout = model.manifest.readout
    shape = (model.manifest.n_classes, readout.n_windows, model.manifest.reservoir.n_neurons)
    weights = linear.weights[:, : -1 if readout.length_feature else None]
    scale = 127 / max(float(np.abs(weights).max()), 1e-12)
    tables = {
        "readout_weight": np.round(weights * scale).reshape(shape).transpose(1, 0, 2).astype(np.int8),
        "bias": np.clip(np.round(linear.bias * scale), -(2**30), 2**30).astype(np.int32),
    }
    if readout.length_feature:
        tables["length_weight"] = np.clip(np.round(linear.weights[:, -1] * scale), -32767, 32767).astype(np.int16)
    return model.replace(**{name: np.ascontiguousarray(table) for name, table in tables.items()})
