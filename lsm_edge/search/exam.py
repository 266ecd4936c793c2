"""Cross-validation inside the training part: which recordings are left out when, and how well the others then do.

Recordings are merged by group into at most six *blocks*. With a test part of its own (one fold), each exam leaves one
block out and is marked on it. With leave-one-group-out every block is also an outer test part: an exam leaves out two,
{a, b}, and is marked on both; the mark on a is an inner mark for the outer fold b, and the other way round. Fifteen
exams so serve all six outer folds, and no mark that is used to choose for an outer fold has seen that fold's block.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray
from sklearn.preprocessing import StandardScaler

from lsm_edge.config import Config
from lsm_edge.dataset import Fold, Recordings
from lsm_edge.errors import DataError
from lsm_edge.learn.draw import Draw
from lsm_edge.learn.fit import fit_linear
from lsm_edge.learn.liquid import Liquid
from lsm_edge.learn.solvers import ridge_scores
from lsm_edge.learn.trainer import Trainer

MOST_BLOCKS: Final = 6
CALIBRATION_SEGMENTS: Final = 64
UNIT_STEP_OCTAVES: Final = 0.25
# One decade apart: the mean mark is flat in the strength, and each costs a solution.
STRENGTHS: Final = (10.0, 100.0, 1000.0, 10000.0)

Floats = NDArray[np.float64]
Part = NDArray[np.int64]
LeftOut = tuple[int, ...]  # blocks, rising
Marks = dict[LeftOut, Floats]  # accuracies (blocks left out, strengths)


@dataclass(frozen=True, eq=False)
class Plan:
    """Blocks of recordings, by index, and the exams in the order in which they are taken.

    `rounds` hold few exams each; the first of them covers all blocks if exams leave out two.
    """

    blocks: tuple[Part, ...]
    rounds: tuple[tuple[LeftOut, ...], ...]
    is_nested: bool

    @cached_property
    def n_exams(self) -> int:
        """Of a trial that is not stopped early."""
        return sum(map(len, self.rounds))

    def without(self, left_out: LeftOut) -> Part:
        """The recordings of all other blocks, rising."""
        kept = [block for i, block in enumerate(self.blocks) if i not in left_out]
        return np.sort(np.concatenate(kept))


def make_plan(recordings: Recordings, folds: Sequence[Fold], seed: int) -> Plan:
    """Blocks and exams for the training part: of the only fold, or of all folds of leave-one-group-out.

    Raises:
        DataError: there are too few groups, or too few recordings of a class, to leave any out.
    """
    is_nested = len(folds) > 1
    part = np.arange(len(recordings)) if is_nested else folds[0].train
    groups = np.array([recordings.groups[i] or "" for i in part])
    n_groups = len(set(groups.tolist()))
    if is_nested and n_groups < 3:
        raise DataError(f"search: leave-one-group-out inside leave-one-group-out needs 3 groups; there are {n_groups}")
    if n_groups >= 3 and all(groups):
        blocks = _merged(part, groups)
    else:
        blocks = _stratified(part, recordings.targets[part], seed)
    n = len(blocks)
    rounds = _tournament(n) if is_nested else tuple(((a,), (a + 1,))[: n - a] for a in range(0, n, 2))
    plan = Plan(blocks, rounds, is_nested)
    for left_out in (exam for exams in rounds for exam in exams):
        missing = set(recordings.targets.tolist()) - set(recordings.targets[plan.without(left_out)].tolist())
        if missing:
            label = recordings.labels[min(missing)]
            raise DataError(
                f"search: class {label!r} is in so few groups that nothing of it is left when some are left out; "
                "record it with more groups, or take split: random"
            )
    return plan


def _merged(part: Part, groups: NDArray[np.str_]) -> tuple[Part, ...]:
    """Groups into blocks of about the same number of recordings: largest first, each to the smallest block so far."""
    names, counts = np.unique(groups, return_counts=True)
    n_blocks = min(MOST_BLOCKS, len(names))
    members: list[list[str]] = [[] for _ in range(n_blocks)]
    sizes = [0] * n_blocks
    for i in np.argsort(-counts, kind="stable").tolist():
        smallest = int(np.argmin(sizes))
        members[smallest].append(str(names[i]))
        sizes[smallest] += int(counts[i])
    return tuple(part[np.isin(groups, names_)] for names_ in members)


def _stratified(part: Part, targets: Part, seed: int) -> tuple[Part, ...]:
    """Blocks that each hold about the same share of every class."""
    fewest = int(np.bincount(targets).min(initial=len(part), where=np.bincount(targets) > 0))
    n_blocks = min(MOST_BLOCKS, fewest)
    if n_blocks < 2:
        raise DataError("search: a class has only one recording in the training part; record more, or leave it out")
    shuffled = np.argsort(Draw(seed, 1000).uniform(len(part)))
    ordered = shuffled[np.argsort(targets[shuffled], kind="stable")]
    return tuple(np.sort(part[ordered[i::n_blocks]]) for i in range(n_blocks))


def _tournament(n: int) -> tuple[tuple[LeftOut, ...], ...]:
    """All pairs of n blocks in rounds in which none appears twice (the circle method of tournaments)."""
    players: list[int | None] = [*range(n), *([None] * (n % 2))]
    rounds = []
    for _ in range(len(players) - 1):
        pairs = zip(players[: len(players) // 2], reversed(players[len(players) // 2 :]), strict=True)
        rounds.append(tuple((min(a, b), max(a, b)) for a, b in pairs if a is not None and b is not None))
        players = [players[0], players[-1], *players[1:-1]]
    return tuple(rounds)


def strengths_of(config: Config) -> tuple[float, ...]:
    """The strengths that an exam tries at once; other solvers than ridge choose theirs by themselves."""
    return tuple(config.readout.strengths or STRENGTHS) if config.readout.solver == "ridge" else (0.0,)


class Examiner:
    """Takes one config's exams."""

    def __init__(self, config: Config, trainer: Trainer, plan: Plan) -> None:
        self.plan, self._trainer = plan, trainer
        self._readout = config.readout
        self.spike_rate = 0.0  # a neuron and step, measured in the last exam
        self._strengths = strengths_of(config)

    def take(self, left_out: LeftOut) -> Floats:
        """Marks (blocks left out, strengths): the share of each block's recordings whose class is found.

        The liquid is calibrated and the readout fitted without these blocks; features are the integers that the
        firmware makes, the readout is not yet quantised.
        """
        trainer, targets = self._trainer, self._trainer.recordings.targets
        train = self.plan.without(left_out)
        liquid = trainer.ready(train, n_segments=CALIBRATION_SEGMENTS, unit_step=UNIT_STEP_OCTAVES)
        rows, of = trainer.training_rows(liquid, train)
        tests = [self.plan.blocks[b] for b in left_out]
        seen = trainer.rows(liquid, np.concatenate(tests))
        if self._readout.solver == "ridge":
            scaler = StandardScaler().fit(rows)
            is_balanced = self._readout.class_weight == "balanced"
            z, seen = scaler.transform(rows), scaler.transform(seen)
            found = ridge_scores(z, targets[of], seen, self._strengths, is_balanced=is_balanced).argmax(axis=2)
        else:
            found = fit_linear(rows, targets[of], trainer.groups(of), self._readout).predict(seen)[None]
        self.spike_rate = self._measured_rate(liquid, train)
        right = found == targets[np.concatenate(tests)]
        ends = np.cumsum([0, *map(len, tests)])
        return np.array([right[:, a:b].mean(axis=1) for a, b in pairwise(ends.tolist())])

    def _measured_rate(self, liquid: Liquid, train: Part) -> float:
        heard = [self._trainer.frames[i] for i in train[:: max(len(train) // 16, 1)]]
        reservoir, decision = liquid.model.manifest.reservoir, liquid.model.manifest.decision
        longest = decision.max_frames if decision.mode == "segment" else None
        n_steps = sum(len(frames[:longest]) for frames in heard) * reservoir.steps_per_frame
        spikes = liquid.stir(heard, count_spikes=True).spikes.sum()
        return float(spikes / max(n_steps * reservoir.n_neurons, 1))


def accuracy_of(marks: Marks) -> tuple[float, int]:
    """The mean mark at the best strength, and that strength's index."""
    mean = np.mean([blocks.mean(axis=0) for blocks in marks.values()], axis=0)
    return float(mean.max()), int(mean.argmax())


def inner_accuracy(marks: Marks, outer: int) -> float:
    """The same from marks that never saw block `outer`: for nested exams, those on its partners."""
    inner = [
        blocks[left_out.index(partner)]
        for left_out, blocks in marks.items()
        if outer in left_out
        for partner in left_out
        if partner != outer
    ]
    return float(np.mean(inner, axis=0).max())


def is_clearly_poorer(marks: Marks, rival: Marks) -> bool:
    """Did a trial do clearly worse than another in the exams that it has taken?

    Its marks are compared block by block; the mean difference must be below -1 point and below minus twice its
    standard error.
    """
    mine, others = accuracy_of(marks)[1], accuracy_of(rival)[1]
    difference = np.concatenate([marks[exam][:, mine] - rival[exam][:, others] for exam in marks])
    error = difference.std(ddof=1) / np.sqrt(len(difference)) if len(difference) > 1 else np.inf
    return bool(difference.mean() < -max(0.01, 2 * error))
