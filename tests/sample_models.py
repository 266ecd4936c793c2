"""Models that between them use every option of the generated C, with tables at the ends of what a `Model` allows."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from models import LIVE, small_model, with_tables

from lsm_edge.model import Model, table_specs

LABELS: Final = ("yes", "no", '*/ "quoted" \\')

# Where `topology` is named, there is recurrence. Sizes straddle the 32 neurons of a word of spikes.
SETTINGS: Final[dict[str, dict[str, Any]]] = {
    "segment": {
        "encoder": {"kind": "current", "shift": 0, "max_delay_frames": 12},
        "reservoir": {"n_neurons": 45, "refractory_steps": 0},
        "readout": {"weight_bits": 4},
        "decision": {"max_segment_ms": 240.0, "reject_error": 0.05, "confidence": True},
    },
    "endpointer": {
        "frontend": {"window_samples": 512, "n_bands": 20, "range_db": 24, "equalise": 0.75},
        "encoder": {"kind": "current", "max_delay_frames": 0, "n_taps": 16, "shift": 7},
        "reservoir": {
            "n_neurons": 64,
            "reset": "zero",
            "topology": {"kind": "random", "fan_in": 16},
            "max_delay_steps": 5,
            "leak_q15": [0, 32767],
        },
        "readout": {"n_windows": 8},
        "decision": {
            "max_segment_ms": 120.0,
            "endpointer": {"onset_db": 3.0, "onset_ms": 16.0, "hang_ms": 64.0, "preroll_ms": 24.0, "gate_db": 3.0},
        },
    },
    "delta": {
        "frontend": {"n_bands": 9, "hop_ms": 16, "level": "running_peak", "release_db_per_s": 300},
        "encoder": {"kind": "delta", "delta": 1, "fan_in": 18, "shift": 8},
        "reservoir": {
            "n_neurons": 33,
            "topology": {"kind": "maass", "fan_in": 16, "reach": 16.0},
            "max_delay_steps": 128,
            "refractory_steps": 255,
        },
        "readout": {"state": "trace", "transform": "linear", "window_by": "length", "trace_ms": 5000.0},
    },
    "live": {
        **LIVE,
        "encoder": {"kind": "current", "max_delay_frames": 64, "n_taps": 32, "shift": 2},
        "reservoir": {"n_neurons": 1, "steps_per_frame": 16, "refractory_steps": 0},
        "readout": {**LIVE["readout"], "trace_ms": 5.0},
    },
    "live-delta": {
        **LIVE,
        "frontend": {"window_samples": 1024, "n_bands": 20, "range_db": 96, **LIVE["frontend"], "release_db_per_s": 1},
        "encoder": {"kind": "delta", "delta": 127, "fan_in": 40},
        "reservoir": {"n_neurons": 32, "topology": {"kind": "random", "fan_in": 31}, "steps_per_frame": 1},
    },
}

_DRAWN: Final = (
    "tap_weight",
    "input_weight",
    "recurrent_weight",
    "leak_q15",
    "readout_weight",
    "length_weight",
    "bias",
)


def sample_model(name: str) -> Model:
    """The model of `SETTINGS[name]`: of its weights, a third lies at either end of what is allowed."""
    model = small_model(labels=LABELS, **SETTINGS[name])
    rng = np.random.default_rng(1)
    specs = table_specs(model.manifest)
    tables = {}
    for table in _DRAWN:
        if table in model.tables:
            low, high, shape = specs[table].low, specs[table].high, model[table].shape
            anywhere = rng.integers(low, high, shape, endpoint=True)
            tables[table] = np.choose(rng.integers(3, size=shape), [anywhere, low, high])
    # Low ones, so that neurons fire; the first can hardly ever, the last always does.
    threshold = rng.integers(1, 4000, model["threshold"].shape)
    threshold[0], threshold[-1] = specs["threshold"].high, specs["threshold"].low
    return with_tables(model, {**tables, "threshold": threshold})
