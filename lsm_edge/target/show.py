"""A profile as tables on a terminal; two side by side, with what changes from the first to the second."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from rich.console import Console
from rich.table import Table

from lsm_edge.target.measure import STAGES, Moment, Profile, Stage
from lsm_edge.target.timing import Cycles

_MOMENTS: Final = {"step": "step of the liquid", "hop": "hop", "end": "end of a segment"}


def show(found: Profile, out: Console) -> None:
    """Print a profile."""
    out.print(
        f"{found.model} ({found.digest[:12]}) on {found.board}, {found.core} at {_mhz(found.clock_hz)}, "
        f"{found.compiler.split(' -')[0]}"
    )
    out.print(
        f"heard: {found.recordings} {found.heard}, {found.seconds:.1f} s, {found.decisions} decisions; "
        "instructions are counted, cycles and energy are estimates between bounds"
    )
    table = _table("stage", "instructions/s", "%", "a decision", "cycles/s", "between")
    for name in STAGES:
        table.add_row(name, *_stage(found.stages[name], found.total))
    table.add_section()
    table.add_row("total", *_stage(found.total, found.total))
    per_s, share, _, *cycles = _stage(found.quiet, found.total)
    table.add_row("silence", per_s, share, "", *cycles)
    out.print(table)
    table = _table("", "instructions: mean", "worst seen", "never above", "cycles: mean", "never above", "ms")
    for key, name in _MOMENTS.items():
        moment: Moment | None = getattr(found, key)
        if moment is not None:
            table.add_row(name, *_moment(moment, found.clock_hz))
    out.print(table)
    for line in _facts(found):
        out.print(line)


def show_both(found: Profile, other: Profile, out: Console) -> None:
    """Print two profiles side by side."""
    table = _table("", found.model, other.model, "change")
    for (name, before), (_, after) in zip(_figures(found), _figures(other), strict=True):
        if before is None and after is None:
            continue
        change = f"{100 * (after / before - 1):+.1f} %" if before and after is not None else ""
        table.add_row(name, _number(before), _number(after), change)
    out.print(table)


def _figures(found: Profile) -> Sequence[tuple[str, float | None]]:
    power, work, memory = found.power, found.work, found.memory
    return [
        *((f"{name}, instructions/s", found.stages[name].instructions_per_s) for name in STAGES),
        ("total, instructions/s", found.total.instructions_per_s),
        ("total, instructions a decision", found.total.instructions_per_decision),
        ("total, cycles/s", found.total.cycles_per_s.expected),
        ("silence, instructions/s", found.quiet.instructions_per_s),
        *(
            (f"{name}, instructions at most", moment.bound_instructions if (moment := getattr(found, key)) else None)
            for key, name in _MOMENTS.items()
        ),
        ("lowest clock for a hop, Hz", found.deadline.hop_clock_hz),
        ("flash, bytes", memory.flash_bytes),
        ("tables, bytes", sum(memory.tables.values())),
        ("library code, bytes", memory.library_code_bytes),
        ("context, bytes", memory.context_bytes),
        ("stack at most, bytes", memory.stack_bound_bytes),
        ("spikes/s", work.spikes_per_s),
        ("synaptic operations/s", work.synaptic_operations_per_s),
        ("power, uW", power.per_s.expected_uj if power else None),
        ("energy a decision, uJ", power.per_decision.expected_uj if power else None),
    ]


def _stage(stage: Stage, total: Stage) -> tuple[str, ...]:
    share = 100 * stage.instructions_per_s / max(total.instructions_per_s, 1)
    return (
        f"{stage.instructions_per_s:,.0f}",
        f"{share:.1f}",
        f"{stage.instructions_per_decision:,.0f}",
        f"{stage.cycles_per_s.expected:,.0f}",
        _between(stage.cycles_per_s),
    )


def _moment(moment: Moment, clock_hz: int) -> tuple[str, ...]:
    return (
        f"{moment.mean_instructions:,.0f}",
        f"{moment.worst_instructions:,}",
        f"{moment.bound_instructions:,}",
        f"{moment.mean_cycles.expected:,.0f}",
        f"{moment.bound_cycles:,.0f}",
        f"{1000 * moment.bound_cycles / clock_hz:.3f}",
    )


def _facts(found: Profile) -> list[str]:
    deadline, memory, work, share = found.deadline, found.memory, found.work, found.real_time_share
    lines = [
        f"real time: {100 * share.expected:.2f} % of {_mhz(found.clock_hz)} "
        f"({100 * share.low:.2f} to {100 * share.high:.2f} %)",
        f"deadline: a hop every {1000 * deadline.hop_s:g} ms is always met from {_mhz(deadline.hop_clock_hz)} on",
    ]
    if deadline.end_latency_s is not None and deadline.end_clock_hz is not None:
        lines.append(
            f"  the end of a segment takes {1000 * deadline.end_latency_s:.1f} ms at most: keep "
            f"{deadline.end_samples:,} samples meanwhile; within a hop it would take {_mhz(deadline.end_clock_hz)}"
        )
    lines.append(
        f"worst case: from the code, with {found.loops} loops, {found.varying_loops} of which turn as often as the "
        "data say (docs/profile.md)"
    )
    tables = ", ".join(f"{name} {size:,}" for name, size in list(memory.tables.items())[:6])
    rest = len(memory.tables) - 6
    lines += [
        f"flash: {memory.flash_bytes:,} bytes: tables {sum(memory.tables.values()):,}, library code "
        f"{memory.library_code_bytes:,}, rest of the firmware {memory.rest_of_firmware_bytes:,}",
        f"  {tables}" + (f", {rest} more" if rest > 0 else ""),
        f"RAM: context {memory.context_bytes:,} bytes of {memory.static_ram_bytes:,} static; stack at most "
        f"{memory.stack_bound_bytes:,}, {memory.stack_seen_bytes:,} seen",
        f"work: {work.steps_per_s:,.0f} steps/s, {work.neuron_updates_per_s:,.0f} neuron updates/s, "
        f"{work.spikes_per_s:,.0f} spikes/s, {work.synaptic_operations_per_s:,.0f} synaptic operations/s",
        f"  instructions: {work.instructions_per_neuron_update:.1f} a neuron update"
        + _each(work.instructions_per_synaptic_operation, "a synaptic operation")
        + _each(work.instructions_per_tap, "a tap"),
    ]
    power = found.power
    if power is None:
        lines.append(f"energy: boards/{found.board}.toml states no figure")
        return lines
    energy, decision, life, battery = power.per_s, power.per_decision, power.life, power.battery
    lines += [
        f"energy: {energy.expected_uj:,.0f} uW while hearing ({energy.low_uj:,.0f} to {energy.high_uj:,.0f}), "
        f"{decision.expected_uj:,.0f} uJ a decision ({decision.low_uj:,.0f} to {decision.high_uj:,.0f})",
        f"  {battery.mah:g} mAh at {battery.volts:g} V, hearing {100 * battery.duty_cycle:g} % of the time, "
        f"{battery.sleep_ua:g} uA always: {life.expected_h:,.0f} h ({life.low_h:,.0f} to {life.high_h:,.0f})",
    ]
    return lines


def _each(amount: float | None, what: str) -> str:
    return "" if amount is None else f", {amount:.1f} {what}"


def _between(cycles: Cycles) -> str:
    return f"{cycles.low:,.0f} to {cycles.high:,.0f}"


def _mhz(clock_hz: int) -> str:
    return f"{clock_hz / 1e6:.4g} MHz"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:,.0f}"


def _table(*columns: Any) -> Table:
    table = Table(*columns)
    for column in table.columns[1:]:
        column.justify = "right"
    return table
