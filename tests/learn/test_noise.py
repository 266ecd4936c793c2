"""Noise: its colour, its loudness, and that it is the same everywhere."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lsm_edge.learn.draw import Draw
from lsm_edge.learn.noise import BABBLE_VOICES, Floats, babble, mix, pink, white


def tone(n: int = 4000, level: int = 3000, period: int = 20) -> np.ndarray:
    return np.round(level * np.sin(2 * np.pi * np.arange(n) / period)).astype(np.int16)


def octave_db(noise: Floats, n_octaves: int) -> Floats:
    """Power a hertz in each of the upper octaves, the highest first."""
    power = np.abs(np.fft.rfft(noise)) ** 2
    ends = [len(power) >> k for k in range(n_octaves + 1)]
    return np.array([10 * np.log10(power[low:high].mean()) for high, low in pairwise(ends)])


def test_white_noise_has_the_same_power_everywhere() -> None:
    assert octave_db(white(Draw(1, 0), 2**16), 7) == pytest.approx(octave_db(white(Draw(1, 0), 2**16), 1)[0], abs=1)


def test_pink_noise_loses_three_decibels_an_octave() -> None:
    rises = np.diff(octave_db(pink(Draw(1, 0), 2**17), 8))
    assert rises.mean() == pytest.approx(3, abs=0.4)
    assert (rises > 1.5).all()
    assert (rises < 4.5).all()


@pytest.mark.parametrize("make", [white, pink])
@pytest.mark.parametrize("n", [0, 1, 77])
def test_any_length_and_the_same_again(make, n: int) -> None:  # type: ignore[no-untyped-def]
    assert make(Draw(5, 2), n).shape == (n,)
    assert (make(Draw(5, 2), n) == make(Draw(5, 2), n)).all()
    assert n == 0 or (make(Draw(5, 2), n) != make(Draw(6, 2), n)).any()


def test_babble_is_of_several_voices_equally_loud() -> None:
    voices = [
        tone(1000, level, period)
        for level, period in zip([50, 9000, 300, 20, 4000, 77, 1000], range(4, 18, 2), strict=True)
    ]
    heard = babble(Draw(1, 0), voices, 2500)
    assert heard.shape == (2500,)
    assert float((heard * heard).mean()) == pytest.approx(BABBLE_VOICES, rel=0.1)


def test_babble_of_few_passes_over_the_silent() -> None:
    assert babble(Draw(1, 0), [np.zeros(10, np.int16), tone(30)], 100).any()
    for nobody in ([], [np.zeros(10, np.int16)], [np.zeros(0, np.int16)]):
        with pytest.raises(ValueError, match="at least one recording that is not silent"):
            babble(Draw(1, 0), nobody, 100)


@given(st.integers(-10, 40), st.integers(0, 1000), st.integers(100, 5000))
def test_the_ratio_is_that_of_mean_powers(snr_db: int, seed: int, level: int) -> None:
    samples = tone(2000, level)
    noise = white(Draw(seed, 0), 2000) * 10.0 ** (seed % 7 - 3)
    added = mix(samples, noise, snr_db).astype(float) - samples
    power = (samples.astype(float) ** 2).mean() / (10 ** (snr_db / 10))
    assert (added**2).mean() == pytest.approx(power, rel=0.1, abs=0.5)


def test_too_loud_is_clipped_and_silence_stays() -> None:
    loud = mix(tone(1000, 30000), white(Draw(1, 0), 1000), -20)
    assert (loud.min(), loud.max()) == (-32768, 32767)
    silent = np.zeros(100, np.int16)
    assert (mix(silent, white(Draw(1, 0), 100), 0) == 0).all()
    assert (mix(tone(100), np.zeros(100), 0) == tone(100)).all()
    assert mix(silent[:0], np.zeros(0), 0).shape == (0,)
