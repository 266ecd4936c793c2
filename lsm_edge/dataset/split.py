"""Recordings -> folds: which of them train, which of them test.

Every fold that leaves here can be trained and tested: neither part is empty, every class has at least two recordings
to train on, and the test part holds no class that was never trained.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from lsm_edge.config import ColumnSplit, Dataset, GroupSplit, PatternSplit, RandomSplit
from lsm_edge.dataset.recordings import Recordings, natural_order
from lsm_edge.errors import ConfigError, DataError

_MIN_TRAIN: Final = 2

Mask = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Fold:
    """Indices into `Recordings.clips`, rising; no clip is in both parts."""

    name: str
    train: NDArray[np.int64]
    test: NDArray[np.int64]


def split_recordings(recordings: Recordings, config: Dataset, seed: int) -> tuple[Fold, ...]:
    """One fold, named after the kind of split, or one for each group, named after the group.

    Raises:
        ConfigError: a value of the split column is both train and test.
        DataError: a part would be empty or miss a class, or the recordings lack what the split needs.
    """
    match config.split:
        case PatternSplit(test=pattern):
            test = np.array([re.search(pattern, clip.path) is not None for clip in recordings.clips])
            folds = [_fold("pattern", ~test, test)]
        case ColumnSplit() as split:
            folds = [_by_column(recordings, split)]
        case GroupSplit():
            folds = _leave_one_group_out(recordings)
        case RandomSplit(test_share=share):
            test = _drawn(recordings, share, seed)
            folds = [_fold("random", ~test, test)]
    for fold in folds:
        _check(recordings, fold, config.split.kind)
    return tuple(folds)


def _fold(name: str, train: Mask, test: Mask) -> Fold:
    return Fold(name, np.flatnonzero(train).astype(np.int64), np.flatnonzero(test).astype(np.int64))


def _by_column(recordings: Recordings, split: ColumnSplit) -> Fold:
    parts = [clip.part or "" for clip in recordings.clips]
    train_values = split.train if split.train is not None else sorted(set(parts) - set(split.test))
    both = sorted(set(train_values) & set(split.test))
    if both:
        raise ConfigError(f"dataset.split: {', '.join(both)} is in both train and test")
    for value in (*split.test, *train_values):
        if value not in parts:
            known = ", ".join(repr(part) for part in sorted(set(parts)))
            raise DataError(f"dataset.split: no recording has {value!r} in its split_column; there are: {known}")
    return _fold("column", np.isin(parts, train_values), np.isin(parts, split.test))


def _leave_one_group_out(recordings: Recordings) -> list[Fold]:
    for clip in recordings.clips:
        if clip.group is None:
            raise DataError(
                f"dataset.split: leave-one-group-out needs to know the group of every recording, {clip.path} has none; "
                "name it in dataset.pattern (?P<group>...) or dataset.index.group_column"
            )
    names = sorted(set(filter(None, recordings.groups)), key=natural_order)
    if len(names) < 2:
        raise DataError(f"dataset.split: leave-one-group-out needs at least 2 groups; there is only {names[0]!r}")
    groups = np.array(recordings.groups, dtype=object)
    return [_fold(name, groups != name, groups == name) for name in names]


def _drawn(recordings: Recordings, share: float, seed: int) -> Mask:
    """About `share` of each class, at least one; `_MIN_TRAIN` are left, if there are so many."""
    # The raw stream of a bit generator never changes; the methods of numpy.random.Generator may (NEP 19).
    lots = np.random.PCG64(seed).random_raw(len(recordings))
    test = np.zeros(len(recordings), dtype=np.bool_)
    for target in range(len(recordings.labels)):
        members = np.flatnonzero(recordings.targets == target)
        n_test = max(1, min(int(share * members.size + 0.5), members.size - _MIN_TRAIN))
        test[members[np.argsort(lots[members], kind="stable")[:n_test]]] = True
    return test


def _check(recordings: Recordings, fold: Fold, kind: str) -> None:
    where = f"dataset.split ({kind})" + (f", fold {fold.name!r}" if kind == "leave-one-group-out" else "")
    for part, members in (("train", fold.train), ("test", fold.test)):
        if not members.size:
            raise DataError(f"{where}: none of the {len(recordings)} recordings is in the {part} part")
    n_classes = len(recordings.labels)
    n_train = np.bincount(recordings.targets[fold.train], minlength=n_classes)
    n_test = np.bincount(recordings.targets[fold.test], minlength=n_classes)
    for label, trained, tested in zip(recordings.labels, n_train, n_test, strict=True):
        if trained == 0 and tested:
            raise DataError(f"{where}: class {label!r} is in the test part but not in the train part")
        if trained < _MIN_TRAIN:
            raise DataError(
                f"{where}: class {label!r} has {trained} recording(s) in the train part; allowed: {_MIN_TRAIN} or more"
            )
