"""Classifiers that liquids are compared with: a module each, with `fit(sounds, seed, **options) -> Peer`.

They compute in floating point; int8 would cost them a little, and that is not held against them.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from benchmarks.accuracy.cost import Cost
from benchmarks.accuracy.scene import Frames, Sounds


class Peer(Protocol):
    """A trained classifier."""

    def classify(self, frames: Frames) -> NDArray[np.int64]:
        """The class of each recording, given as levelled frames."""

    def cost(self, n_frames: int) -> Cost:
        """For one recording of `n_frames`."""


# What of a config a model depends on; the rest may change without the model being trained anew.
FRAMES: Final = ("frontend", "decision", "augment")
WINDOWS: Final = (*FRAMES, "readout")
EVERYTHING: Final = (*WINDOWS, "encoder", "reservoir")

USES: Final = {
    "liquid": EVERYTHING,
    "nested": EVERYTHING,
    "linear": WINDOWS,
    "relu_taps": EVERYTHING,
    "forest": WINDOWS,
    "perceptron": WINDOWS,
    "echo_state": WINDOWS,
    "minirocket": FRAMES,
    "gru": FRAMES,
    "ds_cnn": FRAMES,
}

# The packages that a module computes with, for the page; scikit-learn fits everybody's linear models.
PACKAGES: Final = {
    "forest": "scikit-learn",
    "perceptron": "scikit-learn",
    "echo_state": "reservoirpy",
    "minirocket": "aeon",
    "gru": "torch",
    "ds_cnn": "torch",
}


def fit_peer(kind: str, sounds: Sounds, seed: int, options: dict[str, Any]) -> Peer:
    """Train; the module, and with it its package, is imported only now."""
    peer: Peer = import_module(f"{__name__}.{kind}").fit(sounds, seed, **options)
    return peer
