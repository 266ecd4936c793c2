"""Calibration: neurons fire as often as they should, whatever the liquid."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from models import LABELS, LIVE, RECURRENT, small_config, sound
from needs import need_host_compiler
from numpy.typing import NDArray

from lsm_edge.config import Config
from lsm_edge.learn import wire
from lsm_edge.learn.calibrate import LOWEST_THRESHOLD, calibrate
from lsm_edge.learn.liquid import GoldenLiquid, Liquid
from lsm_edge.target.native import Native

OPTIONS: dict[str, dict[str, Any]] = {
    "plain": {},
    "zero": {"reservoir": {"reset": "zero"}},
    "refractory": {"reservoir": {"refractory_steps": 5, "target_rate": 0.02}},
    "delta": {"encoder": {"kind": "delta", "delta": 4}, "reservoir": {"target_rate": 0.01}},
    "recurrent": {"reservoir": RECURRENT},
    "live": LIVE,
}


def prepared(n_neurons: int = 64, **sections: Any) -> tuple[Config, Native, list[NDArray[np.uint8]]]:
    need_host_compiler()
    reservoir = {"n_neurons": n_neurons, "rate_spread": 0, "target_rate": 0.05, **sections.pop("reservoir", {})}
    config = small_config(reservoir=reservoir, **{"decision": {"max_segment_ms": 800.0}, **sections})
    recurrent = config.reservoir.topology.kind != "none"
    liquid = Native(wire.draft(config, LABELS, recurrent_unit=300.0 if recurrent else 0.0), writable=True)
    return config, liquid, liquid.hear([sound(seed, 60) for seed in range(30)])


def rates(liquid: Liquid, segments: list[NDArray[np.uint8]]) -> NDArray[np.float64]:
    steps = liquid.model.manifest.reservoir.steps_per_frame * sum(map(len, segments))
    return np.asarray(liquid.stir(segments, count_spikes=True).spikes / steps)


@pytest.mark.parametrize("name", OPTIONS)
def test_neurons_fire_at_the_target_rate(name: str) -> None:
    """Within 10 %, 20 with recurrence; the few whose threshold cannot go lower fire less. No labels are asked for."""
    config, liquid, segments = prepared(**OPTIONS[name])
    model = calibrate(config, liquid, segments)
    assert liquid.model is model
    found, target = rates(liquid, segments), config.reservoir.target_rate
    low = model["threshold"] <= 2 * LOWEST_THRESHOLD
    assert low.mean() < 0.2
    assert np.abs(found[~low] / target - 1).max() < (0.2 if name == "recurrent" else 0.1)
    assert (found[low] < 1.1 * target).all()
    assert abs(np.median(found) / target - 1) < 0.03


def test_rates_spread_as_asked_for() -> None:
    config, liquid, segments = prepared(400, reservoir={"rate_spread": 0.5, "target_rate": 0.05})
    calibrate(config, liquid, segments)
    found = np.log(rates(liquid, segments))
    assert np.median(found) == pytest.approx(np.log(0.05), abs=0.1)
    assert np.std(found) == pytest.approx(0.5, abs=0.1)


def test_only_thresholds_change() -> None:
    config, liquid, segments = prepared(**OPTIONS["recurrent"])
    draft = liquid.model
    model = calibrate(config, liquid, segments)
    assert model.manifest == draft.manifest
    assert [name for name in draft.tables if not np.array_equal(draft[name], model[name])] == ["threshold"]
    assert model["threshold"].min() >= 1


def test_both_implementations_find_the_same() -> None:
    config, liquid, segments = prepared(16, **OPTIONS["recurrent"])
    python = GoldenLiquid(liquid.model)
    assert calibrate(config, python, segments[:8]).digest == calibrate(config, liquid, segments[:8]).digest


def test_of_many_segments_an_even_choice_is_heard(monkeypatch: pytest.MonkeyPatch) -> None:
    config, liquid, segments = prepared(8)
    heard: list[int] = []
    stir = liquid.stir

    def counted(chosen: Any, *args: Any, **kwargs: Any) -> Any:
        heard.append(len(chosen))
        return stir(chosen, *args, **kwargs)

    monkeypatch.setattr(liquid, "stir", counted)
    calibrate(config, liquid, segments * 20)
    assert set(heard) == {240}
