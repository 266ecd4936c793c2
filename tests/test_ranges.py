"""Ranges are worst cases: nothing goes beyond them, they can be reached, and what could overflow is refused."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from models import LIVE, RECURRENT, small_model, sound, with_tables
from numpy.typing import ArrayLike

from lsm_edge.errors import RangeError
from lsm_edge.golden import run_clips
from lsm_edge.model import Model
from lsm_edge.ranges import Range, ranges_of


def test_a_range_says_what_happens() -> None:
    assert str(Range("s", "a sum", -128, 127, 8)) == "a sum in [-128, 127]: int8_t cannot overflow"
    assert str(Range("s", "a sum", -129, 0, 8)) == "a sum in [-129, 0]: int8_t OVERFLOWS"
    assert str(Range("s", "a sum", 0, 255, 8, signed=False)) == "a sum in [0, 255]: uint8_t cannot overflow"
    assert str(Range("s", "a sum", 0, 999, 8, saturates=True)) == "a sum in [0, 999]: int8_t saturates, by design"


@pytest.mark.parametrize(
    ("low", "high", "signed", "fits"),
    [(-128, 127, True, True), (-129, 0, True, False), (0, 128, True, False),
     (0, 255, False, True), (-1, 0, False, False), (0, 256, False, False)],
)  # fmt: skip
def test_what_fits(low: int, high: int, signed: bool, fits: bool) -> None:
    assert Range("s", "q", low, high, 8, signed=signed).fits == fits


def test_every_accumulator_has_a_range() -> None:
    model = small_model(reservoir=RECURRENT)
    assert set(ranges_of(model)) == {"mel_weight_q8", "tap_weight", "recurrent_weight", "threshold", "readout_weight"}
    assert set(ranges_of(small_model(encoder={"kind": "delta"}, readout={"state": "trace"}))) == {
        "mel_weight_q8", "input_weight", "threshold", "trace", "readout_weight",
    }  # fmt: skip


def test_tap_sums_by_trying_all_ends() -> None:
    """Each input at nothing or at 255, in every combination, reaches exactly the ends of the range."""
    model = small_model(reservoir={"n_neurons": 3})
    weights = model["tap_weight"].astype(int)
    sums = [weights @ np.array(inputs) for inputs in itertools.product([0, 255], repeat=4)]
    found = ranges_of(model)["tap_weight"]
    assert (found.low, found.high) == (np.min(sums), np.max(sums))


def test_scores_by_trying_the_ends() -> None:
    model = small_model(reservoir={"n_neurons": 2}, readout={"n_windows": 2, "length_feature": False})
    model = with_tables(model, {"bias": [7, 7, 7]})
    weights = model["readout_weight"].astype(int)
    ends = itertools.product([0, 255], repeat=4)
    scores = [7 + np.einsum("wcn,wn->c", weights, np.reshape(features, (2, 2))) for features in ends]
    found = ranges_of(model)["readout_weight"]
    assert (found.low, found.high) == (np.min(scores), np.max(scores))


def test_scores_of_real_sounds_stay_inside() -> None:
    for sections in ({}, {"readout": {"transform": "linear"}}, LIVE):
        model = small_model(**sections)
        found = ranges_of(model)["readout_weight"]
        for clip in run_clips(model, [sound(seed, 20) for seed in range(10)]):
            assert found.low <= clip.taps["readout.scores"].min()
            assert clip.taps["readout.scores"].max() <= found.high


def test_length_and_bias_count() -> None:
    model = with_tables(small_model(), {"readout_weight": 0, "bias": [-5, 0, 9], "length_weight": [3, -4, 0]})
    found = ranges_of(model)["readout_weight"]
    assert (found.low, found.high) == (-5 - 4 * 255, 9 + 4 * 255)


def heaped(kind: str, weights: ArrayLike) -> Model:
    """A model all of whose synapses, of the encoder or of the reservoir, reach neuron 3."""
    drawn = np.asarray(weights, np.int8)
    n = len(drawn)
    plain = small_model(**({"encoder": {"kind": "delta"}} if kind == "input" else {"reservoir": RECURRENT}))
    stage = "encoder" if kind == "input" else "reservoir"
    changed = getattr(plain.manifest, stage).model_copy(update={"n_synapses": n})
    start = plain[f"{kind}_start"]
    tables: dict[str, Any] = {
        f"{kind}_start": np.linspace(0, n, len(start)).astype(start.dtype),
        f"{kind}_target": np.full(n, 3, np.uint16),
        f"{kind}_weight": drawn,
    }
    return Model(plain.manifest.model_copy(update={stage: changed}), {**plain.tables, **tables})


@pytest.mark.parametrize("kind", ["input", "recurrent"])
def test_synapses_that_could_overflow_are_refused(kind: str) -> None:
    found = ranges_of(heaped(kind, [127] * 258))[f"{kind}_weight"]
    assert (found.low, found.high) == (0, 127 * 258)
    with pytest.raises(RangeError, match=rf"32893\]: int16_t OVERFLOWS \(table {kind}_weight"):
        ranges_of(heaped(kind, [127] * 259))
    with pytest.raises(RangeError, match=rf"\[-32893, 0\].*{kind}_weight"):
        ranges_of(heaped(kind, [-127] * 259))


@pytest.mark.parametrize("kind", ["input", "recurrent"])
def test_synapses_that_cancel_out_could_overflow_on_the_way(kind: str) -> None:
    with pytest.raises(RangeError, match="OVERFLOWS"):
        ranges_of(heaped(kind, [127] * 300 + [-127] * 300))


def test_a_trace_that_could_overflow_is_refused() -> None:
    model = small_model(readout={"state": "trace"})
    assert ranges_of(model)["trace"].fits
    readout = model.manifest.readout.model_copy(update={"trace_gain": model.manifest.readout.trace_gain + 20})
    with pytest.raises(RangeError, match="a spike trace"):
        ranges_of(Model(model.manifest.model_copy(update={"readout": readout}), model.tables))


def test_the_largest_model_there_is_fits() -> None:
    """4096 neurons, 8 windows, every weight and bias at its end: scores do not overflow, so no such check can fail."""
    model = small_model(reservoir={"n_neurons": 4096}, readout={"n_windows": 8})
    model = with_tables(model, {"readout_weight": 127, "bias": 2**30, "length_weight": 32767})
    assert ranges_of(model)["readout_weight"].fits
