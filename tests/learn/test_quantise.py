"""The readout as integers: what rounding may change, and what it may not."""

from __future__ import annotations

import numpy as np
import pytest
from models import small_model, with_tables

from lsm_edge.learn.confidence import Unseen
from lsm_edge.learn.fit import Linear
from lsm_edge.learn.quantise import octaves_of, quantise
from lsm_edge.stages import readout
from lsm_edge.stages.decision import confidence_q15

ROWS = np.random.default_rng(9).integers(0, 256, (50, 61)).astype(float)


def test_a_readout_of_nothing_stays_nothing() -> None:
    model = small_model(readout={"length_feature": False})
    quantised = quantise(model, Linear(np.zeros((3, 60)), np.zeros(3), 1.0), ROWS[:, :60])
    assert not quantised["readout_weight"].any()
    assert not quantised["bias"].any()


def test_what_does_not_fit_is_cut() -> None:
    model = small_model()
    linear = Linear(np.full((3, 61), 1e-9), np.array([1e9, -1e9, 0]), 1.0)
    linear.weights[0, -1], linear.weights[1, -1] = 1e9, -1e9
    quantised = quantise(model, linear, ROWS)
    assert quantised["bias"].tolist() == [2**30, -(2**30), 0]
    assert quantised["length_weight"].tolist()[:2] == [32767, -32767]


@pytest.mark.parametrize(("bits", "most", "enough"), [(8, 127, 0.99), (4, 7, 0.95)])
@pytest.mark.parametrize("length", [False, True])
def test_rounding_costs_next_to_nothing(length: bool, bits: int, most: int, enough: float) -> None:
    """Neighbouring features say nearly the same, as a liquid's do: what rounding one loses, others make up for."""
    rng = np.random.default_rng(1)
    model = small_model(readout={"n_windows": 3, "length_feature": length, "weight_bits": bits})
    hidden = rng.normal(size=(600, 12))
    rows = np.clip(120 + 30 * hidden @ rng.normal(size=(12, 60)) / 3 + rng.normal(0, 8, (600, 60)), 0, 255).round()
    lengths = rng.integers(20, 99, 600)
    rows = np.column_stack([rows, lengths]) if length else rows
    linear = Linear(rng.normal(size=(3, rows.shape[1])), np.zeros(3), 1.0)
    linear = Linear(linear.weights, -linear.weights @ rows.mean(axis=0), 1.0)
    quantised = quantise(model, linear, rows)
    weights = readout.weights_of(quantised)
    assert np.abs(weights).max() <= most
    features = rows[:, :60].reshape(600, 3, 20).astype(np.int64)
    scores = readout.scores_of(quantised, features, lengths)[:, -1]
    exact = rows @ linear.weights.T + linear.bias
    agreed = (scores.argmax(axis=1) == exact.argmax(axis=1)).mean()
    nearest = np.round(linear.weights[:, :60] * most / np.abs(linear.weights[:, :60]).max())
    plain = rows[:, :60] @ nearest.T
    plain -= plain.mean(axis=0)
    assert agreed >= enough
    assert agreed >= (plain.argmax(axis=1) == exact.argmax(axis=1)).mean()
    for c in range(3):
        assert np.corrcoef(scores[:, c], exact[:, c])[0, 1] > 0.99


def test_four_bits_of_nothing_are_nothing() -> None:
    model = small_model(readout={"length_feature": False, "weight_bits": 4})
    quantised = quantise(model, Linear(np.zeros((3, 60)), np.zeros(3), 1.0), np.zeros((4, 60)))
    assert not readout.weights_of(quantised).any()
    assert not quantised["bias"].any()


@pytest.mark.parametrize("temperature", [370.0, 900.0, 1e5, 3e8])
def test_odds_fall_by_e_with_every_temperature(temperature: float) -> None:
    tables = octaves_of(temperature)
    model = with_tables(small_model(decision={"confidence": True}), tables)
    for leads in (0.5, 1.0, 3.0):
        scores = np.array([[round(leads * temperature), 0, -(2**31)]])
        others = np.exp(-scores[0, 0] / temperature) + np.exp(-(scores[0, 0] + 2.0**31) / temperature)
        assert confidence_q15(model, scores)[0] / 32768 == pytest.approx(1 / (1 + others), abs=0.004)


def test_odds_of_no_doubt_and_of_nothing_but_doubt() -> None:
    assert octaves_of(1e-9)["confidence_gain_q16"] == 65535
    assert octaves_of(1e30)["confidence_gain_q16"] == 0


def test_the_margin_is_on_the_scale_of_scores() -> None:
    """Accepted is what leads by at least as much as the least certain of the answers that were good enough."""
    model = small_model(readout={"length_feature": False}, decision={"reject_error": 0.1})
    weights = np.zeros((3, 60))
    weights[0, 0] = 0.127
    unseen = Unseen(np.array([[0.5, 0, -1], [0.2, 0.1, 0.0], [0.3, 0.0, 0.0]]), np.array([0, 1, 0]))
    quantised = quantise(model, Linear(weights, np.zeros(3), 1.0, unseen), ROWS[:, : weights.shape[1]], 0.1)
    assert quantised["reject_margin"].tolist() == [300]
