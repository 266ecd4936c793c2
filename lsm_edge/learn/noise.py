"""Noise to train and to test with: white, pink, babble, and how loud it is beside a recording."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from lsm_edge.dataset.resample import rounded_int16
from lsm_edge.learn.draw import Draw

Floats = NDArray[np.float64]
Samples = NDArray[np.int16]

BABBLE_VOICES = 6  # at a time: speech that nobody understands, and not yet a hum
PINK_OCTAVES = 10
NOISE_PEAK = 2**14  # whole numbers up to here stand for a noise while its power is measured


def white(draw: Draw, n: int) -> Floats:
    """`n` samples with the same power at every frequency."""
    return draw.normal(n)


def pink(draw: Draw, n: int) -> Floats:
    """`n` samples that lose 3 dB an octave, over the upper `PINK_OCTAVES`.

    The sum of random numbers that last one sample, two, four ... (R. Voss's dice in M. Gardner, Scientific American
    238 (1978) 16), each beginning somewhere.
    """
    total = np.zeros(n)
    for octave in range(PINK_OCTAVES):
        lasts = 2**octave
        begin = int(draw.integers(0, lasts, 1)[0])
        total += np.repeat(draw.normal(n // lasts + 2), lasts)[begin : begin + n]
    return total


def babble(draw: Draw, voices: Sequence[Samples], n: int) -> Floats:
    """`n` samples of several of these recordings at once, equally loud, each repeated from a random place of its own.

    Raises:
        ValueError: there is no recording, or only silent ones.
    """
    total = np.zeros(n)
    for i in draw.subset(len(voices), BABBLE_VOICES):
        voice = voices[i].astype(np.float64)
        begin = int(draw.integers(0, max(len(voice), 1), 1)[0])
        if voice.any():
            total += np.resize(np.roll(voice, -begin), n) / np.sqrt(_power(voice))
    if n and not total.any():
        raise ValueError("babble needs at least one recording that is not silent")
    return total


def mix(samples: Samples, noise: Floats, snr_db: float) -> Samples:
    """A recording with noise whose mean power lies `snr_db` below the recording's; louder than int16 is clipped.

    The mean is over the whole recording; one that is silent stays as it is.
    """
    signal = samples.astype(np.float64)
    whole = np.round(noise * (NOISE_PEAK / max(float(np.abs(noise).max(initial=0)), 1e-30)))
    gain = np.sqrt(_power(signal) / max(_power(whole), 1.0)) * 10 ** (-snr_db / 20)
    return rounded_int16(signal + gain * whole)


def _power(whole: Floats) -> float:
    """Of whole numbers: their sum is exact, so that the order of additions, which differs by processor, is all one."""
    return float((whole * whole).sum()) / max(len(whole), 1)
