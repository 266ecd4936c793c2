"""The most instructions and cycles that a call of the library can take, so that a deadline can be promised.

Which ways lead through the code is read from the machine code (`flow`): every branch may go either way, every time.
How often a loop turns is not there to be read; it is observed, in workouts that drive it to its most: every neuron
fires at once, every spike is due at once, every band jumps at once, the longest segment, the empty one, silence and
sounds at the ends of the range. `docs/profile.md` says why that is enough, and what it takes for granted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from lsm_edge.board import Board
from lsm_edge.errors import RangeError
from lsm_edge.model import Model
from lsm_edge.target.branches import count_instructions
from lsm_edge.target.flow import Block, Flow, flow_of
from lsm_edge.target.timing import cycles_of
from lsm_edge.target.workouts import Trace, Tracer, drive_conductor, drive_helper, drive_stages

# The calls that led to a function: the address of the first one, then of each block that called the next.
Way = tuple[int, ...]


@dataclass(frozen=True)
class Bound:
    """What no call exceeds."""

    instructions: int
    cycles: float


@dataclass(frozen=True)
class WorstCase:
    """Bounds by stage function, for a push that completes a hop, and for the work at the end of a segment.

    `end` is None in live mode, where a decision is part of a hop. `idle_step` and `due_step` are instructions of two
    steps of the liquid: without any spike, and with a spike of every neuron due but none fired.
    """

    functions: dict[str, Bound]
    hop: Bound
    end: Bound | None
    idle_step: int
    due_step: int
    loops: int
    varying_loops: int


@dataclass
class _Facts:
    """What was observed of a function in one place of the program: the most turns of loops, the most calls."""

    turns: dict[int, int] = field(default_factory=dict)
    calls: dict[int, int] = field(default_factory=dict)


@dataclass(frozen=True)
class _Ask:
    """What the dearest way is asked for: instructions or cycles (0, 1), without a decision, without any loop."""

    kind: int
    without_decision: bool = False
    without_loops: bool = False


@dataclass
class _Activation:
    """A call that is under way. `turned`: a loop was executed, in it or in what it called and is no stage function."""

    path: Way
    flow: Flow
    back: int
    turns: dict[int, int] = field(default_factory=dict)
    calls: dict[int, int] = field(default_factory=dict)
    instructions: int = 0
    turned: bool = False
    last: Block | None = None


def worst_case(
    model: Model, elf: Path, board: Board, *, prefix: str = "lsm", executed: Collection[tuple[int, int]] = ()
) -> WorstCase:
    """Bounds for the firmware in `elf`; `executed` are basic blocks (address, bytes) that recordings made it execute.

    Raises:
        BuildError: as `Emulator` does.
        MismatchError: as `Emulator` does.
        RangeError: there is no bound; the message says where and why.
    """
    tracer = Tracer(model, elf, board, prefix, inside=True)
    program = _Program(tracer)
    idle_step, due_step = drive_stages(tracer, program.learn)
    drive_conductor(Tracer(model, elf, board, prefix, inside=False), program.learn_calls)
    for name in program.turning_helpers():
        drive_helper(tracer, program.learn, name)
    program.check(executed)
    segment = model.manifest.decision.mode == "segment"
    push, end = (tracer.elf.symbol(f"{prefix}_{name}").address for name in ("push", "end"))
    functions: dict[str, Bound] = {}
    for entry, (name, _) in tracer.stages.items():  # a compiler may have made several of one
        bound = program.bound(entry)
        other = functions.setdefault(name, bound)
        functions[name] = Bound(max(bound.instructions, other.instructions), max(bound.cycles, other.cycles))
    closes = push if model.manifest.decision.endpointer is not None else end
    return WorstCase(
        functions=functions,
        hop=program.bound_of_call(push, decides=not segment),
        end=program.bound_of_call(closes, decides=True) if segment else None,
        idle_step=idle_step,
        due_step=due_step,
        loops=len(program.counted),
        varying_loops=sum(len(counts) > 1 for counts in program.counted.values()),
    )


class _Program:
    """The firmware's functions as graphs, with what was observed of them.

    What is observed of a function belongs to the calls that led to it, from a public function of the library, a stage
    function or a compiler's own function on: copying a frame is not copying a window.
    """

    def __init__(self, tracer: Tracer) -> None:
        self._tracer = tracer
        self._names = {symbol.address: symbol.name for symbol in tracer.elf.all_functions()}
        self._functions = frozenset(self._names)
        self.helpers = {name: at for at, name in self._names.items() if name.startswith("__")}
        self._roots = {*tracer.stages, *self.helpers.values()}
        self._flows: dict[int, Flow] = {}
        self._covered: dict[tuple[int, int, int], list[tuple[Block, tuple[int, ...] | None]]] = {}
        self._facts: dict[Way, _Facts] = {}
        self._costs: dict[tuple[int, int], tuple[int, float]] = {}
        self.counted: dict[tuple[Way, int], set[int]] = {}
        # The most calls of each stage function in one call of a public one, and of those in which a loop turned; by
        # whether there was a decision (in live mode there may always be one).
        self._calls = {decides: Counter[int]() for decides in (False, True)}
        self._turned = {decides: Counter[int]() for decides in (False, True)}
        self._segmented = tracer.model.manifest.decision.mode == "segment"
        self._decisions = {entry for entry, (name, _) in tracer.stages.items() if name == "decision"}
        self._executed: list[tuple[int, int]] = []  # stage functions that returned: entry, instructions

    def flow(self, entry: int) -> Flow:
        """The graph of a function."""
        if entry not in self._flows:
            name = self._names.get(entry, f"{entry:#x}")
            self._flows[entry] = flow_of(entry, name, self._tracer.read, self._functions)
        return self._flows[entry]

    def turning_helpers(self) -> list[str]:
        """The compiler's own functions that have loops; one that nobody can follow shows up where it is called."""
        found = []
        for name, entry in self.helpers.items():
            with suppress(RangeError):
                found += [name] * bool(self.flow(entry).loops)
        return found

    def learn(self, trace: Trace) -> list[tuple[int, int]]:
        """Learn from one call."""
        self._follow(trace)
        done, self._executed = self._executed, []
        return done

    def learn_calls(self, trace: Trace) -> list[tuple[int, int]]:
        """Learn from one call, also how often it calls each stage function in all."""
        calls, turned = self._follow(trace)
        decides = any(calls[entry] for entry in self._decisions) or not self._segmented
        for most, seen in ((self._calls[decides], calls), (self._turned[decides], turned)):
            for entry, times in seen.items():
                most[entry] = max(most[entry], times)
        return []

    def _follow(self, trace: Trace) -> tuple[Counter[int], Counter[int]]:
        """Go through one call; how often it calls each stage function, and of these, with how many a loop turned."""
        entry = trace[0][0]
        under_way = [_Activation((entry,), self.flow(entry), 0)]
        calls, turned = Counter[int](), Counter[int]()

        def close() -> None:
            done = under_way.pop()
            self._close(done)
            if done.path[0] in self._tracer.stages and len(done.path) == 1:
                calls[done.flow.entry] += 1
                turned[done.flow.entry] += done.turned
            elif under_way:
                under_way[-1].turned |= done.turned
                under_way[-1].instructions += done.instructions

        def pass_over(now: _Activation, callee: int) -> None:
            now.calls[callee] = now.calls.get(callee, 0) + 1
            calls[callee] += 1
            turned[callee] += 1

        for at, size in trace:
            now = under_way[-1]
            last = now.last
            if last is not None and last.callee is not None and at == last.callee:
                now.calls[at] = now.calls.get(at, 0) + 1
                path = (at,) if at in self._roots else (*now.path, last.start)
                now = _Activation(path, self.flow(at), now.back if last.leaves else last.end)
                under_way.append(now)
            elif last is not None:
                back = now.back if last.leaves else last.end
                if last.callee in self._tracer.stages:  # it was not looked into; what it calls may still be here
                    if at != back:
                        continue
                    pass_over(now, last.callee)
                if last.leaves and at == back:
                    while under_way[-1].back == at and len(under_way) > 1:
                        close()
                    now = under_way[-1]
            self._go(now, at, size)
        last = under_way[-1].last
        if last is not None and last.callee in self._tracer.stages:
            pass_over(under_way[-1], last.callee)
        while under_way:
            close()
        return calls, turned

    def check(self, executed: Collection[tuple[int, int]]) -> None:
        """A loop that recordings entered, and no workout, has no bound."""
        known = {header for facts in self._facts.values() for header in facts.turns}
        for flow in self._flows.values():
            for header in flow.loops.keys() - known:
                if any(at <= header < at + size for at, size in executed):
                    raise RangeError(f"{flow.name}: has no bound: no workout enters its loop at {self._place(header)}")

    def bound(self, root: int) -> Bound:
        """The most that a call of `root` takes by itself: without the stage functions that it calls."""
        most = [self._most(root, _Ask(kind)) for kind in (0, 1)]
        if most[0] is None or most[1] is None:
            raise RangeError(f"{self.flow(root).name}: has no bound: no way leads through it")
        return Bound(round(most[0]), most[1])

    def bound_of_call(self, root: int, *, decides: bool) -> Bound:
        """The most that a call of a public function takes in all: by itself, and by the stage functions that it calls.

        These are called as often as was observed. Those whose calls differ in whether any loop turns (an encoder that
        works for several frames at once) cost what either kind costs at most.
        """
        found = []
        for kind in (0, 1):
            most = self._most(root, _Ask(kind, without_decision=not decides))
            if most is None:
                raise RangeError(f"{self.flow(root).name}: has no bound: no way leads through it")
            for entry, calls in self._calls[decides].items():
                turned = self._turned[decides][entry]
                dear = self._most(entry, _Ask(kind)) or 0.0
                cheap = self._most(entry, _Ask(kind, without_loops=True))
                most += turned * dear + (calls - turned) * (dear if cheap is None else cheap)
            found.append(most)
        return Bound(round(found[0]), found[1])

    def _most(self, root: int, ask: _Ask) -> float | None:
        return self._dearest((root,), root, ask, {})

    def _go(self, now: _Activation, at: int, size: int) -> None:
        """Follow one stretch of straight code."""
        key = (now.flow.entry, at, size)
        if key not in self._covered:
            covered = [block for block in now.flow.walk(at, size) if block.start >= at]
            self._covered[key] = [(block, now.flow.loops.get(block.start)) for block in covered]
        for block, tails in self._covered[key]:
            if tails is not None:
                again = now.last is not None and now.last.start in tails
                now.turns[block.start] = now.turns.get(block.start, 0) + again
            now.last = block
        now.instructions += self._cost(at, size)[0]

    def _close(self, done: _Activation) -> None:
        facts = self._facts.setdefault(done.path, _Facts())
        for most, seen in ((facts.turns, done.turns), (facts.calls, done.calls)):
            for what, times in seen.items():
                most[what] = max(most.get(what, 0), times)
        done.turned |= bool(done.turns)
        for header, times in done.turns.items():
            self.counted.setdefault((done.path, header), set()).add(times)
        if done.flow.entry in self._tracer.stages:
            self._executed.append((done.flow.entry, done.instructions))

    def _dearest(self, path: Way, entry: int, ask: _Ask, known: dict[Way, float | None]) -> float | None:
        if path in known:
            return known[path]
        if len(path) > len(self._functions):
            raise RangeError(f"{self.flow(path[0]).name}: has no bound: recursion")
        flow, facts = self.flow(entry), self._facts.get(path)
        if facts is None:
            if flow.loops:
                raise RangeError(f"{flow.name}: has no bound: called at {self._place(path[-1])}, it never ran")
            facts = _Facts()

        def cost(block: Block) -> float | None:
            own, callee = self._cost(block.start, block.end - block.start)[ask.kind], block.callee
            if ask.without_decision and callee in self._decisions:
                return None
            if ask.without_loops and block.start in flow.loops:
                return None
            if callee is None or callee in self._tracer.stages:
                return own
            below = (callee,) if callee in self._roots else (*path, block.start)
            rest = self._dearest(below, callee, ask, known)
            return None if rest is None else own + rest

        stages = {callee: n for callee, n in facts.calls.items() if callee in self._tracer.stages}
        known[path] = flow.dearest(cost, facts.turns, stages)
        return known[path]

    def _cost(self, at: int, size: int) -> tuple[int, float]:
        """Instructions and, at most, cycles of straight code."""
        if (at, size) not in self._costs:
            code = self._tracer.read(at, size)
            cycles = cycles_of({(at, size): 1}, self._tracer.read, self._tracer.board).high
            self._costs[at, size] = count_instructions(code), cycles
        return self._costs[at, size]

    def _place(self, address: int) -> str:
        return self._tracer.elf.place(address)
