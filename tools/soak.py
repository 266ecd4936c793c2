"""Random models over the whole matrix of compilers and cores for as long as asked: `make soak MINUTES=60`.

Model number i is drawn from seed i and runs on the golden model, on one host compiler, on one emulated core, and for a
while in tests/interpreter.py; every integer is compared. Totals are printed at the end, also after Ctrl-C. A difference
is made small and saved under `tests/regressions/`, from where `make test` replays it. Exit code: 0 no difference, 1 a
difference, 2 no compiler.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
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
from differential.interpreted import NAME as INTERPRETER  # noqa: E402
from differential.interpreted import check_interpreter  # noqa: E402
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
    tally = Tally()
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="lsm-edge-soak-") as folder, contextlib.suppress(KeyboardInterrupt):
        print(f"{len(HOSTS) + len(EMULATED)} cells, {options.jobs} processes, seeds from {options.seed}", flush=True)
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
    seeds: Iterator[int] = iter(range(options.seed, options.seed + options.models))
    running: dict[SpawnProcess, list[int]] = {}  # and the seeds that it has not delivered yet

    def start() -> None:
        batch = list(itertools.islice(seeds, MODELS_PER_PROCESS))
        if batch and time.monotonic() < until:
            process = context.Process(target=_work, args=(batch, until - time.monotonic(), results), daemon=True)
            with _ctrl_c_held_back():
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
                    seeds = itertools.chain(left[1:], seeds)
                start()
    finally:
        for process in running:
            process.terminate()
            process.join()


@contextlib.contextmanager
def _ctrl_c_held_back() -> Iterator[None]:
    """A process started meanwhile never hears of it: Ctrl-C is for the parent, which ends its processes."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})


def _work(seeds: list[int], seconds: float, results: Any) -> None:
    until = time.monotonic() + seconds
    for seed in seeds:
        if time.monotonic() > until:
            break
        random_ = seeded(seed)
        model = random_model(random_)
        recordings = random_recordings(random_, model)
        part = check(model, recordings, cells_of(seed))
        for difference in part.differences[:1]:
            print(f"saved as {reproducers.save(*reproducers.shrink(seed, difference))}", flush=True)
        if part.models:
            part.also(check_interpreter(model, recordings))
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
    by_core |= {"host": sum(tally.cells[str(cell)] for cell in HOSTS), INTERPRETER: tally.cells[INTERPRETER]}
    each = [tally.cells[str(cell)] for cell in cells]
    print(f"\n{_clock(seconds)}  {_summary(tally)}")
    print(f"{sum(map(bool, each))} of {len(cells)} cells, each compared on {min(each):,} to {max(each):,} integers:")
    for name, integers in by_core.items():
        print(f"    {name:14} {integers:14,} integers")


def _summary(tally: Tally) -> str:
    n_differences = sum(difference.count for difference in tally.differences)
    refused = f" (and {tally.refused} refused)" if tally.refused else ""
    return (
        f"{tally.models:,} models{refused}, {tally.recordings:,} recordings, {tally.steps:,} steps, "
        f"{tally.integers:,} integers, {n_differences:,} differences"
    )


def _clock(seconds: float) -> str:
    return f"{int(seconds) // 60:3}:{int(seconds) % 60:02}"


if __name__ == "__main__":
    sys.exit(main())
