"""One sampling rate -> another, with the same integers on every machine.

The filter's coefficients are multiples of 2**-32 and the samples are int16, so that every product and every partial
sum is exact in a float64 (32 + 16 bits, and two for the filter's overshoot): the order of the additions, which
differs between processors, cannot matter.
"""

from __future__ import annotations

from functools import lru_cache
from math import gcd
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy import signal

from lsm_edge.fixed import INT16_MAX, INT16_MIN

_COEFFICIENT_STEP: Final = 2.0**-32


def resampled(samples: NDArray[np.int16], from_hz: int, to_hz: int) -> NDArray[np.int16]:
    """The same sound at `to_hz`, low-passed below the lower of both Nyquist rates; ceil(n * to / from) samples."""
    if from_hz == to_hz:
        return samples
    divisor = gcd(from_hz, to_hz)
    up, down = to_hz // divisor, from_hz // divisor
    window: Any = _low_pass(max(up, down))
    return rounded_int16(signal.resample_poly(samples.astype(np.float64), up, down, window=window))


def rounded_int16(values: NDArray[np.float64]) -> NDArray[np.int16]:
    """The nearest int16, halves upwards."""
    return np.clip(np.floor(values + 0.5), INT16_MIN, INT16_MAX).astype(np.int16)


@lru_cache(maxsize=8)
def _low_pass(ratio: int) -> NDArray[np.float64]:
    """SciPy's own choice for `resample_poly`: ten zero crossings a side under a Kaiser window."""
    taps = signal.firwin(20 * ratio + 1, 1 / ratio, window=("kaiser", 5.0))
    return np.asarray(np.round(taps / _COEFFICIENT_STEP) * _COEFFICIENT_STEP)
