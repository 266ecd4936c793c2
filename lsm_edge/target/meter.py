"""The emulated firmware with every executed instruction counted under the stage that runs.

What a stage function calls (memcpy, a division) counts as its own; what runs outside of all stage functions counts as
`push`. Counts are exact: of basic blocks, by the emulator, times the instructions in them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from unicorn import arm_const, unicorn_const

from lsm_edge.board import Board
from lsm_edge.model import Model
from lsm_edge.target.branches import count_instructions
from lsm_edge.target.emulate import Emulator

# Stage functions of the library, and the row of a profile that each belongs to.
STAGE_OF: Final = {
    "gate": "frontend",
    "frontend": "frontend",
    "level": "frontend",
    "encoder": "encoder",
    "reservoir": "reservoir",
    "frame": "readout",  # its own instructions keep the traces
    "readout": "readout",
    "decision": "decision",
}
PUSH: Final = "push"
_READY: Final = 1

Blocks = dict[tuple[int, int], int]


@dataclass
class Tally:
    """Calls of one function: how many, what they executed, and what the dearest of them did."""

    calls: int = 0
    instructions: int = 0
    worst: int = 0
    blocks: Blocks = field(default_factory=lambda: defaultdict(int))
    worst_blocks: Blocks = field(default_factory=dict)

    def add(self, blocks: Blocks, instructions: int) -> None:
        """Count one call."""
        self.calls += 1
        self.instructions += instructions
        for block, times in blocks.items():
            self.blocks[block] += times
        if instructions > self.worst:
            self.worst, self.worst_blocks = instructions, blocks


@dataclass(frozen=True)
class Heard:
    """What hearing one clip took: by function, by push of a hop, and by what ended segments.

    In live mode, where decisions are part of hops, `end` is the call that asks for the last one.
    """

    functions: Mapping[str, Tally]
    hop: Tally
    end: Tally
    decisions: int
    spikes: NDArray[np.int64]  # of each neuron


class Meter(Emulator):
    """An emulator that counts.

    Raises:
        BuildError: as `Emulator` does.
        MismatchError: as `Emulator` does.
    """

    def __init__(self, model: Model, elf: Path, board: Board, *, prefix: str = "lsm") -> None:
        super().__init__(model, elf, board, prefix=prefix)
        self.entries = {
            symbol.address: name for name in STAGE_OF for symbol in self.elf.functions(f"{prefix}_{name}", self._unit)
        }
        self._counts: Blocks = defaultdict(int)
        self._open: list[tuple[str, int, int, Blocks]] = []  # stages entered: name, return address, stack, its caller's
        self._events = set(self.entries)
        self._sizes: dict[tuple[int, int], int] = {}
        self._functions: dict[str, Tally] = {}
        self._whole: Blocks = {}
        self._spikes = np.zeros(0, np.int64)
        self._is_segmented = model.manifest.decision.mode == "segment"
        self._uc.hook_add(unicorn_const.UC_HOOK_BLOCK, self._on_block)

    def hear(self, samples: NDArray[np.int16], *, by_hand: bool = True, skipped_hops: int = 0) -> Heard:
        """One clip from the initial state; `by_hand` as one segment, or else as a stream.

        `skipped_hops` at its beginning are heard and not counted.

        Raises:
            MismatchError: the firmware fails.
        """
        hop, end, decisions = Tally(), Tally(), 0
        self._reset()
        self._forget()
        if by_hand:
            self.measure("begin", self.context)
        n = self.model.manifest.frontend.hop_samples
        if skipped_hops:
            for at in range(0, skipped_hops * n, n):
                self.measure_push(samples[at : at + n])
            self._forget()
        for at in range(skipped_hops * n, len(samples), n):
            status, blocks = self.measure_push(samples[at : at + n])
            decisions += status == _READY
            if status == _READY and self._is_segmented:
                end.add(blocks, self.instructions(blocks))
            elif at + n <= len(samples):
                hop.add(blocks, self.instructions(blocks))
        if by_hand:
            _, blocks = self.measure("end", self.context)
            end.add(blocks, self.instructions(blocks))
            decisions += 1
        return Heard(self._functions, hop, end, decisions, self._spikes)

    def _forget(self) -> None:
        self._functions = {name: Tally() for name in (*STAGE_OF, PUSH)}
        self._spikes = np.zeros(self.model.manifest.reservoir.n_neurons, np.int64)

    def measure_push(self, samples: NDArray[np.int16]) -> tuple[int, Blocks]:
        """Push up to a hop of samples: the status, and what was executed."""
        data = np.ascontiguousarray(samples, "<i2").tobytes()
        start = self._samples_end - len(data)
        self._uc.mem_write(start, data)
        return self.measure("push", self.context, start, len(data) // 2)

    def measure(self, function: str, *arguments: int) -> tuple[int, Blocks]:
        """Call a public function of the library: the status, and what was executed."""
        self._open.clear()
        self._counts, self._whole = defaultdict(int), {}
        status = self._library(function, *arguments)
        while self._open:  # a stage function that the public one ended in
            self._leave()
        self._close(PUSH, self._counts)
        return status & 0xFF, self._whole

    def instructions(self, blocks: Mapping[tuple[int, int], int]) -> int:
        """How many instructions these executed blocks are."""
        total = 0
        for block, times in blocks.items():
            if block not in self._sizes:
                self._sizes[block] = count_instructions(self.read(*block))
            total += times * self._sizes[block]
        return total

    def _on_block(self, uc: Any, at: int, size: int, _: Any) -> None:
        if at in self._events:
            self._enter_or_leave(at)
        self._counts[at, size] += 1

    def _enter_or_leave(self, at: int) -> None:
        stack = self._uc.reg_read(arm_const.UC_ARM_REG_SP)
        while self._open and self._open[-1][1:3] == (at, stack):
            self._leave()
        if at in self.entries:
            back = self._uc.reg_read(arm_const.UC_ARM_REG_LR) & ~1
            self._events.add(back)
            self._open.append((self.entries[at], back, stack, self._counts))
            self._counts = defaultdict(int)

    def _leave(self) -> None:
        name, _, _, callers = self._open.pop()
        if name == "reservoir":
            words = self._fields["spikes"]
            bits = np.frombuffer(self.read(self.context + words.offset, words.size), np.uint8)
            self._spikes += np.unpackbits(bits, bitorder="little")[: len(self._spikes)]
        self._close(name, self._counts)
        self._counts = callers

    def _close(self, name: str, blocks: Blocks) -> None:
        if name in self._functions:
            self._functions[name].add(blocks, self.instructions(blocks))
        for block, times in blocks.items():
            self._whole[block] = self._whole.get(block, 0) + times


def merged(tallies: Sequence[Tally]) -> Tally:
    """Calls of the same function, from several clips."""
    total = Tally()
    for tally in tallies:
        total.calls += tally.calls
        total.instructions += tally.instructions
        for block, times in tally.blocks.items():
            total.blocks[block] += times
        if tally.worst > total.worst:
            total.worst, total.worst_blocks = tally.worst, tally.worst_blocks
    return total
