"""How far a readout's scores can be believed, judged on training recordings that it was not fitted on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Unseen:
    """Training recordings as readouts score them that were fitted without them."""

    scores: Floats  # (clips, classes)
    classes: NDArray[np.int64]  # (clips,), the true ones

    @property
    def n_right(self) -> int:
        """How many of them the highest score names."""
        return int((self.scores.argmax(axis=1) == self.classes).sum())

    @property
    def squared_error(self) -> float:
        """Mean over clips and classes of how far scores are from 1 for the true class and -1 for all others."""
        targets = 2.0 * (self.classes[:, None] == np.arange(self.scores.shape[1])) - 1
        return float(((self.scores - targets) ** 2).mean())


def margins(scores: NDArray[np.generic]) -> Floats:
    """By how much the highest score leads the second, shape (clips,); one class alone leads by nothing."""
    ranked = np.sort(np.asarray(scores, np.float64), axis=1)
    return np.asarray(ranked[:, -1] - ranked[:, -2]) if ranked.shape[1] > 1 else np.zeros(len(ranked))


def temperature(unseen: Unseen) -> float:
    """What to divide scores by so that their softmax is as likely as can be: then it is a calibrated probability.

    The log loss is convex in 1 / temperature, so the sign of its slope is followed.
    """
    low, high = -30.0, 30.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (low, middle) if _slope(unseen, float(np.exp(middle))) > 0 else (middle, high)
    return float(np.exp(-(low + high) / 2))


def calibration_error(confidence: Floats, right: NDArray[np.bool_]) -> float:
    """How far confidences (clips,) are from the share that was right, on average over ten bins of confidence.

    The expected calibration error of Guo et al. (ICML 2017).
    """
    bins = np.minimum((10 * confidence).astype(np.int64), 9)
    sums = [np.bincount(bins, weights, minlength=10) for weights in (confidence, right.astype(np.float64))]
    return float(np.abs(sums[0] - sums[1]).sum() / max(len(confidence), 1))


def log_loss(unseen: Unseen) -> float:
    """Mean negative log-likelihood of the true classes at the best temperature: comparable between all solvers."""
    scaled = unseen.scores / temperature(unseen)
    scaled = scaled - scaled.max(axis=1, keepdims=True)
    true = scaled[np.arange(len(scaled)), unseen.classes]
    return float((np.log(np.exp(scaled).sum(axis=1)) - true).mean())


def _slope(unseen: Unseen, sharpness: float) -> float:
    """Of the log loss over `sharpness`, which is 1 / temperature."""
    scaled = sharpness * (unseen.scores - unseen.scores.max(axis=1, keepdims=True))
    odds = np.exp(scaled)
    expected = (odds * unseen.scores).sum(axis=1) / odds.sum(axis=1)
    return float((expected - unseen.scores[np.arange(len(scaled)), unseen.classes]).mean())


def reject_margin(unseen: Unseen, error: float) -> float:
    """The least lead at which answers are accepted so that at most a share `error` of those is wrong.

    Just above the highest lead there is, if even that answer was wrong.
    """
    lead = margins(unseen.scores)
    order = np.argsort(-lead, kind="stable")
    ranked = lead[order]
    wrong = np.cumsum(unseen.scores.argmax(axis=1)[order] != unseen.classes[order])
    is_last = np.append(ranked[1:] < ranked[:-1], True)  # those with the same lead are accepted together
    good = np.flatnonzero(is_last & (wrong <= error * np.arange(1, len(order) + 1)))
    return float(ranked[good[-1]] if len(good) else np.nextafter(ranked[0], np.inf))
