"""The readout: what scikit-learn would fit, chosen on people it was not fitted on, and as integers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from models import small_model
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression, RidgeClassifier
from sklearn.model_selection import GroupKFold, StratifiedKFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from lsm_edge.config import Readout
from lsm_edge.errors import DataError
from lsm_edge.learn import fit
from lsm_edge.learn.fit import Linear, fit_linear, quantise, state_features
from lsm_edge.stages import readout

Blobs = tuple[NDArray[np.uint8], NDArray[np.int64]]


def blobs(n_classes: int, n: int = 240, n_features: int = 30, seed: int = 1, noise: float = 60) -> Blobs:
    """Bytes around a centre for each class; the last feature never moves."""
    rng = np.random.default_rng(seed)
    centres = rng.uniform(60, 190, (n_classes, n_features))
    classes = np.arange(n) % n_classes
    features = np.clip(centres[classes] + rng.normal(0, noise, (n, n_features)), 0, 255).astype(np.uint8)
    features[:, -1] = 7
    return features, classes.astype(np.int64)


@pytest.mark.parametrize("n_classes", [2, 3, 8])
@pytest.mark.parametrize("solver", ["ridge", "logistic"])
def test_it_agrees_with_plain_scikit_learn(n_classes: int, solver: Any) -> None:
    features, classes = blobs(n_classes)
    linear = fit_linear(features, classes, None, Readout(solver=solver, strengths=[100.0]))
    plain = RidgeClassifier(alpha=100.0) if solver == "ridge" else LogisticRegression(C=0.01, max_iter=2000, tol=1e-6)
    pipeline = make_pipeline(StandardScaler(), plain).fit(features, classes)
    fresh, _ = blobs(n_classes, seed=1, noise=90)
    assert linear.weights.shape == (n_classes, 30)
    assert (linear.predict(fresh) == pipeline.predict(fresh)).all()
    scores = fresh @ linear.weights.T + linear.bias
    if n_classes == 2:
        scores = scores[:, 1]
    assert np.allclose(scores, pipeline.decision_function(fresh), atol=1e-6)


@pytest.mark.parametrize("n_classes", [2, 5])
@pytest.mark.parametrize("grouped", [False, True])
def test_the_ridge_path_is_cross_validation(n_classes: int, grouped: bool) -> None:
    """One eigendecomposition a fold says of every strength what fitting it anew would."""
    features, classes = blobs(n_classes, n_features=40, noise=150)
    groups = np.arange(len(classes)) // 24 if grouped else None
    folds = fit._folds(classes, groups, 5)
    strengths = (1.0, 30.0, 1e3, 1e5)
    got = fit._ridge_path_scores(features.astype(float), classes, folds, strengths)
    splitter = GroupKFold(5) if grouped else StratifiedKFold(5, shuffle=True, random_state=0)
    for correct, strength in zip(got, strengths, strict=True):
        pipeline = make_pipeline(StandardScaler(), RidgeClassifier(alpha=strength))
        accuracy = cross_val_score(pipeline, features, classes, cv=splitter, groups=groups)
        sizes = [len(test) for _, test in folds]
        assert abs(correct - accuracy @ np.array(sizes)) <= 1


def test_the_strength_is_chosen_by_cross_validation() -> None:
    """Few noisy clips and many features want a strong hand."""
    features, classes = blobs(4, n=60, n_features=100, noise=200)
    settings = Readout(strengths=[1e-6, 1e5])
    folds = fit._folds(classes, None, 5)
    scores = fit._ridge_path_scores(features.astype(float), classes, folds, (1e-6, 1e5))
    assert fit_linear(features, classes, None, settings).strength == settings.strengths[int(np.argmax(scores))]
    assert fit_linear(features, classes, None, Readout()).strength in fit.RIDGE_STRENGTHS
    assert fit_linear(features, classes, None, Readout(solver="logistic")).strength in fit.LOGISTIC_STRENGTHS


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


@pytest.mark.parametrize("length", [False, True])
@pytest.mark.parametrize("n_classes", [2, 5])
def test_quantised_scores_are_the_scaled_ones(n_classes: int, length: bool) -> None:
    """One scale for all classes, weights within half a unit: whoever leads by more than rounding, leads."""
    labels = [f"class {i}" for i in range(n_classes)]
    model = small_model(labels=labels, readout={"n_windows": 2, "length_feature": length})
    rng = np.random.default_rng(1)
    linear = Linear(rng.normal(size=(n_classes, 40 + length)), 50 * rng.normal(size=n_classes), 1.0)
    quantised = quantise(model, linear)
    assert np.abs(quantised["readout_weight"].astype(int)).max() == 127
    scale = 127 / np.abs(linear.weights[:, :40]).max()
    features, lengths = rng.integers(0, 256, (200, 2, 20)), rng.integers(1, 400, 200)
    rows = features.reshape(200, 40)
    rows = np.column_stack([rows, np.minimum(lengths, 255)]) if length else rows
    exact = (rows @ linear.weights.T + linear.bias) * scale
    scores = readout.scores_of(quantised, features, lengths)[:, -1]
    slack = 0.5 * rows.sum(axis=1) + 0.5
    assert (np.abs(scores - exact) <= slack[:, None]).all()
    ranked = np.sort(exact, axis=1)
    clear = ranked[:, -1] - ranked[:, -2] > 2 * slack
    assert (scores.argmax(axis=1) == exact.argmax(axis=1))[clear].all()
    assert (scores.argmax(axis=1) == exact.argmax(axis=1)).mean() > 0.95


def test_a_readout_of_nothing_stays_nothing() -> None:
    model = small_model(readout={"length_feature": False})
    quantised = quantise(model, Linear(np.zeros((3, 60)), np.zeros(3), 1.0))
    assert not quantised["readout_weight"].any()
    assert not quantised["bias"].any()


def test_what_does_not_fit_is_cut() -> None:
    model = small_model()
    linear = Linear(np.full((3, 61), 1e-9), np.array([1e9, -1e9, 0]), 1.0)
    linear.weights[0, -1], linear.weights[1, -1] = 1e9, -1e9
    quantised = quantise(model, linear)
    assert quantised["bias"].tolist() == [2**30, -(2**30), 0]
    assert quantised["length_weight"].tolist()[:2] == [32767, -32767]
