"""Every rule speaks where it should, says what to change, and is silent otherwise."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from models import LIVE, RECURRENT, small_config, small_model

from lsm_edge.config import Config
from lsm_edge.evaluation import advice, metrics
from lsm_edge.evaluation.advice import LIMITS, RULES, advise
from lsm_edge.evaluation.evaluate import Evaluation, LiquidMetrics
from lsm_edge.evaluation.robustness import AFTER, BABBLE, BEFORE, GAIN, WHITE, Curve, Flips
from lsm_edge.evaluation.score import score

FINE = LiquidMetrics(
    firing=metrics.Firing((0.05, 0.1, 0.12, 0.15, 0.2), silent=0.0, saturated=0.0, step_ms=2.0),
    memory=metrics.Memory((0.9,) * 20, frame_ms=8.0),
    fading=metrics.Fading((0.5, 0.1, 0.0, 0.0), frame_ms=8.0),
    branching=metrics.Branching(0.5, 0.1, 100),
    ranks=metrics.Ranks(kernel=90, generalisation=10, inputs=100),
    separation=[],
    worth=metrics.Worth(0.9, (0.8, 0.85, 0.85)),
)
CURVES = (
    Curve(WHITE, "dB SNR", (10, 0), (0.9, 0.5)),
    Curve(BABBLE, "dB SNR", (10, 0), (0.9, 0.5)),
    Curve(GAIN, "dB", (-20, -40), (0.94, 0.6)),
    Curve(BEFORE, "ms", (160,), (0.94,)),
    Curve(AFTER, "ms", (160,), (0.94,)),
)


def found(*, sections: dict[str, Any] | None = None, **changes: Any) -> Evaluation:
    """An evaluation about which there is nothing to say: 950 of 1000 right, errors spread; with `changes`."""
    said = np.arange(1000) % 3
    heard = said.copy()
    heard[:50] = (said[:50] + 1 + np.arange(50) // 3 % 2) % 3
    evaluation = Evaluation(
        config=small_config(**(sections or {})),
        model=small_model(**(sections or {})),
        scores=score(("yes", "no", "stop"), said, heard, [f"voice {i % 4}" for i in range(1000)]),
        n_folds=1,
        spoiled=400,
        clean=0.95,
        curves=CURVES,
        flips=Flips(200, 190, 5, (0.9, 0.95), "bias"),
        unflipped=0.95,
        liquid=FINE,
        implementation="native",
    )
    return replace(evaluation, **changes)


def liquid(**changes: Any) -> dict[str, Any]:
    return {"liquid": replace(FINE, **changes)}


def curve(name: str, value: int, accuracy: float) -> dict[str, Any]:
    return {"curves": (Curve(name, "", (value,), (accuracy,)),)}


def scored(said: list[int], heard: list[int], groups: list[str] | None = None) -> dict[str, Any]:
    return {"scores": score(("yes", "no", "stop"), np.array(said), np.array(heard), groups or [None] * len(said))}


FIRING = FINE.firing
RECURRENT_LIQUID: dict[str, Any] = {"sections": {"reservoir": RECURRENT}}
NOISY: dict[str, Any] = {"noise": {"kinds": ["white"]}}

CASES: list[tuple[Callable[[Evaluation], str | None], dict[str, Any], list[str]]] = [
    (advice.few_recordings, scored([0, 1, 2] * 5, [0, 1, 2] * 5), ["15 test recordings", "leave-one-group-out"]),
    (
        advice.confused_classes,
        scored([0] * 20 + [1] * 20 + [2] * 20, [0] * 15 + [1] * 5 + [1] * 20 + [2] * 20),
        ["no/yes (5 of 40)", "record more"],
    ),
    (
        advice.weak_groups,
        scored([0] * 200, [0] * 170 + [1] * 20 + [0] * 10, ["eve"] * 150 + ["bob"] * 50),
        ["bob (60.0 %)", "mean of 90.0 %"],
    ),
    (advice.noise, curve(WHITE, 10, 0.55), ["white noise costs 40 points at 10 dB", "add `augment:"]),
    (advice.noise, curve(BABBLE, 10, 0.75), ["babble costs 20 points at 10 dB"]),
    (advice.gain, curve(GAIN, -20, 0.85), ["20 dB quieter cost 10 points", "gain_db: [-20, 0]"]),
    (advice.shift, curve(BEFORE, 160, 0.85), ["160 ms of near-silence before", "lead_ms: [0, 160]"]),
    (advice.shift, curve(AFTER, 160, 0.85), ["near-silence after", "trail_ms: [0, 160]"]),
    (advice.flipped_bits, {"flips": Flips(9, 1, 1, (0.95, 0.6), "bias")}, ["bias", "35 points", "lsm_selftest"]),
    (
        advice.silent_neurons,
        {**RECURRENT_LIQUID, **liquid(firing=replace(FIRING, silent=0.38))},
        ["38 % of neurons never fire", "lower reservoir.target_rate, topology.fan_in"],
    ),
    (advice.silent_neurons, liquid(firing=replace(FIRING, silent=0.38)), ["lower encoder.shift", "encoder.norm"]),
    (
        advice.silent_neurons,
        {"sections": {"encoder": {"kind": "delta"}}, **liquid(firing=replace(FIRING, silent=0.38))},
        ["encoder.fan_in"],
    ),
    (
        advice.saturated_neurons,
        {**RECURRENT_LIQUID, **liquid(firing=replace(FIRING, saturated=0.1))},
        ["10 % of neurons fire whenever they can", "recurrent_gain"],
    ),
    (advice.saturated_neurons, liquid(firing=replace(FIRING, saturated=0.1)), ["raise encoder.shift"]),
    (
        advice.idle_window,
        liquid(worth=metrics.Worth(0.9, (0.8, 0.85, 0.9))),
        ["window 3 carries nothing (without it 90.0 % against 90.0 %)", "readout.n_windows: 2 saves 60 bytes"],
    ),
    (
        advice.never_forgets,
        {**RECURRENT_LIQUID, **liquid(fading=metrics.Fading((0.5,) * 100 + (0.06,) * 20, 8.0))},
        ["after 960 ms", "6 % of a difference", "recurrent_gain"],
    ),
    (advice.runaway, {**RECURRENT_LIQUID, **liquid(branching=metrics.Branching(1.4, 0.1, 99))}, ["causes 1.4 more"]),
    (
        advice.noise_in_the_state,
        {**RECURRENT_LIQUID, **liquid(ranks=metrics.Ranks(90, 60, 100))},
        ["in 60 directions, other recordings in 90", "recurrent_gain, or train with `augment:`"],
    ),
    (advice.noise_in_the_state, liquid(ranks=metrics.Ranks(90, 60, 100)), ["in 90: train with"]),
    (
        advice.short_memory,
        {"sections": LIVE, **liquid(memory=metrics.Memory((0.9, 0.6, 0.1), 8.0))},
        ["recalls only 16 ms", "encoder.max_delay_frames"],
    ),
    (
        advice.short_memory,
        {"sections": {**LIVE, "encoder": {"kind": "delta"}}, **liquid(memory=metrics.Memory((0.1,), 8.0))},
        ["reservoir.max_delay_steps"],
    ),
]


def test_about_a_good_model_there_is_nothing_to_say() -> None:
    assert advise(found()) == []


@pytest.mark.parametrize(
    ("rule", "changes", "says"), CASES, ids=[f"{case[0].__name__}-{i}" for i, case in enumerate(CASES)]
)
def test_a_rule_says_what_and_what_to_do(
    rule: Callable[[Evaluation], str | None], changes: dict[str, Any], says: list[str]
) -> None:
    evaluation = found(**changes)
    sentence = rule(evaluation)
    assert sentence is not None
    assert sentence in advise(evaluation)
    for part in says:
        assert part in sentence


def test_every_rule_is_tried() -> None:
    assert {case[0] for case in CASES} == set(RULES)


def test_who_trains_with_noise_already_is_told_to_do_more_of_it() -> None:
    config = small_config(augment=NOISY)
    sentence = advice.noise(found(config=config, **curve(WHITE, 10, 0.55)))
    assert sentence is not None
    assert "augment.copies" in sentence


@pytest.mark.parametrize(
    ("rule", "key", "changes"),
    [
        (advice.gain, "gain_db", curve(GAIN, -20, 0.85)),
        (advice.shift, "lead_ms", curve(BEFORE, 160, 0.85)),
        (advice.shift, "trail_ms", curve(AFTER, 160, 0.85)),
    ],
)
def test_who_augments_already_is_told_to_widen_it(
    rule: Callable[[Evaluation], str | None], key: str, changes: dict[str, Any]
) -> None:
    sentence = rule(found(config=small_config(augment={key: [0.0, 1.0]}), **changes))
    assert sentence is not None
    assert f"widen augment.{key}" in sentence


def test_what_was_not_measured_is_not_spoken_of() -> None:
    bare = LiquidMetrics(FIRING, None, None, None, None, [], None)
    assert advise(found(liquid=bare, curves=(), flips=Flips(3, 0, 3, (), None))) == []


def test_a_few_bad_recordings_of_a_group_prove_nothing() -> None:
    """Three of four is 14 points below, but so might anybody be."""
    some = scored([0] * 104, [0] * 90 + [1] * 10 + [0] * 3 + [1], ["eve"] * 100 + ["bob"] * 4)
    assert advice.weak_groups(found(**some)) is None


@pytest.mark.parametrize(
    "keys",
    [
        {"augment": {"noise": {"kinds": ["none", "white", "babble"]}}},
        {"augment": {"gain_db": [-20.0, 0.0]}},
        {"augment": {"lead_ms": [0.0, 160.0]}},
        {"augment": {"trail_ms": [0.0, 160.0]}},
        {"dataset": {"path": ".", "split": {"kind": "leave-one-group-out"}}},
    ],
)
def test_settings_that_are_advised_exist(keys: dict[str, Any]) -> None:
    assert isinstance(small_config(**keys), Config)


def test_the_limits_are_within_reason() -> None:
    for name, value in vars(LIMITS).items():
        if name.endswith("_share"):
            assert 0 < value < 1
        if name.endswith("_points"):
            assert 0 < value < 100


def test_the_documentation_lists_every_rule(root: Path) -> None:
    text = (root / "docs" / "evaluate.md").read_text(encoding="utf-8")
    assert re.findall(r"^\| (\w+_?\w*) \| .*$", text.partition("## Advice")[2], re.MULTILINE)[1:] == [
        rule.__name__ for rule in RULES
    ]
