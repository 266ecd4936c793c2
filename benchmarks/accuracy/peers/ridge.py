"""Ridge regression on many features, its strength chosen over groups: on features or, if they are more, on recordings.

What `lsm_edge.learn.fit` does by eigenvalues, by Cholesky factors: with thousands of features much faster.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve
from sklearn.model_selection import GroupKFold, StratifiedKFold

Floats = NDArray[np.floating[Any]]

STRENGTHS: Final = tuple(float(10**e) for e in np.arange(1.5, 6.01, 0.5))
N_FOLDS: Final = 5


class WideRidge:
    """One-against-all ridge on standardised features, the constant being one of them."""

    def __init__(self, features: NDArray[Any], targets: NDArray[np.int64], groups: NDArray[Any]) -> None:
        self._mean = features.mean(axis=0)
        self._scale = np.maximum(features.std(axis=0), 1e-6)
        z = self._standard(features)
        y = (2.0 * (targets[:, None] == np.arange(targets.max() + 1)) - 1).astype(np.float32)
        solver = _by_recordings if z.shape[1] > len(z) else _by_features
        right = np.zeros(len(STRENGTHS))
        solve = solver(z, y)
        for train, test in inner_folds(targets, groups):
            for i, scores in enumerate(solve(train, test, STRENGTHS)):
                right[i] += (scores.argmax(axis=1) == targets[test]).sum()
        self.strength = STRENGTHS[int(right.argmax())]
        self.weights = solver(z, y)(np.arange(len(z)), None, (self.strength,))[0]

    def predict(self, features: NDArray[Any]) -> NDArray[np.int64]:
        """Features (recordings, features) -> classes (recordings,)."""
        return np.asarray((self._standard(features) @ self.weights).argmax(axis=1), np.int64)

    def _standard(self, features: NDArray[Any]) -> Floats:
        z = ((features - self._mean) / self._scale).astype(np.float32)
        return np.concatenate([z, np.ones((len(z), 1), np.float32)], axis=1)


Solve = Callable[[NDArray[np.intp], "NDArray[np.intp] | None", tuple[float, ...]], list[Floats]]


def inner_folds(targets: NDArray[np.int64], groups: NDArray[Any]) -> list[tuple[NDArray[np.intp], NDArray[np.intp]]]:
    """Parts of a training part, no group in two of them."""
    n_groups = len(np.unique(groups))
    if n_groups >= 3:
        return list(GroupKFold(min(N_FOLDS, n_groups)).split(targets, targets, groups))
    return list(StratifiedKFold(N_FOLDS, shuffle=True, random_state=0).split(targets, targets))


def _by_recordings(z: Floats, y: Floats) -> Solve:
    """Scores of `test` for each strength; without it, the weights."""
    products = z @ z.T

    def solve(train: NDArray[np.intp], test: NDArray[np.intp] | None, strengths: tuple[float, ...]) -> list[Floats]:
        inner = products[np.ix_(train, train)]
        found: list[Floats] = []
        for strength in strengths:
            a = _solved(inner, strength, y[train])
            found.append(z[train].T @ a if test is None else products[np.ix_(test, train)] @ a)
        return found

    return solve


def _by_features(z: Floats, y: Floats) -> Solve:
    products, drive = z.T @ z, z.T @ y

    def solve(train: NDArray[np.intp], test: NDArray[np.intp] | None, strengths: tuple[float, ...]) -> list[Floats]:
        if test is None:
            return [_solved(products, strength, drive) for strength in strengths]
        held = z[test]
        inner, target = products - held.T @ held, drive - held.T @ y[test]
        return [held @ _solved(inner, strength, target) for strength in strengths]

    return solve


def _solved(products: Floats, strength: float, targets: Floats) -> Floats:
    loaded = products.astype(np.float64)
    loaded[np.diag_indices_from(loaded)] += strength
    return np.asarray(cho_solve(cho_factor(loaded, overwrite_a=True), targets), np.float32)
