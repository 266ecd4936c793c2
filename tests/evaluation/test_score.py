"""Accuracy, its interval, recall, precision, confusion."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import brentq
from scipy.stats import norm
from sklearn.metrics import confusion_matrix, precision_score, recall_score

from lsm_edge.evaluation.score import Share, score

LABELS = ("a", "b", "c")
SAID = np.array([0, 0, 0, 1, 1, 2, 2, 2])
HEARD = np.array([0, 1, 1, 1, 0, 2, 2, 2])


def test_it_agrees_with_scikit_learn() -> None:
    scores = score(LABELS, SAID, HEARD, [None] * 8)
    assert np.array_equal(scores.confusion, confusion_matrix(SAID, HEARD))
    assert [share.accuracy for share in scores.recall] == pytest.approx(recall_score(SAID, HEARD, average=None))
    assert [share.accuracy for share in scores.precision] == pytest.approx(precision_score(SAID, HEARD, average=None))
    assert scores.total == Share(5, 8)
    assert scores.rejected == 0
    assert scores.groups == {}


def test_what_is_rejected_is_counted_apart() -> None:
    scores = score(LABELS, SAID, HEARD, [None] * 8, SAID == 0)
    assert scores.rejected == 3
    assert scores.total == Share(5, 8)
    assert scores.answered == Share(4, 5)
    assert score(LABELS, SAID, HEARD, [None] * 8).answered == Share(5, 8)


def test_confused_pairs_come_worst_first_and_count_both_ways() -> None:
    (pair,) = score(LABELS, SAID, HEARD, [None] * 8).confused
    assert {pair.first, pair.second} == {"a", "b"}
    assert (pair.taken, pair.of, pair.share) == (3, 5, 0.6)


def test_groups() -> None:
    scores = score(LABELS, SAID, HEARD, ["eve", "eve", "eve", "eve", "bob", "bob", "bob", "bob"])
    assert scores.groups == {"bob": Share(3, 4), "eve": Share(2, 4)}
    assert score(LABELS, SAID, HEARD, ["eve"] * 7 + [None]).groups == {}


@given(st.integers(1, 500).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_the_interval_is_where_the_truth_would_not_be_refused(share: tuple[int, int]) -> None:
    """Wilson's interval inverts the score test: its ends lie 1.96 of their own deviations from what was seen."""
    right, of = share
    seen = right / of
    low, high = Share(right, of).interval
    assert 0 <= low <= seen <= high <= 1
    z = norm.ppf(0.975)

    def away(p: float) -> float:
        return float(abs(seen - p) - z * np.sqrt(p * (1 - p) / of))

    if 0 < right < of:
        assert low == pytest.approx(brentq(away, 1e-12, seen), abs=1e-5)
        assert high == pytest.approx(brentq(away, seen, 1 - 1e-12), abs=1e-5)


def test_of_none_anything_is_possible() -> None:
    assert Share(0, 0).interval == (0.0, 1.0)
