"""The project's own models: fitted on every fold, judged as integers end to end."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from benchmarks.accuracy.cost import Cost
from benchmarks.accuracy.scene import CLEAN, CONFIGS, Scene
from lsm_edge.config import Config
from lsm_edge.learn.trainer import Trainer
from lsm_edge.model import Model


def judge_liquid(
    scene: Scene, config: Config, conditions: tuple[str, ...], root: Path = CONFIGS
) -> tuple[dict[str, list[str]], Cost]:
    """What it got right (see `result`), and the cost of the fold's model that takes most bytes."""
    trainer = Trainer(config, scene.recordings, frames=scene.heard(CLEAN), root=root)
    judges = {name: Trainer(config, scene.recordings, frames=scene.heard(name), root=root) for name in conditions}
    right: dict[str, list[str]] = {name: [] for name in conditions}
    costs = []
    for fold in scene.folds:
        fitted = trainer.fit(fold.train)
        costs.append(liquid_cost(fitted.model, config, scene))
        for name, judge in judges.items():
            hits = judge.classify(fitted, fold.test) == scene.recordings.targets[fold.test]
            right[name].append("".join("01"[int(hit)] for hit in hits))
    return right, max(costs, key=lambda cost: cost.n_bytes)


def liquid_cost(model: Model, config: Config, scene: Scene) -> Cost:
    """Every tap, every neuron's leak in every step, every synapse when its neuron fires, and the readout.

    A synapse is an addition; it is counted like a multiply-add. Neurons are taken to fire at their target rate.
    """
    manifest = model.manifest
    encoder, reservoir, readout = manifest.encoder, manifest.reservoir, manifest.readout
    n_frames = scene.median_frames(config)
    rate = config.reservoir.target_rate * float(np.exp(config.reservoir.rate_spread**2 / 2))
    a_frame = reservoir.steps_per_frame * (reservoir.n_neurons + reservoir.n_synapses * rate)
    if encoder.kind == "current":
        a_frame += model["tap_weight"].size
    else:
        change = scene.mean_change * manifest.frontend.range_gain
        a_frame += min(change / encoder.delta, reservoir.steps_per_frame) * encoder.n_synapses / 2
    if readout.state == "trace":
        a_frame += readout.n_windows * reservoir.n_neurons
    own_bytes = model.table_bytes - scene.frontend_bytes
    n_numbers = sum(table.size for table in model.tables.values()) - scene.frontend_numbers
    decision = readout.n_windows * reservoir.n_neurons * manifest.n_classes
    return Cost(n_numbers, round(n_frames * a_frame) + decision, own_bytes)
