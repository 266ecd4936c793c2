"""Workouts: what drives every loop of the firmware to its most turns, while all that is executed is written down.

Where a stage begins, the context is changed so that every neuron fires, that every spike is due, or that every band
jumps; and sounds make the longest segment, the empty one, and streams of every shape.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from unicorn import arm_const, unicorn_const

from lsm_edge.board import Board
from lsm_edge.model import Model
from lsm_edge.ranges import recurrent_sums
from lsm_edge.target.context import history_frames
from lsm_edge.target.elf import Symbol
from lsm_edge.target.emulate import Emulator
from lsm_edge.target.meter import STAGE_OF

# Calls of a stage function that are looked into in one workout (the front end: one in so many); then those of so many
# frames from the first on that is so late that taps reach back no further than to the segment's start.
_FIRST_CALLS: Final = 3
_LATE_FRAMES: Final = 9
# Compilers' own functions, such as a division, take numbers: these drive their loops to the most turns.
_NUMBERS: Final = (0, 1, 2, 3, 7, 255, 65535, 65536, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)

# The basic blocks that a call executes, one after the other: address and bytes.
Trace = list[tuple[int, int]]
# Learns from a trace; returns the stage functions that were looked into, and how many instructions each took.
Learn = Callable[[Trace], list[tuple[int, int]]]


class Tracer(Emulator):
    """An emulator that writes down which blocks are executed, and lets a workout change state where a stage begins.

    With `inside` it looks into the first and the last calls of each stage function; without, into those few that matter
    to the calls of others.
    """

    def __init__(self, model: Model, elf: Path, board: Board, prefix: str, *, inside: bool) -> None:
        self.inside = inside
        self.poke: Callable[[str], None] | None = None
        self._trace: Trace = []
        self._skip_to = 0
        self.n_calls: Counter[str] = Counter()
        self.only: int | None = None  # look into this step of the liquid, and nothing else
        super().__init__(model, elf, board, prefix=prefix)
        self.stages: dict[int, tuple[str, Symbol]] = {
            symbol.address: (name, symbol)
            for name in STAGE_OF
            for symbol in self.elf.functions(f"{prefix}_{name}", self._unit)
        }
        hook = unicorn_const.UC_HOOK_BLOCK
        if inside:
            self._uc.hook_add(hook, self._on_block)
        else:
            for first, last in self._outside():
                self._uc.hook_add(hook, self._on_block, None, first, last)

    def trace(self, function: str, *arguments: int) -> Trace:
        """The blocks that a call executes."""
        self._trace, self._skip_to = [], 0
        self.call(function, *arguments)
        return self._trace

    def workout(
        self,
        samples: NDArray[np.int16],
        poke: Callable[[str], None] | None = None,
        *,
        by_hand: bool = True,
        first_push: int = 0,
    ) -> Iterator[Trace]:
        """The traces of the calls that hearing a clip takes; `first_push` samples go before the hops."""
        self.poke = poke
        self.n_calls.clear()
        self._reset()
        if by_hand:
            yield self.trace(f"{self.prefix}_begin", self.context)
        n = self.model.manifest.frontend.hop_samples
        for at in range(first_push - n if first_push else 0, len(samples), n):
            data = np.ascontiguousarray(samples[max(at, 0) : at + n], "<i2").tobytes()
            start = self._samples_end - len(data)
            self._uc.mem_write(start, data)
            yield self.trace(f"{self.prefix}_push", self.context, start, len(data) // 2)
        if by_hand:
            yield self.trace(f"{self.prefix}_end", self.context)
        self.poke = None

    def set(self, name: str, data: bytes, first: int = 0) -> None:
        """Write into a field of the context."""
        self.write(self.context + self._fields[name].offset + first, data, is_code=False)

    def fill(self, name: str, data: bytes) -> None:
        """Write into a field of the context, again and again up to its end."""
        self.set(name, data * (self._fields[name].size // len(data)))

    def number(self, name: str) -> int:
        """An integer of the context."""
        field_ = self._fields[name]
        return int.from_bytes(self.read(self.context + field_.offset, field_.size), "little")

    def _on_block(self, uc: Any, at: int, size: int, _: Any) -> None:
        if self._skip_to:
            if at != self._skip_to:
                return
            self._skip_to = 0
        elif self.inside and at in self.stages and not self._looks_into(self.stages[at][0]):
            self._skip_to = uc.reg_read(arm_const.UC_ARM_REG_LR) & ~1
            return
        self._trace.append((at, size))

    def _looks_into(self, stage: str) -> bool:
        """Called before `_on_entry`, which counts."""
        n, late = self.n_calls[stage], self.n_calls["frame"] - self.model.manifest.encoder.max_delay_frames
        if self.only is not None:
            return stage == "frame" or (stage == "reservoir" and n == self.only)
        if stage == "frontend":
            return n % _FIRST_CALLS == 0
        return n < _FIRST_CALLS or (stage != "reservoir" and 0 < late <= _LATE_FRAMES)

    def _on_entry(self, uc: Any, address: int, size: int, stage: str) -> None:
        if self.poke is not None:
            self.poke(stage)
        self.n_calls[stage] += 1

    def _outside(self) -> Iterator[tuple[int, int]]:
        """The stretches of flash but for the stage functions that do the same every time."""
        same = {"frontend", "reservoir", "readout", *(["encoder"] * (self.model.manifest.encoder.kind == "delta"))}
        at = self.board.flash.address
        stages = [symbol for name, symbol in self.stages.values() if name in same]
        for symbol in sorted(stages, key=lambda symbol: symbol.address):
            if at < symbol.address:
                yield at, symbol.address - 1
            at = symbol.address + symbol.size
        yield at, self.board.flash.end


def drive_stages(tracer: Tracer, learn: Learn) -> tuple[int, int]:
    """Workouts of the stage functions; instructions of an idle step, and of one with all spikes due and none fired."""
    manifest = tracer.model.manifest
    hop, steps = manifest.frontend.hop_samples, manifest.reservoir.steps_per_frame
    most_frames = manifest.decision.max_frames if manifest.decision.mode == "segment" else 1 << 16
    sounds = np.concatenate(_sounds(manifest.frontend.window_samples + hop))
    n_needed = (manifest.encoder.max_delay_frames + _LATE_FRAMES + 1) * hop
    _run(tracer, learn, np.resize(sounds, max(len(sounds), n_needed)))
    if manifest.encoder.kind == "delta":
        for direction in ("up", "down", "either"):
            _run(tracer, learn, np.zeros(2 * hop, np.int16), _jump(tracer, direction))
    n, n_steps = manifest.reservoir.n_neurons, steps
    # However much arrives, potentials and currents so low keep a neuron from firing; most are far from saturation.
    most = int(recurrent_sums(tracer.model)[1].max()) << manifest.reservoir.weight_shift
    high, low = np.full(n, 32767, "<i2"), np.full(n, -min(most + 1, 32768), "<i2")
    idle = _steps(tracer, learn, n_steps, 0, lambda step: low)
    _steps(tracer, learn, n_steps, 0, lambda step: high)
    if "delay_steps" not in tracer.model.tables:
        return idle, idle
    delay = tracer.model["delay_steps"].astype(np.int64)
    last = min(int(delay.max()), most_frames * steps - 1)
    # A spike that is emitted so many steps before the last is due then, and none before.
    return idle, _steps(tracer, learn, last + 1, last, lambda step: np.where(delay == last - step, high, low))


def drive_conductor(tracer: Tracer, learn: Learn) -> None:
    """Workouts of what calls the stage functions: segments and streams of every shape."""
    manifest = tracer.model.manifest
    hop, decision = manifest.frontend.hop_samples, manifest.decision
    live = decision.mode == "live"
    longest = (2 * decision.every_frames if live else decision.max_frames) + 3
    noise = np.random.default_rng(11).integers(-32768, 32768, longest * hop).astype(np.int16)
    early, late = noise[: 12 * hop].copy(), noise[: 12 * hop].copy()
    early[3 * hop :], late[: -3 * hop] = 0, 0
    for samples in (noise, early, late, np.zeros_like(early), noise[:0], noise[:hop], noise[: hop // 2]):
        _run(tracer, learn, samples)
    for first_push in (1, 2, 3, hop - 1):
        _run(tracer, learn, noise[: 3 * hop], first_push=first_push)
    stream = noise[: 3 * hop]
    if decision.endpointer is not None:
        ends = decision.endpointer
        pause = np.zeros((ends.onset_frames + ends.preroll_frames + 2 * ends.hang_frames + 5) * hop, np.int16)
        word = noise[: 2 * len(pause)]
        stream = np.concatenate([pause, noise, noise[: 5 * hop], pause, word, pause, word, pause])
    for first_push in (0, 1):
        _run(tracer, learn, stream, by_hand=False, first_push=first_push)


def drive_helper(tracer: Tracer, learn: Learn, function: str) -> None:
    """A compiler's own function, with numbers that keep it busy."""
    for high in _NUMBERS:
        for low in _NUMBERS[1:]:
            learn(tracer.trace(function, high, low))


def _run(
    tracer: Tracer,
    learn: Learn,
    samples: NDArray[np.int16],
    poke: Callable[[str], None] | None = None,
    *,
    by_hand: bool = True,
    first_push: int = 0,
) -> list[tuple[int, int]]:
    traces = tracer.workout(samples, poke, by_hand=by_hand, first_push=first_push)
    return [done for trace in traces for done in learn(trace)]


def _steps(
    tracer: Tracer,
    learn: Learn,
    n_steps: int,
    wanted: int,
    drive: Callable[[int], NDArray[np.int16]],
) -> int:
    """Steps of the liquid in which the neurons fire that `drive(step)` drives; instructions of the step `wanted`."""
    manifest = tracer.model.manifest
    n_hops = -(-n_steps // manifest.reservoir.steps_per_frame)

    def poke(stage: str) -> None:
        if stage == "reservoir":
            driven = drive(tracer.n_calls["reservoir"]).tobytes()
            tracer.set("v", driven)
            tracer.fill("current", driven)
            tracer.set("refractory", bytes(manifest.reservoir.n_neurons))

    tracer.only = wanted
    done = _run(tracer, learn, np.zeros(n_hops * manifest.frontend.hop_samples, np.int16), poke)
    tracer.only = None
    (found,) = (n for entry, n in done if tracer.stages[entry][0] == "reservoir")
    return found


def _jump(tracer: Tracer, direction: str) -> Callable[[str], None]:
    """A delta encoder's bands all send: up, down, or where each has more synapses."""
    manifest = tracer.model.manifest
    per_line = np.diff(tracer.model["input_start"].astype(np.int64)).reshape(-1, 2)
    more_up = per_line[:, 0] >= per_line[:, 1]
    ups = {"up": np.ones_like(more_up), "down": np.zeros_like(more_up), "either": more_up}[direction]
    frame = np.where(ups, 255, 0).astype(np.uint8)

    def poke(stage: str) -> None:
        if stage == "encoder":
            first = (history_frames(manifest) + tracer.number("at")) * manifest.frontend.n_bands
            tracer.set("frames", frame.tobytes(), first)
            tracer.set("reference", (255 - frame).tobytes())

    return poke


def _sounds(n: int) -> Sequence[NDArray[np.int16]]:
    """Silence and the ends of the range: constant, alternating, single, random, faint."""
    rng = np.random.default_rng(7)
    impulse = np.zeros(n, np.int16)
    impulse[n // 2] = -32768
    return (
        np.zeros(n, np.int16),
        np.full(n, -32768, np.int16),
        np.tile(np.array([-32768, 32767], np.int16), n // 2 + 1)[:n],
        impulse,
        rng.integers(-32768, 32768, n).astype(np.int16),
        rng.integers(-2, 3, n).astype(np.int16),
    )
