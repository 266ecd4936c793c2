"""What was measured -> docs/performance.md."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from benchmarks.markdown import markdown
from benchmarks.performance.cores import BOARD, N_RECORDINGS, Measured
from benchmarks.performance.host import Pace

INTRODUCTION = f"""\
# Performance

What liquids take on a microcontroller, counted before there is one, and how fast they are on this machine.

    make bench DATA=folder-of-the-data-sets

measures everything and writes this page. All models are made from `benchmarks/performance/digits.yaml`: ten spoken
digits, 8 kHz, a frame every 8 ms, four steps of the liquid a frame; the table says what is changed. Each is trained on
FSDD's official training part, generated and built as `lsm-edge generate` and `lsm-edge build` do, and heard by the
emulated core in the very ELF that would be flashed.

**Instructions are counted, not estimated**: every one that the emulated core executes, while it hears {N_RECORDINGS}
test recordings, one after the other with no silence between them (*speech*), or a second of silence as a stream
(*silence*). Cycles would be more: [timing.md](timing.md) has the model, its checks and its error, `lsm-edge profile`
prints them for a model and a board. Accuracy is that on the 300 test recordings, integers end to end.
"""

REFERENCES = """\
## Beside others

Measured on the same emulated core (gcc 12, -O3), in executed instructions; published figures are of boards.

| what | figure |
|---|---:|
| MLPerf Tiny keyword spotting: DS-CNN on CMSIS-NN int8, one decision, without its MFCC | 7,397,540 |
| CMSIS-DSP, real FFT of 256 points, Q15 | 10,020 |
| a packed sparse synapse loop, `acc[index] += weight`, a synaptic operation | 5.26 |
| published: DS-CNN on NUCLEO-L4R5ZI (M4, 120 MHz, vendor's stack), one decision | 43.2 ms, 1820 uJ |
| published: a recurrent spiking network on an M4, one time step at worst | 27,072 cycles |

The DS-CNN hears more words at 16 kHz; the comparison is one of orders: a stream needs several decisions a second.
"""


@dataclass(frozen=True)
class Training:
    """A training of FSDD, leave one speaker out, end to end."""

    seconds: float
    cpu_s: float


@dataclass(frozen=True)
class Sequences:
    """Of instructions whose cycles are published: how many, and how far the model is off at most."""

    count: int
    most_percent: int


@dataclass(frozen=True)
class Results:
    """All that the page shows."""

    cases: Sequence[Measured]
    cores: Sequence[Measured]
    scales: Sequence[Measured]
    races: Mapping[str, tuple[Pace, Pace]]  # by how synapses are drawn: ours, Brian2's
    training: Training
    n_cores: int
    sequences: Sequences


def page(results: Results) -> str:
    """The same results give the same page."""
    parts = [
        INTRODUCTION,
        "## What was to be shown\n",
        _claims(results),
        f"## A second of signal, on {BOARD}\n",
        _cases(results.cases),
        "## How it scales\n",
        _scales(results.scales),
        "## What one operation takes\n",
        _cores(results.cores),
        REFERENCES,
        "## On this machine\n",
        _host(results),
    ]
    return "\n".join(parts)


def _millions(instructions: float) -> str:
    return f"{instructions / 1e6:.2f} M"


def _cases(cases: Sequence[Measured]) -> str:
    head = ["model", "speech", "front end", "silence", "a decision", "accuracy", "context", "stack", "flash"]
    rows = []
    for measured in cases:
        found = measured.profile
        front = found.stages["frontend"].instructions_per_s + found.stages["push"].instructions_per_s
        rows.append(
            [
                measured.case.name,
                _millions(found.total.instructions_per_s),
                _millions(front),
                _millions(found.quiet.instructions_per_s),
                _millions(found.total.instructions_per_decision),
                f"{100 * measured.accuracy:.1f} %",
                f"{found.memory.context_bytes:,} B",
                f"{found.memory.stack_bound_bytes:,} B",
                f"{found.flash_bytes / 1024:.1f} KiB",
            ]
        )
    return (
        markdown([head, *rows])
        + "\n*Front end* is with taking samples in. *Stack* is proven from the machine code; *flash* is the whole "
        "firmware with start-up code, console and self-test.\n"
    )


def _scales(scales: Sequence[Measured]) -> str:
    head = ["128 neurons but for", "speech", "front end", "encoder", "reservoir", "readout", "spikes/s", "synapses/s"]
    rows = []
    for measured in scales:
        found = measured.profile
        stages = {name: stage.instructions_per_s for name, stage in found.stages.items()}
        rows.append(
            [
                measured.case.name,
                _millions(found.total.instructions_per_s),
                _millions(stages["frontend"] + stages["push"]),
                *(_millions(stages[name]) for name in ("encoder", "reservoir", "readout")),
                f"{found.work.spikes_per_s:,.0f}",
                f"{found.work.synaptic_operations_per_s:,.0f}",
            ]
        )
    return (
        markdown([head, *rows])
        + "\nThe front end does not know the liquid. Encoder and neuron updates are proportional "
        "to neurons and steps, whatever is heard; delivery is proportional to the synapses of neurons that fired. "
        "Nothing grows faster than that.\n"
    )


def _cores(cores: Sequence[Measured]) -> str:
    operations = ["neuron update", "synaptic operation", "tap"]
    head = ["core", "speech", "front end", *operations, "step: most seen", "step: bound"]
    rows = []
    for measured in cores:
        found, work = measured.profile, measured.profile.work
        rows.append(
            [
                measured.case.name,
                _millions(found.total.instructions_per_s),
                _millions(found.stages["frontend"].instructions_per_s + found.stages["push"].instructions_per_s),
                f"{work.instructions_per_neuron_update:.2f}",
                _or_none(work.instructions_per_synaptic_operation),
                _or_none(work.instructions_per_tap),
                f"{found.step.worst_instructions:,}",
                f"{found.step.bound_instructions:,}",
            ]
        )
    return markdown([head, *rows]) + (
        "\nOf the 128-neuron recurrent model. The bound of a step holds for whatever is heard, every neuron spiking at "
        "once included ([profile.md](profile.md)). Without DSP instructions kernels take two neurons, and two of "
        "a block's synapses, in a word. What bounds them on an M0+: a *neuron update*, five arrays whose "
        "addresses do not fit eight registers (about 48 instructions for two neurons that neither fire nor rest); "
        "a *synaptic operation*, 18 instructions for a block of four, and 25 to 35 a spike to find its synapses; "
        "a *tap*, a load, a product and a sum for each of four frames, and to find byte and weight; the *front "
        "end*, the products of its butterflies, one part of a point at a time. No word is read there that is not "
        "aligned.\n"
    )


def _or_none(figure: float | None) -> str:
    return "-" if figure is None else f"{figure:.2f}"


def _host(results: Results) -> str:
    rows = [
        [
            f"{pace.name}, {topology}",
            f"{pace.times_real:,.0f}",
            f"{pace.rate_hz:.1f} Hz",
            f"{pace.events_per_s / 1e6:.1f} M",
        ]
        for topology, paces in results.races.items()
        for pace in paces
    ]
    ratios = [f"{topology} **{_ratio(paces):.1f}**" for topology, paces in results.races.items()]
    return (
        "The same network for both simulators, one core, in turns: 256 neurons, fan-in 16, 32 input lines, steps of a "
        "millisecond, refractory for two. Brian2 computes in floating point what we compute in integers. *Random*: "
        "each synapse is drawn by itself; *blocks*: a source reaches four neurons in a row, each through a weight of "
        "its own. This is how training and evaluation run liquids: kernels for vectors of 16-bit lanes "
        "(`firmware/kernels/*_wide.h`), twins of those for boards, held to the same integers by the same tests. Where "
        "there are few neurons they add a spike's whole row of weights, most of them 0.\n\n"
        + markdown([["simulator", "times real time", "mean rate", "synaptic events/s"], *rows])
        + f"\nHow many times as fast as Brian2: {', '.join(ratios)}.\n\n"
        + f"Training on FSDD, leave one speaker out (`benchmarks/accuracy/fsdd_12k.yaml`: 3,000 recordings, six models "
        f"and a seventh for the file, baselines): {results.training.seconds:.1f} s on {results.n_cores} cores "
        f"({results.training.cpu_s:.1f} s of processor time).\n"
    )


def _ratio(paces: tuple[Pace, Pace]) -> float:
    ours, theirs = paces
    return theirs.seconds / ours.seconds


def _claims(results: Results) -> str:
    """Every figure that was asked for."""
    by_name = {measured.case.name: measured for measured in results.cases}
    small, large = by_name["128 neurons, recurrent"].profile, by_name["256 neurons, recurrent"].profile
    m4 = results.cores[0].profile
    front = small.stages["frontend"].instructions_per_s + small.stages["push"].instructions_per_s
    ratio = _ratio(results.races["random"])
    rows = [
        _at_most("instructions a second, 128 neurons, recurrent, speech", small.total.instructions_per_s, 2.6e6),
        _at_most("of them front end", front, 1.4e6),
        _at_most("256 neurons, recurrent, speech", large.total.instructions_per_s, 4.0e6),
        _at_most("128 neurons, silence, gate closed", small.quiet.instructions_per_s, 0.25e6),
        _at_most("a synaptic operation", m4.work.instructions_per_synaptic_operation or 0, 2.5),
        _at_most("a neuron update with refractory period", m4.work.instructions_per_neuron_update, 10),
        _at_most("a tap", m4.work.instructions_per_tap or 0, 3),
        _at_most("worst step seen, against its bound", m4.step.worst_instructions, m4.step.bound_instructions),
        _at_most("bytes of context, 128 neurons, ten classes", small.memory.context_bytes, 8192),
        _at_most("bytes of stack", small.memory.stack_bound_bytes, 1024),
        _at_most("bytes of flash, code included", small.flash_bytes, 32768),
        _at_most("seconds to train FSDD", results.training.seconds, 25),
        ["cycles: published sequences checked", "at least 12",
         f"{results.sequences.count}, {results.sequences.most_percent} % off at most",
         _verdict(results.sequences.count >= 12)],
        ["host, times Brian2", "at least 10", f"{ratio:.1f}", _verdict(ratio >= 10)],
    ]  # fmt: skip
    return markdown([["what", "asked", "measured", ""], *rows])


def _at_most(what: str, measured: float, limit: float) -> list[str]:
    return [what, f"at most {_number(limit)}", _number(measured), _verdict(measured <= limit)]


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.2f}".rstrip("0").rstrip(".")


def _verdict(holds: bool) -> str:
    return "yes" if holds else "**no**"
