"""Cycles: executed instructions through a model of the core and of the flash it fetches from.

Enters: how often each basic block was executed (from the emulator), its code, a board and a clock. Leaves: `Cycles`,
an estimate between two bounds. `docs/timing.md` has the formulas, what they were checked against and what they cannot
know.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from lsm_edge.board import Board, FlashReads
from lsm_edge.target.cores import NOTHING, Cost, Cycles, cost_of
from lsm_edge.target.thumb import Instruction, Kind, decode, is_wide

__all__ = ["Cycles", "cycles_of"]

Code = Callable[[int, int], bytes]


@dataclass(frozen=True)
class _Block:
    """A basic block that was executed, and how often."""

    instructions: Sequence[Instruction]
    times: int
    cost: Cost

    @property
    def address(self) -> int:
        return self.instructions[0].address

    @property
    def last(self) -> Instruction:
        return self.instructions[-1]


# What the rules may still miss (docs/timing.md).
_MODEL_ERROR = {
    "cortex-m0": 0.02,
    "cortex-m0plus": 0.02,
    "cortex-m3": 0.03,
    "cortex-m4": 0.03,
    "cortex-m7": 0.10,
    "cortex-m33": 0.05,
}


def cycles_of(
    blocks: Mapping[tuple[int, int], int],
    code: Code,
    board: Board,
    clock_hz: int | None = None,
    data_lines: int | None = None,
) -> Cycles:
    """Cycles of executed basic blocks, {(address, bytes): times}, at `clock_hz` (by default the board's highest).

    `code` reads memory: address and bytes. `data_lines` says how often a load read other bytes of the flash than one
    read of it had just brought; without it only the upper bound knows of constants in flash.

    Raises:
        ConfigError: the board's flash cannot be read at that clock.
        BuildError: a block is not Thumb code.
    """
    wait_states = board.flash_reads.wait_states(clock_hz or board.clock_hz)
    executed = [_block(place, times, code, board) for place, times in blocks.items() if times]
    taken = _taken(executed)
    jumped_to = Counter[int | None]()
    for block, jumps in zip(executed, taken, strict=True):
        jumped_to[block.last.target] += int(jumps.low)
    cycles = NOTHING
    for block, jumps in zip(executed, taken, strict=True):
        jump, n = block.cost.jump, block.times
        cycles += block.cost.body.times(n) + block.cost.fallen_into.times(max(0, n - jumped_to[block.address]))
        cycles += Cycles(jump.low * jumps.low, jump.expected * jumps.expected, jump.high * jumps.high)
        rarer = min(jumps.expected, n - jumps.expected)
        cycles += Cycles(0, rarer / 2, min(n, 2 * rarer + 1)).times(block.cost.mispredicted)
    if wait_states:
        cycles += _waiting_for_code(executed, taken, board.flash_reads, wait_states)
        cycles += _waiting_for_data(executed, data_lines, board.flash_reads, wait_states)
    error = _MODEL_ERROR[board.core]
    return Cycles(cycles.low * (1 - error), cycles.expected, cycles.high * (1 + error))


def _block(place: tuple[int, int], times: int, code: Code, board: Board) -> _Block:
    address, size = place
    instructions = decode(code(address, size), address)
    target = instructions[-1].target
    straddles = target is not None and target % 4 != 0 and is_wide(code(target, 2))
    return _Block(instructions, times, cost_of(instructions, board.core, board.multiply_cycles, straddles))


def _taken(blocks: Sequence[_Block]) -> list[Cycles]:
    """How often the jump at each block's end was taken.

    Only conditional ones are in doubt. Where they may go to is known, and how often that was entered: what is sure to
    come from elsewhere leaves the less for them. The estimate takes what is behind a jump as reached by not jumping;
    calls and returns may reach it too, but mostly reach what jumps go to.
    """
    entered = Counter[int]()
    ended = Counter[int]()  # blocks that share their last instruction share its jump
    last = {block.last.address: block.last for block in blocks}
    for block in blocks:
        entered[block.address] += block.times
        ended[block.last.address] += block.times
    low = {at: ended[at] if one.leaves and not one.conditional else 0 for at, one in last.items()}
    high = {at: ended[at] if one.leaves else 0 for at, one in last.items()}
    doubtful = {at: one for at, one in last.items() if one.leaves and one.conditional}
    while True:
        sure = Counter[int]()
        for at, one in last.items():
            sure[one.end] += ended[at] - high[at]
            if one.target is not None:
                sure[one.target] += low[at]
        before = low.copy(), high.copy()
        for at, one in doubtful.items():
            fell = entered[one.end] - sure[one.end] + ended[at] - before[1][at]
            low[at] = min(high[at], max(low[at], ended[at] - fell))
            if one.target is not None:
                jumped = entered[one.target] - sure[one.target] + before[0][at]
                high[at] = max(low[at], min(high[at], jumped))
        if (low, high) == before:
            break
    shares = ((block, block.times / ended[block.last.address]) for block in blocks)
    return [Cycles(*(bound[block.last.address] * share for bound in (low, low, high))) for block, share in shares]


def _waiting_for_code(blocks: Sequence[_Block], taken: Sequence[Cycles], flash: FlashReads, wait_states: int) -> Cycles:
    """Cycles spent waiting for instructions: none, those that a cache of loops leaves, those without any cache.

    A read that follows its predecessor is begun while the core works on that one, if the flash prefetches.
    """
    fell = Counter[int]()
    executions: dict[int, int] = {}  # of lines: what one read brings
    waits: dict[int, float] = {}
    for block, jumps in zip(blocks, taken, strict=True):
        fell[block.last.end] += block.times - round(jumps.high)
    uncached = 0.0
    for block in blocks:
        first, *rest = range(block.address // flash.bytes, (block.last.end - 1) // flash.bytes + 1)
        ahead = block.cost.body.low * flash.bytes / (block.last.end - block.address) if flash.prefetch else 0
        next_read = max(0, wait_states - ahead)
        jumped_to = block.times - min(block.times, fell[block.address])
        at_start = next_read if block.address % flash.bytes == 0 else 0
        uncached += jumped_to * wait_states + (block.times - jumped_to) * at_start + block.times * len(rest) * next_read
        for line in (first, *rest):
            executions[line] = max(executions.get(line, 0), block.times)
            wait = wait_states if line == first and jumped_to else next_read
            waits[line] = max(waits.get(line, 0), wait)
    loops = _cached_loops(blocks, taken, flash.cache_bytes)
    if len(waits) * flash.bytes <= flash.cache_bytes:
        loops.append((0, 2**32, 1))
    expected = 0.0
    for line, wait in waits.items():
        at = line * flash.bytes
        fetches = (entries for start, end, entries in loops if start < at + flash.bytes and at < end)
        expected += wait * min((executions[line], *fetches))
    return Cycles(0, min(expected, uncached), uncached)


def _cached_loops(blocks: Sequence[_Block], taken: Sequence[Cycles], cache_bytes: int) -> list[tuple[int, int, float]]:
    """Loops without calls that fit the cache: first address, end, and how often they were entered."""
    calls = [block.address for block in blocks if block.last.name in ("bl", "blx")]
    loops = []
    for block, jumps in zip(blocks, taken, strict=True):
        start, end = block.last.target, block.last.end
        if start is None or not start < end <= start + cache_bytes or any(start <= call < end for call in calls):
            continue
        passed = sum(other.times for other in blocks if other.address <= start < other.last.end)
        loops.append((start, end, max(1.0, passed - jumps.expected)))
    return loops


def _waiting_for_data(blocks: Sequence[_Block], lines: int | None, flash: FlashReads, wait_states: int) -> Cycles:
    """Cycles spent waiting for constants: `lines` reads, or up to all that loads may cause but those from the stack."""
    if lines is not None:
        return Cycles(0, lines * wait_states, lines * wait_states)
    most = 0
    for block in blocks:
        for one in block.instructions:
            if one.kind in (Kind.LOAD, Kind.LOAD_MANY, Kind.TABLE_JUMP) and one.base != "sp":
                most += block.times * min(one.n_registers, 1 + 4 * one.n_registers // flash.bytes)
    return Cycles(0, 0, most * wait_states)
