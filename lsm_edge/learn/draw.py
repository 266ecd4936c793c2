"""Random numbers that are the same on every machine and in every version of NumPy.

NumPy promises the raw output of its bit generators for good, but not what its distributions make of it (NEP 19); so
these are made here: PCG-64 -> uniform -> the rest by inversion.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

Floats = NDArray[np.float64]


class Draw:
    """One stream of random numbers; `part` tells streams of the same seed apart."""

    def __init__(self, seed: int, part: int) -> None:
        self._bits = np.random.PCG64(np.random.SeedSequence([seed, part]))

    def uniform(self, *shape: int) -> Floats:
        """Uniform in (0, 1), both ends left out."""
        raw = self._bits.random_raw(int(np.prod(shape))) if shape else np.array([self._bits.random_raw()], np.uint64)
        return np.asarray(((raw >> np.uint64(12)) + 0.5) * 2.0**-52).reshape(shape)

    def normal(self, *shape: int) -> Floats:
        """Mean 0, deviation 1."""
        return np.asarray(ndtri(self.uniform(*shape)))

    def gamma2(self, *shape: int) -> Floats:
        """The gamma distribution of shape 2 and mean 1: the mean of two exponentials."""
        return np.asarray(-np.log(self.uniform(*shape) * self.uniform(*shape)) / 2)

    def integers(self, low: int, end: int, *shape: int) -> NDArray[np.int64]:
        """Uniform in low .. end - 1."""
        return np.asarray(low + np.floor(self.uniform(*shape) * (end - low)), np.int64)

    def subset(self, n: int, size: int, weights: Floats | None = None) -> NDArray[np.int64]:
        """`size` different numbers below `n`, each drawn with a chance in proportion to its weight among those left.

        By exponential races (P. Efraimidis, P. Spirakis, Inf. Process. Lett. 97 (2006) 181).
        """
        finish = -np.log(self.uniform(n))
        if weights is not None:
            with np.errstate(divide="ignore"):
                finish = np.where(weights > 0, finish / weights, np.inf)
        return np.argsort(finish, kind="stable")[:size].astype(np.int64)
