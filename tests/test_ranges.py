"""Ranges as a whole: what is said about them, that sounds stay inside, and that what could overflow is refused.

How each bound is derived is tried out, value by value, in `test_ranges_proof.py`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from models import LIVE, RECURRENT, extremes, small_model, sound, with_tables
from numpy.typing import ArrayLike
from sample_models import SETTINGS, sample_model

from lsm_edge.errors import RangeError
from lsm_edge.golden import run_clips
from lsm_edge.model import Model
from lsm_edge.ranges import Range, ranges_of

OPTIONS: dict[str, dict[str, Any]] = {
    "plain": {},
    "linear": {"readout": {"transform": "linear"}},
    "delta": {"encoder": {"kind": "delta"}, "readout": {"state": "trace"}},
    "recurrent": {"reservoir": RECURRENT},
    "live": LIVE,
}
TAPS = {
    "frontend.levelled": "frontend.level",
    "encoder.current": "encoder.current",
    "reservoir.v": "reservoir.v",
    "reservoir.refractory": "reservoir.refractory",
    "readout.features": "readout.features",
    "readout.scores": "readout.scores",
}


@pytest.mark.parametrize(
    ("low", "high", "type_", "accumulator", "verdict"),
    [
        (-128, 127, "int8_t", "", "cannot overflow"),
        (-129, 0, "int8_t", "", "OVERFLOWS"),
        (0, 128, "int8_t", "", "OVERFLOWS"),
        (0, 255, "uint8_t", "", "cannot overflow"),
        (-1, 0, "uint8_t", "", "OVERFLOWS"),
        (0, 256, "uint8_t", "", "OVERFLOWS"),
        (-129, 300, "int8_t", "int16_t", "saturates, by design"),
        (0, 32768, "int8_t", "int16_t", "OVERFLOWS"),
    ],
)
def test_what_is_said(low: int, high: int, type_: str, accumulator: str, verdict: str) -> None:
    found = Range("stage", "sum", "a sum", low, high, type_, accumulator)
    assert str(found) == f"a sum in [{low}, {high}]: {type_} {verdict}"
    assert found.fits == (verdict != "OVERFLOWS")


@pytest.mark.parametrize("name", [*OPTIONS, *SETTINGS])
def test_sounds_stay_inside(name: str) -> None:
    model = sample_model(name) if name in SETTINGS else small_model(**OPTIONS[name])
    hop, found = model.manifest.frontend.hop_samples, ranges_of(model)
    clips = [*(sound(seed, 20, hop=hop) for seed in range(6)), *extremes(12 * hop).values()]
    for clip in run_clips(model, clips):
        for quantity, tap in TAPS.items():
            low, high = found[quantity].kept
            assert low <= clip.taps[tap].min()
            assert clip.taps[tap].max() <= high


def test_length_and_bias_count() -> None:
    """The longest segment is 30 frames; each class by itself."""
    model = with_tables(small_model(), {"readout_weight": 0, "bias": [-5, 0, 9], "length_weight": [3, -4, 1]})
    found = ranges_of(model)["readout.scores"]
    assert (found.low, found.high) == (-4 * 30, -5 + 3 * 30)


def heaped(kind: str, weights: ArrayLike) -> Model:
    """A model all of whose synapses, of the encoder's first line or of the reservoir's first neuron, reach neuron 3."""
    drawn = np.asarray(weights, np.int8)
    n = len(drawn)
    plain = small_model(**({"encoder": {"kind": "delta"}} if kind == "input" else {"reservoir": RECURRENT}))
    stage = "encoder" if kind == "input" else "reservoir"
    changed = getattr(plain.manifest, stage).model_copy(update={"n_synapses": n})
    start = np.full_like(plain[f"{kind}_start"], n)
    start[0] = 0
    tables: dict[str, Any] = {
        f"{kind}_start": start,
        f"{kind}_target": np.full(n, 3, np.uint16),
        f"{kind}_weight": drawn,
    }
    return Model(plain.manifest.model_copy(update={stage: changed}), {**plain.tables, **tables})


@pytest.mark.parametrize(("kind", "quantity"), [("input", "encoder.line_sum"), ("recurrent", "reservoir.recurrent")])
def test_synapses_that_could_overflow_are_refused(kind: str, quantity: str) -> None:
    found = ranges_of(heaped(kind, [127] * 258))[quantity]
    assert (found.low, found.high) == (0, 127 * 258)
    with pytest.raises(RangeError, match=rf"32893\]: int16_t OVERFLOWS \(table {kind}_weight\); allowed: -32768 to"):
        ranges_of(heaped(kind, [127] * 259))
    with pytest.raises(RangeError, match=rf"\[-32893, 0\].*{kind}_weight"):
        ranges_of(heaped(kind, [-127] * 259))


@pytest.mark.parametrize("kind", ["input", "recurrent"])
def test_synapses_that_cancel_out_could_overflow_on_the_way(kind: str) -> None:
    with pytest.raises(RangeError, match="OVERFLOWS"):
        ranges_of(heaped(kind, [127] * 300 + [-127] * 300))


def test_a_trace_that_could_overflow_is_refused() -> None:
    model = small_model(readout={"state": "trace"}, reservoir={"refractory_steps": 0})
    assert ranges_of(model)["readout.trace"].fits
    readout = model.manifest.readout.model_copy(update={"trace_gain": model.manifest.readout.trace_gain + 1})
    with pytest.raises(RangeError, match="a spike trace"):
        ranges_of(Model(model.manifest.model_copy(update={"readout": readout}), model.tables))


@pytest.mark.parametrize("end", [-1, 1])
def test_the_largest_model_there_is_fits(end: int) -> None:
    """4096 neurons, 8 windows, every weight and bias at its end: scores cannot overflow."""
    model = small_model(reservoir={"n_neurons": 4096}, readout={"n_windows": 8})
    model = with_tables(model, {"readout_weight": end * 127, "bias": end * 2**30, "length_weight": end * 32767})
    assert ranges_of(model)["readout.scores"].fits
