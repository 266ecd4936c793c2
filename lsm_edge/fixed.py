"""The integer vocabulary, and the one rounding rule.

**The rule: every narrowing is an arithmetic shift right, which is floor.** There is no other rounding anywhere: not in
these functions, not in the stages, not in the C kernels (`firmware/kernels/fixed.h` says the same words in C).
All functions take and return NumPy integer arrays of any shape; none touches a float. `docs/numerics.md` is normative.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]

INT16_MIN: Final = -32768
INT16_MAX: Final = 32767
Q15_ONE: Final = 32768

_POWERS_OF_TWO: Final = np.left_shift(np.int64(1), np.arange(63, dtype=np.int64))
_SQUARE_ROOTS: Final = np.repeat(np.arange(256, dtype=np.int64), 2 * np.arange(256) + 1)


def saturate_int16(x: Ints) -> Ints:
    """The nearest value in [-32768, 32767]."""
    return np.clip(x, INT16_MIN, INT16_MAX)


def multiply_q15(x: Ints, factor_q15: Ints | int) -> Ints:
    """floor(x * factor / 2**15)."""
    return (x * factor_q15) >> 15


def decay_q15(x: Ints, factor_q15: Ints | int) -> Ints:
    """What a leak leaves of `x`: floor(x * factor / 2**15), plus one if `x` was negative.

    The plus one makes the rule end at zero from below as floor does from above: without it -1 would stay -1 for ever.
    For 0 <= factor < 2**15 every start reaches zero, and |result| <= |x|.
    """
    return multiply_q15(x, factor_q15) + (x < 0)


def bit_length(x: Ints) -> Ints:
    """How many bits `x` >= 0 needs; 0 needs none."""
    return np.searchsorted(_POWERS_OF_TWO, x, side="right").astype(np.int64)


def log2_q8(x: Ints) -> Ints:
    """log2(x) in 1/256 octaves for x >= 1, 0 for 0; within 0.017 octave, and never falling as `x` rises.

    The fraction is a parabola through 0 and 1: 88 / 256 = 0.344, which errs by 0.008 octave; cutting off adds the rest.
    """
    exponent = np.maximum(bit_length(x) - 1, 0)
    mantissa = np.where(exponent >= 8, x >> np.maximum(exponent - 8, 0), x << np.maximum(8 - exponent, 0)) & 255
    fraction = mantissa + ((mantissa * (256 - mantissa) * 88) >> 16)
    return np.where(x > 0, (exponent << 8) + fraction, 0)


def half_to_the_q15(x_q8: Ints) -> Ints:
    """2^-x in Q15 for x >= 0 in 1/256 octaves: 32768 for 0, 0 from 16 octaves on; never rising as `x` rises.

    Between octaves a parabola through 1 and 1/2, which errs by 0.2 % at most; cutting off takes less than one.
    """
    part = x_q8 & 255
    mantissa_q15 = 32768 - ((part * (22007 * 256 - 5623 * part)) >> 16)
    return np.asarray(mantissa_q15 >> np.minimum(x_q8 >> 8, 31))


def sqrt_floor(x: Ints) -> Ints:
    """floor(sqrt(x)) for 0 <= x <= 65535."""
    return _SQUARE_ROOTS[x]
