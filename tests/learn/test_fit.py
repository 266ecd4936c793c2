"""The readout: what scikit-learn would fit, chosen on people it was not fitted on, and as integers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import LogisticRegression, RidgeClassifier, SGDClassifier
from sklearn.model_selection import GroupKFold, StratifiedKFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC

from lsm_edge.config import Readout
from lsm_edge.errors import DataError
from lsm_edge.learn import fit
from lsm_edge.learn.confidence import Unseen, log_loss
from lsm_edge.learn.fit import fit_linear, state_features
from lsm_edge.learn.solvers import STRENGTHS, ridge_scores, unseen_scores

Blobs = tuple[NDArray[np.uint8], NDArray[np.int64]]


def blobs(n_classes: int, n: int = 240, n_features: int = 30, seed: int = 1, noise: float = 60) -> Blobs:
    """Bytes around a centre for each class; the last feature never moves."""
    rng = np.random.default_rng(seed)
    centres = rng.uniform(60, 190, (n_classes, n_features))
    classes = np.arange(n) % n_classes
    features = np.clip(centres[classes] + rng.normal(0, noise, (n, n_features)), 0, 255).astype(np.uint8)
    features[:, -1] = 7
    return features, classes.astype(np.int64)


def plain(solver: str, n_classes: int, weight: str | None) -> tuple[float, Any]:
    """A strength, and what scikit-learn calls it."""
    if solver == "lda":
        priors = None if weight is None else np.full(n_classes, 1 / n_classes)
        return 0.3, LinearDiscriminantAnalysis(solver="lsqr", shrinkage=0.3, priors=priors)
    if solver == "perceptron":
        settings: dict[str, Any] = {"loss": "perceptron", "learning_rate": "constant", "eta0": 1, "average": True}
        return 0.01, SGDClassifier(alpha=0.01, random_state=0, class_weight=weight, **settings)
    return 100.0, {
        "ridge": RidgeClassifier(alpha=100.0, class_weight=weight),
        "logistic": LogisticRegression(C=0.01, max_iter=2000, tol=1e-6, class_weight=weight),
        "svm": LinearSVC(C=0.01, random_state=0, class_weight=weight),
    }[solver]


@pytest.mark.parametrize("n_classes", [2, 3, 8])
@pytest.mark.parametrize("weight", [None, "balanced"])
@pytest.mark.parametrize("solver", STRENGTHS)
def test_it_agrees_with_plain_scikit_learn(n_classes: int, weight: Any, solver: Any) -> None:
    features, classes = blobs(n_classes)
    stays = (classes > 0) | (np.arange(len(classes)) % 3 == 0)
    features, classes = features[stays], classes[stays]
    strength, estimator = plain(solver, n_classes, weight)
    settings = Readout(solver=solver, strengths=[strength], class_weight=weight or "none", folds=2)
    linear = fit_linear(features, classes, None, settings)
    pipeline = make_pipeline(StandardScaler(), estimator).fit(features, classes)
    fresh, _ = blobs(n_classes, seed=1, noise=90)
    assert linear.weights.shape == (n_classes, 30)
    assert (linear.predict(fresh) == pipeline.predict(fresh)).all()
    scores = fresh @ linear.weights.T + linear.bias
    if n_classes == 2:
        scores = scores[:, 1]
    assert np.allclose(scores, pipeline.decision_function(fresh), atol=1e-6)


@pytest.mark.parametrize("n_classes", [2, 5])
@pytest.mark.parametrize("grouped", [False, True])
@pytest.mark.parametrize("weight", ["none", "balanced"])
def test_the_ridge_path_is_cross_validation(n_classes: int, grouped: bool, weight: Any) -> None:
    """One eigendecomposition a fold says of every strength what fitting it anew would."""
    features, classes = blobs(n_classes, n_features=40, noise=150)
    groups = np.arange(len(classes)) // 24 if grouped else None
    folds = fit._folds(classes, groups, 5)
    strengths = (1.0, 30.0, 1e3, 1e5)
    scores, judged = unseen_scores(Readout(class_weight=weight), features.astype(float), classes, folds, strengths)
    got = [Unseen(some, classes[judged]).n_right for some in scores]
    splitter = GroupKFold(5) if grouped else StratifiedKFold(5, shuffle=True, random_state=0)
    for correct, strength in zip(got, strengths, strict=True):
        ridge = RidgeClassifier(alpha=strength, class_weight=None if weight == "none" else weight)
        pipeline = make_pipeline(StandardScaler(), ridge)
        accuracy = cross_val_score(pipeline, features, classes, cv=splitter, groups=groups)
        sizes = [len(test) for _, test in folds]
        assert abs(correct - accuracy @ np.array(sizes)) <= 1


@pytest.mark.parametrize("weight", [None, "balanced"])
@pytest.mark.parametrize("n_features", [5, 90])
def test_ridge_scores_are_scikit_learn_s(n_features: int, weight: str | None) -> None:
    """In the primal form and, with more features than rows, in the dual; constant features change nothing."""
    rng = np.random.default_rng(2)
    classes = np.minimum(rng.integers(0, 6, 60), 2)
    rows = rng.integers(0, 255, (60, n_features)) + 40 * classes[:, None]
    rows[:, 0] = 7
    scaler = StandardScaler().fit(rows)
    z, seen = scaler.transform(rows), scaler.transform(rng.integers(0, 300, (40, n_features)))
    strengths = (1.0, 30.0, 1000.0)
    found = ridge_scores(z, classes, seen, strengths, is_balanced=weight is not None)
    for strength, got in zip(strengths, found, strict=True):
        estimator = RidgeClassifier(alpha=strength, class_weight=weight).fit(z, classes)
        assert (got.argmax(axis=1) == estimator.predict(seen)).all()
        assert np.allclose(got, estimator.decision_function(seen), atol=1e-9)


def test_the_strength_is_chosen_by_cross_validation() -> None:
    """Few noisy clips and many features want a strong hand."""
    features, classes = blobs(4, n=60, n_features=100, noise=200)
    settings = Readout(strengths=[1e-6, 1e5])
    folds = fit._folds(classes, None, 5)
    scores, judged = unseen_scores(settings, features.astype(float), classes, folds, (1e-6, 1e5))
    right = [Unseen(some, classes[judged]).n_right for some in scores]
    assert fit_linear(features, classes, None, settings).strength == (1e-6, 1e5)[int(np.argmax(right))]
    for solver in ("ridge", "logistic", "lda"):
        assert fit_linear(features, classes, None, Readout(solver=solver)).strength in STRENGTHS[solver]


@pytest.mark.parametrize("choose_by", ["log_loss", "squared_error"])
def test_the_strength_can_be_chosen_by_a_loss(choose_by: Any) -> None:
    features, classes = blobs(4, n=60, n_features=100, noise=200)
    strengths = (1e1, 1e2, 1e3, 1e4)
    folds = fit._folds(classes, None, 5)
    scores, judged = unseen_scores(Readout(), features.astype(float), classes, folds, strengths)
    unseen = [Unseen(some, classes[judged]) for some in scores]
    losses = [log_loss(some) if choose_by == "log_loss" else some.squared_error for some in unseen]
    chosen = fit_linear(features, classes, None, Readout(choose_by=choose_by, strengths=list(strengths)))
    assert chosen.strength == strengths[int(np.argmin(losses))]
    assert chosen.unseen is not None
    assert (chosen.unseen.scores == unseen[int(np.argmin(losses))].scores).all()


def test_folds_keep_groups_together() -> None:
    classes = np.tile(np.arange(3), 40)
    groups = np.repeat([f"speaker{i}" for i in range(8)], 15)
    folds = fit._folds(classes, groups, 5)
    assert len(folds) == 5
    for train, test in folds:
        assert not set(groups[train]) & set(groups[test])
    assert sorted(np.concatenate([test for _, test in folds]).tolist()) == list(range(120))


def test_two_groups_are_too_few_to_judge_by() -> None:
    """Then folds are stratified: each has its share of every class."""
    classes = np.tile(np.arange(3), 40)
    for train, test in fit._folds(classes, np.repeat(["a", "b"], 60), 5):
        assert np.bincount(classes[test]).tolist() == [8, 8, 8]
        assert len(train) == 96


def test_groups_that_have_a_class_for_themselves_fall_back_to_strata() -> None:
    """A group's fold can be judged only if the others hold every class."""
    classes, groups = np.repeat(np.arange(4), 10), np.repeat(["a", "b", "c", "d"], 10)
    folds = fit._folds(classes, groups, 4)
    assert all(set(classes[train]) == set(classes[test]) == {0, 1, 2, 3} for train, test in folds)


def test_a_class_with_one_clip_cannot_be_cross_validated() -> None:
    with pytest.raises(DataError, match="only one recording"):
        fit_linear(np.zeros((5, 3)), np.array([0, 0, 1, 1, 2]), None, Readout())


def test_rows_are_windows_and_at_the_end_the_length() -> None:
    features = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)
    assert state_features(features, np.array([9, 300]), Readout()).tolist() == [
        [0, 1, 2, 3, 4, 5, 9],
        [6, 7, 8, 9, 10, 11, 255],
    ]
    assert state_features(features, np.array([9, 300]), Readout(length_feature=False)).shape == (2, 6)
