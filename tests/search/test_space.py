"""What a search may change: every proposal is a config, and what means nothing is left out."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lsm_edge.config import Config, parse_config
from lsm_edge.errors import ConfigError
from lsm_edge.search.space import (
    NEEDS,
    SPACE,
    changed,
    first_choices,
    knobs_of,
    near,
    present_choice,
    propose,
    with_settings,
)


def config_of(**sections: Any) -> Config:
    return parse_config({"name": "x", "dataset": {"path": "."}, **sections}, "test")


DELTA = {"encoder": {"kind": "delta"}}
LIVE = {
    "frontend": {"level": "running_peak"},
    "readout": {"state": "trace", "n_windows": 1, "length_feature": False},
    "decision": {"mode": "live"},
}


@pytest.mark.parametrize("sections", [{}, DELTA, LIVE, {"reservoir": {"topology": {"kind": "maass"}}}])
@given(data=st.data())
def test_every_proposal_is_a_config(sections: dict[str, Any], data: st.DataObject) -> None:
    config = config_of(**sections)
    knobs = knobs_of(config)
    settings = propose(config, knobs, lambda knob: data.draw(st.integers(0, len(knob.values) - 1)))
    try:
        proposed = with_settings(config, settings)
    except ConfigError as error:
        assert "hop_ms" in str(error) or "topology" in str(error)  # only together they fail
        return
    for key, (needed, among) in NEEDS.items():
        if key in settings:
            assert settings.get(needed, getattr_path(config, needed)) in among
    assert all(getattr_path(proposed, key) == value for key, value in settings.items())


def getattr_path(config: Config, key: str) -> Any:
    found: Any = config
    for part in key.split("."):
        found = getattr(found, part)
    return found


def test_config_is_its_own_first_proposal() -> None:
    """Values that the table does not have are tried too."""
    config = config_of(reservoir={"n_neurons": 100, "leak_shift": [3, 5]}, frontend={"hop_ms": 8.5})
    knobs = knobs_of(config)
    present = present_choice(config, knobs)
    settings = propose(config, [knob for knob in knobs if knob.key in present], lambda knob: present[knob.key])
    assert settings["reservoir.n_neurons"] == 100
    assert settings["reservoir.leak_shift"] == [3, 5]
    assert settings["frontend.hop_ms"] == 8.5
    assert with_settings(config, {k: v for k, v in settings.items() if k != "reservoir.leak_shift"}) == config
    (neurons,) = [knob.values for knob in knobs if knob.key == "reservoir.n_neurons"]
    assert list(neurons) == sorted(neurons)


def test_knobs_that_cannot_matter() -> None:
    keys = {knob.key for knob in knobs_of(config_of(**DELTA, reservoir={"leak_q15": [30000]}))}
    assert keys.isdisjoint({"encoder.n_taps", "encoder.max_delay_frames", "reservoir.leak_shift"})
    assert "readout.n_windows" not in {knob.key for knob in knobs_of(config_of(**LIVE))}
    assert "reservoir.topology.fan_in" in {knob.key for knob in knobs_of(config_of())}
    assert {knob.key for knob in knobs_of(config_of())} <= set(SPACE)


@given(data=st.data())
def test_one_step_away(data: st.DataObject) -> None:
    """One or two knobs move, each to a value beside its own (or one twice)."""
    config = config_of()
    knobs = knobs_of(config)
    present = present_choice(config, knobs)
    settings = propose(config, [knob for knob in knobs if knob.key in present], lambda knob: present[knob.key])
    moved = near(knobs, settings, lambda: data.draw(st.floats(0, 1, exclude_max=True)))
    steps = [abs(moved[key] - present[key]) for key in settings]
    assert sum(steps) <= 2
    assert set(moved) == set(settings)
    assert all(0 <= moved[knob.key] < len(knob.values) for knob in knobs if knob.key in moved)


def test_own_space() -> None:
    config = config_of(search={"space": {"encoder.norm": [32, 64], "reservoir.topology.fan_in": [2, 4]}})
    assert [(knob.key, knob.values) for knob in knobs_of(config)] == [("encoder.norm", (32, 64))]
    config = config_of(search={"space": {"readout.window_by": ["energy", "length"], "readout.n_windows": [1, 2]}})
    assert propose(config, knobs_of(config), lambda knob: 0) == {"readout.n_windows": 1}
    assert propose(config, knobs_of(config), lambda knob: 1) == {"readout.n_windows": 2, "readout.window_by": "length"}
    config = config_of(
        search={"space": {"reservoir.topology.fan_in": [2, 4], "reservoir.topology.kind": ["none", "random"]}}
    )
    settings = propose(config, knobs_of(config), lambda knob: 1)
    assert settings == {"reservoir.topology.kind": "random", "reservoir.topology.fan_in": 4}


@pytest.mark.parametrize(
    ("space", "said"),
    [
        ({"reservoir.n_neuron": [1, 2]}, "search.space: reservoir.n_neuron: unknown key; did you mean n_neurons"),
        ({"reservoir.n_neurons": [64, "many"]}, "reservoir.n_neurons: input should be a valid integer"),
        ({"reservoir.n_neurons": [256]}, "leaves nothing to search"),
    ],
)
def test_bad_space(space: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        knobs_of(config_of(search={"space": space}))


def test_new_kind_drops_the_old_one_s_settings() -> None:
    base = {"reservoir": {"topology": {"kind": "maass", "reach": 3.0, "fan_in": 8}}}
    assert changed(base, {"reservoir.topology.kind": "none"}) == {"reservoir": {"topology": {"kind": "none"}}}
    same = changed(base, {"reservoir.topology.fan_in": 4, "reservoir.topology.kind": "maass"})
    assert same["reservoir"]["topology"] == {"kind": "maass", "reach": 3.0, "fan_in": 4}
    assert base["reservoir"]["topology"]["fan_in"] == 8


def test_a_search_begins_with_the_config_at_every_size() -> None:
    """The nearest sizes first; a space without sizes begins with the config alone."""
    config = config_of()
    knobs = knobs_of(config)
    sizes = next(knob.values for knob in knobs if knob.key == "reservoir.n_neurons")
    choices = first_choices(config, knobs)
    first = [propose(config, knobs, lambda knob, choice=choice: choice[knob.key]) for choice in choices]
    assert [settings.pop("reservoir.n_neurons") for settings in first][:4] == [256, 224, 320, 192]
    assert len(first) == len(sizes)
    assert all(settings == first[0] for settings in first)
    others = [knob for knob in knobs if knob.key != "reservoir.n_neurons"]
    assert first_choices(config, others) == [present_choice(config, others)]
