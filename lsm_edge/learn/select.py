"""More neurons are drawn than are kept: those whose removal costs the readout least are dropped, one handful at a time.

Backward elimination for ridge regression, exact at every step: what its training error rises by without one neuron
(all of its windows) is known from the inverse of the features' scatter (Hassibi and Stork 1993), and so is the inverse
without it. Only without recurrence, where nobody listens to a neuron but the readout.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from lsm_edge.config import Config
from lsm_edge.learn.solvers import Classes, Floats
from lsm_edge.model import Manifest, Model, table_specs

_HANDFUL: Final = 0.05  # of those that are left
_STRENGTH: Final = 0.3  # a clip: what is best on spoken digits is near a third of the number of clips


def drawn_config(config: Config) -> Config:
    """The config of the liquid that is drawn: with all candidates in it."""
    n = config.reservoir.n_candidates or config.reservoir.n_neurons
    return config.model_copy(update={"reservoir": config.reservoir.model_copy(update={"n_neurons": n})})


def choose_neurons(features: NDArray[np.uint8], classes: Classes, n_kept: int) -> NDArray[np.intp]:
    """Of features (clips, windows, neurons), the `n_kept` neurons to keep, in their order."""
    n_clips, n_windows, n = features.shape
    z = features.transpose(0, 2, 1).reshape(n_clips, -1).astype(np.float64)  # a neuron's windows side by side
    z -= z.mean(axis=0)
    z /= np.maximum(z.std(axis=0), 1e-9)
    targets = 2.0 * (classes[:, None] == np.arange(classes.max() + 1)) - 1
    spread: Floats = np.linalg.inv(z.T @ z + _STRENGTH * n_clips * np.eye(n * n_windows))
    weights: Floats = spread @ (z.T @ (targets - targets.mean(axis=0)))
    kept = np.arange(n)
    while len(kept) > n_kept:
        own = weights.reshape(len(kept), n_windows, -1)
        each = np.arange(len(kept))
        within = spread.reshape(len(kept), n_windows, len(kept), n_windows)[each, :, each]
        cost = (own * np.linalg.solve(within, own)).sum(axis=(1, 2))
        handful = min(max(int(_HANDFUL * len(kept)), 1), len(kept) - n_kept)
        stays = np.ones(len(kept), bool)
        stays[np.argsort(cost, kind="stable")[:handful]] = False
        spread, weights = _without(spread, weights, np.repeat(stays, n_windows))
        kept = kept[stays]
    return kept


def _without(spread: Floats, weights: Floats, stays: NDArray[np.bool_]) -> tuple[Floats, Floats]:
    """Both as they are if the other features had never been there."""
    across = spread[np.ix_(~stays, stays)]
    share = np.linalg.solve(spread[np.ix_(~stays, ~stays)], across)
    return spread[np.ix_(stays, stays)] - across.T @ share, weights[stays] - share.T @ weights[~stays]


def keep_neurons(model: Model, kept: NDArray[np.intp]) -> Model:
    """The model with those neurons only, and a readout of zeros; it must have no recurrence."""
    manifest, tables = model.manifest, dict(model.tables)
    encoder = manifest.encoder
    if encoder.kind == "delta":
        place = np.full(manifest.reservoir.n_neurons, -1)
        place[kept] = np.arange(len(kept))
        target = place[tables["input_target"]]
        line = np.repeat(np.arange(len(tables["input_start"]) - 1), np.diff(tables["input_start"].astype(int)))
        ends = np.searchsorted(line[target >= 0], np.arange(len(tables["input_start"])))
        tables |= {"input_start": ends, "input_target": target[target >= 0]}
        tables["input_weight"] = tables["input_weight"][target >= 0]
        encoder = encoder.model_copy(update={"n_synapses": len(tables["input_target"])})
    reservoir = manifest.reservoir.model_copy(update={"n_neurons": len(kept)})
    small = manifest.model_copy(update={"encoder": encoder, "reservoir": reservoir})
    return Model(small, {name: _fitting(table, small, name, kept) for name, table in tables.items()}, model.provenance)


def _fitting(table: NDArray[Any], manifest: Manifest, name: str, kept: NDArray[np.intp]) -> NDArray[Any]:
    spec = table_specs(manifest)[name]
    if name in ("tap_offset", "tap_weight", "leak_q15", "threshold"):
        table = table[kept]
    elif name == "readout_weight":
        table = np.full(spec.shape, 0 if manifest.readout.weight_bits == 8 else 0x88)
    return np.ascontiguousarray(table, spec.dtype)
