"""What a model costs on a board, from the very ELF that would be flashed: the rows of `lsm-edge profile`.

Instructions are exact: executed by the emulated core, on recordings. Cycles are those through a model of the core
(`timing`), energy is those through the board's figure (`energy`): both are estimates between bounds. Worst cases come
from `worst_case`, the stack's depth from `stack`, bytes from the ELF. `docs/profile.md` says what each number means.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from math import ceil
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from lsm_edge.board import Board
from lsm_edge.budget import Budget
from lsm_edge.errors import DataError, RangeError
from lsm_edge.model import Manifest, Model
from lsm_edge.target.build import read_sizes
from lsm_edge.target.context import context_bytes
from lsm_edge.target.energy import Energy, Life, battery_life, energy_of
from lsm_edge.target.meter import PUSH, STAGE_OF, Blocks, Heard, Meter, Tally, merged
from lsm_edge.target.stack import library_depths
from lsm_edge.target.timing import Cycles, cycles_of
from lsm_edge.target.verify import Recording
from lsm_edge.target.worst_case import Bound, worst_case

STAGES: Final = ("frontend", "encoder", "reservoir", "readout", "decision", PUSH)
_SYNTHETIC_S: Final = 1.0


@dataclass(frozen=True)
class Battery:
    """What feeds the board: by default a lithium coin cell like a CR2032."""

    mah: float = 225.0
    volts: float = 3.0
    duty_cycle: float = 1.0
    sleep_ua: float = 0.0


@dataclass(frozen=True)
class Stage:
    """One row: a stage, or all of them."""

    instructions_per_s: float
    instructions_per_decision: float
    cycles_per_s: Cycles


@dataclass(frozen=True)
class Moment:
    """Something that happens again and again, and must be done in time. Of the dearest seen, `worst`; `bound` holds for
    whatever is heard.
    """

    times_per_s: float
    mean_instructions: float
    worst_instructions: int
    bound_instructions: int
    mean_cycles: Cycles
    worst_cycles: Cycles
    bound_cycles: float


@dataclass(frozen=True)
class Deadline:
    """What the worst case asks of the clock.

    `hop_s` is the time from one hop to the next. `end_latency_s` is the longest that the work at a segment's end takes
    at the board's clock, and `end_samples` what the application has to keep meanwhile; with `end_clock_hz` it is done
    within a hop too.
    """

    hop_s: float
    hop_clock_hz: int
    end_latency_s: float | None
    end_samples: int | None
    end_clock_hz: int | None


@dataclass(frozen=True)
class Memory:
    """Bytes: of flash by table and by code, of RAM, and of the deepest stack, as seen and as proven from the code."""

    flash_bytes: int
    tables: dict[str, int]
    library_code_bytes: int
    rest_of_firmware_bytes: int
    static_ram_bytes: int
    context_bytes: int
    stack_seen_bytes: int
    stack_bound_bytes: int
    stack_path: tuple[str, ...]


@dataclass(frozen=True)
class Work:
    """What a second of signal is in operations of a liquid, and what one of them takes in instructions."""

    steps_per_s: float
    neuron_updates_per_s: float
    spikes_per_s: float
    synaptic_operations_per_s: float
    taps_per_s: float
    instructions_per_neuron_update: float
    instructions_per_synaptic_operation: float | None
    instructions_per_tap: float | None


@dataclass(frozen=True)
class Power:
    """Energy by the board's figure; a second's microjoules are microwatts."""

    per_s: Energy
    per_decision: Energy
    battery: Battery
    life: Life


@dataclass(frozen=True)
class Profile:
    """Everything that `lsm-edge profile` prints."""

    model: str
    digest: str
    board: str
    core: str
    clock_hz: int
    compiler: str
    heard: str
    recordings: int
    seconds: float
    decisions: int
    stages: dict[str, Stage]
    total: Stage
    quiet: Stage
    step: Moment
    hop: Moment
    end: Moment | None
    real_time_share: Cycles
    deadline: Deadline
    memory: Memory
    work: Work
    power: Power | None
    loops: int
    varying_loops: int

    @property
    def flash_bytes(self) -> int:
        """For a budget: the whole firmware's flash."""
        return self.memory.flash_bytes

    @property
    def ram_bytes(self) -> int:
        """For a budget: the context."""
        return self.memory.context_bytes

    @property
    def stack_bytes(self) -> int:
        """For a budget: the proven bound."""
        return self.memory.stack_bound_bytes

    @property
    def instructions_per_s(self) -> float:
        """For a budget: the mean."""
        return self.total.instructions_per_s

    @property
    def instructions_per_step(self) -> int:
        """For a budget: the bound."""
        return self.step.bound_instructions

    @property
    def cycles_per_s(self) -> float:
        """For a budget: the upper end of the mean's band."""
        return self.total.cycles_per_s.high

    @property
    def cycles_per_step(self) -> float:
        """For a budget: the bound."""
        return self.step.bound_cycles

    @property
    def power_uw(self) -> float | None:
        """For a budget: the upper end of the band."""
        return self.power.per_s.high_uj if self.power else None

    def over(self, budget: Budget) -> list[str]:
        """What breaks the budget, in words; a power that the board's file says nothing about breaks none."""
        return budget.over(self)

    def as_json(self) -> dict[str, Any]:
        """The same as plain dictionaries and lists."""
        return asdict(self)


def profile(
    model: Model,
    elf: Path,
    board: Board,
    recordings: Sequence[Recording],
    *,
    prefix: str = "lsm",
    heard: str = "recordings",
    battery: Battery | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Profile:
    """Measure the firmware on recordings, each heard as one segment; `heard` says what they are.

    Raises:
        DataError: there is nothing to hear.
        BuildError: the ELF is missing or unfit.
        MismatchError: the ELF holds another model, or the firmware fails.
        RangeError: there is no bound for the worst case, or it does not hold, which is a fault of lsm-edge.
    """
    frontend = model.manifest.frontend
    seconds = sum(len(recording.samples) for recording in recordings) / frontend.sample_hz
    if seconds == 0:
        raise DataError("no recordings to profile with")
    meter = Meter(model, elf, board, prefix=prefix)
    clips = []
    for n, recording in enumerate(recordings):
        clips.append(meter.hear(recording.samples))
        if progress is not None:
            progress(n + 1, len(recordings) + 1)
    second = frontend.sample_hz // frontend.hop_samples
    quiet_s = second * frontend.hop_samples / frontend.sample_hz
    silence = np.zeros(2 * second * frontend.hop_samples, np.int16)
    quiet = meter.hear(silence, by_hand=False, skipped_hops=second)  # a stream begins with the gate open
    stack_seen = _stack_used(meter)
    functions = {name: merged([clip.functions[name] for clip in clips]) for name in (*STAGE_OF, PUSH)}
    executed = {block for tally in functions.values() for block in tally.blocks}
    bounds = worst_case(model, elf, board, prefix=prefix, executed=executed)
    if progress is not None:
        progress(len(recordings) + 1, len(recordings) + 1)
    hop, end = merged([clip.hop for clip in clips]), merged([clip.end for clip in clips])
    for name, tally in (*functions.items(), ("hop", hop)):
        bound = bounds.hop if name == "hop" else bounds.functions.get(name)
        _check_bound(name, tally, bound)
    _check_bound("end", end, bounds.end)
    decisions = sum(clip.decisions for clip in clips)

    def cycles(blocks: Blocks) -> Cycles:
        return cycles_of(blocks, meter.read, board)

    def stage(names: Sequence[str], heard: dict[str, Tally], seconds: float, decisions: int) -> Stage:
        blocks = merged([heard[name] for name in names])
        per_s = _scaled(cycles(blocks.blocks), 1 / seconds)
        return Stage(blocks.instructions / seconds, blocks.instructions / max(decisions, 1), per_s)

    def moment(tally: Tally, bound: Bound) -> Moment:
        n = max(tally.calls, 1)
        return Moment(
            times_per_s=tally.calls / seconds,
            mean_instructions=tally.instructions / n,
            worst_instructions=tally.worst,
            bound_instructions=bound.instructions,
            mean_cycles=_scaled(cycles(tally.blocks), 1 / n),
            worst_cycles=cycles(tally.worst_blocks),
            bound_cycles=bound.cycles,
        )

    total = stage(list(functions), functions, seconds, decisions)
    at_end = moment(end, bounds.end) if bounds.end else None
    return Profile(
        model=model.manifest.name,
        digest=model.digest,
        board=board.id,
        core=board.core,
        clock_hz=board.clock_hz,
        compiler=meter.elf.producer(f"{prefix}.c"),
        heard=heard,
        recordings=len(recordings),
        seconds=seconds,
        decisions=decisions,
        stages={
            row: stage([name for name in functions if STAGE_OF.get(name, PUSH) == row], functions, seconds, decisions)
            for row in STAGES
        },
        total=total,
        quiet=stage(list(functions), dict(quiet.functions), quiet_s, quiet.decisions),
        step=moment(functions["reservoir"], bounds.functions["reservoir"]),
        hop=moment(hop, bounds.hop),
        end=at_end,
        real_time_share=_scaled(total.cycles_per_s, 1 / board.clock_hz),
        deadline=_deadline(model.manifest, bounds.hop, bounds.end, board),
        memory=_memory(meter, elf, board, stack_seen),
        work=_work(model, clips, functions, seconds, bounds.idle_step, bounds.due_step),
        power=_power(total, seconds / max(decisions, 1), board, battery or Battery()),
        loops=bounds.loops,
        varying_loops=bounds.varying_loops,
    )


@dataclass(frozen=True, eq=False)
class Sound:
    """A recording that nobody made."""

    samples: NDArray[np.int16]
    path: str


def synthetic_sounds(manifest: Manifest) -> list[Sound]:
    """Sounds to profile with where there is no data set: syllables of a gliding tone in noise, loud and soft."""
    t = np.arange(round(_SYNTHETIC_S * manifest.frontend.sample_hz)) / manifest.frontend.sample_hz
    rng = np.random.default_rng(1)
    burst = np.maximum(np.sin(2 * np.pi * 4 * t), 0.02)
    tone = np.sin(2 * np.pi * (400 + 900 * np.sin(2 * np.pi * 2.3 * t)) * t) + rng.normal(0, 0.4, len(t))
    return [
        Sound(np.clip(gain * burst * tone, -32768, 32767).astype(np.int16), f"synthetic, gain {gain}")
        for gain in (600, 6000)
    ]


def _check_bound(name: str, seen: Tally, bound: Bound | None) -> None:
    if bound is not None and seen.worst > bound.instructions:
        raise RangeError(
            f"{name}: took {seen.worst} instructions, but its bound is {bound.instructions}: this is a fault of "
            "lsm-edge; please report it with the model and the recordings"
        )


def _scaled(cycles: Cycles, factor: float) -> Cycles:
    return Cycles(cycles.low * factor, cycles.expected * factor, cycles.high * factor)


def _deadline(manifest: Manifest, hop: Bound, end: Bound | None, board: Board) -> Deadline:
    hop_s = manifest.frontend.hop_samples / manifest.frontend.sample_hz
    if end is None:
        return Deadline(hop_s, ceil(hop.cycles / hop_s), None, None, None)
    latency_s = end.cycles / board.clock_hz
    samples = ceil(latency_s * manifest.frontend.sample_hz)
    return Deadline(hop_s, ceil(hop.cycles / hop_s), latency_s, samples, ceil(end.cycles / hop_s))


def _memory(meter: Meter, elf: Path, board: Board, stack_seen_bytes: int) -> Memory:
    flash_bytes, ram_bytes = read_sizes(elf, board)
    unit = f"{meter.prefix}.c"
    data = [s for s in meter.elf.data_of(unit, f"{meter.prefix}_") if board.flash.holds(s.address)]
    tables = {symbol.name: symbol.size for symbol in sorted(data, key=lambda s: (-s.size, s.name))}
    code_bytes = sum({s.address: s.size for s in meter.library_functions()}.values())
    depths = library_depths(elf, meter.prefix)
    deepest = max((d for name, d in depths.items() if not name.endswith("_selftest")), key=lambda d: d.n_bytes)
    return Memory(
        flash_bytes=flash_bytes,
        tables=tables,
        library_code_bytes=code_bytes,
        rest_of_firmware_bytes=flash_bytes - code_bytes - sum(tables.values()),
        static_ram_bytes=ram_bytes,
        context_bytes=context_bytes(meter.model, dsp=board.dsp),
        stack_seen_bytes=stack_seen_bytes,
        stack_bound_bytes=deepest.n_bytes,
        stack_path=deepest.path,
    )


def _stack_used(meter: Meter) -> int:
    """Bytes from the lowest address of the stack that is not as the emulator filled it to the end of RAM."""
    ram = meter.board.ram
    start = max([s.address + s.size for s in meter.elf.segments if ram.holds(s.address)], default=ram.address)
    return len(meter.read(start, ram.end - start).lstrip(b"\xa5"))


def _work(
    model: Model, clips: Sequence[Heard], functions: dict[str, Tally], seconds: float, idle_step: int, due_step: int
) -> Work:
    reservoir, encoder = model.manifest.reservoir, model.manifest.encoder
    steps = functions["reservoir"].calls / seconds
    spikes = np.sum([clip.spikes for clip in clips], axis=0)
    targets = np.diff(model["recurrent_start"].astype(np.int64)) if reservoir.n_synapses else np.zeros_like(spikes)
    taps = functions["encoder"].calls * reservoir.n_neurons * encoder.n_taps
    synapse = (due_step - idle_step) / reservoir.n_synapses if reservoir.n_synapses else None
    return Work(
        steps_per_s=steps,
        neuron_updates_per_s=steps * reservoir.n_neurons,
        spikes_per_s=float(spikes.sum()) / seconds,
        synaptic_operations_per_s=float(spikes @ targets) / seconds,
        taps_per_s=taps / seconds,
        instructions_per_neuron_update=idle_step / reservoir.n_neurons,
        instructions_per_synaptic_operation=synapse,
        instructions_per_tap=functions["encoder"].instructions / taps if taps else None,
    )


def _power(total: Stage, seconds_per_decision: float, board: Board, battery: Battery) -> Power | None:
    per_s = energy_of(total.cycles_per_s, board)
    per_decision = energy_of(_scaled(total.cycles_per_s, seconds_per_decision), board)
    if per_s is None or per_decision is None:
        return None
    life = battery_life(per_s, battery.mah, battery.volts, battery.duty_cycle, battery.sleep_ua)
    return Power(per_s, per_decision, battery, life)
