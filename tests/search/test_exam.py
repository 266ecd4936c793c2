"""Exams: who is left out when, and marks that are honest and right."""

from __future__ import annotations

from itertools import combinations, pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lsm_edge.dataset import Fold
from lsm_edge.errors import DataError
from lsm_edge.search.exam import (
    MOST_BLOCKS,
    accuracy_of,
    inner_accuracy,
    is_clearly_poorer,
    make_plan,
)


class Few:
    """Recordings: groups and classes only."""

    def __init__(self, groups: list[str | None], classes: list[int]) -> None:
        self.groups, self.targets, self.labels = tuple(groups), np.array(classes), ("a", "b", "c")

    def __len__(self) -> int:
        return len(self.targets)


def grouped(n_groups: int, per_group: int = 4) -> Any:
    names: list[str | None] = [f"g{i:02d}" for i in range(n_groups) for _ in range(per_group)]
    return Few(names, [i % 2 for i in range(len(names))])


def folds_of(few: Any) -> list[Fold]:
    names = sorted(set(few.groups))
    groups = np.array(few.groups)
    return [Fold(name, np.flatnonzero(groups != name), np.flatnonzero(groups == name)) for name in names]


@pytest.mark.parametrize("n_groups", range(3, 15))
def test_nested_plan(n_groups: int) -> None:
    """Every pair of blocks is left out once; a round has no block twice, the first has all if they are even."""
    few = grouped(n_groups)
    plan = make_plan(few, folds_of(few), 0)
    n = len(plan.blocks)
    assert n == min(n_groups, MOST_BLOCKS)
    assert plan.is_nested
    exams = [exam for exams in plan.rounds for exam in exams]
    assert sorted(exams) == list(combinations(range(n), 2))
    assert plan.n_exams == n * (n - 1) // 2
    for exams in plan.rounds:
        named = [block for exam in exams for block in exam]
        assert len(named) == len(set(named)) == n - n % 2
    assert sorted(np.concatenate(plan.blocks).tolist()) == list(range(len(few)))
    groups = np.array(few.groups)
    assert all(
        set(groups[a]).isdisjoint(groups[b]) for a, b in combinations([block.tolist() for block in plan.blocks], 2)
    )
    sizes = [len(block) for block in plan.blocks]
    assert max(sizes) - min(sizes) <= 4


def test_plan_inside_one_training_part() -> None:
    """Blocks never hold a recording of the test part; each is left out once."""
    few = grouped(8)
    fold = Fold("pattern", np.arange(24), np.arange(24, 32))
    plan = make_plan(few, [fold], 0)
    assert not plan.is_nested
    assert sorted(np.concatenate(plan.blocks).tolist()) == list(range(24))
    assert [exam for exams in plan.rounds for exam in exams] == [(block,) for block in range(6)]
    assert set(plan.without((2,))).isdisjoint(plan.blocks[2])


def test_plan_without_groups() -> None:
    """Every block holds about the same share of every class."""
    few = Few([None] * 31, [0] * 16 + [1] * 15)
    plan = make_plan(few, [Fold("random", np.arange(31), np.array([], int))], 5)
    assert len(plan.blocks) == MOST_BLOCKS
    for block in plan.blocks:
        assert 2 <= few.targets[block].sum() <= 3


def test_too_little_to_leave_out() -> None:
    few = grouped(2)
    with pytest.raises(DataError, match="needs 3 groups; there are 2"):
        make_plan(few, folds_of(few), 0)
    lone = Few(["x", "x", "y", "y", "z", "z"], [0, 0, 0, 0, 1, 1])
    with pytest.raises(DataError, match="class 'b' is in so few groups"):
        make_plan(lone, [Fold("pattern", np.arange(6), np.array([], int))], 0)
    with pytest.raises(DataError, match="only one recording"):
        make_plan(Few([None] * 3, [0, 0, 1]), [Fold("random", np.arange(3), np.array([], int))], 0)


def test_inner_marks_never_saw_the_outer_block() -> None:
    """Changing what a block was marked with, or what was fitted on it, changes nothing for that outer fold."""
    rng = np.random.default_rng(1)
    marks = {pair: rng.uniform(size=(2, 3)) for pair in combinations(range(4), 2)}
    for outer in range(4):
        before = inner_accuracy(marks, outer)
        touched = {pair: blocks.copy() for pair, blocks in marks.items()}
        for pair, blocks in touched.items():
            if outer in pair:
                blocks[pair.index(outer)] = 1.0  # its own marks
            else:
                blocks[:] = 0.0  # fits that it trained
        assert inner_accuracy(touched, outer) == before


def test_accuracy_takes_one_strength_for_all() -> None:
    marks = {(0, 1): np.array([[0.9, 0.5], [0.1, 0.6]]), (1, 2): np.array([[0.5, 0.6], [0.5, 0.6]])}
    assert accuracy_of(marks) == (pytest.approx(0.575), 1)


@given(st.integers(0, 2**32 - 1), st.floats(-0.2, 0.2))
def test_clearly_poorer(seed: int, shift: float) -> None:
    """Nothing is poorer than itself or than what is about as good; a large constant difference is clear."""
    rng = np.random.default_rng(seed)
    rival = {pair: rng.uniform(0.5, 0.9, (2, 1)) for pair in ((0, 1), (2, 3), (4, 5), (0, 2))}
    first = list(rival)[:3]
    mine = {pair: rival[pair] + shift for pair in first}
    assert is_clearly_poorer(mine, rival) == (shift < -0.01)


def test_rounds_are_as_long_as_they_say() -> None:
    few = grouped(5)
    plan = make_plan(few, [Fold("pattern", np.arange(20), np.array([], int))], 0)
    assert [len(exams) for exams in plan.rounds] == [2, 2, 1]
    assert all(a < b for a, b in pairwise(exam[0] for exams in plan.rounds for exam in exams))
