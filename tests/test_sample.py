"""A tiny model and its C are committed, so that a change to a template or a kernel shows in review as a C diff.

`make golden` rewrites both.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lsm_edge.config import parse_config
from lsm_edge.learn.wire import draft
from lsm_edge.model import Model, load_model, save_model
from lsm_edge.target.codegen import KERNELS, generate_library

SAMPLE = Path(__file__).parent / "golden" / "tiny"

CONFIG = {
    "name": "tiny",
    "seed": 7,
    "dataset": {"path": "nowhere"},
    "frontend": {"window_samples": 128, "n_bands": 8},
    "encoder": {"kind": "current", "n_taps": 3, "max_delay_frames": 4},
    "reservoir": {"n_neurons": 12, "topology": {"kind": "maass", "columns": 2, "fan_in": 3}, "max_delay_steps": 5},
    "readout": {"n_windows": 2},
    "decision": {"max_segment_ms": 400, "endpointer": {}},
}


def make() -> Model:
    """Drawn, not trained: the point is the text around the numbers."""
    model = draft(parse_config(CONFIG, "tiny"), ["yes", "no", '*/ "quoted"'], recurrent_unit=300.0)
    rng = np.random.default_rng(7)
    return model.replace(
        threshold=rng.integers(300, 1500, 12).astype(np.int16),
        readout_weight=rng.integers(-127, 128, (2, 3, 12)).astype(np.int8),
        length_weight=rng.integers(-500, 500, 3).astype(np.int16),
        bias=rng.integers(-9999, 9999, 3).astype(np.int32),
    )


def test_generated_c_is_the_committed_sample(request: pytest.FixtureRequest) -> None:
    if request.config.getoption("--update-golden"):
        SAMPLE.mkdir(parents=True, exist_ok=True)
        save_model(make(), SAMPLE / "tiny.lsm")
    library = generate_library(load_model(SAMPLE / "tiny.lsm"), command="lsm-edge generate --model tiny.lsm")
    for name in sorted(set(library) - set(KERNELS)):
        if request.config.getoption("--update-golden"):
            (SAMPLE / name).write_text(library[name], encoding="utf-8")
        assert (SAMPLE / name).read_text(encoding="utf-8") == library[name], f"{name} changed: run `make golden`"


def test_sample_model_is_still_drawn_so() -> None:
    assert load_model(SAMPLE / "tiny.lsm").digest == make().digest
