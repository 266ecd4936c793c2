"""Recordings -> a trained model, with the accuracy it has on recordings it has never heard."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lsm_edge.config import Config
from lsm_edge.dataset import Fold, Recordings, load_recordings, split_recordings
from lsm_edge.learn.ablate import band_features
from lsm_edge.learn.confidence import calibration_error
from lsm_edge.learn.fit import fit_linear
from lsm_edge.learn.recurrence import Recurrence, weigh, without_recurrence
from lsm_edge.learn.trainer import Trainer
from lsm_edge.model import Model
from lsm_edge.stages.decision import REJECTED, confidence_q15
from lsm_edge.target.context import context_bytes
from lsm_edge.target.native import Stirred

Stage = Callable[[str, int | None], AbstractContextManager[Callable[[int, int], None]]]


@dataclass(frozen=True)
class FoldResult:
    """What one fold's model did on its test part; the model itself too."""

    name: str
    model: Model
    n_train: int
    n_test: int
    accuracy_float: float
    accuracy_quantised: float
    ablations: dict[str, float]
    strength: float
    recognised: NDArray[np.bool_] = field(repr=False)  # of the test part, integers end to end
    rejected: NDArray[np.bool_] = field(repr=False)  # of the test part: recognised or not, the firmware says nothing
    confidence: NDArray[np.float64] = field(repr=False)  # of the test part, 0 to 1; empty if the model has none
    recognised_alone: NDArray[np.bool_] | None = field(repr=False)  # without recurrence, if there is any


@dataclass(frozen=True)
class Training:
    """A trained model and how it was judged."""

    model: Model
    folds: list[FoldResult]
    recordings: Recordings
    seconds: float
    implementation: str
    test: NDArray[np.intp] = field(repr=False)  # the recordings that verification replays
    recurrence: Recurrence | None  # what it adds and costs; None without it

    @property
    def accuracy_float(self) -> float:
        """Mean over folds, before the readout was quantised."""
        return float(np.mean([fold.accuracy_float for fold in self.folds]))

    @property
    def accuracy_quantised(self) -> float:
        """Mean over folds, integers end to end."""
        return float(np.mean([fold.accuracy_quantised for fold in self.folds]))

    @property
    def rejection(self) -> dict[str, float] | None:
        """Of all test recordings, what share is rejected; of those accepted, what share is wrong. None if none can be.

        Accuracies count every answer, rejected or not.
        """
        if not self.model.manifest.decision.reject:
            return None
        rejected = np.concatenate([fold.rejected for fold in self.folds])
        wrong = ~np.concatenate([fold.recognised for fold in self.folds])
        error = float(wrong[~rejected].mean()) if not rejected.all() else 0.0
        return {"rejected": float(rejected.mean()), "error_of_accepted": error}

    @property
    def calibration(self) -> dict[str, float] | None:
        """How confident it is on test recordings, how far that is from how often it is right; None: it does not say.

        Confidences are ideal if their mean is the accuracy and the error is 0.
        """
        if not self.model.manifest.decision.confidence:
            return None
        confidence = np.concatenate([fold.confidence for fold in self.folds])
        right = np.concatenate([fold.recognised for fold in self.folds])
        return {"mean": float(confidence.mean()), "error": calibration_error(confidence, right)}

    @property
    def context_bytes(self) -> int:
        """RAM that one stream takes on a board with DSP instructions; others may take less."""
        return context_bytes(self.model, dsp=True)

    @property
    def ablations(self) -> dict[str, float]:
        """Mean over folds of each ablation's accuracy."""
        return {name: float(np.mean([fold.ablations[name] for fold in self.folds])) for name in self.folds[0].ablations}


def _quiet(_title: str, _total: int | None) -> AbstractContextManager[Callable[[int, int], None]]:
    return nullcontext(lambda _done, _of: None)


def train(config: Config, *, root: Path, data: Path | None = None, stage: Stage = _quiet) -> Training:
    """Train on the recordings that the config names; `data` overrides their folder.

    One fold: the model is fitted on its training part. Leave-one-group-out: a model a group judges; the model that is
    returned is fitted on all recordings.

    Raises:
        DataError: recordings, labels or splits cannot be used.
        ConfigError: settings do not fit together.
    """
    started = time.monotonic()
    with stage("read recordings", None) as tick:
        recordings = load_recordings(
            config.dataset, root=root, folder=data, sample_hz=config.frontend.sample_hz, progress=tick
        )
        folds = split_recordings(recordings, config.dataset, config.seed)
    with stage("frontend", len(recordings.clips)) as tick:
        trainer = Trainer(config, recordings, progress=tick, root=root)
    plain = band_features(trainer.liquid.model, trainer.frames)
    alone = None
    if config.reservoir.topology.kind != "none":
        alone = Trainer(without_recurrence(config), recordings, frames=trainer.frames, root=root)
    results = []
    with stage("train and test", len(folds)) as tick:
        for fold in folds:
            results.append(_run_fold(trainer, alone, plain, fold))
            tick(len(results), len(folds))
    if len(folds) == 1:
        model, test = results[0].model, folds[0].test
    else:
        test = np.arange(len(recordings))
        with stage("train on everything", None):
            model = trainer.fit(test).model
    recurrence = None
    if alone is not None:
        recognised = [fold.recognised_alone for fold in results if fold.recognised_alone is not None]
        both = np.concatenate([fold.recognised for fold in results]), np.concatenate(recognised)
        recurrence = weigh(model, trainer.frames, *both)
    provenance = _provenance(config, root, data)
    model = Model(model.manifest, model.tables, provenance)
    seconds = time.monotonic() - started
    return Training(model, results, recordings, seconds, trainer.implementation, test, recurrence)


def _run_fold(trainer: Trainer, alone: Trainer | None, plain: dict[str, NDArray[np.float64]], fold: Fold) -> FoldResult:
    fitted = trainer.fit(fold.train)
    targets, groups = trainer.recordings.targets, trainer.groups(fold.train)
    ablations = {}
    for name, features in plain.items():
        ablation = fit_linear(features[fold.train], targets[fold.train], groups, trainer.config.readout)
        ablations[name] = float((ablation.predict(features[fold.test]) == targets[fold.test]).mean())
    stirred = trainer.stir(fitted, fold.test)
    recognised = stirred.best == targets[fold.test]
    recognised_alone = None
    if alone is not None:
        recognised_alone = alone.classify(alone.fit(fold.train), fold.test) == targets[fold.test]
    return FoldResult(
        name=fold.name,
        model=fitted.model,
        n_train=len(fold.train),
        n_test=len(fold.test),
        accuracy_float=float((fitted.linear.predict(trainer.features(fitted, fold.test)) == targets[fold.test]).mean()),
        accuracy_quantised=float(recognised.mean()),
        ablations=ablations,
        strength=fitted.strength,
        recognised=recognised,
        rejected=stirred.classes == REJECTED,
        confidence=_confidence(fitted.model, stirred),
        recognised_alone=recognised_alone,
    )


def _confidence(model: Model, stirred: Stirred) -> NDArray[np.float64]:
    if not model.manifest.decision.confidence:
        return np.zeros(0)
    return np.asarray(confidence_q15(model, stirred.scores.astype(np.int64)) / 32768)


def _provenance(config: Config, root: Path, data: Path | None) -> dict[str, Any]:
    """How to find the recordings, and what else the config names, again; not part of the digest."""
    folder = Path(data) if data is not None else root / config.dataset.path
    return {
        "config": config.model_dump(mode="json"),
        "data": Path(os.path.relpath(folder)).as_posix(),
        "root": Path(os.path.relpath(root)).as_posix(),
    }
