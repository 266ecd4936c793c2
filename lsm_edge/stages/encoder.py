"""Levelled frames -> input currents.

Enters: frames of bytes. Leaves: an int16 current a neuron, held for a whole frame (`current`) or made anew each step
from up and down spikes (`delta`). `docs/numerics.md` section 3.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from lsm_edge.fixed import Ints, saturate_int16
from lsm_edge.model import Model


def encode_current(model: Model, frames: Ints) -> Ints:
    """Frames (clips, frames, bands) -> currents (clips, frames, neurons): a weighted sum of some bands at some delays.

    `tap_offset` counts bytes from the oldest frame that any tap reaches; frames before the segment's start are zero.
    """
    encoder = model.manifest.encoder
    clips, n_frames, bands = frames.shape
    before = np.zeros((clips, encoder.max_delay_frames * bands), np.int64)
    flat = np.concatenate([before, frames.reshape(clips, n_frames * bands)], axis=1)
    weights = model["tap_weight"].astype(np.int64)
    offsets = model["tap_offset"].astype(np.int64)
    currents = np.empty((clips, n_frames, len(weights)), np.int64)
    for t in range(n_frames):
        currents[:, t] = saturate_int16((flat[:, t * bands + offsets] * weights).sum(axis=-1) >> encoder.shift)
    return currents


def encode_delta(model: Model, frame: Ints, reference: Ints) -> tuple[Ints, Ints]:
    """One step: frame and reference (clips, bands) -> current (clips, neurons) and the reference after it.

    A band that stands `delta` or more above its reference sends on line 2 * band and lifts the reference by `delta`;
    below, on line 2 * band + 1, and lowers it.
    """
    delta = model.manifest.encoder.delta
    up = frame - reference >= delta
    down = reference - frame >= delta
    lines = np.stack([up, down], axis=-1).reshape(len(frame), -1)
    drive = lines.astype(np.int64) @ input_matrix(model)
    return saturate_int16(drive << model.manifest.encoder.shift), reference + delta * up - delta * down


def input_matrix(model: Model) -> Ints:
    """The `delta` encoder's synapses as a dense matrix (lines, neurons)."""
    return synapse_matrix(model, "input")


def synapse_matrix(model: Model, name: str) -> Ints:
    """The tables `<name>_start`, `_target` and `_weight` as a dense matrix (sources, neurons)."""
    tables = (model[f"{name}_{part}"] for part in ("start", "target", "weight"))
    as_bytes = tuple((table.dtype.str, table.tobytes()) for table in tables)
    return _remembered(as_bytes, model.manifest.reservoir.n_neurons)


@lru_cache(maxsize=8)
def _remembered(tables: tuple[tuple[str, bytes], ...], n_targets: int) -> Ints:
    start, target, weight = (np.frombuffer(data, dtype).astype(np.int64) for dtype, data in tables)
    matrix = dense_rows(start, target, weight, n_targets)
    matrix.setflags(write=False)
    return matrix


def dense_rows(start: Ints, target: Ints, weight: Ints, n_targets: int) -> Ints:
    """Compressed rows (by source) as a dense matrix (sources, targets); synapses on the same pair add up."""
    matrix = np.zeros((len(start) - 1, n_targets), np.int64)
    source = np.repeat(np.arange(len(start) - 1), start[1:] - start[:-1])
    np.add.at(matrix, (source, target), weight)
    return matrix
