"""Random models over the whole matrix of compilers and cores for as long as asked: `make soak MINUTES=60`.

Model number i is drawn from seed i and runs on the golden model, on one host compiler and on one emulated core; every
integer is compared. Totals are printed at the end, also after Ctrl-C. A difference is made small and saved under
`tests/regressions/`, from where `make test` replays it. Exit code: 0 no difference, 1 a difference, 2 no compiler.
"""

from __future__ import annotations

import argparse
import contextlib
import multiprocessing
import os
import queue
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from differential import reproducers  # noqa: E402
from differential.check import FAILURE, Difference, Tally, check  # noqa: E402
from differential.matrix import CORES, EMULATED, HOSTS, cells_of  # noqa: E402
from differential.models import random_model, random_recordings, seeded  # noqa: E402

MODELS_PER_PROCESS = 40  # compiled libraries and emulators are let go of with their process
PROGRESS_S = 10.0


def main() -> int:
    """Run, and say what was compared."""
    options = _options()
    if missing := sorted({cell.missing_tool for cell in (*HOSTS, *EMULATED)} - {""}):
        print(f"soak needs every compiler of the matrix; missing: {', '.join(missing)}", file=sys.stderr)
        return 2
    n_cells = len(HOSTS) + len(EMULATED)
    print(
        f"{n_cells} cells, {options.jobs} processes, {options.minutes:g} minutes, from seed {options.seed}", flush=True
    )
    started = time.monotonic()
    tally = Tally()
    with tempfile.TemporaryDirectory(prefix="lsm-edge-soak-") as folder, contextlib.suppress(KeyboardInterrupt):
        os.environ |= {"LSM_EDGE_CACHE": folder, "ZIG_LOCAL_CACHE_DIR": folder, "TMPDIR": folder}
        reported = started
        for seed, part in _results(options, started + 60 * options.minutes):
            tally.add(part)
            for difference in part.differences:
                print(f"seed {seed}: {difference}", flush=True)
            if time.monotonic() - reported >= PROGRESS_S:
                reported = time.monotonic()
                print(f"{_clock(reported - started)}  {_summary(tally)}", flush=True)
    _print_totals(tally, time.monotonic() - started)
    return 1 if tally.differences else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=10, help="how long; default 10")
    parser.add_argument("--seed", type=int, default=0, help="the first model's; default 0")
    parser.add_argument("--models", type=int, default=sys.maxsize, help="stop after so many")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes; default: one a core")
    return parser.parse_args()


def _results(options: argparse.Namespace, until: float) -> Iterator[tuple[int, Tally]]:
    """What came of each model, by its seed, as the processes deliver it."""
    context = multiprocessing.get_context("spawn")
    results: Any = context.Queue()
    seeds = iter(range(options.seed, options.seed + options.models))
    running: dict[SpawnProcess, list[int]] = {}  # and the seeds that it has not delivered yet

    def start() -> None:
        batch = [seed for _, seed in zip(range(MODELS_PER_PROCESS), seeds, strict=False)]
        if batch and time.monotonic() < until:
            process = context.Process(target=_work, args=(batch, until - time.monotonic(), results), daemon=True)
            process.start()
            running[process] = batch

    for _ in range(options.jobs):
        start()
    try:
        while running or not results.empty():
            with contextlib.suppress(queue.Empty):
                seed, part = results.get(timeout=0.5)
                yield seed, part
                for batch in running.values():
                    if seed in batch:
                        batch.remove(seed)
                continue
            for process in [process for process in running if not process.is_alive()]:
                left = running.pop(process)
                if process.exitcode and left:
                    yield left[0], _crash(left[0], process.exitcode)
                start()
    finally:
        for process in running:
            process.terminate()
            process.join()


def _work(seeds: list[int], seconds: float, results: Any) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which ends this process
    until = time.monotonic() + seconds
    for seed in seeds:
        if time.monotonic() > until:
            break
        random_ = seeded(seed)
        model = random_model(random_)
        part = check(model, random_recordings(random_, model), cells_of(seed))
        for difference in part.differences[:1]:
            small, recordings, found = reproducers.shrink(seed, difference)
            print(f"saved as {reproducers.save(small, recordings, found)}", flush=True)
        results.put((seed, part))


def _crash(seed: int, exit_code: int) -> Tally:
    """A process that died: undefined behaviour in a cell that traps, or a wild access."""
    random_ = seeded(seed)
    model = random_model(random_)
    cells = " or ".join(map(str, cells_of(seed)))
    difference = Difference(cells, -1, FAILURE, 0, 0, 0, 0, 1, f"the process died with exit code {exit_code}")
    print(f"saved as {reproducers.save(model, random_recordings(random_, model), difference)}", flush=True)
    return Tally(differences=[difference])


def _print_totals(tally: Tally, seconds: float) -> None:
    cells = (*HOSTS, *EMULATED)
    by_core = {core: sum(tally.cells[str(cell)] for cell in EMULATED if cell.core == core) for core in CORES}
    by_core["host"] = sum(tally.cells[str(cell)] for cell in HOSTS)
    each = [tally.cells[str(cell)] for cell in cells]
    print(f"\n{_clock(seconds)}  {_summary(tally)}")
    print(f"{sum(map(bool, each))} of {len(cells)} cells, each compared on {min(each):,} to {max(each):,} integers:")
    for name, integers in by_core.items():
        print(f"    {name:14} {integers:14,} integers")


def _summary(tally: Tally) -> str:
    n_differences = sum(difference.count for difference in tally.differences)
    return (
        f"{tally.models:,} models, {tally.recordings:,} recordings, {tally.steps:,} steps, "
        f"{tally.integers:,} integers, {n_differences:,} differences"
    )


def _clock(seconds: float) -> str:
    return f"{int(seconds) // 60:3}:{int(seconds) % 60:02}"


if __name__ == "__main__":
    sys.exit(main())
