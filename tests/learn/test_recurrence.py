"""What recurrence is worth: the price is what tables and context grow by, and the advice follows the numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from models import LABELS, LIVE, RECURRENT, small_config, small_model

from lsm_edge.learn import wire
from lsm_edge.learn.recurrence import Recurrence, weigh, without_recurrence
from lsm_edge.model import Model
from lsm_edge.target.context import context_bytes

NOBODY = np.zeros(40, bool)


def recurrent_model(threshold: int = 300, **sections: Any) -> Model:
    model = small_model(**{"reservoir": RECURRENT, **sections})
    return model.replace(threshold=np.full_like(model["threshold"], threshold))


def segments(n: int = 4, n_frames: int = 20) -> list[np.ndarray[Any, np.dtype[np.uint8]]]:
    return [np.random.default_rng(i).integers(0, 256, (n_frames, 8), np.uint8) for i in range(n)]


@pytest.mark.parametrize(
    ("added", "chance", "said"),
    [
        (17.2, 1.1, "recurrence adds 17.2 points for 7,000 bytes of flash, 4,000 of RAM and 61,440 synaptic "
         "operations a second: it pays"),
        (0.7, 0.4, ": topology: {kind: none} would nearly do"),
        (0.1, 0.4, "; that may be chance (+- 0.4): topology: {kind: none} would do"),
        (-0.3, 0.4, "recurrence adds -0.3 points"),
        (-0.04, 0.1, "recurrence adds 0.0 points"),
        (-2.0, 0.4, "recurrence costs 2.0 points and 7,000 bytes"),
    ],
)  # fmt: skip
def test_advice(added: float, chance: float, said: str) -> None:
    assert said in Recurrence(0.5, added, chance, 7000, 4000, 61440).advice


@pytest.mark.parametrize("sections", [{}, LIVE])
def test_the_price_is_what_tables_and_context_grow_by(sections: dict[str, Any]) -> None:
    model = recurrent_model(**sections)
    alone = wire.draft(without_recurrence(small_config(**{"reservoir": RECURRENT, **sections})), LABELS)
    worth = weigh(model, segments(), NOBODY, NOBODY)
    assert worth.table_bytes == model.table_bytes - alone.table_bytes > 0
    assert worth.context_bytes == context_bytes(model, dsp=True) - context_bytes(alone, dsp=True) > 0


def test_synaptic_operations_are_spikes_times_their_synapses() -> None:
    """A neuron that rests for a step after each spike fires at most every other step."""
    busy = weigh(recurrent_model(threshold=16), segments(), NOBODY, NOBODY).synaptic_operations_per_s
    manifest = recurrent_model().manifest
    steps_per_s = manifest.frontend.sample_hz / manifest.frontend.hop_samples * manifest.reservoir.steps_per_frame
    assert 0 < busy <= manifest.reservoir.n_synapses * steps_per_s / 2
    assert weigh(recurrent_model(threshold=32767), segments(), NOBODY, NOBODY).synaptic_operations_per_s == 0


def test_the_gain_and_how_far_chance_reaches() -> None:
    """30 of 40 recognised instead of 20: twelve gained, two lost."""
    without, with_ = np.arange(40) < 20, (np.arange(40) >= 2) & (np.arange(40) < 32)
    worth = weigh(recurrent_model(), segments(), with_, without)
    assert worth.accuracy_without == 0.5
    assert worth.added_points == pytest.approx(25)
    assert worth.chance_points == pytest.approx(200 * np.sqrt(14 - 40 * 0.25**2) / 40)
    assert weigh(recurrent_model(), segments(), without, without).chance_points == 0


def test_only_the_synapses_go() -> None:
    config = small_config(reservoir={**RECURRENT, "refractory_steps": 3})
    alone = wire.draft(without_recurrence(config), LABELS)
    before = wire.draft(config, LABELS, recurrent_unit=100.0)
    assert alone.manifest.reservoir.n_synapses == 0
    assert all(np.array_equal(table, before[name]) for name, table in alone.tables.items())
