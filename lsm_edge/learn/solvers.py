"""The linear classifiers that a readout can be: scikit-learn's, on standardised features, as weights and biases.

The scores of every solver are meant for argmax; `lsm_edge.learn.confidence` puts them on the scale of log-odds.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression, RidgeClassifier, SGDClassifier
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC
from sklearn.utils.class_weight import compute_sample_weight

from lsm_edge.config import Readout

Floats = NDArray[np.float64]
Classes = NDArray[np.int64]
Folds = list[tuple[NDArray[np.intp], NDArray[np.intp]]]

RIDGE_STRENGTHS: Final = tuple(float(10**e) for e in np.arange(1.0, 5.01, 0.5))

# What is tried if `readout.strengths` names nothing; the larger, the plainer the classifier.
STRENGTHS: Final[Mapping[str, tuple[float, ...]]] = {
    "ridge": RIDGE_STRENGTHS,
    "logistic": (1e2, 1e3, 1e4),
    "svm": (3e2, 1e3, 3e3),
    "lda": (0.1, 0.2, 0.3, 0.5, 0.7),
    "perceptron": (1e-4, 1e-3, 1e-2),
}


def estimator_for(settings: Readout, strength: float) -> Any:
    """An unfitted estimator of scikit-learn; `strength` is its penalty, for `lda` the shrinkage of the covariance."""
    weight = "balanced" if settings.class_weight == "balanced" else None
    if settings.solver == "ridge":
        return RidgeClassifier(alpha=strength, class_weight=weight)
    if settings.solver == "logistic":
        return LogisticRegression(C=1 / strength, max_iter=2000, tol=1e-6, class_weight=weight)
    if settings.solver == "svm":
        return LinearSVC(C=1 / strength, dual="auto", random_state=0, class_weight=weight)
    if settings.solver == "lda":
        return LinearDiscriminantAnalysis(solver="lsqr", shrinkage=strength)
    # Averaged over all steps of its training: the last step's weights alone are ten points worse on spoken digits.
    return SGDClassifier(
        loss="perceptron", learning_rate="constant", eta0=1, penalty="l2", alpha=strength, average=True,
        random_state=0, class_weight=weight,
    )  # fmt: skip


def solve(settings: Readout, strength: float, z: Floats, classes: Classes) -> tuple[Floats, Floats]:
    """Weights (classes, features) and biases (classes,) fitted on standardised features (clips, features)."""
    estimator = estimator_for(settings, strength)
    if settings.solver == "lda" and settings.class_weight == "balanced":
        estimator.set_params(priors=np.full(classes.max() + 1, 1 / (classes.max() + 1)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # as far as its iterations take it; judged like any other
        estimator.fit(z, classes)
    weights, bias = np.atleast_2d(estimator.coef_), np.atleast_1d(estimator.intercept_)
    if len(weights) == 1:  # two classes: scikit-learn keeps the second one's weights only
        weights, bias = np.concatenate([-weights, weights]), np.concatenate([-bias, bias])
    return weights, bias


def unseen_scores(
    settings: Readout, x: Floats, classes: Classes, folds: Folds, strengths: Sequence[float]
) -> tuple[Floats, NDArray[np.intp]]:
    """Scores by readouts fitted without the clips they judge: (strengths, judged clips, classes), and who is judged."""
    scores = []
    path: Callable[..., Floats] = _ridge_path if settings.solver == "ridge" else _plain_path
    for train, test in folds:
        scaler = StandardScaler().fit(x[train])
        scores.append(path(settings, scaler.transform(x[train]), classes[train], scaler.transform(x[test]), strengths))
    return np.concatenate(scores, axis=1), np.concatenate([test for _, test in folds])


def _plain_path(settings: Readout, z: Floats, classes: Classes, seen: Floats, strengths: Sequence[float]) -> Floats:
    found = []
    for strength in strengths:
        weights, bias = solve(settings, strength, z, classes)
        found.append(seen @ weights.T + bias)
    return np.array(found)


def _ridge_path(settings: Readout, z: Floats, classes: Classes, seen: Floats, strengths: Sequence[float]) -> Floats:
    return ridge_scores(z, classes, seen, strengths, is_balanced=settings.class_weight == "balanced")


def ridge_scores(
    z: Floats, classes: Classes, seen: Floats, strengths: Sequence[float], *, is_balanced: bool = False
) -> Floats:
    """Scores (strengths, clips, classes) of `seen` by ridge regression on targets of +1 and -1, a fit a strength.

    `z` (clips, features) is standardised, and `seen` likewise. One eigendecomposition serves all strengths, in the
    primal or the dual form, whichever is smaller.
    """
    weight = compute_sample_weight("balanced" if is_balanced else None, classes)
    targets = 2.0 * (classes[:, None] == np.arange(classes.max() + 1)) - 1
    middle, centre = np.average(z, axis=0, weights=weight), np.average(targets, axis=0, weights=weight)
    root = np.sqrt(weight)[:, None]
    z, known, seen = (z - middle) * root, (targets - centre) * root, seen - middle
    if len(z) < z.shape[1]:
        product, seen = z @ z.T, seen @ z.T
    else:
        product, known = z.T @ z, z.T @ known
    values, vectors = np.linalg.eigh(product)
    known, seen = vectors.T @ known, seen @ vectors
    return np.array([seen @ (known / (values + strength)[:, None]) + centre for strength in strengths])
