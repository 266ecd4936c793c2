"""What the processes of a search do: trials, one after the other, until there are enough; then the front's models."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, Final

import numpy as np
import yaml

from lsm_edge.budget import Budget
from lsm_edge.config import parse_config
from lsm_edge.errors import LsmEdgeError
from lsm_edge.files import write_atomically
from lsm_edge.model import Model, save_model
from lsm_edge.search.bench import Bench
from lsm_edge.search.cost import Cost
from lsm_edge.search.exam import Examiner, Marks, accuracy_of, is_clearly_poorer
from lsm_edge.search.front import SAME_COST, by_accuracy, front_of, is_cheaper
from lsm_edge.search.space import Settings, changed, near, propose, with_settings
from lsm_edge.search.study import Claim, Study, Tried

_BLIND_AFTER: Final = 20  # misses in a row: refused or repeated
_GIVE_UP_AFTER: Final = 300
# This share of the trials is a step away from a member of the front, once it has some; the sampler proposes the others.
_SHARE_NEAR: Final = 0.5
_FRONT_AT_LEAST: Final = 4


@dataclass(frozen=True)
class Task:
    """What a worker process is told; it finds everything else by itself."""

    config: str  # JSON
    root: str
    data: str | None
    storage: str
    trials: int
    budget: Budget
    out: str
    cwd: str  # of the command: models say from there where their recordings are
    token: str = ""  # of the command that submitted it


def bench_of(task: Task) -> Bench:
    """The task's bench; loaded once in a process for each command.

    Raises:
        LsmEdgeError: recordings or settings cannot be used.
    """
    return _loaded(task.config, task.root, task.data, task.token)


@lru_cache(maxsize=1)
def _loaded(config: str, root: str, data: str | None, _token: str) -> Bench:
    return Bench(parse_config(json.loads(config), "search"), Path(root), Path(data) if data else None)


def work(task: Task) -> str:
    """Run trials until there are enough; says why it stopped.

    Raises:
        LsmEdgeError: recordings or storage cannot be used.
    """
    bench = bench_of(task)
    study = Study(task.storage, bench.config.name, bench.digest, seed=bench.config.seed)
    misses, chance = 0, np.random.default_rng()
    while study.n_counted() < task.trials and not study.is_stopped(task.token):
        if misses >= _GIVE_UP_AFTER:
            return "nothing new is left within this budget"
        if misses < _BLIND_AFTER and chance.random() < _SHARE_NEAR:
            front = front_of(study.tried(), task.budget)
            if len(front) >= _FRONT_AT_LEAST:
                parent = front[int(chance.random() * len(front))]
                study.enqueue(near(bench.knobs, parent.settings, chance.random))
        claim = study.ask(partial(propose, bench.config, bench.knobs), blindly=misses >= _BLIND_AFTER)
        misses = 0 if _run(bench, study, claim, task) else misses + 1
    return ""


def _run(bench: Bench, study: Study, claim: Claim, task: Task) -> bool:
    """One trial; False if it was not worth a training."""
    try:
        config = with_settings(bench.config, claim.settings)
        cost = bench.cost(config)
    except LsmEdgeError as error:
        claim.stopped("refused", str(error))
        return False
    over = task.budget.broken_by(cost)
    if over:
        claim.stopped("refused", over, cost)
        return False
    if not claim.is_first(hashlib.sha256(config.model_dump_json().encode()).hexdigest()):
        claim.stopped("repeated", "")
        return False
    if claim.is_surplus(task.trials):
        claim.stopped("surplus", "")
        return False
    try:
        examiner = Examiner(config, bench.trainer(config), bench.plan)
        marks: Marks = {}
        for exams in bench.plan.rounds:
            for left_out in exams:
                marks[left_out] = examiner.take(left_out)
            cost = bench.cost(config, examiner.spike_rate)
            if len(marks) < bench.plan.n_exams:
                better = _better(study.tried(), cost, marks)
                if better is not None:
                    claim.stopped("poor", f"after {len(marks)} exams, against trial {better}", cost, marks)
                    return True
    except LsmEdgeError as error:
        claim.stopped("refused", str(error))
        return False
    claim.done(accuracy_of(marks)[0], cost, marks)
    return True


def _better(tried: Sequence[Tried], cost: Cost, marks: Marks) -> int | None:
    """A finished trial of at most the same cost that is clearly better in these exams."""
    for rival in by_accuracy(tried, Budget()):
        assert rival.cost is not None
        if is_cheaper(rival.cost, cost, SAME_COST) and is_clearly_poorer(marks, rival.marks):
            return rival.number
    return None


def fit_member(task: Task, number: int, settings: Settings) -> dict[str, Any]:
    """Train a front's member as `train` would, write its model and its YAML; with one fold, test it."""
    bench = bench_of(task)
    trainer = bench.trainer(with_settings(bench.config, settings))
    fitted = trainer.fit(bench.part)
    stem = f"trial-{number:03d}"
    out = Path(task.out)
    page = _yaml(bench, settings, out)
    final = parse_config(yaml.safe_load(page), stem)
    folder = bench.data or out / final.dataset.path
    provenance = {"config": final.model_dump(mode="json"), "data": Path(os.path.relpath(folder, task.cwd)).as_posix()}
    save_model(Model(fitted.model.manifest, fitted.model.tables, provenance), out / f"{stem}.lsm")
    write_atomically(out / f"{stem}.yaml", page.encode())
    tested = None if bench.plan.is_nested else trainer.accuracy(fitted, bench.folds[0].test)
    return {
        "model": (out / f"{stem}.lsm").as_posix(),
        "config": (out / f"{stem}.yaml").as_posix(),
        "digest": fitted.model.digest,
        "table_bytes": fitted.model.table_bytes,
        "accuracy": tested,
    }


def outer_accuracy(task: Task, settings: Settings, outer: int) -> float:
    """Train on all blocks but one, integers end to end; the accuracy on that one."""
    bench = bench_of(task)
    trainer = bench.trainer(with_settings(bench.config, settings))
    return trainer.accuracy(trainer.fit(bench.plan.without((outer,))), bench.plan.blocks[outer])


def _yaml(bench: Bench, changes: Settings, out: Path) -> str:
    """The user's own settings with these changes, to be used from the folder `out`."""
    said = bench.config.model_dump(mode="json", exclude_unset=True, exclude={"search"})
    data = _with_kinds(changed(said, changes), with_settings(bench.config, changes).model_dump(mode="json"))
    data["dataset"]["path"] = Path(os.path.relpath(bench.root / bench.config.dataset.path, out)).as_posix()
    return yaml.safe_dump(data, sort_keys=False, allow_unicode=True)


def _with_kinds(said: Settings, whole: Settings) -> Settings:
    """Sections that only the changes began, such as an encoder's, with the kind that was theirs by default."""
    found: Settings = {}
    for key, value in said.items():
        inner = whole.get(key)
        if isinstance(value, dict) and isinstance(inner, dict):
            kind = {"kind": inner["kind"]} if "kind" in inner else {}
            value = kind | _with_kinds(value, inner)
        found[key] = value
    return found
