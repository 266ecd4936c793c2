"""Golden model, host C and emulated firmware on the same recordings: every integer of every step, bit for bit.

Within a recording nothing is sampled and nothing is cut short: taps are compared whole, and every difference counted.
"""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from lsm_edge.board import Board
from lsm_edge.errors import BuildError, DataError, MismatchError
from lsm_edge.files import write_atomically
from lsm_edge.golden import TAPS, Taps, run_clips
from lsm_edge.model import Model
from lsm_edge.target.codegen import Form, generate_library
from lsm_edge.target.emulate import Emulator
from lsm_edge.target.native import Native, compiler_name, tap_shapes

STEPS_BEFORE: Final = 10
_BATCH_CLIPS: Final = 32
_BATCH_BYTES: Final = 1 << 26
_COMMAND: Final = re.compile(r"^ \*   (.*)$", re.MULTILINE)


class Recording(Protocol):
    """What is needed of a clip (see `lsm_edge.dataset`)."""

    @property
    def samples(self) -> NDArray[np.int16]:
        """Mono samples at the front end's rate."""

    @property
    def path(self) -> str:
        """Its name."""


@dataclass(frozen=True)
class Difference:
    """One integer that is not what the golden model says.

    `step` and `index` are its place in the tap: a frame and a band, a step and a neuron (or word of 32 spikes), a
    window and a neuron or class. `before`: the integers at that index in the ten steps before, on which both agree.
    """

    target: str
    recording: str
    tap: str
    step: int
    index: int
    expected: int
    got: int
    before: tuple[int, ...]

    def __str__(self) -> str:
        history = f", after {' '.join(map(str, self.before))}" if self.before else ""
        return (
            f"{self.target}: {self.recording}: {self.tap}, step {self.step}, index {self.index}: "
            f"expected {self.expected}, got {self.got}{history}"
        )


@dataclass(frozen=True)
class TargetResult:
    """What came of one implementation; `tap_digest` is over its own taps of its own recordings."""

    name: str
    recordings: int
    steps: int
    integers: int
    differences: int
    first_difference: Difference | None
    tap_digest: str


@dataclass(frozen=True)
class Verification:
    """What came of all.

    `recordings` and `steps` (of the liquid) are the golden model's, as is `tap_digest`; `integers` and `differences`
    are summed over the targets. `altered_files` of the library on disk are not what this lsm-edge generates.
    """

    recordings: int
    steps: int
    integers: int
    differences: int
    first_difference: Difference | None
    tap_digest: str
    targets: tuple[TargetResult, ...]
    altered_files: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        """The same as plain dictionaries and lists; `first_difference` is null when there is none."""
        return asdict(self)


def verify(
    model: Model,
    recordings: Sequence[Recording],
    *,
    elf: Path | None = None,
    board: Board | None = None,
    library: Mapping[str, str] | None = None,
    prefix: str = "lsm",
    n_emulated: int = 30,
    others: Mapping[str, Callable[[NDArray[np.int16], int], Taps]] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Verification:
    """Compare all taps of all recordings on the host and, given a board and its ELF, of `n_emulated` on its core.

    `others` are more implementations by name, which hear the same recordings as the emulated core.
    `library` is the generated code to compile for the host (see `read_library`); without it, it is generated anew.
    Every other recording is pushed in chunks of its own length, since chunks must not matter.

    Raises:
        DataError: there are no recordings.
        BuildError: there is no C compiler, or the ELF is missing, has no board, or is unfit.
        MismatchError: the ELF holds another model, or the firmware fails in a way that leaves no integers to compare.
    """
    if not recordings:
        raise DataError("no recordings to verify with")
    if board is None and elf is not None:
        raise BuildError(f"{elf}: cannot be verified without the board that it was built for")
    if board is not None and (elf is None or not elf.is_file()):
        where = f"{elf}: is not there" if elf else f"no firmware for {board.id}"
        raise BuildError(f"{where}; run lsm-edge build --board {board.id} first")
    native = Native(model, library=library, prefix=prefix)
    targets = [_Target(f"host ({compiler_name()})", native.tap, range(len(recordings)))]
    if board is not None and elf is not None:
        emulator = Emulator(model, elf, board, prefix=prefix)
        targets.append(_Target(emulator.name, emulator.tap, _spread(len(recordings), n_emulated)))
    chosen = _spread(len(recordings), n_emulated)
    targets += [_Target(name, tap, chosen) for name, tap in (others or {}).items()]
    hop = model.manifest.frontend.hop_samples
    sha = hashlib.sha256()
    steps, done, total = 0, 0, sum(len(target.chosen) for target in targets)
    for i, expected in enumerate(_golden(model, [recording.samples for recording in recordings])):
        _add_taps(sha, expected)
        steps += len(expected["reservoir.v"])
        for target in targets:
            if i in target.chosen:
                target.compare(recordings[i], expected, hop)
                done += 1
                if progress is not None:
                    progress(done, total)
    results = tuple(target.result() for target in targets)
    return Verification(
        recordings=len(recordings),
        steps=steps,
        integers=sum(result.integers for result in results),
        differences=sum(result.differences for result in results),
        first_difference=next((result.first_difference for result in results if result.first_difference), None),
        tap_digest=sha.hexdigest(),
        targets=results,
        altered_files=altered_files(model, library, prefix) if library else (),
    )


def dump_taps(
    path: Path,
    model: Model,
    recordings: Sequence[Recording],
    result: Verification,
    *,
    elf: Path | None = None,
    board: Board | None = None,
    library: Mapping[str, str] | None = None,
    prefix: str = "lsm",
) -> str:
    """Write both sides' taps of one recording, for study, as `expected/<tap>` and `got/<tap>` of a NumPy .npz file.

    The recording, whose path is returned, is the one with the first difference; without one, the first.

    Raises:
        ConfigError: the file cannot be written.
    """
    first = result.first_difference
    recording = next(r for r in recordings if first is None or r.path == first.recording)
    on_host = first.target == result.targets[0].name if first else elf is None
    if elf is None or board is None or on_host:
        got = Native(model, library=library, prefix=prefix).tap(recording.samples)
    else:
        got = Emulator(model, elf, board, prefix=prefix).tap(recording.samples)
    expected = run_clips(model, [recording.samples])[0].taps
    sides = {f"expected/{name}": tap for name, tap in expected.items()}
    sides |= {f"got/{name}": tap for name, tap in got.items()}
    memory = io.BytesIO()
    np.savez_compressed(memory, allow_pickle=False, **sides)
    write_atomically(path, memory.getvalue())
    return recording.path


def find_prefix(project: Path) -> str:
    """The prefix that a project's library was generated with: the name of its only folder in `lib`.

    Raises:
        BuildError: there is none, or several.
    """
    found = sorted(path.parent.name for path in project.glob("lib/*/*_tables.h"))
    if len(found) != 1:
        raise BuildError(f"{project / 'lib'}: holds {len(found)} generated libraries, not one; run lsm-edge generate")
    return found[0]


def read_library(project: Path, prefix: str = "lsm") -> dict[str, str]:
    """The generated library in a project folder, as {file name: text}: its C and its headers.

    Raises:
        BuildError: there is none, or it cannot be read.
    """
    folder = project / "lib" / prefix
    try:
        files = {path.name: path.read_text(encoding="utf-8") for path in sorted(folder.glob("*.[ch]"))}
    except (OSError, UnicodeDecodeError) as error:
        raise BuildError(f"{folder}: cannot be read: {error}") from None
    if f"{prefix}.c" not in files or f"{prefix}.h" not in files:
        raise BuildError(f"{folder}: holds no {prefix}.c and {prefix}.h; run lsm-edge generate first")
    return files


def altered_files(model: Model, library: Mapping[str, str], prefix: str = "lsm") -> tuple[str, ...]:
    """Names of the files that are not what this lsm-edge generates for `model`; whatever the command in the banner."""
    command = _COMMAND.search(library.get(f"{prefix}.c", ""))
    form: Form = "dsp" if "dsp.h" in library else "portable"
    fresh = generate_library(model, command=command[1] if command else "", prefix=prefix, form=form)
    return tuple(sorted(name for name in {*fresh, *library} if fresh.get(name) != library.get(name)))


@dataclass
class _Target:
    """One implementation under comparison, and what came of it so far."""

    name: str
    tap: Callable[[NDArray[np.int16], int], Taps]
    chosen: Sequence[int]
    done: int = 0
    steps: int = 0
    integers: int = 0
    differences: int = 0
    sha: Any = field(default_factory=hashlib.sha256)
    first: tuple[int, Difference] | None = None

    def compare(self, recording: Recording, expected: Taps, hop_samples: int) -> None:
        try:
            got = self.tap(recording.samples, _chunk(self.done, hop_samples))
        except MismatchError as error:
            raise MismatchError(f"{recording.path}: {error}") from None
        for name in TAPS:
            if got[name].shape != expected[name].shape:
                shapes = f"{got[name].shape}, expected {expected[name].shape}"
                raise MismatchError(f"{recording.path}: {self.name}: {name} has the shape {shapes}")
        _add_taps(self.sha, got)
        self.done += 1
        self.steps += len(got["reservoir.v"])
        self.integers += sum(values.size for values in got.values())
        differences = sum(int(np.count_nonzero(expected[name] != got[name])) for name in TAPS)
        self.differences += differences
        if differences:
            found = self._first_of(recording.path, expected, got)
            if self.first is None or found[0] < self.first[0]:
                self.first = found

    def result(self) -> TargetResult:
        return TargetResult(
            name=self.name,
            recordings=self.done,
            steps=self.steps,
            integers=self.integers,
            differences=self.differences,
            first_difference=self.first[1] if self.first else None,
            tap_digest=self.sha.hexdigest(),
        )

    def _first_of(self, path: str, expected: Taps, got: Taps) -> tuple[int, Difference]:
        """The difference that names the faulty stage, and that stage's place in the pipeline.

        Nothing flows back from a stage to those before it: the faulty one is the earliest with a difference, even if a
        later one differs at a step with a lower number. Within the liquid, where each step leads to the next, it is the
        earliest step.
        """
        places = []
        for order, name in enumerate(TAPS):
            differs = np.argwhere(_rows(expected[name]) != _rows(got[name]))
            if len(differs):
                step, index = map(int, differs[0])
                clock = list(TAPS).index("reservoir.v") if name.startswith("reservoir.") else order
                places.append((clock, step, order, index, name))
        clock, step, _, index, name = min(places)
        column = _rows(expected[name])[:, index]
        return clock, Difference(
            target=self.name,
            recording=path,
            tap=name,
            step=step,
            index=index,
            expected=int(column[step]),
            got=int(_rows(got[name])[step, index]),
            before=tuple(column[max(step - STEPS_BEFORE, 0) : step].tolist()),
        )


def _golden(model: Model, clips: Sequence[NDArray[np.int16]]) -> Iterator[Taps]:
    """The golden model's taps of each clip, a batch at a time."""
    longest = tap_shapes(model, max(map(len, clips)))["reservoir.v"]
    # A neuron's step takes six bytes (current, v, refractory time, spike), and as many again when they are copied.
    n_clips = min(max(_BATCH_BYTES // max(12 * longest[0] * longest[1], 1), 1), _BATCH_CLIPS)
    for first in range(0, len(clips), n_clips):
        for clip in run_clips(model, clips[first : first + n_clips]):
            yield clip.taps


def _rows(tap: NDArray[Any]) -> NDArray[Any]:
    return tap if tap.ndim == 2 else tap[:, None]


def _add_taps(sha: Any, taps: Taps) -> None:
    """One clip more under `golden.tap_digest`."""
    for name, kind in TAPS.items():
        sha.update(np.ascontiguousarray(taps[name], kind).tobytes())


def _spread(n: int, wanted: int) -> list[int]:
    """At least `wanted` of n indices, or all, evenly spread."""
    n_chosen = min(max(wanted, 1), n)
    return [i * n // n_chosen for i in range(n_chosen)]


def _chunk(i: int, hop_samples: int) -> int:
    """One hop for every other recording; for the rest some other length, the same each time."""
    return hop_samples if i % 2 == 0 else 1 + 37 * i % hop_samples
