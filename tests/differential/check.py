"""One model and its recordings on the golden model and on cells of the matrix: what was compared, and what differs."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np

from differential import session
from differential.matrix import Cell, Project
from differential.models import Samples, seeded
from lsm_edge import golden
from lsm_edge.errors import LsmEdgeError, RangeError
from lsm_edge.fixed import Ints
from lsm_edge.golden import TAPS, Taps
from lsm_edge.model import Model
from lsm_edge.ranges import ranges_of
from lsm_edge.target.emulate import Emulator
from lsm_edge.target.native import Native

STREAM: Final = "decision.stream"
SESSION: Final = "session"
SELFTEST: Final = "selftest"
LIQUID: Final = list(TAPS).index("reservoir.v")
FAILURE: Final = "failure"  # the cell does not compile, refuses, or runs out of bounds
MOST_STREAMED_FRAMES: Final = 80


@dataclass(frozen=True)
class Difference:
    """The first integer of one recording that is not the golden model's: in the tap's row and column."""

    cell: str
    recording: int
    tap: str
    row: int
    column: int
    expected: int
    found: int
    count: int  # how many integers differ
    reason: str = ""

    def __str__(self) -> str:
        if self.reason:
            return f"{self.cell}: recording {self.recording}: {self.tap}: {self.reason}"
        return (
            f"{self.cell}: recording {self.recording}: {self.tap}[{self.row}, {self.column}] is {self.found}, "
            f"golden {self.expected}; {self.count} integers differ"
        )


@dataclass
class Tally:
    """What was compared."""

    models: int = 0
    refused: int = 0  # models that are never generated, because an accumulator could overflow
    recordings: int = 0
    steps: int = 0
    integers: int = 0
    cells: Counter[str] = field(default_factory=Counter)  # integers compared in each
    differences: list[Difference] = field(default_factory=list)

    def add(self, other: Tally) -> None:
        """Count the tally of other models in."""
        self.models += other.models
        self.refused += other.refused
        self.recordings += other.recordings
        self.also(other)

    def also(self, other: Tally) -> None:
        """Count in what else was done with the same models and recordings."""
        self.steps += other.steps
        self.integers += other.integers
        self.cells.update(other.cells)
        self.differences.extend(other.differences)

    def compared(self, cell: str, integers: int, difference: Difference | None) -> None:
        """Count one comparison."""
        self.integers += integers
        self.cells[cell] += integers
        if difference:
            self.differences.append(difference)


def check(model: Model, recordings: Sequence[Samples], cells: Sequence[Cell]) -> Tally:
    """Every tap of every recording, all of them as one stream, and as a session, on every cell.

    `steps` counts the liquid's steps on the cells. A cell is left after its first recording with a difference.
    """
    try:
        ranges_of(model)
    except RangeError:
        return Tally(refused=1)
    tally = Tally(models=1, recordings=len(recordings))
    clips = golden.run_clips(model, recordings)
    longest = MOST_STREAMED_FRAMES * model.manifest.frontend.hop_samples
    stream = np.concatenate([np.zeros(0, np.int16), *recordings])[:longest]
    script = session.random_script(seeded(len(stream)), model, stream)
    decisions, answers = session.stream_decisions(model, stream), session.expected_answers(model, script)
    with tempfile.TemporaryDirectory() as folder:
        project = Project(model, Path(folder) / "project")
        for cell in cells:
            try:
                target = cell.build(project)
                _check_taps(tally, cell, target, recordings, [clip.taps for clip in clips])
                _check_calls(tally, cell, target, script, decisions, answers)
            except LsmEdgeError as error:
                tally.differences.append(Difference(str(cell), -1, FAILURE, 0, 0, 0, 0, 1, str(error)))
    return tally


def _check_taps(
    tally: Tally, cell: Cell, target: Native | Emulator, recordings: Sequence[Samples], expected: Sequence[Taps]
) -> None:
    hop = target.model.manifest.frontend.hop_samples
    chunks = (hop, 1 + 37 % hop, max(hop - 1, 1), 1 + hop // 3)
    for i, samples in enumerate(recordings):
        chunk = 1 if len(samples) < 400 else chunks[i % len(chunks)]
        found = target.tap(samples, chunk)
        tally.steps += len(found["reservoir.v"])
        difference = first_difference(str(cell), i, expected[i], found)
        tally.compared(str(cell), sum(tap.size for tap in found.values()), difference)
        if difference:
            break


def _check_calls(
    tally: Tally,
    cell: Cell,
    target: Native | Emulator,
    script: session.Script,
    decisions: list[int],
    answers: list[int],
) -> None:
    hop = target.model.manifest.frontend.hop_samples
    found = target.stream(script.samples, max(hop - 2, 1))
    tally.compared(str(cell), len(found), _first_of_list(str(cell), STREAM, decisions, found))
    on_core = isinstance(target, Emulator)
    found = session.core_answers(target, script) if on_core else session.host_answers(target, script)
    tally.compared(str(cell), len(found), _first_of_list(str(cell), SESSION, answers, found))
    if not on_core or "-O2" in cell.flags:  # the level that ships; a self-test takes as long as all the rest
        status = session.selftest(target)
        tally.compared(str(cell), 1, _first_of_list(str(cell), SELFTEST, [session.READY], [status]))


def first_difference(cell: str, recording: int, expected: Taps, found: Taps) -> Difference | None:
    """In the earliest stage that differs, the earliest row; within the liquid, the tap that the step leaves first."""
    places = []
    count = 0
    for order, tap in enumerate(TAPS):
        differs = np.argwhere(_rows(expected[tap]) != _rows(found[tap]))
        count += len(differs)
        if len(differs):
            row, column = differs[0].tolist()
            together = LIQUID if tap.startswith("reservoir.") else order
            places.append((together, row, order, column, tap))
    if not places:
        return None
    _, row, _, column, tap = min(places)
    want, got = (int(_rows(taps[tap])[row, column]) for taps in (expected, found))
    return Difference(cell, recording, tap, row, column, want, got, count)


def _rows(tap: Ints) -> Ints:
    return tap.reshape(len(tap), -1) if tap.size else tap.reshape(0, 1)


def _first_of_list(cell: str, name: str, expected: list[int], found: list[int]) -> Difference | None:
    if expected == found:
        return None
    pairs = zip(expected, found, strict=False)
    at = next((i for i, (want, got) in enumerate(pairs) if want != got), min(len(expected), len(found)))
    count = abs(len(expected) - len(found)) + sum(a != b for a, b in zip(expected, found, strict=False))
    want, got = (values[at] if at < len(values) else -99 for values in (expected, found))
    return Difference(cell, -1, name, at, 0, want, got, count)
