"""The readout as integers: weights of 8 or 4 bits, the length's weights and biases, all on one scale.

One scale for all classes keeps the order of scores. Each weight rounded by itself would cost a point where some neurons
fire seldom: their weights are the largest. Rounded one feature after another, each error passed on to the features that
can make up for it (after Hassibi and Stork 1993, as Frantar et al. 2022 do it for large networks), they cost next to
nothing, at 8 bits and at 4.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from lsm_edge.learn.confidence import reject_margin, temperature
from lsm_edge.learn.fit import Linear
from lsm_edge.learn.solvers import Floats
from lsm_edge.model import Model
from lsm_edge.stages.readout import pack_weights

_CLIPS: Final = (1.0, 0.8, 0.65, 0.5, 0.4, 0.3)  # what the largest whole weight stands for, of the largest weight
_DAMPING: Final = 0.1  # of the features' variance: what is passed on must not rely on chance correlations


def quantise(model: Model, linear: Linear, rows: NDArray[Any], reject_error: float | None = None) -> Model:
    """The model with `linear` as its readout, in integers; `rows` are the features that it was fitted on.

    `reject_error` is the share of accepted answers that may be wrong, for a model that rejects.
    """
    readout = model.manifest.readout
    shape = (model.manifest.n_classes, readout.n_windows, model.manifest.reservoir.n_neurons)
    weights = linear.weights[:, : -1 if readout.length_feature else None]
    seen = rows[:, : weights.shape[1]].astype(np.float64)
    whole, scale = _round_together(weights, seen, most=127 if readout.weight_bits == 8 else 7)
    bias = linear.bias * scale + (weights * scale - whole) @ seen.mean(axis=0)  # no class gains on average
    by_window = whole.reshape(shape).transpose(1, 0, 2).astype(np.int8)
    tables: dict[str, NDArray[Any]] = {
        "readout_weight": by_window if readout.weight_bits == 8 else pack_weights(by_window),
        "bias": np.clip(np.round(bias), -(2**30), 2**30).astype(np.int32),
    }
    if readout.length_feature:
        tables["length_weight"] = np.clip(np.round(linear.weights[:, -1] * scale), -32767, 32767).astype(np.int16)
    if model.manifest.decision.reject:
        assert reject_error is not None and linear.unseen is not None
        margin = np.ceil(reject_margin(linear.unseen, reject_error) * scale)
        tables["reject_margin"] = np.array([min(margin, 2**32 - 1)], np.uint32)
    if model.manifest.decision.confidence:
        assert linear.unseen is not None
        tables |= octaves_of(temperature(linear.unseen) * scale)
    return model.replace(**{name: np.ascontiguousarray(table) for name, table in tables.items()})


def octaves_of(temperature: float) -> dict[str, NDArray[Any]]:
    """The tables of a model whose odds fall by a factor of e with every lead of `temperature`, in its integer scores.

    The gain has 16 significant bits. Odds fall by 1/256 octave with a unit of score at most: a temperature below 370 is
    taken for 370.
    """
    steps = 256 / (np.log(2) * temperature)  # 1/256 octaves a unit of score
    shift = int(np.clip(np.floor(-np.log2(steps)), 0, 31))
    gain = np.clip(np.round(steps * 2.0 ** (16 + shift)), 0, 65535)
    return {"confidence_gain_q16": np.array([gain], np.uint16), "confidence_shift": np.array([shift], np.uint8)}


def _round_together(weights: Floats, rows: Floats, most: int) -> tuple[Floats, float]:
    """Whole weights of at most `most` and their scale: those of `_CLIPS` by which scores of `rows` differ least."""
    largest = float(np.abs(weights).max())
    if not largest:
        return np.zeros_like(weights), 1.0
    centred = rows - rows.mean(axis=0)
    scatter = centred.T @ centred
    variance = np.diag(scatter)
    scatter[np.diag_indices_from(scatter)] += _DAMPING * variance + 1e-3 * max(float(variance.mean()), 1e-12)
    order = np.argsort(-variance, kind="stable")
    spread = np.linalg.cholesky(np.linalg.inv(scatter[np.ix_(order, order)])).T
    best: tuple[float, Floats, float] | None = None
    for clip in _CLIPS:
        scale = most / (clip * largest)
        whole = np.zeros_like(weights)
        whole[:, order] = _passed_on(weights[:, order] * scale, spread, most)
        off = weights - whole / scale
        cost = float(np.einsum("cf,cf->", off @ scatter, off))
        if best is None or cost < best[0]:
            best = cost, whole, scale
    assert best is not None
    return best[1], best[2]


def _passed_on(weights: Floats, spread: Floats, most: int) -> Floats:
    """Round column after column; what is lost is made up for by those not rounded yet."""
    left, whole = weights.copy(), np.zeros_like(weights)
    for j in range(weights.shape[1]):
        whole[:, j] = np.clip(np.round(left[:, j]), -most, most)
        left[:, j:] -= np.outer((left[:, j] - whole[:, j]) / spread[j, j], spread[j, j:])
    return whole
