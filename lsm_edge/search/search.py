"""Hyper-parameters under budgets of flash, RAM and instructions: many trials by many processes, then the best trained.

A trial is refused before any training if it breaks the budget, is stopped early if it is clearly poorer than a finished
one that costs no more, and is never run twice. The test part is touched once, at the end, by the models of the front.
"""

from __future__ import annotations

import json
import os
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from lsm_edge.budget import Budget
from lsm_edge.config import Config
from lsm_edge.errors import ConfigError
from lsm_edge.files import write_atomically
from lsm_edge.search.bench import Bench
from lsm_edge.search.exam import accuracy_of
from lsm_edge.search.front import Member, choose_without, draw_front, front_of
from lsm_edge.search.pool import Future, Submit, dask_cluster, processes, wait_for
from lsm_edge.search.space import Settings, first_choices
from lsm_edge.search.study import Study, Tried
from lsm_edge.search.worker import Task, bench_of, fit_member, outer_accuracy, work

# For trials that another command of this machine runs when enough are under way.
_PATIENCE_S: Final = 60.0

Watch = Callable[[list[Tried], str], None]


@dataclass(frozen=True)
class Found:
    """A finished search: the front, all trials, and how the knobs stood at the beginning."""

    members: list[Member]
    tried: list[Tried]
    baseline: Settings
    seconds: float

    def count(self, outcome: str) -> int:
        """How many trials ended so."""
        return sum(trial.outcome == outcome for trial in self.tried)


def search(
    config: Config,
    *,
    root: Path,
    out: Path,
    data: Path | None = None,
    trials: int = 200,
    budget: Budget | None = None,
    workers: int = 1,
    storage: str | None = None,
    dask: str | None = None,
    watch: Watch = lambda tried, doing: None,
) -> Found:
    """Search, or go on with a search that was interrupted, until `trials` trials count; train and test the front.

    `watch` hears all trials twice a second. Finished trials survive whatever happens to this process.

    Raises:
        DataError: recordings, labels or splits cannot be used.
        ConfigError: settings, budget, storage or cluster cannot be used, or no model fits the budget.
    """
    started = time.monotonic()
    task = Task(
        config=config.model_dump_json(exclude_unset=True),
        root=str(root.resolve()),
        data=str(data.resolve()) if data else None,
        storage=_absolute(storage) if storage else str(out.resolve() / "study.journal"),
        trials=trials,
        budget=budget or Budget(),
        out=str(out.resolve()),
        cwd=str(Path.cwd()),
        token=uuid.uuid4().hex,
    )
    bench = bench_of(task)
    study = Study(task.storage, config.name, bench.digest, seed=config.seed)
    if not study.tried():
        for choice in first_choices(config, bench.knobs):
            study.enqueue(choice)
    with dask_cluster(dask) if dask else processes(workers) as submit:
        try:
            _run_trials(task, study, lambda: [submit(work, task) for _ in range(workers)], watch)
            tried = study.tried()
            members = _finish(bench, task, tried, submit, watch)
        except KeyboardInterrupt:
            study.stop(task.token)
            raise
    draw_front(tried, members, out / "front.png")
    page = json.dumps([member.as_json() for member in members], indent=2) + "\n"
    write_atomically(out / "front.json", page.encode())
    return Found(members, tried, bench.baseline(), time.monotonic() - started)


def _run_trials(task: Task, study: Study, begin: Callable[[], list[Future]], watch: Watch) -> None:
    """Until enough trials are done, or nothing new is left to try."""
    until = time.monotonic() + _PATIENCE_S
    while True:
        study.bury()
        if study.n_counted() < task.trials:
            wait_for(begin(), lambda: watch(study.tried(), "search"))
            until = time.monotonic() + _PATIENCE_S
            if study.n_counted() < task.trials and not study.bury():
                return
        elif not study.n_running_here() or time.monotonic() > until:
            return
        else:  # by another command, or by processes of a killed one that are about to go
            time.sleep(0.2)


def _finish(bench: Bench, task: Task, tried: list[Tried], submit: Submit, watch: Watch) -> list[Member]:
    """Train the front's members, and judge them on what nothing of their choice has heard."""
    front = front_of(tried, task.budget)
    if not front:
        raise ConfigError(f"search: no finished trial fits the budget; the smallest that was refused: {_least(tried)}")
    fits = [submit(fit_member, task, trial.number, trial.settings) for trial in front]
    outer: dict[tuple[int, int], Future] = {}  # by trial and block: many members share them
    shares: list[list[Future]] = []
    for trial in front if bench.plan.is_nested else ():
        assert trial.cost is not None
        shares.append([])
        for block in range(len(bench.plan.blocks)):
            chosen = choose_without(tried, trial.cost, block)
            key = (chosen.number, block)
            if key not in outer:
                outer[key] = submit(outer_accuracy, task, chosen.settings, block)
            shares[-1].append(outer[key])
    wait_for([*fits, *outer.values()], lambda: watch(tried, "train and test the front"))
    members = []
    for i, (trial, fit) in enumerate(zip(front, fits, strict=True)):
        made: dict[str, Any] = fit.result()
        assert trial.cost is not None
        held_back = made["accuracy"] if not shares else float(np.mean([share.result() for share in shares[i]]))
        members.append(
            Member(
                number=trial.number,
                settings=trial.settings,
                cost=trial.cost,
                accuracy_search=accuracy_of(trial.marks)[0],
                accuracy_held_back=held_back,
                model=Path(os.path.relpath(made["model"])).as_posix(),
                config=Path(os.path.relpath(made["config"])).as_posix(),
                digest=made["digest"],
            )
        )
    return members


def _least(tried: Sequence[Tried]) -> str:
    refused = [trial for trial in tried if trial.outcome == "refused" and trial.cost is not None]
    best = min(refused, key=lambda trial: trial.cost.flash_bytes if trial.cost else 0, default=None)
    return f"trial {best.number} ({best.why})" if best else "none"


def _absolute(storage: str) -> str:
    return storage if "://" in storage else str(Path(storage).resolve())
