"""dataset/split.py: who trains and who tests."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lsm_edge.config import Dataset
from lsm_edge.dataset import Clip, Fold, Recordings, split_recordings
from lsm_edge.errors import ConfigError, DataError

SILENCE = np.zeros(1, dtype=np.int16)


def recordings(*rows: str) -> Recordings:
    """Each row is `label group part`, a dash for none; the path is made of them."""
    clips = []
    for i, row in enumerate(rows):
        label, group, part = ((*row.split(), "-", "-"))[:3]
        path = f"{label}/{group}_{part}_{i}.wav"
        clips.append(Clip(SILENCE, label, None if group == "-" else group, path, None if part == "-" else part))
    return Recordings(tuple(clips), tuple(sorted({clip.label for clip in clips})))


def split(data: Recordings, seed: int = 0, **settings: Any) -> tuple[Fold, ...]:
    index = {"split_column": "part"} if settings["kind"] == "column" else None
    return split_recordings(data, Dataset.model_validate({"path": "x", "index": index, "split": settings}), seed)


MIXED = recordings(
    *("yes anna train", "yes anna train", "yes bert test", "yes bert valid"),
    *("no anna train", "no anna train", "no bert test", "no bert valid"),
)


def test_pattern() -> None:
    (fold,) = split(MIXED, kind="pattern", test="bert_")
    assert fold.name == "pattern"
    assert fold.train.tolist() == [0, 1, 4, 5]
    assert fold.test.tolist() == [2, 3, 6, 7]
    assert fold.train.dtype == fold.test.dtype == np.int64


def test_column_with_and_without_the_train_values() -> None:
    (fold,) = split(MIXED, kind="column")
    assert fold.test.tolist() == [2, 6]
    assert fold.train.tolist() == [0, 1, 3, 4, 5, 7]
    (fold,) = split(MIXED, kind="column", test=["test", "valid"], train=["train"])
    assert fold.test.tolist() == [2, 3, 6, 7]
    (fold,) = split(MIXED, kind="column", train=["train"])
    assert sorted([*fold.train, *fold.test]) == [0, 1, 2, 4, 5, 6]


def test_column_values_must_occur_and_be_on_one_side() -> None:
    with pytest.raises(DataError, match="has 'tset' in its split_column; there are: 'test', 'train', 'valid'"):
        split(MIXED, kind="column", test=["tset"])
    with pytest.raises(DataError, match="no recording has 'tarin'"):
        split(MIXED, kind="column", train=["tarin"])
    with pytest.raises(ConfigError, match=r"dataset\.split: test is in both train and test"):
        split(MIXED, kind="column", train=["train", "test"])


def test_leave_one_group_out_has_a_fold_for_each_group_in_natural_order() -> None:
    data = recordings(*(f"{word} s{i}" for i in (10, 9, 2) for word in ("yes", "no")))
    folds = split(data, kind="leave-one-group-out")
    assert [fold.name for fold in folds] == ["s2", "s9", "s10"]
    assert [fold.test.tolist() for fold in folds] == [[4, 5], [2, 3], [0, 1]]
    for fold in folds:
        assert sorted([*fold.train, *fold.test]) == list(range(6))


def test_leave_one_group_out_needs_groups() -> None:
    with pytest.raises(DataError, match=r"every recording, no/-_-_1\.wav has none; name it in dataset\.pattern"):
        split(recordings("yes anna", "no"), kind="leave-one-group-out")
    with pytest.raises(DataError, match="needs at least 2 groups; there is only 'anna'"):
        split(recordings("yes anna", "no anna"), kind="leave-one-group-out")


@given(
    counts=st.lists(st.integers(3, 20), min_size=2, max_size=5),
    share=st.floats(0.01, 0.99),
    seed=st.integers(0, 2**32 - 1),
)
def test_random_is_stratified_and_leaves_every_class_on_both_sides(counts: list[int], share: float, seed: int) -> None:
    data = recordings(*(f"c{label}" for label, count in enumerate(counts) for _ in range(count)))
    (fold,) = split(data, seed, kind="random", test_share=share)
    assert sorted([*fold.train, *fold.test]) == list(range(len(data)))
    tested = np.bincount(data.targets[fold.test], minlength=len(counts))
    for count, n_test in zip(counts, tested, strict=True):
        assert 1 <= n_test <= count - 2
        assert abs(n_test - share * count) <= 0.5 or n_test in (1, count - 2)
    (again,) = split(data, seed, kind="random", test_share=share)
    assert np.array_equal(fold.test, again.test)


def test_random_draw_is_pinned() -> None:
    """The same seed means the same recordings in every release of NumPy and on every machine."""
    data = recordings(*["a"] * 10, *["b"] * 10)
    draws = [split(data, seed, kind="random", test_share=0.3)[0].test.tolist() for seed in (1, 2)]
    assert draws[0] == [2, 4, 9, 16, 18, 19]
    assert draws[1] != draws[0]


@pytest.mark.parametrize(
    ("rows", "settings", "why"),
    [
        (
            ["a", "a", "b", "b"],
            {"kind": "pattern", "test": "z"},
            r"\(pattern\): none of the 4 .* is in the test part",
        ),
        (["a", "a", "b", "b"], {"kind": "pattern", "test": "."}, "none of the 4 recordings is in the train part"),
        (
            ["a", "a", "b", "b"],
            {"kind": "pattern", "test": "^b"},
            "class 'b' is in the test part but not",
        ),
        (["a", "a", "b", "b"], {"kind": "pattern", "test": "_3"}, r"class 'b' has 1 recording\(s\) in the train part"),
        (
            ["a x train", "a x train", "b x skip", "a x test"],
            {"kind": "column", "train": ["train"]},
            r"class 'b' has 0 recording\(s\) in the train part; allowed: 2 or more",
        ),
        (["a", "a", "a", "b"], {"kind": "random"}, "class 'b' is in the test part but not"),
        (["a", "a", "a", "b", "b"], {"kind": "random"}, r"class 'b' has 1 recording\(s\) in the train part"),
        (
            ["a x", "a x", "a y", "a y", "b y"],
            {"kind": "leave-one-group-out"},
            r"\(leave-one-group-out\), fold 'x': class 'b' has 1 recording",
        ),
    ],
)
def test_folds_that_cannot_be_trained_or_tested(rows: list[str], settings: dict[str, Any], why: str) -> None:
    with pytest.raises(DataError, match=rf"^dataset\.split .*{why}"):
        split(recordings(*rows), **settings)
