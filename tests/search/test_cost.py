"""Costs without a board: bytes are exact, and the formula for instructions agrees with the emulator."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from counted import Counted, sound, untrained

from lsm_edge.search.cost import CODE_BYTES, ERROR_BAND, INSTRUCTIONS, Signal, cost_of, work_per_s
from lsm_edge.target.context import context_bytes

# None of them is among those that the coefficients were fitted to.
FRESH = {
    "plain": {"frontend": {"n_bands": 16}, "reservoir": {"n_neurons": 70, "steps_per_frame": 3}},
    "taps": {
        "frontend": {"hop_ms": 12.0},
        "encoder": {"kind": "current", "n_taps": 10, "max_delay_frames": 20},
        "reservoir": {"n_neurons": 110},
        "readout": {"n_windows": 2},
    },
    "recurrent": {
        "frontend": {"window_samples": 512},
        "reservoir": {"n_neurons": 64, "topology": {"kind": "random", "fan_in": 24}, "max_delay_steps": 40},
    },
    "delta": {"encoder": {"kind": "delta", "fan_in": 6, "delta": 8}, "reservoir": {"n_neurons": 100}},
    "live": {
        "frontend": {"level": "running_peak", "n_bands": 14},
        "encoder": {"kind": "current", "max_delay_frames": 6},
        "reservoir": {"n_neurons": 50},
        "readout": {"state": "trace", "n_windows": 1, "length_feature": False},
        "decision": {"mode": "live", "every_ms": 48.0},
    },
}


@pytest.mark.parametrize("name", FRESH)
def test_formula_agrees_with_the_emulator(name: str, tmp_path: Path) -> None:
    counted = Counted(untrained(FRESH[name]), tmp_path)
    samples = sound(8000, 0.3)
    executed = sum(counted.run(samples).values())
    said = sum(INSTRUCTIONS[term] * count for term, count in counted.work(samples).items())
    assert said == pytest.approx(executed, rel=ERROR_BAND)
    code = sum(len(segment.data) for segment in counted.emulator.elf.segments) - counted.emulator.model.table_bytes
    assert 0.6 * CODE_BYTES < code <= CODE_BYTES


def test_cost_of_a_model() -> None:
    model = untrained(FRESH["plain"])
    signal = Signal(2.0, 0.0)
    cost = cost_of(model, signal, 0.1)
    assert cost.table_bytes == model.table_bytes
    assert cost.flash_bytes == model.table_bytes + CODE_BYTES
    assert cost.ram_bytes == context_bytes(model, dsp=True)
    assert set(work_per_s(model, signal, 0.1)) == set(INSTRUCTIONS)
    busier = cost_of(model, signal, 0.2)
    assert busier.instructions_per_s > cost.instructions_per_s


def test_signal() -> None:
    frames = [np.array([[0, 10], [4, 10], [8, 10]], np.uint8), np.array([[1, 1]], np.uint8)]
    assert Signal.of(frames, 0.01) == Signal(pytest.approx(50.0), pytest.approx(2.0))
    assert Signal.of([], 0.01).segments_per_s == 0
