"""How far scores can be believed: calibrated against draws whose probabilities are known."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from lsm_edge.learn.confidence import Unseen, calibration_error, log_loss, margins, reject_margin, temperature


def drawn(sharpness: float, n: int = 4_000) -> Unseen:
    """Classes drawn from the softmax of the scores times `sharpness`."""
    rng = np.random.default_rng(1)
    scores = rng.normal(size=(n, 4))
    odds = np.exp(sharpness * scores)
    classes = (rng.random((n, 1)) > np.cumsum(odds, axis=1) / odds.sum(axis=1, keepdims=True)).sum(axis=1)
    return Unseen(scores, np.minimum(classes, 3))


@pytest.mark.parametrize("sharpness", [0.1, 1.0, 8.0])
def test_the_temperature_is_found(sharpness: float) -> None:
    unseen = drawn(sharpness)
    assert 1 / temperature(unseen) == pytest.approx(sharpness, rel=0.1, abs=0.05)
    scaled = Unseen(1000 * unseen.scores, unseen.classes)
    assert temperature(scaled) == pytest.approx(1000 * temperature(unseen), rel=1e-6)
    assert log_loss(scaled) == pytest.approx(log_loss(unseen), rel=1e-6)


def test_the_calibration_error_is_how_far_confidences_are_from_the_truth() -> None:
    right = np.array([True, True, True, False])
    assert calibration_error(np.full(4, 0.75), right) == 0
    assert calibration_error(np.ones(4), right) == 0.25
    assert calibration_error(np.array([0.95, 0.95, 0.95, 0.05]), right) == pytest.approx(0.05)
    assert calibration_error(np.zeros(0), np.zeros(0, bool)) == 0


def test_log_loss_is_least_where_scores_tell_most() -> None:
    assert log_loss(drawn(8.0)) < log_loss(drawn(1.0)) < log_loss(drawn(0.1)) <= np.log(4)


def test_squared_error() -> None:
    assert Unseen(np.array([[1.0, -1.0], [0.0, 0.0]]), np.array([0, 1])).squared_error == 0.5


def test_margins() -> None:
    assert margins(np.array([[3, 9, 4], [2, 2, 1]])).tolist() == [5, 0]
    assert margins(np.array([[3], [-9]])).tolist() == [0, 0]


@given(arrays(np.int8, st.tuples(st.integers(1, 60), st.just(3))), st.sampled_from([0.01, 0.1, 0.5]), st.data())
def test_accepted_answers_are_wrong_as_seldom_as_wanted(
    scores: NDArray[np.int8], error: float, data: st.DataObject
) -> None:
    """Whoever leads by the margin; of those with the very lead at which it was cut, all are accepted."""
    classes = data.draw(arrays(np.int64, len(scores), elements=st.integers(0, 2)))
    unseen = Unseen(scores.astype(float), classes)
    accepted = margins(scores) >= reject_margin(unseen, error)
    wrong = scores.argmax(axis=1) != classes
    assert wrong[accepted].sum() <= error * accepted.sum()
    for lead in np.unique(margins(scores)):
        looser = margins(scores) >= lead
        assert wrong[looser].sum() > error * looser.sum() or looser.sum() <= accepted.sum()
