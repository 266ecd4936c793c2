"""One task through one front end: the frames that every model of a table learns from and is judged on."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.accuracy.tasks import TASKS, Task
from lsm_edge.config import Config, Frontend
from lsm_edge.learn import noise
from lsm_edge.learn.augment import Copies, copies_of
from lsm_edge.learn.draw import Draw
from lsm_edge.learn.liquid import liquid_for
from lsm_edge.learn.wire import draft, logmel_tables
from lsm_edge.stages import frontend

Frames = list[NDArray[np.uint8]]
Part = NDArray[np.intp]

CLEAN = "clean"
WHITE, BABBLE = "white noise", "babble"
NOISE_SEED = 0  # of the noise that models are tested in: the same for all of them
NOISES = {WHITE: 1 << 32, BABBLE: 2 << 32}  # streams of random numbers, one a recording
CONFIGS = Path(__file__).parent


@dataclass(frozen=True)
class Sounds:
    """What a peer learns from: levelled frames as the liquid hears them, at most as many as it hears."""

    config: Config
    labels: tuple[str, ...]
    frames: Frames
    targets: NDArray[np.int64]
    groups: NDArray[Any]  # copies of a recording are of its group

    @property
    def n_bands(self) -> int:
        """Bytes a frame."""
        return self.config.frontend.n_bands


class Scene:
    """A task's recordings, heard once clean and once for each noise, and the copies that a config asks for."""

    def __init__(self, task: Task, data: Path, settings: Frontend) -> None:
        self._settings = settings
        self.recordings, self.folds = task.load(data, settings.sample_hz)
        anything = Config(name=task.key, dataset=task.dataset, frontend=settings)
        self._draft = draft(anything, self.recordings.labels)
        self._liquid = liquid_for(self._draft)[0]
        self._heard: dict[str, Frames] = {CLEAN: self._liquid.hear([clip.samples for clip in self.recordings.clips])}
        self._copies: tuple[Config, Copies | None] | None = None

    def heard(self, condition: str) -> Frames:
        """All recordings as the front end gives them, "clean" or in noise such as "white noise 10" (dB)."""
        if condition not in self._heard:
            self._heard[condition] = self._liquid.hear([self.noisy(condition, i) for i in range(len(self.recordings))])
        return self._heard[condition]

    def noisy(self, condition: str, i: int) -> NDArray[np.int16]:
        """Recording `i` in noise; it is the same noise at every level of it."""
        kind, _, snr_db = condition.rpartition(" ")
        samples = self.recordings.clips[i].samples
        draw = Draw(NOISE_SEED, NOISES[kind] + i)
        if kind == WHITE:
            return noise.mix(samples, noise.white(draw, len(samples)), float(snr_db))
        voices = [self.recordings.clips[v].samples for v in self.babblers(i)]
        return noise.mix(samples, noise.babble(draw, voices, len(samples)), float(snr_db))

    def babblers(self, i: int) -> NDArray[np.intp]:
        """Recordings that babble behind recording `i` may be made of: those of all other groups."""
        return np.flatnonzero(self._group != self._group[i])

    @cached_property
    def _group(self) -> NDArray[np.int64]:
        return np.unique([str(group) for group in self.recordings.groups], return_inverse=True)[1]

    def test(self, config: Config, condition: str, part: Part) -> Frames:
        """What a peer is asked to classify."""
        heard = self.heard(condition)
        return self._levelled(config, [heard[i] for i in part])

    def train(self, config: Config, part: Part) -> Sounds:
        """What a peer learns from: the recordings, and then the same copies of them that a liquid of `config` gets."""
        frames, of = self.test(config, CLEAN, part), part
        copies = self._copies_for(config)
        if copies is not None:
            extra = copies.heard(self._liquid, part)
            frames, of = [*frames, *self._levelled(config, extra)], np.tile(part, 1 + len(extra) // len(part))
        names = self.recordings.groups
        groups = of if None in names else np.array([names[i] for i in of])
        return Sounds(config, self.recordings.labels, frames, self.recordings.targets[of], groups)

    def median_frames(self, config: Config) -> int:
        """Of a recording, as far as models hear it."""
        return int(np.median([len(frames) for frames in self._levelled(config, self.heard(CLEAN))]))

    @property
    def mean_change(self) -> float:
        """Of a band from frame to frame, before levelling."""
        return float(np.mean([np.abs(np.diff(f.astype(int), axis=0)).mean() for f in self.heard(CLEAN) if len(f) > 1]))

    @property
    def frontend_bytes(self) -> int:
        """Of tables that every model of this front end needs."""
        return sum(table.nbytes for table in logmel_tables(self._settings).values())

    @property
    def frontend_numbers(self) -> int:
        """In those tables."""
        return sum(table.size for table in logmel_tables(self._settings).values())

    def _copies_for(self, config: Config) -> Copies | None:
        """Kept for the next model, which is likely to ask for the same."""
        asked = Config(
            name="copies", seed=config.seed, dataset=config.dataset, frontend=config.frontend, augment=config.augment
        )
        if self._copies is None or self._copies[0] != asked:
            self._copies = asked, copies_of(asked, self.recordings, CONFIGS)
        return self._copies[1]

    def _levelled(self, config: Config, heard: Frames) -> Frames:
        if config.decision.mode == "live":  # levelled as they were heard, and never cut
            return heard
        longest = int(config.decision.max_segment_ms / config.frontend.hop_ms)
        cut = [frames[:longest] for frames in heard]
        if config.frontend.level == "running_peak":
            return cut
        return [frontend.level_by_segment_peak(self._draft, f.astype(np.int64)).astype(np.uint8) for f in cut]


@lru_cache(maxsize=2)
def scene_for(task_key: str, data: Path, settings: Frontend) -> Scene:
    """The scene of a task and a front end; workers keep the last ones, as several models ask for the same."""
    return Scene(TASKS[task_key], data, settings)
