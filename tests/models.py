"""Small models and sounds to try things on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lsm_edge.config import Config, parse_config
from lsm_edge.learn import wire
from lsm_edge.model import Model, table_specs

HOP: Final = 64
LABELS: Final = ("yes", "no", "stop")
SMALL: Final[dict[str, dict[str, Any]]] = {
    "dataset": {"path": "."},
    "frontend": {"window_samples": 128, "n_bands": 8},
    "encoder": {"kind": "current", "n_taps": 4, "max_delay_frames": 3, "spans": "fixed", "bands": "any"},
    "reservoir": {"n_neurons": 20, "refractory_steps": 1, "leak_shift": [3, 4]},
    "readout": {},
    "decision": {"max_segment_ms": 240.0},
}
RECURRENT: Final[dict[str, Any]] = {"topology": {"kind": "random", "fan_in": 5}, "max_delay_steps": 3}
LIVE: Final[dict[str, dict[str, Any]]] = {
    "frontend": {"level": "running_peak"},
    "readout": {"state": "trace", "n_windows": 1, "length_feature": False},
    "decision": {"mode": "live", "every_ms": 40.0},
}


def small_config(*, name: str = "small", seed: int = 1, **sections: Mapping[str, Any]) -> Config:
    """A small config; each section given is laid over the small one, except that another `kind` replaces it."""
    laid: dict[str, Any] = {}
    for section in {**SMALL, **sections}:
        base, over = SMALL.get(section, {}), sections.get(section, {})
        laid[section] = dict(over) if over.get("kind", base.get("kind")) != base.get("kind") else {**base, **over}
    if "leak_q15" in laid["reservoir"]:
        del laid["reservoir"]["leak_shift"]
    return parse_config({"name": name, "seed": seed, **laid}, "small.yaml")


def small_model(
    *,
    seed: int = 1,
    labels: Sequence[str] = LABELS,
    tables: Mapping[str, ArrayLike] | None = None,
    **sections: Mapping[str, Any],
) -> Model:
    """A model as `small_config` says, with thresholds and readout drawn so that neurons fire and scores differ.

    `tables` replaces whole tables after that.
    """
    config = small_config(seed=seed, **sections)
    model = wire.draft(config, labels, recurrent_unit=300.0 if config.reservoir.topology.kind != "none" else 0.0)
    rng = np.random.default_rng(seed)
    drawn: dict[str, ArrayLike] = {
        name: rng.integers(low, high, model[name].shape)
        for name, low, high in [
            ("threshold", 100, 3000),
            ("readout_weight", *((-127, 128) if model.manifest.readout.weight_bits == 8 else (0, 256))),
            ("bias", -100_000, 100_000),
            ("length_weight", -2000, 2000),
            ("reject_margin", 0, 30_000),
            ("confidence_gain_q16", 20_000, 65_536),
            ("confidence_shift", 4, 12),
        ]
        if name in model.tables
    }
    return with_tables(model, {**drawn, **(tables or {})})


def with_tables(model: Model, tables: Mapping[str, ArrayLike]) -> Model:
    """The model with other tables, given as anything that looks like an array; a scalar fills the whole table."""
    specs = table_specs(model.manifest)
    made = {
        name: np.broadcast_to(np.asarray(table), model[name].shape).astype(specs[name].dtype)
        for name, table in tables.items()
    }
    return model.replace(**made)


def sound(seed: int, n_hops: int, *, hop: int = HOP, rest: int = 0) -> NDArray[np.int16]:
    """Tones and noise, loud, soft or silent for a few hops at a time; `rest` samples of an unfinished hop follow."""
    rng = np.random.default_rng(seed)
    n = n_hops * hop + rest
    pieces, length = [], 0
    while length < n:
        t = np.arange(hop * int(rng.integers(2, 9)))
        amplitude = rng.choice([0, 3, 300, 4000, 32767])
        wave = np.sin(t * rng.uniform(0.05, 2.5)) if rng.random() < 0.5 else rng.uniform(-1, 1, len(t))
        pieces.append(amplitude * wave)
        length += len(t)
    return np.concatenate([*pieces, np.zeros(0)])[:n].astype(np.int16)


def extremes(n: int) -> dict[str, NDArray[np.int16]]:
    """Sounds at the ends of the range, `n` samples each."""
    impulse = np.zeros(n, np.int16)
    impulse[n // 3] = -32768
    return {
        "silence": np.zeros(n, np.int16),
        "highest": np.full(n, 32767, np.int16),
        "lowest": np.full(n, -32768, np.int16),
        "steepest": np.tile(np.array([-32768, 32767], np.int16), n // 2 + 1)[:n],
        "slow square": np.repeat(np.array([-32768, 32767], np.int16), 37).repeat(1 + n // 74)[:n],
        "minus one": np.full(n, -1, np.int16),
        "impulse": impulse,
        "noise": np.random.default_rng(3).integers(-32768, 32768, n).astype(np.int16),
        "sine": (32767 * np.sin(np.arange(n) * 0.3)).astype(np.int16),
    }
