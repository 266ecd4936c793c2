"""Executed instructions of emulated firmware, by function; `python tests/search/counted.py` fits the coefficients anew.

Run from the repository's folder with `tests` on PYTHONPATH. What it prints goes into `lsm_edge/search/cost.py`.
"""

from __future__ import annotations

import re
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from emulated import M4, compile_firmware
from numpy.typing import NDArray
from scipy.optimize import nnls

from lsm_edge.config import parse_config
from lsm_edge.golden import hear, run_clips
from lsm_edge.learn.wire import draft
from lsm_edge.model import Model
from lsm_edge.search.cost import Signal, work_per_s
from lsm_edge.target.meter import Meter

# Between them: every size that costs depend on takes at least two values, and every kind appears.
SETTINGS: dict[str, dict[str, Any]] = {
    "small": {"reservoir": {"n_neurons": 40, "steps_per_frame": 2}},
    "wide": {
        "frontend": {"n_bands": 12, "hop_ms": 16.0},
        "encoder": {"kind": "current", "n_taps": 8, "max_delay_frames": 4},
        "reservoir": {"n_neurons": 160},
        "readout": {"n_windows": 1, "window_by": "length", "length_feature": False},
    },
    "recurrent": {
        "reservoir": {
            "n_neurons": 96, "topology": {"kind": "random", "fan_in": 12}, "max_delay_steps": 16, "refractory_steps": 2,
        },
        "readout": {"n_windows": 5},
    },
    "sparse": {
        "frontend": {"window_samples": 512, "n_bands": 24, "range_db": 24},
        "reservoir": {"n_neurons": 128, "steps_per_frame": 1, "topology": {"kind": "random", "fan_in": 4}},
        "readout": {"transform": "linear"},
    },
    "long": {
        "frontend": {"equalise": 0.5, "n_bands": 16},
        "encoder": {"kind": "current", "n_taps": 4, "max_delay_frames": 30},
        "reservoir": {"n_neurons": 60},
        "readout": {"weight_bits": 4},
    },
    "far": {
        "encoder": {"kind": "current", "n_taps": 12, "max_delay_frames": 90},
        "reservoir": {"n_neurons": 50, "steps_per_frame": 1},
    },
    "delta": {
        "frontend": {"window_samples": 128},
        "encoder": {"kind": "delta", "fan_in": 4},
        "reservoir": {"n_neurons": 64, "steps_per_frame": 3, "reset": "zero"},
    },
    "delta-wide": {
        "encoder": {"kind": "delta", "fan_in": 9, "delta": 5},
        "reservoir": {"n_neurons": 150},
    },
    "live": {
        "frontend": {"level": "running_peak"},
        "reservoir": {"n_neurons": 80},
        "readout": {"state": "trace", "n_windows": 1, "length_feature": False},
        "decision": {"mode": "live", "every_ms": 96.0},
    },
}  # fmt: skip


def untrained(settings: dict[str, Any], busy: float = 1.0) -> Model:
    """A model that fires; a higher `busy` fires more."""
    config = parse_config({"name": "counted", "dataset": {"path": "."}, **settings}, "counted")
    model = draft(config, ["yes", "no", "neither", "both"], recurrent_unit=300.0)
    rng = np.random.default_rng(7)
    threshold = (rng.uniform(2000, 6000, model["threshold"].shape) / busy).astype(np.int16)
    weights = rng.integers(0, 100, model["readout_weight"].shape).astype(model["readout_weight"].dtype)
    return model.replace(threshold=threshold, readout_weight=weights)


def sound(sample_hz: int, seconds: float) -> NDArray[np.int16]:
    """Syllables: bursts of a gliding tone in noise."""
    t = np.arange(round(sample_hz * seconds)) / sample_hz
    rng = np.random.default_rng(1)
    burst = np.maximum(np.sin(2 * np.pi * 4 * t), 0.02)
    tone = np.sin(2 * np.pi * (400 + 900 * np.sin(2 * np.pi * 2.3 * t)) * t) + rng.normal(0, 0.4, len(t))
    return np.clip(6000 * burst * tone, -32768, 32767).astype(np.int16)


# The library's functions, and which terms of the formula they do the work of.
STAGES: dict[str, tuple[str, tuple[str, ...]]] = {
    "push": (r"lsm_(push|begin|end|class|decision)|hear_frame|copy_up|memmove|memcpy", ("sample", "moved")),
    "frontend": ("lsm_frontend", ("window_sample", "butterfly", "band")),
    "level": (r"lsm_level|hear_levelled|band_peaks|level_by_band", ("level", "activity", "equalised")),
    "encoder": (
        "lsm_encoder",
        ("tap", "twin_tap", "tapped_neuron", "kept_band", "delta_neuron", "delta_band", "input_synapse"),
    ),
    "reservoir": (
        r"lsm_reservoir|lsm_frame|rest|memset",
        ("step", "update", "spike", "recurrent_neuron", "recurrent_spike", "synapse", "trace"),
    ),
    "readout": ("lsm_readout", ("square_root", "score", "nibble_score")),
}


class Counted:
    """The emulator of a model's firmware, with every instruction counted under the function it belongs to."""

    def __init__(self, model: Model, folder: Path) -> None:
        self.emulator = Meter(model, compile_firmware(model, M4, folder, flags=("-O3",)), M4)

    def work(self, samples: NDArray[np.int16]) -> dict[str, float]:
        """How often each term of the formula happens in this clip."""
        model = self.emulator.model
        frontend, reservoir = model.manifest.frontend, model.manifest.reservoir
        hop_s = frontend.hop_samples / frontend.sample_hz
        frames = hear(model, samples)
        spikes = run_clips(model, [samples])[0].taps["reservoir.spikes"]
        n_steps = len(frames) * reservoir.steps_per_frame
        rate = int(np.unpackbits(spikes.view(np.uint8)).sum()) / (n_steps * reservoir.n_neurons)
        per_s = work_per_s(model, Signal.of([frames.astype(np.uint8)], hop_s), rate)
        return {name: count * len(frames) * hop_s for name, count in per_s.items()}

    def run(self, samples: NDArray[np.int16]) -> dict[str, int]:
        """Instructions of one clip as one segment, without the taps' and the caller's."""
        counts: Counter[str] = Counter()
        for stage in self.emulator.hear(samples).functions.values():
            for block, times in stage.blocks.items():
                function = self.emulator.elf.place(block[0]).partition("+")[0]
                counts[function] += self.emulator.instructions({block: times})
        return dict(counts)


def fit() -> dict[str, float]:
    """Coefficients that make the formula agree with the emulator, relatively and function by function."""
    rows: list[tuple[dict[str, int], dict[str, float]]] = []
    for settings in SETTINGS.values():
        for busy in (1.0, 4.0):
            with tempfile.TemporaryDirectory() as folder:
                counted = Counted(untrained(settings, busy), Path(folder))
                samples = sound(8000, 0.5)
                rows.append((counted.run(samples), counted.work(samples)))
    coefficients: dict[str, float] = {}
    for pattern, terms in STAGES.values():
        done = np.array([sum(n for name, n in ran.items() if re.match(pattern, name)) for ran, _ in rows], float)
        counts = np.array([[work[term] for term in terms] for _, work in rows])
        scale = np.maximum(done, 1)
        solved, _ = nnls(counts / scale[:, None], done / scale)
        coefficients |= dict(zip(terms, solved.round(1).tolist(), strict=True))
    ratios = [sum(coefficients[term] * n for term, n in work.items()) / sum(ran.values()) for ran, work in rows]
    print(f"formula / emulator: {min(ratios):.3f} to {max(ratios):.3f}")
    return coefficients


if __name__ == "__main__":
    for term, coefficient in fit().items():
        print(f'    "{term}": {coefficient},')
