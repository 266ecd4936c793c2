"""The third implementation, tests/interpreter.py, on random models: golden and C could share a mistake."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import interpreter
import numpy as np

from differential.check import Tally, first_difference
from differential.models import Samples
from lsm_edge import golden
from lsm_edge.golden import TAPS, Taps
from lsm_edge.model import Model, save_model

NAME: Final = "interpreter"
MOST_NEURON_STEPS: Final = 6000  # one integer at a time takes a while
MOST_FRAMES: Final = 24


def check_interpreter(model: Model, recordings: Sequence[Samples]) -> Tally:
    """Every tap of the recordings' beginnings, as far as patience goes."""
    manifest, tally = model.manifest, Tally()
    frames = min(MOST_FRAMES, MOST_NEURON_STEPS // (manifest.reservoir.n_neurons * manifest.reservoir.steps_per_frame))
    heard = [samples[: frames * manifest.frontend.hop_samples] for samples in recordings[:2]]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.lsm"
        save_model(model, path)
        interpreted = interpreter.load(path.read_bytes())
    for i, (samples, clip) in enumerate(zip(heard, golden.run_clips(model, heard), strict=True)):
        found = _arrays(interpreter.run(interpreted, samples.tolist()), clip.taps)
        tally.steps += len(found["reservoir.v"])
        tally.compared(NAME, sum(tap.size for tap in found.values()), first_difference(NAME, i, clip.taps, found))
    return tally


def _arrays(rows: interpreter.Taps, like: Taps) -> Taps:
    return {name: np.array(rows[name], kind).reshape(like[name].shape) for name, kind in TAPS.items()}
