"""Classes heard against classes said: accuracy and its interval, recall, precision, what is taken for what."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Z_95 = 1.959964  # the normal distribution holds 95 % within this many deviations of its mean


@dataclass(frozen=True)
class Share:
    """`right` of `of` recordings."""

    right: int
    of: int

    @property
    def accuracy(self) -> float:
        """In 0 to 1; 0 of none is 0."""
        return self.right / max(self.of, 1)

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % interval of E. B. Wilson (J. Am. Stat. Assoc. 22 (1927) 209), in 0 to 1.

        It takes recordings for independent. Those of one voice are not: what it says of unheard voices is optimistic.
        """
        if not self.of:
            return 0.0, 1.0
        p, n, z2 = self.accuracy, self.of, Z_95**2
        centre, reach = p + z2 / (2 * n), Z_95 * np.sqrt(p * (1 - p) / n + z2 / (4 * n * n))
        low, high = float((centre - reach) / (1 + z2 / n)), float((centre + reach) / (1 + z2 / n))
        return max(min(low, p), 0.0), min(max(high, p), 1.0)  # rounding alone may put an end beyond what was seen


@dataclass(frozen=True)
class Confusion:
    """Two classes, how many recordings there are of both, and how many of them were taken for the other one."""

    first: str
    second: str
    taken: int
    of: int

    @property
    def share(self) -> float:
        """Taken for the other, of both."""
        return self.taken / max(self.of, 1)


@dataclass(frozen=True, eq=False)
class Scores:
    """How a test part was heard."""

    labels: tuple[str, ...]
    confusion: NDArray[np.int64]  # (classes, classes): of class `row`, taken for class `column`
    groups: dict[str, Share]  # speakers or subjects; empty if recordings have none
    answered: Share  # those about which the model says something; a model that does not reject speaks about all

    @property
    def total(self) -> Share:
        """All recordings."""
        return Share(int(np.trace(self.confusion)), int(self.confusion.sum()))

    @property
    def rejected(self) -> int:
        """Recordings about which the model would not say anything."""
        return self.total.of - self.answered.of

    @property
    def recall(self) -> list[Share]:
        """Of each class's recordings, those that were recognised."""
        return [Share(int(row[i]), int(row.sum())) for i, row in enumerate(self.confusion)]

    @property
    def precision(self) -> list[Share]:
        """Of the recordings that were taken for each class, those that are of it."""
        return [Share(int(self.confusion[i, i]), int(self.confusion[:, i].sum())) for i in range(len(self.labels))]

    @property
    def confused(self) -> list[Confusion]:
        """Pairs of classes of which at least one recording was taken for the other; the worst first."""
        pairs = [
            Confusion(
                self.labels[i],
                self.labels[j],
                int(self.confusion[i, j] + self.confusion[j, i]),
                int(self.confusion[[i, j]].sum()),
            )
            for i in range(len(self.labels))
            for j in range(i)
        ]
        return sorted((pair for pair in pairs if pair.taken), key=lambda pair: (-pair.share, pair.first, pair.second))


def score(
    labels: Sequence[str],
    said: NDArray[np.int64],
    heard: NDArray[np.int64],
    groups: Sequence[str | None],
    rejected: NDArray[np.bool_] | None = None,
) -> Scores:
    """Classes said, and those with the highest score, shape (recordings,) each, as indices into `labels`.

    `rejected` says which of them the model would keep to itself; all else is about the highest scores, as `train` is.
    """
    confusion = np.zeros((len(labels), len(labels)), np.int64)
    np.add.at(confusion, (said, heard), 1)
    right = said == heard
    by_group: dict[str, Share] = {}
    if None not in groups:
        of = np.array(groups)
        by_group = {str(name): Share(int(right[of == name].sum()), int((of == name).sum())) for name in np.unique(of)}
    answered = np.ones(len(said), bool) if rejected is None else ~rejected
    return Scores(tuple(labels), confusion, by_group, Share(int((right & answered).sum()), int(answered.sum())))
