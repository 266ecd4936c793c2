"""Settings: what is allowed, and what is said about what is not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st
from models import LIVE

from lsm_edge.config import Config, load_config, parse_config
from lsm_edge.errors import ConfigError

LEAST: dict[str, Any] = {"name": "small", "dataset": {"path": "."}}
ENDPOINTER = {"mode": "segment", "endpointer": {}}

SAID = [
    # Misspelt keys, at every depth.
    ({"frontnd": {}}, "frontnd: unknown key; did you mean frontend?"),
    ({"frontend": {"sample_rate": 8000}}, "frontend.sample_rate: unknown key; did you mean"),
    ({"zzz": 1},
     "zzz: unknown key; allowed: augment, budget, dataset, decision, encoder, frontend, name, readout, reservoir"),
    ({"encoder": {"kind": "delta", "dleta": 3}}, "encoder.dleta: unknown key; did you mean delta?"),
    ({"encoder": {"kind": "delta", "n_taps": 3}}, "encoder.n_taps: unknown key"),
    ({"encoder": {"kind": "current", "delta": 3}}, "encoder.delta: unknown key"),
    ({"encoder": {"kind": "current", "spans": "log"}}, "encoder.spans: input should be 'fixed' or 'log_uniform'"),
    ({"encoder": {"kind": "current", "bands": "one"}}, "encoder.bands: input should be 'any' or 'few' (got 'one')"),
    ({"encoder": {"kind": "current", "max_delay_frames": 1024}},
     "encoder.max_delay_frames: input should be less than or equal to 1023 (got 1024)"),
    ({"reservoir": {"topology": {"kind": "maass", "reech": 3}}},
     "reservoir.topology.reech: unknown key; did you mean reach?"),
    ({"dataset": {"path": ".", "split": {"kind": "pattern", "tset": "a", "test": "a"}}},
     "dataset.split.tset: unknown key; did you mean test?"),
    ({"dataset": {"path": ".", "index": {"label_colum": "a"}}},
     "dataset.index.label_colum: unknown key; did you mean label_column?"),
    ({"decision": {"endpointer": {"onset_mss": 3}}},
     "decision.endpointer.onset_mss: unknown key; did you mean onset_ms?"),
    ({"augment": {"noise": {"kinds": ["white"], "snr": [0, 30]}}},
     "augment.noise.snr: unknown key; did you mean snr_db?"),
    # Missing.
    ({"dataset": {}}, "dataset.path: missing"),
    ({"encoder": {}}, "encoder.kind: missing"),
    ({"dataset": {"path": ".", "split": {"kind": "pattern"}}}, "dataset.split.test: missing"),
    # Wrong type: nothing is converted.
    ({"frontend": {"sample_hz": "8000"}}, "frontend.sample_hz: input should be a valid integer (got '8000')"),
    ({"frontend": {"sample_hz": 8000.0}}, "frontend.sample_hz: input should be a valid integer (got 8000.0)"),
    ({"seed": True}, "seed: input should be a valid integer (got True)"),
    ({"frontend": {"hop_ms": "8"}}, "frontend.hop_ms: input should be a valid number (got '8')"),
    ({"frontend": None}, "frontend: must be a mapping of settings (got None)"),
    ({"encoder": "delta"}, "encoder: must be a mapping of settings (got 'delta')"),
    ({"reservoir": {"leak_shift": 3}}, "reservoir.leak_shift: input should be a valid list (got 3)"),
    ({"readout": {"length_feature": "no"}}, "readout.length_feature: input should be a valid boolean (got 'no')"),
    ({"dataset": {"path": ".", "channel": "left"}}, "dataset.channel: input should be 'mix' (got 'left')"),
    ({1: 2}, "1: keys should be strings"),
    ({"two\nlines": 2}, r"'two\nlines': unknown key"),
    # Out of range.
    ({"seed": -1}, "seed: input should be greater than or equal to 0 (got -1)"),
    ({"frontend": {"window_samples": 300}}, "frontend.window_samples: input should be 128, 256, 512 or 1024 (got 300)"),
    ({"frontend": {"hop_ms": float("nan")}}, "frontend.hop_ms: input should be a finite number (got nan)"),
    ({"encoder": {"kind": "delta", "delta": 0}}, "encoder.delta: input should be greater than or equal to 1 (got 0)"),
    ({"encoder": {"kind": "ternary"}}, "encoder.kind: must be one of 'current', 'delta' (got 'ternary')"),
    ({"reservoir": {"leak_shift": [3, 99]}},
     "reservoir.leak_shift.1: input should be less than or equal to 12 (got 99)"),
    ({"reservoir": {"leak_q15": []}}, "reservoir.leak_q15: list should have at least 1 item"),
    ({"reservoir": {"target_rate": 1.0}}, "reservoir.target_rate: input should be less than 1 (got 1.0)"),
    ({"name": "1st"}, "name: string should match pattern"),
    ({"name": "a\n"}, "name: string should match pattern"),
    ({"name": "aux"}, "name: is the name of a Windows device (got 'aux')"),
    ({"dataset": {"path": ".", "pattern": "("}}, "dataset.pattern: is not a regular expression: missing )"),
    ({"dataset": {"path": ".", "split": {"kind": "pattern", "test": "("}}},
     "dataset.split.test: is not a regular expression"),
    ({"augment": {"copies": 17}}, "augment.copies: input should be less than or equal to 16 (got 17)"),
    ({"augment": {"speed": [1.1]}}, "augment.speed: list should have at least 2 items"),
    ({"augment": {"speed": [0.9, 3]}}, "augment.speed.1: input should be less than or equal to 2 (got 3)"),
    ({"augment": {"noise": {"kinds": ["brown"]}}}, "augment.noise.kinds.0: input should be 'none', 'white', 'pink'"),
    ({"readout": {"weight_bits": 5}}, "readout.weight_bits: input should be 8 or 4 (got 5)"),
    ({"readout": {"solver": "svn"}}, "readout.solver: input should be 'ridge', 'logistic', 'svm', 'lda' or"),
    ({"decision": {"reject_error": 1}}, "decision.reject_error: input should be less than 1 (got 1)"),
    # Settings that contradict each other.
    ({"readout": {"solver": "lda", "strengths": [0.1, 3]}},
     "readout.strengths: solver lda shrinks by a share; 3.0 is more than 1"),
    ({"reservoir": {"n_candidates": 100}}, "reservoir.n_candidates: 256 neurons cannot be kept of 100"),
    ({"reservoir": {"n_candidates": 512, "topology": {"kind": "random"}}},
     "reservoir.n_candidates: others listen to a recurrent neuron"),
    ({"augment": {"gain_db": [0, -20]}}, "augment.gain_db: is a range [low, high]; low must be at most high"),
    ({"augment": {"noise": {"kinds": ["folder"]}}}, "augment.noise.kinds: folder and noise.folder"),
    ({"augment": {"noise": {"kinds": ["pink"], "folder": "hum"}}}, "augment.noise.kinds: folder and noise.folder"),
    ({"frontend": {"hop_ms": 8.1234}}, "frontend.hop_ms: 8.1234 ms is not a whole number of samples at 8000 Hz"),
    ({"frontend": {"hop_ms": 16, "sample_hz": 48000}}, "frontend.hop_ms: 768 samples a hop do not fit a window of 256"),
    ({"frontend": {"low_hz": 5000}}, "frontend.low_hz: 5000.0 must be below high_hz (3900.0)"),
    ({"frontend": {"high_hz": 4001}}, "frontend.high_hz: 4001.0 must be at most half of sample_hz (4000.0)"),
    ({"reservoir": {"leak_shift": [3], "leak_q15": [5]}}, "reservoir: leak_shift and leak_q15 say the same thing"),
    ({"dataset": {"path": ".", "label_from": "pattern"}}, "dataset.label_from: pattern needs `pattern`"),
    ({"dataset": {"path": ".", "label_from": "pattern", "pattern": "a"}},
     "dataset.label_from: pattern needs `pattern`"),
    ({"dataset": {"path": ".", "label_from": "index", "index": {}}}, "dataset.label_from: index needs `index`"),
    ({"dataset": {"path": ".", "split": {"kind": "column"}}}, "dataset.split: column needs `index`"),
    ({**LIVE, "frontend": {}}, "decision.mode: live knows no segment; set frontend.level: running_peak"),
    ({**LIVE, "readout": {**LIVE["readout"], "n_windows": 2}}, "decision.mode: live has no windows"),
    ({**LIVE, "readout": {**LIVE["readout"], "length_feature": True}}, "decision.mode: live has no segment length"),
    ({**LIVE, "decision": {"mode": "live", "endpointer": {}}}, "decision.endpointer finds segments"),
    ({"frontend": {"level": "running_peak"}, "decision": {"endpointer": {}}},
     "decision.endpointer listens to absolute"),
    ({"decision": {"endpointer": {"gate_db": 12.5}}}, "decision.endpointer.gate_db: 12.5 is more than onset_db (12.0)"),
    ({"decision": {"endpointer": {"gate_db": 2}}}, "decision.endpointer.gate_db"),
    ({"decision": {"endpointer": {"gate_db": 6, "hang_ms": 31}}},
     "decision.endpointer.hang_ms: 31.0 ms; with gate_db it must be at least 32"),
]  # fmt: skip


def test_the_least_config_there_is() -> None:
    config = parse_config(LEAST, "a.yaml")
    assert config.dataset.path == "."


@pytest.mark.parametrize("kind", ["current", "delta"])
@pytest.mark.parametrize("topology", ["none", "random", "maass"])
def test_every_default_is_allowed(kind: str, topology: str) -> None:
    """Written out and read again, all defaults pass their own checks."""
    sections = {"encoder": {"kind": kind}, "reservoir": {"topology": {"kind": topology}}, "decision": ENDPOINTER}
    config = parse_config({**LEAST, **sections}, "a.yaml")
    assert parse_config(config.model_dump(), "b.yaml") == config
    assert parse_config(config.model_dump(mode="json"), "c.yaml") == config


def test_whole_numbers_do_for_fractions() -> None:
    assert parse_config({**LEAST, "frontend": {"hop_ms": 10}}, "a.yaml").frontend.hop_ms == 10


@pytest.mark.parametrize(("sections", "said"), SAID)
def test_what_is_said(sections: dict[str, Any], said: str) -> None:
    """The file, the way to the key, the value, and what is allowed."""
    with pytest.raises(ConfigError) as error:
        parse_config({**LEAST, **sections}, "home/a.yaml")
    assert f"home/a.yaml: {said}" in str(error.value)


def test_everything_wrong_is_said_at_once() -> None:
    with pytest.raises(ConfigError) as error:
        parse_config({"seed": -1, "dataset": {"path": ""}, "frontend": {"n_bands": 99}}, "a.yaml")
    assert [line.split(": ")[1] for line in str(error.value).splitlines()] == [
        "name", "seed", "dataset.path", "frontend.n_bands",
    ]  # fmt: skip


def test_a_config_is_frozen() -> None:
    config = parse_config(LEAST, "a.yaml")
    for section in (config, config.frontend, config.encoder, config.reservoir.topology, config.dataset.split):
        name = next(iter(type(section).model_fields))
        with pytest.raises(pydantic.ValidationError, match="frozen"):
            setattr(section, name, getattr(section, name))


def test_leaks() -> None:
    assert parse_config(LEAST, "a").reservoir.leaks_q15 == [24576]
    assert parse_config({**LEAST, "reservoir": {"leak_shift": [1, 12]}}, "a").reservoir.leaks_q15 == [16384, 32760]
    assert parse_config({**LEAST, "reservoir": {"leak_q15": [0, 32767]}}, "a").reservoir.leaks_q15 == [0, 32767]


def load(tmp_path: Path, content: str | bytes) -> Config:
    path = tmp_path / "a.yaml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return load_config(path)


def test_a_file(tmp_path: Path) -> None:
    config = load(tmp_path, "\ufeffname: small # a comment\r\nseed: 7\r\ndataset: {path: '.'}\r\n")
    assert (config.name, config.seed) == ("small", 7)


@pytest.mark.parametrize(
    "path", sorted((Path(__file__).parent.parent / "examples").glob("*.yaml")), ids=lambda path: path.name
)
def test_shipped_examples_are_allowed(path: Path) -> None:
    assert load_config(path).name == path.stem


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "holds no settings"),
        ("- name: a", "holds no settings"),
        ("just words", "holds no settings"),
        (bytes(range(256)), "it is not UTF-8 text"),
        ("name: a\nname: b", "name is given twice"),
        ("name: a\ndataset: {path: a, path: b}", "path is given twice"),
        ("a: [1", "is not valid YAML"),
        ("a: \x00", "is not valid YAML"),
        ("a: 2020-13-45", "is not valid YAML: month must be in 1..12"),
        ("a: !!float x", "is not valid YAML"),
        ("[" * 3000, "is not valid YAML"),
        ("a: " + "9" * 5000, "is not valid YAML"),
        ("a: !!python/object/apply:os.getcwd []", "is not valid YAML: could not determine a constructor"),
        ("{[a]: b}", "is not valid YAML"),
    ],
)
def test_what_is_no_config(tmp_path: Path, content: str | bytes, said: str) -> None:
    with pytest.raises(ConfigError) as error:
        load(tmp_path, content)
    assert str(error.value).startswith(f"{tmp_path / 'a.yaml'}: ")
    assert said in str(error.value)


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.yaml: cannot be read: No such file"):
        load_config(tmp_path / "none.yaml")
    with pytest.raises(ConfigError, match="cannot be read: Is a directory"):
        load_config(tmp_path)


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
SECTIONS = ["name", "seed", "dataset", "frontend", "encoder", "reservoir", "readout", "decision", "augment"]
KEYS = ["kind", "path", "split", "pattern", "index", "channel", "topology", "delta", "endpointer", "leak_q15", "hop_ms"]


@given(st.dictionaries(st.sampled_from(SECTIONS), ANYTHING | st.dictionaries(st.sampled_from(KEYS), ANYTHING)))
def test_whatever_is_given_is_taken_or_refused(data: dict[str, Any]) -> None:
    """Never another exception than `ConfigError`, whose message names the file on every line."""
    try:
        parse_config(data, "a.yaml")
    except ConfigError as error:
        assert all(line.startswith("a.yaml: ") for line in str(error).splitlines())
