"""What the page says of order in time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from benchmarks.accuracy.streams import BITS_SHOWN, LEAD_FRAMES, PATTERN_FRAMES, SPIKE_SHARE
from benchmarks.accuracy.tables import SEEDS
from benchmarks.accuracy.timed import BITS, GAPS, LEAD, LONGEST, MEMORY, NARMA, READOUT, ROWS, Size, Timed
from benchmarks.markdown import markdown

CLEAR: Final = 3.0  # standard errors over so few seeds: by chance once in 25 comparisons


@dataclass(frozen=True)
class Measure:
    """How one task's numbers are shown; `best` is 1 if more is better, else -1."""

    key: str
    column: str
    name: str
    scale: float = 100.0
    digits: int = 1
    unit: str = " points"
    best: int = 1


MEASURES: Final = (
    *(Measure(f"match {gap}", f"match, {gap}", f"delayed match over {gap} frames") for gap in GAPS),
    *(Measure(f"parity {bits}", f"parity, {bits}", f"temporal parity of {bits} patterns") for bits in BITS),
    Measure(MEMORY, "memory", "memory capacity", 1.0, 1, " frames"),
    Measure(NARMA, "NARMA-10", "NARMA-10", 1.0, 3, "", -1),
)
# What is judged by the difference of two rows.
CONTRASTS: Final = (
    ("recurrence without taps", "no taps, recurrence", "no taps"),
    ("recurrence with slow leaks", "no taps, slow leaks, recurrence", "no taps, slow leaks"),
    ("recurrence with taps to 24 frames", "taps to 24 frames, recurrence", "taps to 24 frames"),
    ("a share of slow leaks without taps", "no taps, slow leaks", "no taps"),
)

_SIZE: Final = Size()
_TRAIN: Final = 3 * _SIZE.sequences // 4
_ABOUT: Final = f"""\
Liquids of 256 neurons as `live_no_taps.yaml` makes them, 6 taps a neuron: all of the present frame, or of delays drawn
uniformly to 24 frames or as far as the task reaches; recurrence is 4 sources a neuron, gain 0.5, delays to 128 steps
(32 frames). Leak shifts are 3 or 4 (a membrane forgets within 2 to 4 frames); with slow leaks they are 3, 4, 7, 8 or 9
(up to 128 frames). Frames are made of random numbers and go past the front end; thresholds are set on training frames,
without labels; the liquid runs as integers, and a linear readout in floating point (ridge, its strength chosen on the
training part) sees its present state only. Means of {len(SEEDS)} seeds, which change patterns, trials and wiring, ±
their standard deviation. Differences are paired, seed by seed, ± their standard error; less than {CLEAR:.0f} of them is
called no difference.

- *Delayed match*: {LEAD_FRAMES} frames of noise, one of two patterns, {GAPS[0]}, {GAPS[1]} or {GAPS[2]} frames of
  noise, one of the two again; is it the same? A pattern is {PATTERN_FRAMES} frames in which {SPIKE_SHARE:.0%} of the
  bytes, always the same, are 255; all others are noise, 0 to 63. {_SIZE.train:,} trials train, {_SIZE.test:,} test.
  The state is one spike trace a neuron of {READOUT["trace_ms"]} ms ({PATTERN_FRAMES} frames), at the end. Accuracy in
  %; chance is 50.
- *Temporal parity*: {BITS_SHOWN} patterns, each one of two, without a pause; is the number of second ones among the
  last {BITS[0]} or {BITS[1]} odd? Otherwise the same.
- *Memory capacity* (H. Jaeger 2001): the squared correlations with which the random number of 1 to {LONGEST} frames
  ago is read from the spikes of the present frame, added up, in frames. {_TRAIN} sequences of {_SIZE.n_frames} frames
  train, {_SIZE.sequences - _TRAIN} test.
- *NARMA-10* (A. Atiya, A. Parlos 2000): the same sequences and spikes; a number u in 0 to 0.5 a frame,
  y(t + 1) = 0.3 y(t) + 0.05 y(t) (y(t) + ... + y(t - 9)) + 1.5 u(t - 9) u(t) + 0.1. Root mean squared error of y as a
  share of its deviation (NRMSE), without the first {LEAD} frames; 0 is perfect, 1 is to know nothing. It needs 10
  frames.
"""


def timed_text(rows: Mapping[str, Sequence[Timed]]) -> str:
    """The tasks, the table, and a line a task of what recurrence and slow leaks do."""
    shown = [row.name for row in ROWS if row.name in rows]
    table = [[name, *(_cell(measure, rows[name]) for measure in MEASURES)] for name in shown]
    lines = "".join(f"- {line}\n" for line in (_verdicts(measure, rows) for measure in MEASURES) if line)
    return f"{_ABOUT}\n{markdown([['', *(measure.column for measure in MEASURES)], *table])}\n{lines}"


def _cell(measure: Measure, seeds: Sequence[Timed]) -> str:
    values = measure.scale * np.array([timed.values[measure.key] for timed in seeds])
    return f"{values.mean():.{measure.digits}f} ± {values.std(ddof=1):.{measure.digits}f}"


def _verdicts(measure: Measure, rows: Mapping[str, Sequence[Timed]]) -> str:
    """What recurrence and slow leaks do for one task, seed by seed."""
    said = []
    for what, with_, without in CONTRASTS:
        if with_ not in rows or without not in rows:
            continue
        pairs = zip(rows[with_], rows[without], strict=True)
        more = measure.scale * np.array([a.values[measure.key] - b.values[measure.key] for a, b in pairs])
        error = float(more.std(ddof=1) / np.sqrt(len(more)))
        is_clear = abs(more.mean()) >= CLEAR * error and bool(more.any())
        word = "makes no difference"
        if is_clear:
            word = "helps" if measure.best * more.mean() > 0 else "harms"
        said.append(f"{what} {word} ({more.mean():+.{measure.digits}f} ± {error:.{measure.digits}f}{measure.unit})")
    return f"{measure.name[0].upper()}{measure.name[1:]}: {', '.join(said)}." if said else ""
