"""Neurons that the readout can do without: the arithmetic against fitting anew, and models that lose some."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from models import small_model, sound

from lsm_edge import golden
from lsm_edge.learn import select
from lsm_edge.learn.select import choose_neurons, keep_neurons


def test_what_tells_nothing_goes_first() -> None:
    """Four neurons of ten know the class; two of the others repeat one of them, the rest is noise."""
    rng = np.random.default_rng(1)
    classes = np.arange(400) % 4
    features = rng.integers(0, 100, (400, 2, 10))
    for neuron, own in zip((1, 4, 6, 9), range(4), strict=True):
        features[:, :, neuron] += 100 * (classes == own)[:, None]
    features[:, :, [2, 3]] = features[:, :, [1]]
    kept = choose_neurons(features.astype(np.uint8), classes, 4)
    assert sorted({1 if n in (1, 2, 3) else n for n in kept.tolist()}) == [1, 4, 6, 9]
    assert choose_neurons(features.astype(np.uint8), classes, 10).tolist() == list(range(10))


def test_going_without_is_fitting_without() -> None:
    rng = np.random.default_rng(1)
    z, targets, stays = rng.normal(size=(50, 12)), rng.normal(size=(50, 3)), np.arange(12) % 3 > 0
    spread = np.linalg.inv(z.T @ z + np.eye(12))
    smaller, weights = select._without(spread, spread @ z.T @ targets, stays)
    fewer = z[:, stays]
    anew = np.linalg.inv(fewer.T @ fewer + np.eye(8))
    assert np.allclose(smaller, anew)
    assert np.allclose(weights, anew @ fewer.T @ targets)


@pytest.mark.parametrize("bits", [8, 4])
@pytest.mark.parametrize(
    "encoder", [{"kind": "current", "n_taps": 4, "max_delay_frames": 3}, {"kind": "delta", "delta": 3, "fan_in": 5}]
)
def test_kept_neurons_do_what_they_did(encoder: dict[str, Any], bits: int) -> None:
    model = small_model(encoder=encoder, readout={"weight_bits": bits})
    kept = np.array([0, 3, 4, 11, 12, 19, 7])
    few = keep_neurons(model, kept)
    clips = [sound(seed, 20) for seed in range(3)]
    for all_, some in zip(golden.run_clips(model, clips), golden.run_clips(few, clips), strict=True):
        assert all_.features.any()
        assert (some.features == all_.features[:, kept]).all()
        assert (some.taps["reservoir.v"] == all_.taps["reservoir.v"][:, kept]).all()
    assert few.table_bytes < model.table_bytes
