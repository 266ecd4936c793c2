"""What instructions take on each core, with its memory answering at once.

Enters: the instructions of a basic block. Leaves: cycles between bounds, and what a taken jump at its end adds. Sources
of the numbers: `docs/timing.md`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from lsm_edge.target.thumb import Instruction, Kind


@dataclass(frozen=True)
class Cycles:
    """An estimate and the bounds that it lies between."""

    low: float
    expected: float
    high: float

    def __add__(self, other: Cycles) -> Cycles:
        return Cycles(self.low + other.low, self.expected + other.expected, self.high + other.high)

    def times(self, n: float) -> Cycles:
        """The same, `n` times."""
        return Cycles(self.low * n, self.expected * n, self.high * n)


NOTHING = Cycles(0, 0, 0)


@dataclass(frozen=True)
class Cost:
    """A block's cycles by itself, and what may add to them.

    `fallen_into` is what the instruction before changes if the core did not jump here, `jump` what a taken jump at the
    end adds, `mispredicted` what guessing it wrongly adds.
    """

    body: Cycles
    fallen_into: Cycles
    jump: Cycles
    mispredicted: float = 0


def cost_of(block: Sequence[Instruction], core: str, multiply_cycles: int | None, straddling_target: bool) -> Cost:
    """Cycles of a block on a core of `board.Board.core`.

    `straddling_target` says that the jump at the end goes to a 32-bit instruction that lies in two words.
    """
    model: dict[str, Callable[[Sequence[Instruction], bool], Cost]] = {
        "cortex-m0": partial(_armv6m, refill=2, multiply_cycles=multiply_cycles or 1),
        "cortex-m0plus": partial(_armv6m, refill=1, multiply_cycles=multiply_cycles or 1),
        "cortex-m3": partial(_armv7m, single_cycle_multiply=False),
        "cortex-m4": partial(_armv7m, single_cycle_multiply=True),
        "cortex-m33": _m33,
        "cortex-m7": _m7,
    }
    return model[core](block, straddling_target)


def _exactly(n: float) -> Cycles:
    return Cycles(n, n, n)


def _armv6m(block: Sequence[Instruction], _: bool, *, refill: int, multiply_cycles: int) -> Cost:
    body = 0.0
    for one in block:
        if one.kind in (Kind.LOAD, Kind.STORE):
            body += 2
        elif one.kind in (Kind.LOAD_MANY, Kind.STORE_MANY):
            body += 1 + one.n_registers
        elif one.kind is Kind.MULTIPLY:
            body += multiply_cycles
        elif one.kind is Kind.BARRIER or one.name in ("mrs", "msr"):
            body += 2 + refill
        else:
            body += 1
    last = block[-1]
    slow = last.name == "bl" or last.kind is Kind.LOAD_MANY
    return Cost(_exactly(body), NOTHING, _exactly(refill + slow if last.leaves else 0))


def _armv7m(block: Sequence[Instruction], straddling_target: bool, *, single_cycle_multiply: bool) -> Cost:
    body = NOTHING
    before: Instruction | None = None
    n_straddling = 0
    busy = False
    for one in block:
        cycles = _armv7m_alone(one, single_cycle_multiply)
        if before:
            cycles += _armv7m_after(one, before, single_cycle_multiply)
        if one.conditional and not one.leaves:  # skipped, it takes one
            cycles = Cycles(1, (1 + cycles.expected) / 2, cycles.high)
        n_straddling = n_straddling + 1 if one.straddles else 0
        if n_straddling == 1:
            busy = before is not None and before.kind in (Kind.LOAD, Kind.LOAD_MANY, Kind.STORE_MANY)
        if n_straddling == 3:  # the prefetch buffer runs dry once in such a run, surely so where the core was busy
            cycles += Cycles(0, 1 if busy else 0.5, 1)
        body += cycles
        before = one
    first = block[0].kind
    memory = (Kind.LOAD, Kind.STORE, Kind.LOAD_MANY, Kind.STORE_MANY)
    fallen_into = Cycles(-1 if first in memory[:2] else 0, 0, (first in memory) + block[0].straddles)
    return Cost(body, fallen_into, _armv7m_refill(block[-1], straddling_target))


def _armv7m_alone(one: Instruction, single_cycle_multiply: bool) -> Cycles:
    """What an instruction takes between two that have nothing to do with it."""
    if one.kind is Kind.LOAD:
        return Cycles(2, 2, 3 if one.base == "pc" else 2)  # the constant may get in the fetch's way
    if one.kind is Kind.STORE:
        return _exactly(2 if one.index else 1)
    if one.kind in (Kind.LOAD_MANY, Kind.STORE_MANY):
        return _exactly(1 + one.n_registers)
    if one.kind is Kind.DIVIDE:
        return Cycles(2, 7, 12)
    if one.kind is Kind.MULTIPLY_ADD and not single_cycle_multiply:
        return _exactly(2)
    if one.kind is Kind.LONG_MULTIPLY and not single_cycle_multiply:
        return Cycles(3, 4, 5) if one.name in ("smull", "umull") else Cycles(4, 5.5, 7)
    if one.kind is Kind.TABLE_JUMP:
        return _exactly(3)
    if one.kind is Kind.BARRIER:
        return Cycles(1, 2, 8)
    if one.kind is Kind.SYSTEM:
        return Cycles(1, 2, 2)
    return _exactly(1)


def _armv7m_after(one: Instruction, before: Instruction, single_cycle_multiply: bool) -> Cycles:
    """What the instruction before changes."""
    if one.kind is Kind.IT and before.size == 2 and not before.leaves:  # may be folded into it
        return Cycles(-1, -1, 0)
    if one.addressed_by & before.writes - ({before.base} if before.updates_base else set()):
        return Cycles(before.kind is not Kind.LOAD, 1, 1)  # an address is wanted a cycle early
    if before.kind is Kind.LOAD and one.kind in (Kind.LOAD, Kind.STORE):
        same_base = before.updates_base and before.base == one.base
        if same_base or (one.updates_base and not single_cycle_multiply):
            return NOTHING
        # Only the same memory overlaps. Another base often means another memory: constants in flash, state in RAM.
        if one.kind is Kind.STORE:
            return Cycles(-1, -1 if one.index or one.base == before.base else 0, 0)
        return Cycles(-1, -1, -1 if one.base == before.base else 0)
    if before.kind is Kind.STORE and one.kind in (Kind.LOAD, Kind.LOAD_MANY):
        return Cycles(0, 1, 1)
    return NOTHING


def _armv7m_refill(last: Instruction, straddling_target: bool) -> Cycles:
    if not last.leaves:
        return NOTHING
    if last.kind is Kind.BRANCH:  # its target is fetched while it is decoded
        return _exactly(1 + straddling_target)
    if last.kind is Kind.JUMP or last.kind is Kind.ALU:
        return Cycles(1, 2, 3)
    return Cycles(2, 3, 3)


def _m33(block: Sequence[Instruction], straddling_target: bool) -> Cost:
    last, before = block[-1], block[-2] if len(block) > 1 else None
    issued = [one for one in block if one.kind is not Kind.IT]
    pairs = last.kind is Kind.BRANCH and before is not None and before.size == last.size == 2
    if pairs:  # not taken it takes no time
        issued.pop()
    plain = _issued(issued, width=1, stalls=False)
    expected = _issued(issued, width=1, stalls=True)
    slower = _armv7m(block, straddling_target, single_cycle_multiply=True)
    body = Cycles(plain, expected, max(1.25 * expected, slower.body.high))
    if before and pairs:
        return Cost(body, _LATE, Cycles(1, 1 + before.sets_flags, 3))
    return Cost(body, _LATE, Cycles(1, 1, 2) if last.kind is Kind.BRANCH else slower.jump)


def _m7(block: Sequence[Instruction], straddling_target: bool) -> Cost:
    expected = _issued(block, width=2, stalls=True)
    slower = _armv7m(block, straddling_target, single_cycle_multiply=True)
    body = Cycles(_issued(block, width=2, stalls=False), expected, max(1.25 * expected, slower.body.high))
    last = block[-1]
    if last.kind is Kind.BRANCH:
        return Cost(body, _LATE, Cycles(0, 1, 1), mispredicted=8 if last.conditional else 0)
    return Cost(body, _LATE, Cycles(0, 2, 8) if last.leaves else NOTHING)


_LATE = Cycles(0, 0, 1.25)  # a result of the block before
# Done a cycle after a plain sum is.
_TWO_STAGES = (Kind.PACKED, Kind.MULTIPLY, Kind.MULTIPLY_ADD, Kind.LONG_MULTIPLY)


def _issued(block: Sequence[Instruction], *, width: int, stalls: bool) -> float:
    """Cycles until the last instruction is issued in order, `width` at once; without `stalls` only pairing counts."""
    cycle = 0.0
    pair: list[Instruction] = []
    ready: dict[str, float] = {}
    maker: dict[str, Instruction] = {}
    for one in block:
        wanted = 0.0
        for register in one.reads if stalls else ():
            chained = register == one.accumulator and maker.get(register, one).kind in _TWO_STAGES
            stored = one.kind is Kind.STORE and register not in one.addressed_by
            wanted = max(wanted, ready.get(register, 0.0) - (chained or stored))
        if pair and (wanted > cycle or len(pair) == width or not _pairs(pair[0], one)):
            cycle += 1
            pair = []
        cycle = max(cycle, wanted)
        alone = _cycles_alone(one, width)
        pair = [one] * (width if alone > 1 else 1 + len(pair))
        cycle += alone - 1
        for register in one.writes:
            ready[register] = cycle + (2 if _is_late(one, width) else 1)
            maker[register] = one
    return cycle + 1 if block else 0.0


def _cycles_alone(one: Instruction, width: int) -> float:
    """How long it keeps others from being issued."""
    if one.kind in (Kind.LOAD_MANY, Kind.STORE_MANY):
        return max(1, math.ceil(one.n_registers / width))
    if one.kind is Kind.DIVIDE:
        return 6
    if one.kind in (Kind.BARRIER, Kind.TABLE_JUMP):
        return 4
    return 2 if width == 1 and one.kind is Kind.MULTIPLY and one.sets_flags else 1


def _is_late(one: Instruction, width: int) -> bool:
    if one.kind in (Kind.LOAD, Kind.LOAD_MANY):  # the M7 has words a cycle earlier than bytes
        return width == 1 or one.name not in ("ldr", "ldm", "pop", "ldrd")
    if _shifts(one):
        return width == 1
    return one.kind in _TWO_STAGES


def _shifts(one: Instruction) -> bool:
    """Whether it needs the shifter beside the adder."""
    plain = one.name in ("lsl", "lsr", "asr", "ror", "mov", "movs")
    return one.kind is Kind.PACKED or (one.shifts_operand and not plain)


def _pairs(older: Instruction, younger: Instruction) -> bool:
    """Whether the M7 issues these two at once, if no result stands in the way."""
    both = (older.kind, younger.kind)
    multiplies = sum(kind in (Kind.MULTIPLY, Kind.MULTIPLY_ADD, Kind.LONG_MULTIPLY) for kind in both)
    stores = both.count(Kind.STORE)
    shifted = _shifts(older) and _shifts(younger)
    return (
        not shifted
        and max(multiplies, stores) <= 1
        and multiplies + stores <= 1
        and younger.kind not in (Kind.PACKED, Kind.LOAD_MANY, Kind.STORE_MANY, Kind.IT)
        and older.kind is not Kind.BRANCH
    )
