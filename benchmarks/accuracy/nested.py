"""Settings that are chosen inside the training part: for each test part anew, with nothing of it heard."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np

from benchmarks.accuracy.cost import Cost
from benchmarks.accuracy.liquids import liquid_cost
from benchmarks.accuracy.scene import CLEAN, CONFIGS, scene_for
from lsm_edge.config import Config
from lsm_edge.dataset import Fold
from lsm_edge.learn.trainer import Trainer
from lsm_edge.search.exam import Examiner, Marks, Plan, accuracy_of, inner_accuracy, make_plan

ROUNDS: Final = 2  # of exams that leave out two blocks: each block then has two inner marks of its own


def judge_nested(task: str, configs: Sequence[Config], data: Path) -> tuple[list[str], Cost, list[int]]:
    """What the chosen settings got right on each fold (see `result`), the largest one's cost, which were chosen."""
    scenes = [scene_for(task, data, config.frontend) for config in configs]
    folds = scenes[0].folds
    plan = make_plan(scenes[0].recordings, folds, configs[0].seed)
    trainers = [
        Trainer(config, scene.recordings, frames=scene.heard(CLEAN), root=CONFIGS)
        for config, scene in zip(configs, scenes, strict=True)
    ]
    marks = [_marks(config, trainer, plan) for config, trainer in zip(configs, trainers, strict=True)]
    right, costs, chosen = [], [], []
    for fold in folds:
        best = int(np.argmax([_mark_for(fold, plan, each) for each in marks]))
        trainer = trainers[best]
        fitted = trainer.fit(fold.train)
        hits = trainer.classify(fitted, fold.test) == trainer.recordings.targets[fold.test]
        right.append("".join("01"[int(hit)] for hit in hits))
        costs.append(liquid_cost(fitted.model, configs[best], scenes[best]))
        chosen.append(best)
    return right, max(costs, key=lambda cost: cost.n_bytes), chosen


def _marks(config: Config, trainer: Trainer, plan: Plan) -> Marks:
    examiner = Examiner(config, trainer, plan)
    rounds = plan.rounds[:ROUNDS] if plan.is_nested else plan.rounds
    return {left_out: examiner.take(left_out) for exams in rounds for left_out in exams}


def _mark_for(fold: Fold, plan: Plan, marks: Marks) -> float:
    """The mean mark that nothing of the fold's test part had a say in."""
    if not plan.is_nested:
        return accuracy_of(marks)[0]
    (outer,) = (b for b, block in enumerate(plan.blocks) if set(fold.test.tolist()) <= set(block.tolist()))
    return inner_accuracy(marks, outer)
