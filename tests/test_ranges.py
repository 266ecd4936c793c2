"""Ranges as a whole: what is said about them, that sounds stay inside, and that what could overflow is refused.

How each bound is derived is tried out, value by value, in `test_ranges_proof.py`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from models import LIVE, RECURRENT, extremes, small_model, sound, with_tables
from numpy.typing import ArrayLike
from sample_models import SETTINGS, sample_model

from lsm_edge.errors import RangeError
from lsm_edge.fixed import Ints, log2_q8
from lsm_edge.golden import run_clips, run_frames
from lsm_edge.model import Model
from lsm_edge.ranges import Range, input_sums, membrane_of, ranges_of
from lsm_edge.stages import frontend
from lsm_edge.target.context import context_fields
from lsm_edge.target.native import Native

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


# Every integer of the context, and the range that justifies its type.
JUSTIFIED = {
    "points": "frontend.bin_power",
    "scores": "readout.scores",
    "confidence_q15": "decision.confidence_q15",
    "samples": "frontend.emphasised",
    "current": "encoder.current",
    "recurrent": "reservoir.recurrent",
    "v": "reservoir.v",
    "counts": "readout.counts",
    "trace": "readout.trace",
    "n_frames": "decision.n_frames",
    "at": "decision.n_frames",
    "window_frames": "decision.n_frames",
    "peaks": "frontend.band_peak",
    "peak_q8": "frontend.peak_q8",
    "floor_q8": "decision.floor_q8",
    "gate_floor_q8": "decision.gate_floor_q8",
    "awake_frames": "decision.awake_frames",
    "run": "decision.run",
    "refractory": "reservoir.refractory",
    "features": "readout.features",
    "frame": "frontend.level",
    "reference": "encoder.reference",
    "frames": "frontend.levelled",
}


@pytest.mark.parametrize("name", [*OPTIONS, *SETTINGS])
def test_every_type_of_the_context_is_justified(name: str) -> None:
    """The rest are bits, flags, a sample, and counters that the manifest's own limits keep within their type."""
    model = sample_model(name) if name in SETTINGS else small_model(**OPTIONS[name])
    found = ranges_of(model)
    rest = {"guard", "spikes", "pending", "decision", "previous", "fill", "window", "slot"}
    rest |= {"by_hand", "is_awake", "is_open", "row"}
    for field in context_fields(model, dsp=False):
        if field.name == "recurrent":  # 2^15 above what it is: what fits int16_t fits uint16_t
            assert (field.type, found[JUSTIFIED[field.name]].type) == ("uint16_t", "int16_t")
        elif field.name not in rest:
            assert found[JUSTIFIED[field.name]].type == field.type


@pytest.mark.parametrize("name", [*OPTIONS, *SETTINGS])
def test_a_row_of_the_certificate(name: str) -> None:
    model = sample_model(name) if name in SETTINGS else small_model(**OPTIONS[name])
    for key, found in ranges_of(model).items():
        row = found.as_row()
        assert f"{row['stage']}.{row['quantity']}" == key
        assert [type(row[end]) for end in ("low", "high")] == [int, int]
        assert row["verdict"] in ("cannot overflow", "saturates, by design")


# The transform: its bound is proven in pieces (test_ranges_proof.py); here as a whole, on what drives it hardest.


def steep_windows(n: int) -> Ints:
    """Full-scale signs of cosines, which for a linear transform reach what can be reached; and random signs."""
    rng, t = np.random.default_rng(2), np.arange(n)
    bins = [1, 2, 3, n // 8, n // 4, n // 2 - 1, n // 2, *rng.integers(1, n // 2, 12)]
    waves = [np.cos(2 * np.pi * k * t / n + phase) for k in bins for phase in np.linspace(0, np.pi, 8, endpoint=False)]
    return np.where(np.array([*waves, *rng.normal(size=(40, n))]) >= 0, 32767, -32768)


@pytest.mark.parametrize("shape", ["hann", "flat", "random", "sparse", "faint"])
@pytest.mark.parametrize("n", [128, 256, 512, 1024])
def test_the_transform_stays_inside(n: int, shape: str) -> None:
    """At every stage: the first stages of a transform are transforms of every second, fourth, ... point.

    Under a faint window there is little but what is cut off.
    """
    rng = np.random.default_rng(3)
    model = small_model(frontend={"window_samples": n})
    windows: dict[str, ArrayLike] = {"flat": 32767, "faint": 1}
    windows |= {"random": rng.integers(0, 32768, n), "sparse": rng.choice([0, 0, 0, 32767], n)}
    model = with_tables(model, {"window_q15": windows[shape]} if shape in windows else {})
    found, twiddle = ranges_of(model), model["twiddle_q15"]
    headroom, points = frontend.normalise(model, steep_windows(n))
    assert (found["frontend.point"].low, found["frontend.point"].high) == (points.min(), points.max())
    reached, size = 0, 2
    while size <= n // 2:
        stride = n // 2 // size
        part: Any = {"twiddle_q15": twiddle[::stride]}
        spectra = [frontend.transform(part, points[:, first::stride]) for first in range(stride)]
        reached = max(reached, max(int(np.abs(spectrum).max()) for spectrum in spectra))
        size *= 2
    power = frontend.bin_power(model, spectra[0])
    band = frontend.band_power(model, power)
    level = (log2_q8(band) - 512 * headroom[:, None] + frontend.LEVEL_OFFSET_Q8) >> frontend.LEVEL_SHIFT
    high = {key: found[f"frontend.{key}"].high for key in ("spectrum", "bin_power", "band_power", "level")}
    found_high = {"spectrum": reached, "bin_power": power.max(), "band_power": band.max(), "level": level.max()}
    assert all(found_high[key] <= high[key] for key in high)
    if shape in ("hann", "flat"):
        near = {"spectrum": 0.85, "bin_power": 0.45, "band_power": 0.35, "level": 0.95}
        assert all(found_high[key] >= near[key] * high[key] for key in high)


def test_twiddles_that_could_overflow_are_refused() -> None:
    """A model file may hold any; those of training have length one."""
    model = small_model(frontend={"window_samples": 1024})
    with pytest.raises(RangeError, match=r"a part of a point .* OVERFLOWS \(table twiddle_q15\)"):
        ranges_of(with_tables(model, {"twiddle_q15": 32767, "window_q15": 32767}))


# Reached: inputs chosen by the signs of the weights come near both ends.


def pushed(model: Model, n: int, sign: int, left: float, n_frames: int = 30) -> Ints:
    """The frames that, at their end, take furthest up or down what gathers of neuron n's currents.

    `left` is what a frame leaves of those before it; 0 is for the last current alone.
    """
    settings, bands = model.manifest.encoder, model.manifest.frontend.n_bands
    worth = np.zeros((settings.max_delay_frames + n_frames) * bands)
    for t in range(n_frames):
        worth[t * bands + model["tap_offset"][n].astype(int)] += model["tap_weight"][n] * left ** (n_frames - 1 - t)
    return np.where(sign * worth.reshape(-1, bands)[settings.max_delay_frames :] > 0, 255, 0)


@pytest.mark.parametrize("wiring", [{}, RECURRENT], ids=["plain", "recurrent"])
@pytest.mark.parametrize("reset", ["subtract", "zero"])
def test_currents_and_potentials_come_near_their_ends(wiring: dict[str, Any], reset: str) -> None:
    """Currents reach their very ends; most potentials nearly, but recurrent spikes cannot be had at will.

    The shares are of the worst neuron, and of the middle one.
    """
    model = small_model(reservoir={**wiring, "reset": reset})
    lefts = (model["leak_q15"] / 2**15) ** model.manifest.reservoir.steps_per_frame
    segments = [pushed(model, n, sign, left) for n in range(20) for sign in (-1, 1) for left in (0, 0.5, lefts[n])]
    taps = [clip.taps for clip in run_frames(model, segments)]
    rows = [np.concatenate([tap[name] for tap in taps]) for name in ("encoder.current", "reservoir.v")]
    currents, potentials = (np.array([every.min(axis=0), every.max(axis=0)]) for every in rows)
    sums = input_sums(model) >> model.manifest.encoder.shift
    assert (currents == sums).all()
    membrane = membrane_of(model)
    shares = potentials / [membrane.low, membrane.high.max(axis=0)]
    assert shares.min() >= (0.35 if wiring else 0.55)
    assert np.median(shares) >= (0.75 if wiring else 0.95)
    for name, (low, high) in {"encoder.current": currents, "reservoir.v": potentials}.items():
        assert ranges_of(model)[name].kept[0] <= low.min()
        assert high.max() <= ranges_of(model)[name].kept[1]


@pytest.mark.parametrize("refractory", [0, 1, 5])
def test_counts_and_traces_come_near_their_ends(refractory: int) -> None:
    """A neuron that always fires when it may; a trace's end does not count on rests that outlast a frame."""
    eager = {"threshold": 1, "leak_q15": 0, "tap_weight": 127}
    readout = {"state": "trace", "transform": "linear", "trace_ms": 30}
    for settings in ({}, readout):
        neuron, one_window = {"n_neurons": 1, "refractory_steps": refractory}, {"n_windows": 1, **settings}
        model = with_tables(small_model(reservoir=neuron, readout=one_window), eager)
        found = ranges_of(model)
        (clip,) = run_frames(model, [np.full((30, 8), 255)])
        steps = len(clip.taps["reservoir.spikes"])
        assert clip.taps["reservoir.spikes"].sum() == -(-steps // (refractory + 1))
        assert settings or found["readout.counts"].high == clip.taps["reservoir.spikes"].sum()
        assert clip.features.max() >= (0.5 if refractory == 5 else 0.95) * found["readout.features"].high


@pytest.mark.parametrize("n_neurons", [3, 20])
def test_scores_come_near_their_ends(n_neurons: int, native: Callable[[Model], Native]) -> None:
    """Climbing from random frames: what makes the score of the most extreme class more extreme is kept."""
    model = small_model(reservoir={"n_neurons": n_neurons})
    weights, bias = model["readout_weight"].astype(int), model["bias"].astype(int)
    found, library = ranges_of(model)["readout.scores"], native(model)
    for sign, end in ((-1, found.low), (1, found.high)):
        rng = np.random.default_rng(7)
        c = int(np.argmax(np.maximum(sign * weights, 0).sum(axis=(0, 2)) + sign * bias))
        best, reached = rng.choice([0, 255], (20, 8)).astype(np.uint8), -(2**31)
        for _ in range(100):
            tried = [best.copy() for _ in range(64)]
            for frames in tried:
                first = rng.integers(20)
                frames[first : first + rng.integers(1, 8), rng.integers(8)] = rng.choice([0, 255])
            scores = sign * library.stir(tried).scores[:, c].astype(int)
            if scores.max() > reached:
                best, reached = tried[int(scores.argmax())], int(scores.max())
        assert sign * end >= reached >= 0.5 * sign * end


def test_every_range_is_documented(root: Path) -> None:
    """In the table of docs/numerics.md, section 9, where names after the first leave out its stage."""
    section = (root / "docs" / "numerics.md").read_text(encoding="utf-8").split("## 9. Ranges")[1]
    documented = set()
    for row in re.findall(r"^\| (`.*?) \|", section, re.MULTILINE):
        first, *others = re.findall(r"`([\w.]+)`", row)
        documented |= {first, *(f"{first.partition('.')[0]}.{other}" for other in others)}
    models = [*(sample_model(name) for name in SETTINGS), *(small_model(**options) for options in OPTIONS.values())]
    assert documented == {key for model in models for key in ranges_of(model)}
