"""docs/numerics.md is complete: interpreter.py, written from it alone, finds every integer of the golden model."""

from __future__ import annotations

import ast
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import interpreter
import numpy as np
import pytest
from numpy.typing import NDArray

from lsm_edge import golden
from lsm_edge.config import parse_config
from lsm_edge.learn import wire
from lsm_edge.model import Model, load_model, save_model
from lsm_edge.stages import decision, frontend

LABELS = ["one", "two", "three"]
HOP = 64

# Every option of the manifest, in a handful of models. `recurrent_unit` is given where there is recurrence.
SEGMENT: dict[str, dict[str, Any]] = {
    "current-counts-sqrt-energy-subtract": {},
    "delta-trace-linear-length-zero": {
        "encoder": {"kind": "delta", "delta": 7, "fan_in": 5},
        "reservoir": {"reset": "zero", "refractory_steps": 3, "steps_per_frame": 3},
        "readout": {"state": "trace", "transform": "linear", "window_by": "length", "length_feature": False},
    },
    "delta-counts-sqrt-recurrent": {
        "encoder": {"kind": "delta", "shift": 8},
        "reservoir": {"topology": {"kind": "random", "fan_in": 9}, "max_delay_steps": 5, "refractory_steps": 0},
        "readout": {"n_windows": 8, "length_feature": False},
    },
    "current-trace-sqrt-running-recurrent": {
        "frontend": {"level": "running_peak", "window_samples": 512, "release_db_per_s": 300.0},
        "encoder": {"kind": "current", "max_delay_frames": 0, "shift": 0},
        "reservoir": {"topology": {"kind": "maass", "fan_in": 6}, "max_delay_steps": 17, "reset": "zero"},
        "readout": {"state": "trace", "n_windows": 2},
    },
    "current-counts-linear-one-window": {
        "frontend": {"window_samples": 128, "n_bands": 9, "range_db": 96},
        "reservoir": {"leak_q15": [0, 20000, 32767], "steps_per_frame": 1, "refractory_steps": 255},
        "readout": {"transform": "linear", "n_windows": 1, "window_by": "length"},
        "decision": {"max_segment_ms": 2400.0},  # 300 frames: more than the length feature counts
    },
    "wide-window-short-segment": {
        "frontend": {"window_samples": 1024, "range_db": 24},
        "decision": {"max_segment_ms": 80.0},
    },
}
LIVE: dict[str, dict[str, Any]] = {
    f"live-{name}": {
        "frontend": {"level": "running_peak"},
        "readout": {"state": "trace", "n_windows": 1, "length_feature": False, **readout},
        "decision": {"mode": "live", "every_ms": every_ms},
        **other,
    }
    for name, every_ms, readout, other in [
        ("current-sqrt", 80.0, {}, {}),
        (
            "delta-linear-recurrent",
            24.0,
            {"transform": "linear", "trace_ms": 400.0},
            {
                "encoder": {"kind": "delta", "delta": 20},
                "reservoir": {"topology": {"kind": "random", "fan_in": 4}, "max_delay_steps": 128},
            },
        ),
    ]
}
MODELS = SEGMENT | LIVE


def make_model(sections: dict[str, Any], seed: int = 1) -> Model:
    """An untrained model whose thresholds and readout are drawn, so that neurons fire and scores differ."""
    sections = {**sections, "reservoir": {"n_neurons": 45, **sections.get("reservoir", {})}}
    config = parse_config({"name": "test", "seed": seed, "dataset": {"path": "."}, **sections}, "test")
    recurrent = "topology" in sections["reservoir"]
    model = wire.draft(config, LABELS, recurrent_unit=400.0 if recurrent else 0.0)
    rng = np.random.default_rng(seed)
    tables = {
        name: rng.integers(low, high, model.tables[name].shape).astype(model.tables[name].dtype)
        for name, low, high in [
            ("threshold", 200, 3000),
            ("readout_weight", -127, 128),
            ("bias", -(10**6), 10**6),
            ("length_weight", -32768, 32768),
            ("tap_weight", -127, 128),  # with these, currents reach the ends of int16 where `shift` is small
            ("input_weight", -127, 128),
        ]
        if name in model.tables
    }
    return model.replace(**tables)


def noise_bursts(seed: int, hops: int, loudest: int = 32767) -> NDArray[np.int16]:
    """Noise that is loud, soft or silent for a few hops at a time, and ends within a hop."""
    rng = np.random.default_rng(seed)
    loudness = np.repeat(rng.choice([0, 1, 60, 2000, loudest], hops), rng.integers(1, 9, hops))[:hops]
    samples = rng.uniform(-1, 1, hops * HOP + 13) * np.append(np.repeat(loudness, HOP), np.full(13, loudest))
    return samples.astype(np.int16)


def clips() -> list[NDArray[np.int16]]:
    """Bursts, and the ends of the range: silence, the steepest square wave, and a single frame."""
    square = np.tile(np.array([-32768, 32767], np.int16), 10 * HOP)
    return [
        noise_bursts(1, 60),
        noise_bursts(2, 24),
        noise_bursts(3, 140, 300),
        noise_bursts(4, 290),
        square,
        np.zeros(8 * HOP, np.int16),
        np.full(HOP, -32768, np.int16),
    ]


def interpreted(model: Model, folder: Path) -> interpreter.Model:
    """The same model, by way of its file."""
    path = folder / "test.lsm"
    save_model(model, path)
    return interpreter.load(path.read_bytes())


def assert_same(found: interpreter.Taps, expected: golden.Taps, where: str) -> None:
    """Every tap has the same rows; the message names the first that differs."""
    assert list(found) == [name for name in interpreter.TAPS if name in expected]
    for name, rows in found.items():
        others = [np.ravel(row).tolist() for row in expected[name]]
        assert len(rows) == len(others), f"{where}: {name} has {len(rows)} rows, golden {len(others)}"
        for step, (row, other) in enumerate(zip(rows, others, strict=True)):
            assert row == other, f"{where}: {name}, row {step}: {row}, golden {other}"


def check_recordings(model_path: Path, recordings: Sequence[NDArray[np.int16]]) -> None:
    """Every integer of every tap, and the digest over all of them, for real recordings and a trained model."""
    expected = golden.run_clips(load_model(model_path), recordings)
    model = interpreter.load(model_path.read_bytes())
    found = [interpreter.run(model, samples.tolist()) for samples in recordings]
    for i, (taps, clip) in enumerate(zip(found, expected, strict=True)):
        assert_same(taps, clip.taps, f"recording {i}")
    assert interpreter.tap_digest(found) == golden.tap_digest(clip.taps for clip in expected)


@pytest.mark.parametrize("name", MODELS)
def test_every_tap_of_every_option(name: str, tmp_path: Path) -> None:
    model = make_model(MODELS[name])
    save_model(model, tmp_path / "test.lsm")
    check_recordings(tmp_path / "test.lsm", clips())


@pytest.mark.parametrize("name", ["current-counts-sqrt-energy-subtract", "live-current-sqrt"])
@pytest.mark.parametrize("length", [0, 1, HOP - 1])
def test_clip_too_short_for_a_frame(name: str, length: int, tmp_path: Path) -> None:
    save_model(make_model(MODELS[name]), tmp_path / "test.lsm")
    check_recordings(tmp_path / "test.lsm", [np.ones(length, np.int16)])


@pytest.mark.parametrize("name", MODELS)
def test_inputs_reach_every_stage(name: str, tmp_path: Path) -> None:
    """The comparison is worth something: neurons fire, features vary and classes differ."""
    model = interpreted(make_model(MODELS[name]), tmp_path)
    taps = [interpreter.run(model, samples.tolist()) for samples in clips()]
    rates = [sum(word.bit_count() for row in t["reservoir.spikes"] for word in row) for t in taps]
    steps = sum(len(t["reservoir.spikes"]) for t in taps)
    assert 0.005 < sum(rates) / (steps * model["reservoir"]["n_neurons"]) < 0.9
    assert len({value for t in taps for row in t["readout.features"] for value in row}) > 2
    assert len({tuple(row) for t in taps for row in t["readout.scores"]}) > 3


def test_a_tie_is_the_first_class(tmp_path: Path) -> None:
    model = make_model({"readout": {"length_feature": False}})
    weights = np.zeros_like(model["readout_weight"])
    model = model.replace(readout_weight=weights, bias=np.array([-5, 7, 7], np.int32))
    save_model(model, tmp_path / "test.lsm")
    check_recordings(tmp_path / "test.lsm", clips()[:1])
    assert interpreter.run(interpreted(model, tmp_path), clips()[0].tolist())["decision.class"] == [[1]]


def test_options_are_all_covered(tmp_path: Path) -> None:
    models = [interpreted(make_model(sections), tmp_path) for sections in MODELS.values()]
    for stage, entry, options in [
        ("frontend", "level", {"segment_peak", "running_peak"}),
        ("frontend", "window_samples", {128, 256, 512, 1024}),
        ("encoder", "kind", {"current", "delta"}),
        ("reservoir", "reset", {"subtract", "zero"}),
        ("readout", "state", {"counts", "trace"}),
        ("readout", "transform", {"sqrt", "linear"}),
        ("readout", "window_by", {"energy", "length"}),
        ("readout", "length_feature", {False, True}),
        ("decision", "mode", {"segment", "live"}),
    ]:
        assert {model[stage][entry] for model in models} == options
    assert any(model["reservoir"]["n_synapses"] and len(set(model.tables["delay_steps"])) > 1 for model in models)


def test_interpreter_imports_the_standard_library_only() -> None:
    tree = ast.parse(Path(interpreter.__file__).read_text(encoding="utf-8"))
    modules = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    modules |= {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert {name.partition(".")[0] for name in modules} <= sys.stdlib_module_names


def test_interpreter_refuses_a_changed_table(tmp_path: Path) -> None:
    save_model(make_model({}), tmp_path / "test.lsm")
    data = bytearray((tmp_path / "test.lsm").read_bytes())
    data[-1] ^= 1
    with pytest.raises(ValueError, match="digest"):
        interpreter.load(bytes(data))


def test_one_bit_changes_the_digest(tmp_path: Path) -> None:
    model = interpreted(make_model({}), tmp_path)
    taps = interpreter.run(model, noise_bursts(4, 20).tolist())
    before = interpreter.tap_digest([taps])
    taps["reservoir.v"][40][3] ^= 1
    assert interpreter.tap_digest([taps]) != before


@pytest.mark.parametrize(
    "endpointer",
    [
        {},
        {"onset_db": 3.0, "onset_ms": 8.0, "hang_ms": 8.0, "preroll_ms": 0.0},
        {"onset_db": 6.0, "hang_ms": 40.0, "preroll_ms": 200.0, "floor_db_per_s": 60.0},
        {"gate_db": 6.0},
        {"onset_db": 6.0, "gate_db": 3.0, "hang_ms": 40.0, "floor_db_per_s": 20.0},
    ],
)
@pytest.mark.parametrize("max_segment_ms", [400.0, 1000.0])
def test_end_pointer(endpointer: dict[str, float], max_segment_ms: float, tmp_path: Path) -> None:
    model = make_model({"decision": {"endpointer": endpointer, "max_segment_ms": max_segment_ms}})
    copy = interpreted(model, tmp_path)
    for seed in range(40):
        rng = np.random.default_rng(seed)
        loudness = np.repeat(rng.integers(0, 256, 150), rng.integers(1, 60, 150))
        frames = rng.integers(0, np.maximum(loudness, 1)[:, None] + 1, (len(loudness), model.manifest.frontend.n_bands))
        frames = np.minimum(frames, 255).astype(np.uint8)
        hops = np.minimum(loudness + rng.integers(0, 8, len(loudness)) + rng.integers(0, 120), 399)
        found, not_made = interpreter.segments(copy, frames.tolist(), hops.tolist())
        expected, gated = decision.listen(model, frames, hops)
        assert (found, not_made) == (expected, np.flatnonzero(gated).tolist())
        assert len(found) > 5
        assert (len(not_made) > 9) == ("gate_db" in endpointer)


@pytest.mark.parametrize("hop_ms", [5.0, 16.0])
def test_loudness_of_hops(hop_ms: float, tmp_path: Path) -> None:
    model = make_model({"frontend": {"hop_ms": hop_ms}})
    copy = interpreted(model, tmp_path)
    for samples in (noise_bursts(3, 20), np.zeros(400, np.int16), np.resize(np.int16([-32768, 32767]), 1000)):
        found = interpreter.hop_loudness(copy, samples.tolist())
        assert found == frontend.hop_loudness(model, samples.astype(np.int64)).tolist()
