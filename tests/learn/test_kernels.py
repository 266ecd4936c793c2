"""Taps: different places within reach, spans and bands as the law says, weights that sum to nothing."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from models import small_model
from numpy.typing import NDArray

from lsm_edge.config import CurrentEncoder
from lsm_edge.errors import ConfigError
from lsm_edge.learn import kernels
from lsm_edge.learn.draw import Draw

BANDS = 20


def drawn(n_neurons: int = 400, n_bands: int = BANDS, **settings: object) -> tuple[kernels.Ints, kernels.Ints]:
    """Delay (0 = the present frame) and band of every tap, (neurons, taps)."""
    encoder = CurrentEncoder.model_validate({"kind": "current", **settings})
    offsets, weights = kernels.draw_kernels(encoder, n_bands, n_neurons, Draw(1, 0))
    assert not weights.sum(axis=1).any()
    assert all(len(set(row)) == encoder.n_taps for row in offsets.tolist())
    assert offsets.min() >= 0
    assert offsets.max() < (encoder.max_delay_frames + 1) * n_bands
    return encoder.max_delay_frames - offsets // n_bands, offsets % n_bands


@given(
    drawn=st.integers(2, 32).flatmap(lambda n: arrays(np.float64, n, elements=st.floats(-3, 3), unique=True)),
    norm=st.integers(8, 127),
)
def test_zero_sum(drawn: NDArray[np.float64], norm: int) -> None:
    """Exactly zero, within int8, near what was drawn, and about as long as asked for."""
    if np.ptp(drawn) < 1e-3:
        return
    whole = kernels.zero_sum(drawn, norm)
    assert whole.sum() == 0
    assert np.abs(whole).max() <= 127
    wanted = (drawn - drawn.mean()) * norm / np.linalg.norm(drawn - drawn.mean())
    assert np.abs(whole - np.clip(wanted, -120, 120)).max() <= 8
    assert abs(np.linalg.norm(whole) - norm) <= np.sqrt(len(drawn)) + 8


def test_taps_look_at_different_places_within_reach() -> None:
    model = small_model(encoder={"n_taps": 16, "max_delay_frames": 2}, reservoir={"n_neurons": 200})
    offsets = model["tap_offset"]
    assert all(len(set(row)) == 16 for row in offsets.tolist())
    assert (offsets.min(), offsets.max()) == (0, 3 * 8 - 1)
    assert not model["tap_weight"].astype(int).sum(axis=1).any()


def test_more_taps_than_places_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"encoder.n_taps: 9 taps, but only 8 pairs"):
        small_model(encoder={"n_taps": 9, "max_delay_frames": 0})


def test_log_uniform_spans() -> None:
    """A quarter of the neurons in each quarter of the octaves from 4 to 124 frames; with many taps a span is seen."""
    delays, bands = drawn(n_taps=32, max_delay_frames=124, spans="log_uniform")
    span = delays.max(axis=1)
    counts, _ = np.histogram(np.log(span), bins=np.linspace(np.log(3.4), np.log(124.5), 5))
    assert span.min() >= 3
    assert (np.abs(counts - 100) < 35).all()
    assert (delays.min(axis=1) <= span // 3).all()
    assert set(bands.ravel().tolist()) == set(range(BANDS))


def test_few_bands() -> None:
    """1 to 9 of them, small numbers more often, each band as often as any other."""
    delays, bands = drawn(n_taps=32, max_delay_frames=40, spans="fixed", bands="few")
    several = np.array([len(set(row)) for row in bands.tolist()])
    shares = np.bincount(several, minlength=10) / len(several)
    assert shares[10:].sum() == shares[0] == 0
    assert shares[1] == pytest.approx(np.log(2) / np.log(10), abs=0.08)
    assert shares[1] > shares[2] > shares[4] > 0
    assert np.bincount(bands.ravel(), minlength=BANDS).min() > 0.4 * bands.size / BANDS
    assert delays.max() == 40


@pytest.mark.parametrize("spans", ["fixed", "log_uniform"])
@pytest.mark.parametrize("longest", [0, 1, 3, 4, 5])
def test_short_spans_take_as_many_bands_as_the_taps_need(spans: str, longest: int) -> None:
    delays, bands = drawn(n_neurons=50, n_taps=8, n_bands=8, max_delay_frames=longest, spans=spans, bands="few")
    assert delays.max() == longest
    if longest == 0:
        assert (np.sort(bands) == np.arange(8)).all()


def test_laws_are_what_training_wires() -> None:
    encoder = {"n_taps": 3, "max_delay_frames": 40, "spans": "log_uniform", "bands": "few"}
    model = small_model(encoder=encoder, reservoir={"n_neurons": 300})
    delays = 40 - model["tap_offset"].astype(int) // 8
    assert np.median(delays.max(axis=1)) < 15
    assert delays.max() > 30
