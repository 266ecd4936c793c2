"""Machine code as a graph: the dearest way through it is a bound from above, and no dearer than it must be."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest

from lsm_edge.errors import RangeError
from lsm_edge.target.flow import Block, Flow, flow_of

CODE = 0x100


def graph(follows: Mapping[int, Sequence[int]], callees: Mapping[int, int] | None = None) -> Flow:
    """Blocks of two bytes, by what follows them; what nothing follows leaves."""
    return Flow(
        "f",
        min(follows),
        {n: Block(n, n + 2, tuple(after), (callees or {}).get(n), not after) for n, after in follows.items()},
    )


def dearest(
    flow: Flow, costs: Mapping[int, float], turns: Mapping[int, int], calls: Mapping[int, int] | None = None
) -> float | None:
    return flow.dearest(lambda block: costs.get(block.start, 1), turns, calls or {})


def halfwords(*code: int) -> Flow:
    """The graph of what is written at `CODE`; another function begins at 0x200."""
    data = b"".join(word.to_bytes(2, "little") for word in code).ljust(64, b"\0")
    return flow_of(CODE, "f", lambda at, n: data[at - CODE : at - CODE + n], frozenset([CODE, 0x200]))


def test_the_dearer_branch_counts() -> None:
    flow = graph({0: [2, 4], 2: [6], 4: [6], 6: []})
    assert flow.loops == {}
    assert dearest(flow, {2: 10, 4: 30}, {}) == 32


def test_a_loop_counts_as_often_as_it_turns() -> None:
    flow = graph({0: [2], 2: [2, 4], 4: []})
    assert flow.loops == {2: (2,)}
    assert dearest(flow, {2: 10}, {2: 7}) == 82
    assert dearest(flow, {2: 10}, {}) == 12


def test_turns_of_an_inner_loop_are_those_of_all_its_entries() -> None:
    flow = graph({0: [2], 2: [4], 4: [4, 6], 6: [2, 8], 8: []})
    assert flow.loops == {2: (6,), 4: (4,)}
    assert dearest(flow, {4: 100}, {2: 3, 4: 10}) == 1 + 4 * (1 + 100 + 1) + 10 * 100 + 1


def test_a_loop_that_is_not_entered_does_not_count() -> None:
    """Of two loops on two branches only one can turn, though both have turned in their time."""
    flow = graph({0: [2, 4], 2: [2, 6], 4: [4, 6], 6: []})
    assert dearest(flow, {2: 10, 4: 11}, {2: 100, 4: 90}) == 2 + 101 * 10


def test_a_loop_that_is_entered_in_two_places() -> None:
    flow = graph({0: [2, 4], 2: [4], 4: [2, 6], 6: []})
    assert list(flow.loops.values()) in ([(4,)], [(2,)])
    assert dearest(flow, {}, {next(iter(flow.loops)): 5}) == 1 + 2 * 6 + 1


def test_limited_calls_limit_what_is_around_them() -> None:
    flow = graph({0: [2], 2: [4, 6], 4: [6], 6: [2, 8], 8: []}, {4: 0x200})
    costs = {4: 1000}
    assert dearest(flow, costs, {2: 9}) == 1 + 10 * 1002 + 1
    assert dearest(flow, costs, {2: 9}, {0x200: 1}) == 1 + 10 * 2 + 1000 + 1


def test_what_must_not_be_passed() -> None:
    flow = graph({0: [2, 4], 2: [6], 4: [6], 6: []})
    assert flow.dearest(lambda block: None if block.start == 4 else 10, {}, {}) == 30
    assert flow.dearest(lambda block: None if block.start == 6 else 10, {}, {}) is None


def test_branches_are_followed() -> None:
    """cmp r0, #0; beq +4; subs r0, #1; bne -4; bx lr."""
    flow = halfwords(0x2800, 0xD001, 0x3801, 0xD1FD, 0x4770)
    assert set(flow.blocks) == {0x100, 0x104, 0x108}
    assert flow.loops == {0x104: (0x104,)}
    assert flow.blocks[0x108].leaves
    assert [block.start for block in flow.walk(0x100, 10)] == [0x100, 0x104, 0x108]


def test_calls_and_jumps_to_other_functions() -> None:
    """bl 0x200; b 0x200: a call that comes back, and one that does not."""
    flow = halfwords(0xF000, 0xF87E, 0xE07C)
    assert flow.blocks[0x100] == Block(0x100, 0x104, (0x104,), 0x200)
    assert flow.blocks[0x104] == Block(0x104, 0x106, (), 0x200, leaves=True)


def test_a_guarded_return_may_not_return() -> None:
    """cmp r0, #0; it eq; bxeq lr; movs r0, #1; bx lr."""
    flow = halfwords(0x2800, 0xBF08, 0x4770, 0x2001, 0x4770)
    assert flow.blocks[0x100] == Block(0x100, 0x106, (0x106,), leaves=True)
    assert flow.blocks[0x106].leaves


def test_what_never_returns_is_left_out() -> None:
    """cmp r0, #0; beq +0; bx lr; b . (a compiler's idea of what cannot happen)."""
    flow = halfwords(0x2800, 0xD000, 0x4770, 0xE7FE)
    assert set(flow.blocks) == {0x100, 0x104}
    assert flow.loops == {}


@pytest.mark.parametrize("code", [(0x4718,), (0xE8D0, 0xF001), (0x4687,)], ids=["bx r3", "tbb", "mov pc, r0"])
def test_what_cannot_be_followed(code: tuple[int, ...]) -> None:
    with pytest.raises(RangeError, match="f: has no bound: it goes to an address in a register or a table at 0x100"):
        halfwords(*code)
