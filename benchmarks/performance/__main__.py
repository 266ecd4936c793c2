"""`python -m benchmarks.performance`: measure everything, then write the page."""

from __future__ import annotations

import argparse
import os
import re
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.performance.cores import CASES, CORES, SCALES, Bench
from benchmarks.performance.host import race
from benchmarks.performance.page import Results, Sequences, Training, page
from lsm_edge.errors import DataError, LsmEdgeError
from lsm_edge.files import write_atomically

ROOT = Path(__file__).parents[2]
TRAINED = ROOT / "benchmarks" / "accuracy" / "fsdd_12k.yaml"


def main() -> int:
    """Exit code 2: bad input."""
    parser = argparse.ArgumentParser(prog="benchmarks.performance", description=__doc__)
    parser.add_argument("--data", default="", help="folder of the data sets; else $LSM_EDGE_DATA, else ../shared/data")
    parser.add_argument("--brian", type=Path, required=True, help="a Python that has Brian2")
    parser.add_argument("--page", type=Path, default=ROOT / "docs" / "performance.md", help="what is written")
    asked = parser.parse_args()
    data = Path(asked.data or os.environ.get("LSM_EDGE_DATA") or ROOT.parent / "shared" / "data").resolve()
    bench = Bench(data)
    try:
        results = Results(
            races={topology: race(asked.brian, topology) for topology in ("random", "blocks")},
            training=_train(data),
            cases=bench.measure_all(CASES, _say),
            cores=bench.measure_all(CORES, _say),
            scales=bench.measure_all(SCALES, _say),
            n_cores=os.cpu_count() or 1,
            sequences=_sequences(ROOT / "docs" / "timing.md"),
        )
        write_atomically(asked.page, page(results).encode())
    except LsmEdgeError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    _say(f"written: {asked.page}")
    return 0


def _sequences(page: Path) -> Sequences:
    """What a test has written there of the model of cycles."""
    found = re.search(r"^(\d+) sequences: .* (\d+)% at most\.$", page.read_text(encoding="utf-8"), re.MULTILINE)
    if found is None:
        raise DataError(f"{page}: says nothing of sequences; `pytest tests/test_timing.py --update-golden` writes it")
    return Sequences(int(found[1]), int(found[2]))


def _train(data: Path) -> Training:
    """`lsm-edge train` in a folder of its own, as a user types it."""
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "lsm_edge.cli", "train", TRAINED, "--data", data / "fsdd" / "recordings"]
        subprocess.run(command, cwd=folder, check=True, env={**os.environ, "PYTHONPATH": str(ROOT)})
    seconds, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    return Training(seconds, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)


def _say(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main())
