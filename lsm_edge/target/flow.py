"""A function's machine code as a graph of basic blocks, with its loops, and the dearest way through it.

The graph is found by following every branch from the function's first instruction, both ways where there are two: no
path that the core can take is missing. What cannot be followed (a jump through a register or a table) is an error. How
often loops turn is not in the code: whoever asks for the dearest way says so.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from math import ceil
from typing import Final

import numpy as np
from scipy.optimize import linprog
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from lsm_edge.errors import RangeError
from lsm_edge.target.branches import is_call, is_indirect, is_long, target

_INFEASIBLE: Final = 2
# The solver works in floating point; counts of instructions are far from where it errs by one.
_ROUNDING: Final = 1e-6

Read = Callable[[int, int], bytes]


@dataclass(frozen=True)
class Block:
    """Instructions that are executed together: from `start` to before `end`, the only branch being the last.

    `follows` are the blocks of the same function that may come next. `callee` is the function that its last
    instruction calls, or jumps to for good. `leaves`: the function may end here.
    """

    start: int
    end: int
    follows: tuple[int, ...]
    callee: int | None = None
    leaves: bool = False


@dataclass(frozen=True)
class Flow:
    """The blocks of a function by address."""

    name: str
    entry: int
    blocks: Mapping[int, Block]

    @cached_property
    def loops(self) -> dict[int, tuple[int, ...]]:
        """{header: from where its loop jumps back to it}; without those jumps there is no way round in circles.

        Of blocks that can all reach each other, the first is the header; what still can without the jumps to it is an
        inner loop (F. Bourdoncle, FMPA 1993). A loop that is entered in several places is a loop like any other.
        """
        order = self._order()
        found: dict[int, tuple[int, ...]] = {}
        waiting = [order]
        while waiting:
            blocks = waiting.pop()
            after = {block: [each for each in self.blocks[block].follows if each not in found] for block in blocks}
            for loop in _circles(blocks, after):
                found[loop[0]] = tuple(block for block in loop if loop[0] in after[block])
                waiting.append(loop)
        return found

    def walk(self, address: int, size: int) -> Iterator[Block]:
        """The blocks that executing `size` bytes of straight code from `address` goes through."""
        at = address
        while at < address + size:
            block = self.blocks[self._starts[bisect_right(self._starts, at) - 1]]
            yield block
            at = block.end

    def dearest(
        self,
        cost: Callable[[Block], float | None],
        turns: Mapping[int, int],
        calls: Mapping[int, int],
    ) -> float | None:
        """The highest sum of `cost` over any way from entry to exit; None if there is no way.

        A block whose cost is None cannot be passed. `turns[header]` is the most times that a loop's body jumps back to
        its header, `calls[callee]` the most times that a function is called, where that is known.

        It is the maximum of a linear program in whole numbers: how often each branch is taken. What enters a block
        leaves it (Li and Malik, DAC 1995). No real way is left out; what returns is the solver's bound from above.
        """
        edges = [(block.start, after) for block in self.blocks.values() for after in block.follows]
        edges += [(block.start, -1) for block in self.blocks.values() if block.leaves]
        costs = {start: cost(block) for start, block in self.blocks.items()}
        rows = {start: n for n, start in enumerate(self.blocks)}
        conserved = np.zeros((len(rows), len(edges)))
        for n, (tail, head) in enumerate(edges):
            conserved[rows[tail], n] += 1
            if head >= 0:
                conserved[rows[head], n] -= 1
        entered = np.zeros(len(rows))
        entered[rows[self.entry]] = 1
        limited, most = [], []
        for header, ends in self.loops.items():
            again = [head == header and tail in ends for tail, head in edges]
            enters = [head == header and tail not in ends for tail, head in edges]
            n = turns.get(header, 0)
            limited += [np.array(again, float), np.array(again, float) - n * np.array(enters, float)]
            most += [n, n * (header == self.entry)]  # at most so often in all, and only if the loop is entered
        for callee, n in calls.items():
            limited.append(np.array([self.blocks[tail].callee == callee for tail, _ in edges], float))
            most.append(n)
        worth = [costs[tail] for tail, _ in edges]
        found = linprog(
            np.array([-(each or 0.0) for each in worth]),
            A_ub=np.array(limited) if limited else None,
            b_ub=np.array(most, float) if limited else None,
            A_eq=conserved,
            b_eq=entered,
            bounds=[(0, 0 if each is None else None) for each in worth],
            integrality=np.ones(len(edges), int),
            method="highs",
        )
        if found.status == _INFEASIBLE:
            return None
        if not found.success:
            raise RangeError(f"{self.name}: has no bound: {found.message}")
        return float(ceil(-found.mip_dual_bound - _ROUNDING))

    @cached_property
    def _starts(self) -> list[int]:
        return sorted(self.blocks)

    def _order(self) -> list[int]:
        """All blocks, each before those that follow it but for jumps back (reverse postorder)."""
        seen, order = {self.entry}, list[int]()
        stack = [(self.entry, iter(self.blocks[self.entry].follows))]
        while stack:
            block, after = stack[-1]
            for each in after:
                if each not in seen:
                    seen.add(each)
                    stack.append((each, iter(self.blocks[each].follows)))
                    break
            else:
                order.append(block)
                stack.pop()
        return order[::-1]


def _circles(blocks: Sequence[int], after: Mapping[int, Sequence[int]]) -> list[list[int]]:
    """The sets of blocks that can all reach each other, each in the order of `blocks`."""
    place = {block: n for n, block in enumerate(blocks)}
    edges = np.array([(place[b], place[a]) for b in blocks for a in after[b] if a in place]).reshape(-1, 2)
    graph = coo_array((np.ones(len(edges)), (edges[:, 0], edges[:, 1])), shape=(len(blocks), len(blocks)))
    _, part = connected_components(graph.tocsr(), connection="strong")
    parts: dict[int, list[int]] = {}
    for block, n in zip(blocks, part.tolist(), strict=True):
        parts.setdefault(n, []).append(block)
    return [part for part in parts.values() if len(part) > 1 or part[0] in after[part[0]]]


def flow_of(entry: int, name: str, read: Read, functions: frozenset[int]) -> Flow:
    """The graph of the function at `entry`; `functions` are the addresses at which functions begin.

    Raises:
        RangeError: it goes where nobody can tell.
    """
    ends: dict[int, Block] = {}  # by the address of the last instruction
    leaders, waiting = {entry}, [entry]
    steps: dict[int, int] = {}  # instruction -> the next
    while waiting:
        at, n_guarded = waiting.pop(), 0
        while at not in steps:
            first, second = (int.from_bytes(read(at + n, 2), "little") for n in (0, 2))
            size = 4 if is_long(first) else 2
            steps[at] = at + size
            block = _end_of_block(at, size, first, second if size == 4 else 0, entry, name, functions)
            if block is not None:
                if n_guarded and block.end not in block.follows:  # in an IT block, any instruction may be skipped
                    block = replace(block, follows=(*block.follows, block.end))
                ends[at] = block
                leaders.update(block.follows)
                waiting += block.follows
                break
            n_guarded = max(n_guarded - 1, 0)
            if first >> 8 == 0xBF and first & 15:
                n_guarded = 5 - (first & -first).bit_length()
            at += size
    return Flow(name, entry, _returning({start: _block(start, steps, ends, leaders) for start in leaders}))


def _returning(blocks: Mapping[int, Block]) -> dict[int, Block]:
    """Only the blocks from which the function's end can be reached: no call that returns passes the others."""
    found: set[int] = set()
    more = {start for start, block in blocks.items() if block.leaves}
    while more:
        found |= more
        more = {start for start, block in blocks.items() if start not in found and not found.isdisjoint(block.follows)}
    return {
        start: replace(block, follows=tuple(each for each in block.follows if each in found))
        for start, block in blocks.items()
        if start in found
    }


def _block(start: int, steps: Mapping[int, int], ends: Mapping[int, Block], leaders: set[int]) -> Block:
    at = start
    while at not in ends:
        at = steps[at]
        if at in leaders:
            return Block(start, at, (at,))
    end = ends[at]
    return Block(start, end.end, end.follows, end.callee, end.leaves)


def _end_of_block(
    at: int, size: int, first: int, second: int, entry: int, name: str, functions: frozenset[int]
) -> Block | None:
    """What an instruction that may not lead to the next one leads to, as a block of itself alone; None for others."""
    after = at + size
    if is_indirect(first, second) or (first & 0xFFF0 == 0xE8D0 and second & 0xFFE0 == 0xF000):  # tbb, tbh
        raise RangeError(f"{name}: has no bound: it goes to an address in a register or a table at {at:#x}")
    if _is_return(first, second):
        return Block(at, after, (), leaves=True)
    if first >> 8 == 0xDE or (first & 0xFFF0 == 0xF7F0 and second >> 12 == 0xA):  # udf
        return Block(at, after, ())
    goal = target(at, first, second)
    if goal is None:
        return None
    if is_call(first, second) and goal in functions:
        return Block(at, after, (after,), callee=goal)
    falls = () if _is_unconditional(first, second) else (after,)
    if goal in functions and goal != entry:
        return Block(at, after, falls, callee=goal, leaves=True)
    return Block(at, after, tuple(dict.fromkeys((*falls, goal))))


def _is_return(first: int, second: int) -> bool:
    """bx lr; pop {..., pc}, pop.w {..., pc}, ldr pc, [sp], #4."""
    return (
        first & 0xFFF8 == 0x4770
        or first >> 8 == 0xBD
        or (first == 0xE8BD and bool(second >> 15))
        or (first == 0xF85D and second >> 12 == 15)
    )


def _is_unconditional(first: int, second: int) -> bool:
    """b, b.w, and a bl that stays within its function."""
    return first >> 11 == 0b11100 or (first >> 11 == 0b11110 and bool(second & 0x1000))
