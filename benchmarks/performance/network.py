"""One recurrent network for two simulators: our integers and, with the same wiring and input, Brian2's floats."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lsm_edge import golden
from lsm_edge.config import parse_config
from lsm_edge.learn.calibrate import calibrate
from lsm_edge.learn.wire import draft
from lsm_edge.model import Model
from lsm_edge.target.native import Native

N_NEURONS, FAN_IN, N_INPUTS, RATE_HZ, STEP_MS = 256, 16, 32, 29.0, 1.0
AIM = 1.15  # thresholds are set for a little more: recurrence takes some of it back
STEPS_PER_FRAME = 8  # levels are new every 8 ms
DELTA = 12  # of a band: its up line or its down line sends
N_FRAMES = 1250  # the longest segment: 10 s
REFRACTORY_STEPS = 2


@dataclass(frozen=True)
class Network:
    """A model, what it hears, and the same as plain arrays."""

    model: Model
    native: Native
    frames: NDArray[np.uint8]  # (frames, inputs)

    @property
    def n_steps(self) -> int:
        """Of a millisecond."""
        return len(self.frames) * STEPS_PER_FRAME

    def run(self) -> int:
        """All frames through the liquid on one core; returns the spikes."""
        return int(self.native.stir([self.frames], count_spikes=True).spikes.sum())

    def plain(self) -> dict[str, NDArray[np.float64]]:
        """For a simulator in floating point: wiring, thresholds, leaks, and every spike of every input line."""
        model, reservoir = self.model, self.model.manifest.reservoir
        lines, steps = self._input_spikes()
        return {
            "left": model["leak_q15"] / 32768,
            "threshold": model["threshold"].astype(np.float64),
            "input_line": lines,
            "input_step": steps,
            **_synapses(model, "input", 2.0**model.manifest.encoder.shift),
            **_synapses(model, "recurrent", 2.0**reservoir.weight_shift),
        }

    def _input_spikes(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """docs/numerics.md, section 3: which line sends in which step."""
        (heard,) = golden.run_frames(self.model, [self.frames.astype(np.int64)])
        levels = heard.taps["frontend.level"].astype(np.int64)
        reference = np.zeros(levels.shape[1], np.int64)
        lines: list[int] = []
        steps: list[int] = []
        for step in range(self.n_steps):
            moved = levels[step // STEPS_PER_FRAME] - reference
            sends = np.where(np.abs(moved) >= DELTA, np.sign(moved), 0)
            reference += DELTA * sends
            found = [2 * int(band) + int(sends[band] < 0) for band in np.flatnonzero(sends)]
            lines += found
            steps += [step] * len(found)
        return np.array(lines, np.float64), np.array(steps, np.float64)


def _synapses(model: Model, kind: str, unit: float) -> dict[str, NDArray[np.float64]]:
    start = model[f"{kind}_start"].astype(np.int64)
    return {
        f"{kind}_source": np.repeat(np.arange(len(start) - 1), np.diff(start)).astype(np.float64),
        f"{kind}_target": model[f"{kind}_target"].astype(np.float64),
        f"{kind}_weight": model[f"{kind}_weight"] * unit,
    }


def network(topology: str = "random", seed: int = 1) -> Network:
    """Fan-in 16, four in five excitatory, a delay of one step; thresholds set for the rate.

    Synapses are `random`, each by itself, or come in `blocks`, from a source to four neurons in a row.
    """
    config = parse_config(
        {
            "name": "benchmark",
            "seed": seed,
            "dataset": {"path": "."},
            "frontend": {"sample_hz": 8000, "hop_ms": STEPS_PER_FRAME * STEP_MS, "n_bands": N_INPUTS // 2},
            "encoder": {"kind": "delta", "delta": DELTA, "fan_in": 4},
            "reservoir": {
                "n_neurons": N_NEURONS,
                "steps_per_frame": STEPS_PER_FRAME,
                "leak_shift": [4],
                "refractory_steps": REFRACTORY_STEPS,
                "target_rate": AIM * RATE_HZ * STEP_MS / 1000,
                "rate_spread": 0.3,
                "topology": {"kind": topology, "fan_in": FAN_IN},
                "recurrent_gain": 0.5,
            },
            "readout": {"state": "counts", "n_windows": 1, "length_feature": False, "window_by": "length"},
            "decision": {"mode": "segment", "max_segment_ms": N_FRAMES * STEPS_PER_FRAME * STEP_MS},
        },
        "benchmark",
    )
    model = draft(config, ["a", "b"], recurrent_unit=200.0)
    native = Native(model, writable=True)
    rng = np.random.default_rng(seed)
    walks = np.cumsum(rng.normal(0, 6, (N_FRAMES, N_INPUTS // 2)), axis=0)
    frames = (128 + 100 * np.sin(walks / 50)).astype(np.uint8)
    calibrated = calibrate(config, native, [frames])
    return Network(calibrated, native, frames)
