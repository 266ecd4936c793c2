"""Liquids on tasks about order in time: without input taps, with some and with enough, with recurrence and without."""

from __future__ import annotations

import json
import multiprocessing
import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import RidgeCV
from sklearn.model_selection import GroupKFold
from sklearn.preprocessing import StandardScaler

from benchmarks.accuracy import streams
from benchmarks.accuracy.result import digest_of
from benchmarks.accuracy.run import THREADS
from benchmarks.accuracy.scene import CONFIGS
from benchmarks.accuracy.sources import source_digest
from benchmarks.accuracy.streams import N_BANDS, NARMA_ORDER, PATTERN_FRAMES, Trials
from benchmarks.accuracy.tables import OFF, ON, SEEDS
from benchmarks.settings import changed
from lsm_edge.config import Config
from lsm_edge.dataset import Recordings
from lsm_edge.dataset.recordings import Clip
from lsm_edge.evaluation import metrics
from lsm_edge.files import write_atomically
from lsm_edge.learn.fit import fit_linear
from lsm_edge.learn.liquid import Liquid
from lsm_edge.learn.trainer import Trainer

CONFIG: Final = "live_no_taps.yaml"
READOUT: Final = {"trace_ms": 32}  # the length of a pattern: of what came before it, only the liquid knows
SHORT_TAPS: Final = 24  # frames
FAST: Final = (3, 4)  # leak shifts, as the file has them: membranes forget in 2 to 4 frames
FAST_AND_SLOW: Final = (3, 4, 7, 8, 9)  # 32 to 128 frames too
GAPS: Final = (16, 32, 64)  # frames, of delayed match
BITS: Final = (3, 4)  # of temporal parity
LONGEST: Final = 128  # frames, of memory capacity
LEAD: Final = 32  # frames of a stream, until NARMA-10 and the liquid have begun
MEMORY, NARMA = "memory", "narma"
CALIBRATING: Final = 40  # trials that thresholds are set on; of a stream it is all that trains
STRENGTHS: Final = 10.0 ** np.arange(0, 5.01, 0.5)

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Size:
    """How much there is to learn from, and to be judged on."""

    train: int = 1500  # trials
    test: int = 1000
    sequences: int = 8  # of a stream; the last quarter is the test
    n_frames: int = 400  # of each


@dataclass(frozen=True)
class TrialTask:
    """`span_frames`: so far before the last frame lies the first that must be known."""

    key: str
    span_frames: int
    draw: Callable[[int, int], Trials]  # seed, number


TRIALS: Final = (
    *(TrialTask(f"match {gap}", gap + 2 * PATTERN_FRAMES - 1, partial(streams.delayed_match, gap)) for gap in GAPS),
    *(TrialTask(f"parity {bits}", bits * PATTERN_FRAMES - 1, partial(streams.temporal_parity, bits)) for bits in BITS),
)
STREAMS: Final = {MEMORY: LONGEST, NARMA: NARMA_ORDER - 1}  # frames that must be known
KEYS: Final = (*(task.key for task in TRIALS), *STREAMS)


@dataclass(frozen=True)
class TimedRow:
    """A liquid whose taps reach `frames` back (None: as far as the task needs), or a readout of so many frames."""

    name: str
    frames: int | None
    is_liquid: bool = True
    is_recurrent: bool = False
    leak_shift: tuple[int, ...] = FAST
    n_neurons: int = 256

    def config(self, seed: int, needed: int) -> Config:
        """Of the liquid for a task that needs so many frames of the past."""
        reach = needed if self.frames is None else self.frames
        taps = {"max_delay_frames": reach}
        recurrence = (ON if self.is_recurrent else OFF)["reservoir"]
        reservoir = {**recurrence, "n_neurons": self.n_neurons, "leak_shift": list(self.leak_shift)}
        return changed(CONFIGS / CONFIG, {"seed": seed, "encoder": taps, "reservoir": reservoir, "readout": READOUT})


ROWS: Final = (
    TimedRow("no taps", 0),
    TimedRow("no taps, recurrence", 0, is_recurrent=True),
    TimedRow("taps to 24 frames", SHORT_TAPS),
    TimedRow("taps to 24 frames, recurrence", SHORT_TAPS, is_recurrent=True),
    TimedRow("taps as long as the task", None),
    TimedRow("no taps, slow leaks", 0, leak_shift=FAST_AND_SLOW),
    TimedRow("no taps, slow leaks, recurrence", 0, is_recurrent=True, leak_shift=FAST_AND_SLOW),
    TimedRow("linear on the present frame", 1, is_liquid=False),
    TimedRow("linear on the last 24 frames", SHORT_TAPS, is_liquid=False),
)


@dataclass(frozen=True)
class Timed:
    """What `judge` says of a row and a seed, and what it took."""

    values: dict[str, float]
    cpu_s: float


def run_timed(*, results: Path, n_workers: int, say: Callable[[str], None], rows: Sequence[TimedRow] = ROWS) -> None:
    """Judge every row and seed that has no result yet; each is kept as soon as it is there."""
    left = [(row, seed) for row in rows for seed in SEEDS if _load(_path(results, row, seed)) is None]
    say(f"time: {len(left)} of {len(rows) * len(SEEDS)} results to go")
    if not left:
        return
    os.environ.update(dict.fromkeys(THREADS, "1"))
    with ProcessPoolExecutor(n_workers, mp_context=multiprocessing.get_context("spawn")) as pool:
        for (row, seed), timed in zip(left, pool.map(_timed, *zip(*left, strict=True)), strict=True):
            save_timed(results, row, seed, timed)
            say(f"time: {row.name}, seed {seed}: {timed.cpu_s:.0f} s of CPU")


def _timed(row: TimedRow, seed: int) -> Timed:
    started = time.process_time()
    return Timed(judge(row, seed), round(time.process_time() - started, 1))


def save_timed(results: Path, row: TimedRow, seed: int, timed: Timed) -> None:
    """To a temporary name, then renamed."""
    write_atomically(_path(results, row, seed), json.dumps(asdict(timed), sort_keys=True).encode())


def load_timed(results: Path) -> dict[str, list[Timed]]:
    """The rows that have all their seeds, by name."""
    found = {row.name: [_load(_path(results, row, seed)) for seed in SEEDS] for row in ROWS}
    return {name: [timed for timed in seeds if timed] for name, seeds in found.items() if None not in seeds}


def _load(path: Path) -> Timed | None:
    """None if there is none, or one that this version cannot read."""
    try:
        return Timed(**json.loads(path.read_bytes()))
    except (OSError, ValueError, TypeError):
        return None


def _path(results: Path, row: TimedRow, seed: int) -> Path:
    settings = row.config(seed, 0).model_dump(mode="json")
    digest = digest_of(settings=settings, frames=row.frames, is_liquid=row.is_liquid, sources=source_digest("time"))
    return results / "time" / f"{'liquid' if row.is_liquid else 'linear'}-{seed}-{digest}.json"


def judge(row: TimedRow, seed: int, size: Size = Size()) -> dict[str, float]:
    """Share of trials that it gets right, memory capacity in frames, and the error of NARMA-10, by key."""
    found = {task.key: _judge_trials(row, task, seed, size) for task in TRIALS}
    u, frames = metrics.uniform_input(seed, N_BANDS, size.sequences, size.n_frames)
    n_train = 3 * size.sequences // 4

    states: dict[int, NDArray[Any]] = {}  # by the frames that a task needs

    for needed in STREAMS.values():
        if not row.is_liquid:
            states[needed] = streams.lagged(u, row.frames or 1)
        elif row.frames is not None and states:
            states[needed] = next(iter(states.values()))  # the same liquid for every task
        else:
            model = _calibrated(row.config(seed, needed), list(frames[:n_train].astype(np.uint8)), n_train).model
            states[needed] = metrics.spike_counts(model, frames)
    found[MEMORY] = metrics.recalled(u, states[STREAMS[MEMORY]], LONGEST, frame_ms=1).capacity
    found[NARMA] = _narma_error(u / 2, states[STREAMS[NARMA]], n_train)
    return found


def _judge_trials(row: TimedRow, task: TrialTask, seed: int, size: Size) -> float:
    trials = task.draw(seed, size.train + size.test)
    config = row.config(seed, task.span_frames)
    if row.is_liquid:
        liquid = _calibrated(config, list(trials.frames[: size.train]), CALIBRATING)
        state = liquid.stir(list(trials.frames)).features
    else:
        state = trials.frames[:, -(row.frames or 1) :]
    rows = state.reshape(len(state), -1)
    readout = fit_linear(rows[: size.train], trials.classes[: size.train], None, config.readout)
    return float((readout.predict(rows[size.train :]) == trials.classes[size.train :]).mean())


def _calibrated(config: Config, frames: list[NDArray[np.uint8]], n_segments: int) -> Liquid:
    """A liquid as training makes it of these frames, up to its readout; their classes do not matter."""
    silence = np.zeros(config.frontend.hop_samples, np.int16)
    clips = tuple(Clip(silence, str(i % 2), None, str(i)) for i in range(len(frames)))
    trainer = Trainer(config, Recordings(clips, ("0", "1")), frames=frames)
    return trainer.ready(np.arange(len(frames)), n_segments=n_segments)


def _narma_error(u: Floats, state: NDArray[Any], n_train: int) -> float:
    """Root mean squared error on the last sequences, as a share of the target's deviation.

    The ridge's strength is the one that does best on training sequences that it was not fitted on.
    """
    y = streams.narma10(u)[:, LEAD:]
    x = state[:, LEAD:].astype(np.float64)
    rows, targets = x[:n_train].reshape(-1, x.shape[-1]), y[:n_train].ravel()
    scaler = StandardScaler().fit(rows)
    folds = GroupKFold(min(5, n_train)).split(rows, groups=np.repeat(np.arange(n_train), y.shape[1]))
    ridge = RidgeCV(STRENGTHS, cv=list(folds)).fit(scaler.transform(rows), targets)
    test = y[n_train:].ravel()
    error = ridge.predict(scaler.transform(x[n_train:].reshape(-1, x.shape[-1]))) - test
    return float(np.sqrt((error**2).mean() / test.var()))
