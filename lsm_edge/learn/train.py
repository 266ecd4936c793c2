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
from lsm_edge.errors import DataError
from lsm_edge.learn.ablate import band_features
from lsm_edge.learn.calibrate import calibrate
from lsm_edge.learn.fit import fit_linear, quantise, state_features
from lsm_edge.learn.liquid import Liquid, liquid_for
from lsm_edge.learn.wire import draft
from lsm_edge.model import Model
from lsm_edge.target.context import context_bytes

Stage = Callable[[str, int | None], AbstractContextManager[Callable[[int, int], None]]]
Frames = list[NDArray[np.uint8]]


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


@dataclass(frozen=True)
class Training:
    """A trained model and how it was judged."""

    model: Model
    folds: list[FoldResult]
    recordings: Recordings
    seconds: float
    implementation: str
    test: NDArray[np.intp] = field(repr=False)  # the recordings that verification replays

    @property
    def accuracy_float(self) -> float:
        """Mean over folds, before the readout was quantised."""
        return float(np.mean([fold.accuracy_float for fold in self.folds]))

    @property
    def accuracy_quantised(self) -> float:
        """Mean over folds, integers end to end."""
        return float(np.mean([fold.accuracy_quantised for fold in self.folds]))

    @property
    def context_bytes(self) -> int:
        """RAM that one stream takes on the board."""
        return context_bytes(self.model.manifest)

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
    short = [clip.path for clip in recordings.clips if len(clip.samples) < config.frontend.hop_samples]
    if short:
        hop_ms = config.frontend.hop_ms
        raise DataError(f"{short[0]}: is shorter than one hop ({hop_ms} ms); {len(short)} such recordings")
    liquid, implementation = liquid_for(draft(config, recordings.labels))
    with stage("frontend", len(recordings.clips)) as tick:
        frames = liquid.hear([clip.samples for clip in recordings.clips], tick)
    plain = band_features(liquid.model, frames)
    results = []
    with stage("train and test", len(folds)) as tick:
        for fold in folds:
            results.append(_run_fold(config, liquid, recordings, frames, plain, fold))
            tick(len(results), len(folds))
    everything = np.arange(len(frames))
    if len(folds) == 1:
        model, test = results[0].model, folds[0].test
    else:
        with stage("train on everything", None):
            liquid, model = _ready(config, liquid, recordings, frames, everything)
            model = _fit(config, liquid, recordings, frames, everything)[0]
            test = everything
    provenance = _provenance(config, root, data)
    model = Model(model.manifest, model.tables, provenance)
    return Training(model, results, recordings, time.monotonic() - started, implementation, test)


def _ready(
    config: Config, liquid: Liquid, recordings: Recordings, frames: Frames, train: NDArray[np.intp]
) -> tuple[Liquid, Model]:
    """A calibrated liquid: first without recurrence, then, scaled by the thresholds found, with it."""
    heard = [frames[i] for i in train]
    liquid.load(draft(config, recordings.labels))
    model = calibrate(config, liquid, heard)
    if config.reservoir.topology.kind == "none":
        return liquid, model
    unit = config.reservoir.recurrent_gain * float(np.median(model["threshold"]))
    recurrent, _ = liquid_for(draft(config, recordings.labels, recurrent_unit=unit))
    return recurrent, calibrate(config, recurrent, heard)


def _fit(
    config: Config, liquid: Liquid, recordings: Recordings, frames: Frames, train: NDArray[np.intp]
) -> tuple[Model, NDArray[np.int64], Any]:
    """Fit and quantise the readout on `train`; returns the model, everybody's feature rows, and the float readout."""
    stirred = liquid.stir(frames)
    longest = liquid.model.manifest.decision.max_frames
    n_frames = np.array([min(len(segment), longest) for segment in frames])
    rows = state_features(stirred.features, n_frames, config.readout)
    linear = fit_linear(rows[train], recordings.targets[train], _groups(recordings, train), config.readout)
    model = quantise(liquid.model, linear)
    liquid.load(model)
    return model, rows, linear


def _run_fold(
    config: Config,
    liquid: Liquid,
    recordings: Recordings,
    frames: Frames,
    plain: dict[str, NDArray[np.float64]],
    fold: Fold,
) -> FoldResult:
    liquid, _ = _ready(config, liquid, recordings, frames, fold.train)
    model, rows, linear = _fit(config, liquid, recordings, frames, fold.train)
    truth = recordings.targets[fold.test]
    heard = liquid.stir([frames[i] for i in fold.test]).classes
    ablations = {}
    groups = _groups(recordings, fold.train)
    for name, features in plain.items():
        ablation = fit_linear(features[fold.train], recordings.targets[fold.train], groups, config.readout)
        ablations[name] = float((ablation.predict(features[fold.test]) == truth).mean())
    return FoldResult(
        name=fold.name,
        model=model,
        n_train=len(fold.train),
        n_test=len(fold.test),
        accuracy_float=float((linear.predict(rows[fold.test]) == truth).mean()),
        accuracy_quantised=float((heard == truth).mean()),
        ablations=ablations,
        strength=linear.strength,
    )


def _groups(recordings: Recordings, part: NDArray[np.intp]) -> NDArray[Any] | None:
    groups = [recordings.groups[i] for i in part]
    return None if None in groups else np.array(groups)


def _provenance(config: Config, root: Path, data: Path | None) -> dict[str, Any]:
    """How to find the recordings again; not part of the digest."""
    folder = Path(data) if data is not None else root / config.dataset.path
    return {"config": config.model_dump(mode="json"), "data": Path(os.path.relpath(folder)).as_posix()}
