"""One config, many training parts: recordings are heard once, then a model is fitted wherever somebody asks for one."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lsm_edge.config import Config
from lsm_edge.dataset import Recordings
from lsm_edge.errors import DataError
from lsm_edge.learn.augment import copies_of
from lsm_edge.learn.calibrate import calibrate
from lsm_edge.learn.fit import Linear, fit_linear, state_features
from lsm_edge.learn.liquid import Liquid, Progress, liquid_for
from lsm_edge.learn.quantise import quantise
from lsm_edge.learn.select import choose_neurons, drawn_config, keep_neurons
from lsm_edge.learn.wire import draft
from lsm_edge.model import Model
from lsm_edge.target.native import Stirred

Frames = list[NDArray[np.uint8]]
Part = NDArray[np.intp]  # indices of recordings


@dataclass(frozen=True)
class Fitted:
    """A model whose readout is trained, and that readout before it was quantised."""

    model: Model
    linear: Linear
    strength: float


class Trainer:
    """Fits and judges models of one config on parts of the same recordings; hears each recording once.

    `frames` are what the front end makes of the recordings, if they have been heard before with the same front end;
    `root` is the config's folder, where the noises lie that it may name.
    Of a model, nothing outside its training part is looked at.

    Raises:
        DataError: a recording is shorter than one hop.
        ConfigError: settings do not fit together.
    """

    def __init__(
        self,
        config: Config,
        recordings: Recordings,
        *,
        frames: Frames | None = None,
        progress: Progress | None = None,
        root: Path = Path(),
    ) -> None:
        _check_lengths(config, recordings)
        self.config = config
        self.recordings = recordings
        self._drawn = drawn_config(config)
        self.liquid, self.implementation = liquid_for(draft(self._drawn, recordings.labels))
        self._recurrent: Liquid | None = None
        self._copies = copies_of(config, recordings, root)
        samples = [clip.samples for clip in recordings.clips]
        self.frames = frames if frames is not None else self.liquid.hear(samples, progress)

    def fit(self, train: Part) -> Fitted:
        """Wire, calibrate, stir, fit and quantise, all on `train`."""
        liquid = self.ready(train)
        rows, of = self.training_rows(liquid, train)
        groups = self.groups(of)
        if groups is None and self._copies is not None:
            groups = of  # a recording is never judged on copies of itself
        linear = fit_linear(rows, self.recordings.targets[of], groups, self.config.readout)
        return Fitted(quantise(liquid.model, linear, rows, self.config.decision.reject_error), linear, linear.strength)

    def training_rows(self, liquid: Liquid, train: Part) -> tuple[NDArray[np.int64], Part]:
        """What the readout learns from, changed copies included, a row each; and the recording each row is of."""
        heard, of = self._heard(train)
        return self._rows(liquid.stir(heard), heard), of

    def rows(self, liquid: Liquid, clips: Part) -> NDArray[np.int64]:
        """What the readout sees of each clip, a row each."""
        heard = [self.frames[i] for i in clips]
        return self._rows(liquid.stir(heard), heard)

    def classify(self, fitted: Fitted, clips: Part) -> NDArray[np.int64]:
        """The classes that the model finds likeliest, integers end to end."""
        return self.stir(fitted, clips).best

    def stir(self, fitted: Fitted, clips: Part) -> Stirred:
        """All that the model makes of the recordings."""
        return self._loaded(fitted.model).stir([self.frames[i] for i in clips])

    def accuracy(self, fitted: Fitted, clips: Part) -> float:
        """The share of `clips` whose class the model finds, integers end to end."""
        return float((self.classify(fitted, clips) == self.recordings.targets[clips]).mean())

    def features(self, fitted: Fitted, clips: Part) -> NDArray[np.int64]:
        """What the readout sees of each clip, a row each."""
        return self.rows(self._loaded(fitted.model), clips)

    def groups(self, part: Part) -> NDArray[Any] | None:
        """The group of each recording; None if one of them has none."""
        groups = [self.recordings.groups[i] for i in part]
        return None if None in groups else np.array(groups)

    def ready(self, train: Part, *, n_segments: int | None = None, unit_step: float = 0.0) -> Liquid:
        """A liquid calibrated on `train`: first without recurrence, then, scaled by the thresholds found, with it.

        What a search saves: `n_segments` calibrates on fewer recordings, `unit_step` rounds the scale of recurrent
        weights to a multiple of that many octaves, so that one compiled library serves several parts.
        """
        labels = self.recordings.labels
        everything, of = self._heard(train)
        heard = everything if n_segments is None else everything[:: max(len(everything) // n_segments, 1)]
        self.liquid.load(draft(self._drawn, labels))
        model = calibrate(self.config, self.liquid, heard)
        if self.config.reservoir.n_candidates is not None:
            features = self.liquid.stir(everything).features
            kept = choose_neurons(features, self.recordings.targets[of], self.config.reservoir.n_neurons)
            return self._loaded(keep_neurons(model, kept))
        if self.config.reservoir.topology.kind == "none":
            return self.liquid
        unit = self.config.reservoir.recurrent_gain * float(np.median(model["threshold"]))
        if unit_step:
            unit = float(2 ** (unit_step * np.round(np.log2(unit) / unit_step)))
        recurrent = self._loaded(draft(self.config, labels, recurrent_unit=unit))
        calibrate(self.config, recurrent, heard)
        return recurrent

    def _heard(self, train: Part) -> tuple[Frames, Part]:
        """The frames of `train` and of changed copies of it; and the recording each of them is of."""
        heard = [self.frames[i] for i in train]
        if self._copies is None:
            return heard, train
        copies = self._copies.heard(self.liquid, train)
        return [*heard, *copies], np.tile(train, 1 + len(copies) // len(train))

    def _loaded(self, model: Model) -> Liquid:
        """A liquid with this model in it; one is compiled only if no present one has the same manifest."""
        for liquid in (self.liquid, self._recurrent):
            if liquid is not None and liquid.model.manifest == model.manifest:
                liquid.load(model)
                return liquid
        self._recurrent, _ = liquid_for(model)
        return self._recurrent

    def _rows(self, stirred: Stirred, heard: Frames) -> NDArray[np.int64]:
        longest = self.liquid.model.manifest.decision.max_frames
        n_frames = np.array([min(len(segment), longest) for segment in heard])
        return state_features(stirred.features, n_frames, self.config.readout)


def _check_lengths(config: Config, recordings: Recordings) -> None:
    short = [clip.path for clip in recordings.clips if len(clip.samples) < config.frontend.hop_samples]
    if short:
        hop_ms = config.frontend.hop_ms
        raise DataError(f"{short[0]}: is shorter than one hop ({hop_ms} ms); {len(short)} such recordings")
