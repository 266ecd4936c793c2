"""Jobs -> results: two at a time, the longest first, each kept as soon as it is there."""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass
from functools import cached_property
from importlib import metadata
from pathlib import Path

from benchmarks.accuracy import peers
from benchmarks.accuracy.cost import Cost
from benchmarks.accuracy.liquids import judge_liquid
from benchmarks.accuracy.nested import judge_nested
from benchmarks.accuracy.result import Result, digest_of, load_result, save_result
from benchmarks.accuracy.scene import CLEAN, CONFIGS, Scene, scene_for
from benchmarks.accuracy.sources import source_digest
from benchmarks.accuracy.tables import LIQUIDS, Row, Table
from benchmarks.accuracy.tasks import TASKS
from lsm_edge.config import Config

Say = Callable[[str], None]

THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")


@dataclass(frozen=True, eq=False)
class Job:
    """One row of a table with one seed."""

    table: Table
    row: Row
    seed: int

    @cached_property
    def config(self) -> Config:
        """The row's, with this seed."""
        return self.row.config_for(self.seed)

    @cached_property
    def digest(self) -> str:
        """Changes with whatever the result depends on."""
        kind = self.row.kind
        settings = [config.model_dump(mode="json") for config in self.row.configs_for(self.seed)]
        uses = peers.USES[kind]
        used = [{name: each.get(name) for name in uses} for each in settings]
        return digest_of(
            task=[TASKS[self.table.task].dataset.model_dump(mode="json"), TASKS[self.table.task].is_pairs],
            kind=kind,
            sources=source_digest(kind),
            options=dict(self.row.options),
            seed=self.seed,
            settings=used if self.row.candidates else used[0],
            conditions=self.table.conditions,
        )

    def path(self, results: Path) -> Path:
        """Where its result is kept; the same for the same row in two tables."""
        return results / self.table.task / f"{self.row.kind}-{self.seed}-{self.digest}.json"

    def run(self, data: Path) -> Result:
        """Fit and judge on every fold."""
        started = time.process_time()
        config, kind, notes = self.config, self.row.kind, {}
        scene = scene_for(self.table.task, data, config.frontend)
        if kind == "liquid":
            root = (CONFIGS / self.row.config).parent
            right, cost = judge_liquid(scene, config, self.table.conditions, root)
        elif kind == "nested":
            configs = self.row.configs_for(self.seed)
            hits, cost, chosen = judge_nested(self.table.task, configs, data)
            right, names = {CLEAN: hits}, list(self.row.candidates)
            notes = {fold.name: names[best] for fold, best in zip(scene.folds, chosen, strict=True)}
            config = max((configs[best] for best in chosen), key=lambda each: each.reservoir.n_neurons)
        else:
            right, cost = _judge_peer(scene, config, self)
        return Result(
            right=right,
            folds=[fold.name for fold in scene.folds],
            cost=cost,
            frontend_bytes=scene.frontend_bytes,
            n_neurons=config.reservoir.n_neurons if kind in LIQUIDS else 0,
            cpu_s=round(time.process_time() - started, 1),
            packages=_packages(kind),
            chosen=notes,
        )


def _judge_peer(scene: Scene, config: Config, job: Job) -> tuple[dict[str, list[str]], Cost]:
    right: dict[str, list[str]] = {name: [] for name in job.table.conditions}
    costs = []
    for fold in scene.folds:
        peer = peers.fit_peer(job.row.kind, scene.train(config, fold.train), job.seed, dict(job.row.options))
        costs.append(peer.cost(scene.median_frames(config)))
        for name in job.table.conditions:
            hits = peer.classify(scene.test(config, name, fold.test)) == scene.recordings.targets[fold.test]
            right[name].append("".join("01"[int(hit)] for hit in hits))
    return right, max(costs, key=lambda cost: cost.n_bytes)


def _packages(kind: str) -> dict[str, str]:
    name = peers.PACKAGES.get(kind)
    return {} if name is None else {name: metadata.version(name).partition("+")[0]}


def jobs_of(tables: Sequence[Table]) -> list[Job]:
    """All rows and seeds; those that cost most come first, and those that share frames come together."""
    jobs = [Job(table, row, seed) for table in tables for row in shown_rows(table) for seed in row.seeds]
    return sorted(jobs, key=lambda job: -job.row.minutes)


def shown_rows(table: Table) -> list[Row]:
    """Without liquids that another row before them is already, such as one without recurrence with it off."""
    shown: list[Row] = []
    seen: set[str] = set()
    for row in table.rows:
        digest = Job(table, row, row.seeds[0]).digest
        if digest not in seen:
            shown.append(row)
        seen.add(digest)
    return shown


def run_jobs(jobs: Sequence[Job], *, data: Path, results: Path, n_workers: int, say: Say) -> list[str]:
    """Run those that have no result yet; what went wrong is returned, and does not keep the others from running."""
    left, known = [], set()
    for job in jobs:
        path = job.path(results)
        if path not in known and load_result(path) is None:
            left.append(job)
        known.add(path)
    say(f"{len(jobs) - len(left)} of {len(jobs)} results are there already; {len(left)} to go")
    minutes_left = sum(job.row.minutes for job in left)
    failures: list[str] = []
    os.environ.update(dict.fromkeys(THREADS, "1"))  # a worker a core: more threads would only be in each other's way
    with ProcessPoolExecutor(n_workers, mp_context=multiprocessing.get_context("spawn")) as pool:
        running: dict[Future[Result], Job] = {pool.submit(job.run, data): job for job in left}
        started, done = time.monotonic(), 0
        try:
            while running:
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    job = running.pop(future)
                    done += 1
                    minutes_left -= job.row.minutes
                    name = f"[{done}/{len(left)}] {job.table.key}: {job.row.name}, seed {job.seed}"
                    try:
                        result = future.result()
                    except Exception as error:  # one row's trouble is not the others'
                        failures.append(f"{name}: {type(error).__name__}: {error}")
                        say(failures[-1])
                        continue
                    save_result(job.path(results), result)
                    percent = 100 * result.hits(job.table.conditions[0]).mean()
                    passed = (time.monotonic() - started) / 60
                    say(
                        f"{name}: {percent:.1f} %, {result.cpu_s:.0f} s of CPU; {passed:.0f} min passed, "
                        f"about {minutes_left / n_workers:.0f} to go"
                    )
        except KeyboardInterrupt:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return failures
