"""A trained model and the recordings it has never heard -> how good it is, what breaks it, what its liquid is like.

The recordings are found again through the model's provenance. With one training part the model in the file is judged;
with leave-one-group-out that model has heard every recording, so each fold's model is fitted again, as `train` did, and
judged on the group that it has not heard. The liquid's own metrics are always those of the model in the file.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from lsm_edge import golden
from lsm_edge.config import Config
from lsm_edge.dataset import Fold, Recordings
from lsm_edge.evaluation import metrics, robustness
from lsm_edge.evaluation.score import Scores, score
from lsm_edge.learn import noise
from lsm_edge.learn.draw import Draw
from lsm_edge.learn.liquid import Liquid, liquid_for
from lsm_edge.learn.provenance import find_recordings
from lsm_edge.learn.trainer import Trainer
from lsm_edge.model import Model
from lsm_edge.stages.decision import REJECTED
from lsm_edge.target.native import FRONTEND_TABLES

MOST_SPOILED: Final = 400  # recordings that curves are measured on
MOST_FLIPPED: Final = 100  # that each flipped bit is measured on
MOST_REFITTED: Final = 1500  # that a readout without one window is fitted on
MOST_COMPARED: Final = 150  # that ranks and distances are taken of
NOISE_OF_RANKS_DB: Final = 20
NOISES_OF_SEPARATION_DB: Final = (30, 20, 10)
_NOISE = 1 << 42  # a stream of random numbers

Part = NDArray[np.int64]  # indices of recordings
Frames = list[NDArray[np.uint8]]
Stage = Callable[[str, int | None], AbstractContextManager[Callable[[int, int], None]]]


@dataclass(frozen=True)
class LiquidMetrics:
    """What the liquid is like; what takes longer is None in a quick evaluation, or where it does not apply."""

    firing: metrics.Firing
    memory: metrics.Memory | None
    fading: metrics.Fading | None
    branching: metrics.Branching | None
    ranks: metrics.Ranks | None
    separation: list[metrics.Separation]
    worth: metrics.Worth | None


@dataclass(frozen=True)
class Evaluation:
    """All that was found about a model."""

    config: Config
    model: Model
    scores: Scores
    n_folds: int
    spoiled: int  # recordings behind each point of `curves`
    clean: float  # their accuracy as they are
    curves: tuple[robustness.Curve, ...]
    flips: robustness.Flips
    unflipped: float  # accuracy on the recordings behind `flips`, with all bits as they should be
    liquid: LiquidMetrics
    implementation: str


def _quiet(_title: str, _total: int | None) -> AbstractContextManager[Callable[[int, int], None]]:
    return nullcontext(lambda _done, _of: None)


def evaluate(
    model: Model, source: str, *, data: Path | None = None, quick: bool = False, stage: Stage = _quiet
) -> Evaluation:
    """Evaluate a model on the recordings that it was tested on; `source` names it in messages.

    `data` overrides the folder of the recordings. With `quick` there are fewer points of each curve, fewer recordings
    behind them and fewer flipped bits, and of the liquid's metrics only firing rates.

    Raises:
        DataError: the model does not say how it was trained, or its recordings are not there, or are others.
    """
    with stage("read recordings", None) as tick:
        config, recordings, folds = find_recordings(model, source, data, tick)
    bench = _Bench(config, recordings, folds, model, stage)
    tested = np.sort(np.concatenate([fold.test for fold in folds]))
    with stage("test", None):
        heard, rejected = bench.decide(tested, [bench.frames[i] for i in tested])
    groups = [recordings.groups[i] for i in tested]
    scores = score(recordings.labels, recordings.targets[tested], heard, groups, rejected)

    chosen = _spread(tested, MOST_SPOILED // (4 if quick else 1))
    plans = robustness.plan(recordings, config.seed, config.frontend.sample_hz, quick=quick)
    clean = float((heard[np.searchsorted(tested, chosen)] == recordings.targets[chosen]).mean())
    with stage("noise, gain, shift", None) as tick:
        curves = robustness.curves(plans, lambda spoil: bench.accuracy_of(chosen, spoil), tick)
    few = _spread(folds[0].test, MOST_FLIPPED)
    judge = bench.models[0]
    with stage("flip bits", None) as tick:
        flips = robustness.flip_bits(
            judge,
            lambda altered, table: bench.classify_altered(altered, table, few),
            recordings.targets[few],
            config.seed,
            most=robustness.MOST_FLIPS // (10 if quick else 1),
            progress=tick,
        )
    unflipped = float((bench.classify(few, [bench.frames[i] for i in few]) == recordings.targets[few]).mean())
    liquid = _liquid_metrics(bench, model, tested, quick=quick, stage=stage)
    return Evaluation(
        config, model, scores, len(folds), len(chosen), clean, curves, flips, unflipped, liquid, bench.implementation
    )


class _Bench:
    """Recordings, each judged by a model that has not heard it."""

    def __init__(
        self, config: Config, recordings: Recordings, folds: Sequence[Fold], model: Model, stage: Stage
    ) -> None:
        self.config, self.recordings, self.folds = config, recordings, folds
        liquid, self.implementation = liquid_for(model)
        self._liquids = {model.manifest.canonical(): liquid}  # folds of a recurrent config differ in their manifests
        self.hear = liquid.hear  # the front end is the same in all of them
        with stage("frontend", len(recordings)) as tick:
            self.frames = self.hear([clip.samples for clip in recordings.clips], tick)
        self.models = [model]
        if len(folds) > 1:
            self.models = []
            with stage("fit each fold again", len(folds)) as tick:
                root = Path(model.provenance.get("root", "."))
                trainer = Trainer(config, recordings, frames=self.frames, root=root)
                for fold in folds:
                    self.models.append(trainer.fit(fold.train).model)
                    tick(len(self.models), len(folds))
        self._judge = np.full(len(recordings), -1)
        for i, fold in enumerate(folds):
            self._judge[fold.test] = i

    def liquid(self, model: Model) -> Liquid:
        """A liquid with this model in it; each manifest is compiled once."""
        manifest = model.manifest.canonical()
        if manifest not in self._liquids:
            self._liquids[manifest], _ = liquid_for(model)
        self._liquids[manifest].load(model)
        return self._liquids[manifest]

    def decide(self, part: Part, frames: Frames) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """The class with the highest score of each recording of `part`, heard as `frames`; and is it rejected?"""
        classes, rejected = np.zeros(len(part), np.int64), np.zeros(len(part), bool)
        for i, model in enumerate(self.models):
            mine = np.flatnonzero(self._judge[part] == i)
            if mine.size:
                stirred = self.liquid(model).stir([frames[k] for k in mine])
                classes[mine], rejected[mine] = stirred.best, stirred.classes == REJECTED
        return classes, rejected

    def classify(self, part: Part, frames: Frames) -> NDArray[np.int64]:
        """The class with the highest score."""
        return self.decide(part, frames)[0]

    def accuracy_of(self, part: Part, spoil: robustness.Spoil) -> float:
        """On recordings that were spoiled."""
        heard = self.classify(part, self.hear([spoil(int(i)) for i in part]))
        return float((heard == self.recordings.targets[part]).mean())

    def classify_altered(self, altered: Model, table: str, part: Part) -> NDArray[np.int64]:
        """By a model of which one table was altered; the golden model hears if that is one of the front end's."""
        if table not in FRONTEND_TABLES:
            return self.liquid(altered).stir([self.frames[i] for i in part]).best
        frames = [golden.hear(altered, self.recordings.clips[i].samples).astype(np.uint8) for i in part]
        return self.liquid(self.models[0]).stir(frames).best


def _liquid_metrics(bench: _Bench, model: Model, tested: Part, *, quick: bool, stage: Stage) -> LiquidMetrics:
    seed, frames = bench.config.seed, bench.frames
    compared = _spread(tested, MOST_COMPARED)
    with stage("liquid", 6) as tick:
        firing = metrics.firing(bench.liquid(model), [frames[i] for i in tested])
        if quick:
            return LiquidMetrics(firing, None, None, None, None, [], None)
        tick(1, 6)
        memory = metrics.memory(model, seed)
        tick(2, 6)
        fading = metrics.fading(model, seed)
        tick(3, 6)
        branching = metrics.branching(model, [frames[i] for i in compared], seed)
        tick(4, 6)
        ranks, separation = _comparisons(bench, model, compared)
        tick(5, 6)
        return LiquidMetrics(firing, memory, fading, branching, ranks, separation, _window_worth(bench))


def _comparisons(bench: _Bench, model: Model, part: Part) -> tuple[metrics.Ranks, list[metrics.Separation]]:
    seed, clips = bench.config.seed, bench.recordings.clips
    inputs = [bench.frames[i] for i in part]

    def noisy(i: int, copy: int, snr_db: int) -> NDArray[np.int16]:
        return noise.mix(clips[i].samples, noise.white(Draw(seed, _NOISE + copy), len(clips[i].samples)), snr_db)

    copies = [
        bench.hear([noisy(i, copy, NOISE_OF_RANKS_DB) for copy in range(len(part))]) for i in _spread(part, 3).tolist()
    ]
    spoiled = {
        f"white noise at {snr_db} dB": bench.hear([noisy(i, i, snr_db) for i in part.tolist()])
        for snr_db in NOISES_OF_SEPARATION_DB
    }
    liquid = bench.liquid(model)
    return metrics.ranks(liquid, inputs, copies), metrics.separation(
        liquid, inputs, bench.recordings.targets[part], spoiled
    )


def _window_worth(bench: _Bench) -> metrics.Worth | None:
    """Mean over folds, weighed by their test parts; None if there is one window only."""
    if bench.models[0].manifest.readout.n_windows == 1:
        return None
    found, weights = [], [len(fold.test) for fold in bench.folds]
    for fold, model in zip(bench.folds, bench.models, strict=True):
        parts = (_spread(fold.train, MOST_REFITTED), fold.test)
        heard = [[bench.frames[i] for i in part] for part in parts]
        longest = model.manifest.decision.max_frames
        worth = metrics.window_worth(
            [bench.liquid(model).stir(segments).features for segments in heard],
            [np.array([min(len(segment), longest) for segment in segments]) for segments in heard],
            [bench.recordings.targets[part] for part in parts],
            length_feature=model.manifest.readout.length_feature,
        )
        found.append([worth.everything, *worth.without])
    everything, *without = np.average(found, axis=0, weights=weights).tolist()
    return metrics.Worth(everything, tuple(without))


def _spread(part: Part, most: int) -> Part:
    """At most so many of a part, evenly over it."""
    return np.asarray(part[np.linspace(0, len(part) - 1, min(most, len(part))).round().astype(int)])
