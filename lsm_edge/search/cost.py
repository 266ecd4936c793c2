"""What a model costs on a board, counted from its manifest and tables: flash, RAM, instructions a second of signal.

Nothing is compiled or run for it. Bytes of tables and of the context are exact, for a core with DSP instructions.
Instructions are a linear formula over what the kernels' loops do; its coefficients were fitted to instructions that
emulated firmware executed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import log2
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from lsm_edge.model import Model
from lsm_edge.target.context import context_bytes, kept_frames

# Firmware without its tables: library, start-up code, console and self-test, by gcc 12.2 at -O3 for Cortex-M4; the
# models of tests/search/counted.py take 9.1 to 13.7 KiB.
CODE_BYTES: Final = 14336

# Executed instructions each, Cortex-M4 with DSP, gcc 12.2 at -O3. Source: `python tests/search/counted.py`: 18 models
# run on the emulated core; these are fitted by non-negative least squares, function by function.
INSTRUCTIONS: Final[dict[str, float]] = {
    "sample": 5.0,
    "moved": 3.5,
    "window_sample": 7.4,
    "butterfly": 11.1,
    "band": 45.0,
    "level": 4.8,
    "activity": 1.4,
    "equalised": 8.2,
    "tap": 3.6,
    "twin_tap": 1.5,
    "tapped_neuron": 5.0,
    "kept_band": 1.0,
    "delta_neuron": 16.1,
    "delta_band": 0.0,
    "input_synapse": 3.6,
    "step": 41.5,
    "update": 5.4,
    "spike": 8.2,
    "recurrent_neuron": 3.4,
    "recurrent_spike": 0.0,
    "synapse": 13.1,
    "trace": 8.2,
    "square_root": 16.6,
    "score": 4.5,
    "nibble_score": 6.5,
}
# The formula is within this share of what the emulator counts (tests/search/test_cost.py).
ERROR_BAND: Final = 0.08


@dataclass(frozen=True)
class Signal:
    """What of the recordings costs depend on."""

    segments_per_s: float  # decisions on recordings played one after the other
    change: float  # mean step of a band from frame to frame, as a byte

    @classmethod
    def of(cls, frames: Sequence[NDArray[np.uint8]], hop_s: float) -> Signal:
        """Measured on frames of recordings."""
        n_frames = sum(map(len, frames))
        steps = [np.abs(np.diff(segment.astype(np.int64), axis=0)).mean() for segment in frames if len(segment) > 1]
        return cls(len(frames) / max(n_frames * hop_s, hop_s), float(np.mean(steps or [0.0])))


@dataclass(frozen=True)
class Cost:
    """Bytes and instructions; `as_json` has the keys of a budget."""

    flash_bytes: int
    ram_bytes: int
    instructions_per_s: float
    table_bytes: int

    def as_json(self) -> dict[str, Any]:
        """Plain numbers; instructions are whole."""
        return {**self.__dict__, "instructions_per_s": round(self.instructions_per_s)}


def cost_of(model: Model, signal: Signal, spike_rate: float) -> Cost:
    """The cost of a model; `spike_rate` is in spikes a neuron and step, `signal` what it hears all the time."""
    work = work_per_s(model, signal, spike_rate)
    instructions = sum(INSTRUCTIONS[name] * count for name, count in work.items())
    tables, ram_bytes = model.table_bytes, context_bytes(model, dsp=True)
    return Cost(tables + CODE_BYTES, ram_bytes, instructions, tables)


def work_per_s(model: Model, signal: Signal, spike_rate: float) -> dict[str, float]:
    """How often each of `INSTRUCTIONS` happens in a second in which the liquid never rests."""
    manifest = model.manifest
    frontend, encoder, reservoir, readout = manifest.frontend, manifest.encoder, manifest.reservoir, manifest.readout
    n, bands, points = reservoir.n_neurons, frontend.n_bands, frontend.window_samples // 2
    is_live = manifest.decision.mode == "live"
    hops = frontend.sample_hz / frontend.hop_samples
    steps = hops * reservoir.steps_per_frame
    rows = hops / manifest.decision.every_frames if is_live else signal.segments_per_s * readout.n_windows
    spikes = steps * n * spike_rate
    recurrent = reservoir.n_synapses > 0
    is_current, is_twin = encoder.kind == "current", kept_frames(model, dsp=True) > 0
    moved_words = (frontend.window_samples - frontend.hop_samples) / 2
    jumps = min(signal.change * frontend.range_gain / max(encoder.delta, 1), reservoir.steps_per_frame)
    events = 0.0 if is_current else hops * bands * jumps
    return {
        "sample": float(frontend.sample_hz),
        "window_sample": hops * frontend.window_samples,
        "butterfly": hops * points / 2 * log2(points),
        "band": hops * bands,
        "moved": hops * (moved_words + (encoder.max_delay_frames * bands if is_live else 0)),
        "level": 0.0 if is_live else hops * bands,
        "equalised": hops * bands if frontend.equalise_q8 else 0.0,
        "activity": hops * bands if readout.window_by == "energy" and not is_live else 0.0,
        "tap": 0.0 if is_twin else hops * n * encoder.n_taps,
        "twin_tap": hops * n * encoder.n_taps if is_twin else 0.0,
        "tapped_neuron": hops * n if is_current else 0.0,
        "kept_band": hops * bands if is_twin else 0.0,
        "delta_neuron": 0.0 if is_current else steps * n,
        "delta_band": 0.0 if is_current else steps * bands,
        "input_synapse": events * encoder.n_synapses / (2 * bands),
        "step": steps,
        "update": steps * n,
        "spike": spikes,
        "recurrent_neuron": steps * n if recurrent else 0.0,
        "recurrent_spike": spikes if recurrent else 0.0,
        "synapse": spikes * reservoir.n_synapses / n,
        "trace": hops * n if readout.state == "trace" else 0.0,
        "square_root": rows * n if readout.transform == "sqrt" else 0.0,
        "score": rows * n * manifest.n_classes if readout.weight_bits == 8 else 0.0,
        "nibble_score": 0.0 if readout.weight_bits == 8 else rows * n * manifest.n_classes,
    }
