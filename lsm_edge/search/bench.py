"""What every process of a search has at hand: recordings, the plan of exams, the knobs, the cost of a config."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lsm_edge import golden
from lsm_edge.config import Config
from lsm_edge.dataset import Fold, Recordings, load_recordings, split_recordings
from lsm_edge.learn.trainer import Trainer
from lsm_edge.learn.wire import draft
from lsm_edge.search.cost import Cost, Signal, cost_of
from lsm_edge.search.exam import Plan, make_plan
from lsm_edge.search.space import Knob, Settings, knobs_of, present_choice, propose


class Bench:
    """Recordings, plan and knobs of a search, loaded once in a process; frames are kept for every front end."""

    def __init__(self, config: Config, root: Path, data: Path | None) -> None:
        self.config, self.root, self.data = config, root, data
        self.recordings: Recordings = load_recordings(
            config.dataset, root=root, folder=data, sample_hz=config.frontend.sample_hz
        )
        self.folds: Sequence[Fold] = split_recordings(self.recordings, config.dataset, config.seed)
        self.plan: Plan = make_plan(self.recordings, self.folds, config.seed)
        self.knobs: list[Knob] = knobs_of(config)
        self.digest = self._digest()
        self._frames: dict[str, Any] = {}
        self._signal = self._listen()

    @property
    def part(self) -> Any:
        """The recordings that a front's member is fitted on."""
        return np.arange(len(self.recordings)) if self.plan.is_nested else self.folds[0].train

    def baseline(self) -> Settings:
        """The knobs as they stand in the config."""
        present = present_choice(self.config, self.knobs)
        return propose(self.config, [k for k in self.knobs if k.key in present], lambda knob: present[knob.key])

    def trainer(self, config: Config) -> Trainer:
        """For these settings; recordings are not heard again if the front end has been met before."""
        frontend = config.frontend.model_dump(mode="json")
        if config.frontend.level == "segment_peak":
            del frontend["range_db"]  # the segment is levelled by the liquid
        key = json.dumps(frontend)
        trainer = Trainer(config, self.recordings, frames=self._frames.get(key), root=self.root)
        self._frames[key] = trainer.frames
        return trainer

    def cost(self, config: Config, spike_rate: float | None = None) -> Cost:
        """Of an untrained model: at the measured spike rate, or at the one that it will be calibrated to.

        Raises:
            ConfigError: the settings do not fit together.
        """
        reservoir = config.reservoir
        if spike_rate is None:
            highest = 0.9 / (1 + reservoir.refractory_steps)
            spike_rate = min(reservoir.target_rate * float(np.exp(reservoir.rate_spread**2 / 2)), highest)
        return cost_of(draft(config, self.recordings.labels, recurrent_unit=1000.0), self._signal, spike_rate)

    def _listen(self) -> Signal:
        frontend = self.config.frontend
        some = [self.recordings.clips[i].samples for i in self.part[:: max(len(self.part) // 16, 1)]]
        model = draft(self.config, self.recordings.labels)
        change = Signal.of([golden.hear(model, samples).astype(np.uint8) for samples in some], 1.0).change
        seconds = sum(len(self.recordings.clips[i].samples) for i in self.part) / frontend.sample_hz
        return Signal(len(self.part) / max(seconds, 1e-3), change)

    def _digest(self) -> str:
        """Names the config, the recordings and the space: trials of one study can be compared."""
        knobs = [(knob.key, knob.values) for knob in self.knobs]
        settings = self.config.model_dump(mode="json")
        settings["dataset"].pop("path")
        sha = hashlib.sha256(json.dumps([settings, knobs], sort_keys=True).encode())
        for clip in self.recordings.clips:
            sha.update(f"\n{clip.path}\n{clip.label}\n{clip.group}\n{clip.part}\n".encode())
            sha.update(clip.samples.tobytes())
        return sha.hexdigest()
