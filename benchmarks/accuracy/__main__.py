"""`python -m benchmarks.accuracy`: measure what has no result yet, then write the page."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from benchmarks.accuracy.page import page
from benchmarks.accuracy.run import jobs_of, run_jobs
from benchmarks.accuracy.searched import run_search
from benchmarks.accuracy.tables import CLAIMS, TABLES
from benchmarks.accuracy.timed import run_timed
from lsm_edge.errors import LsmEdgeError
from lsm_edge.files import write_atomically

ROOT = Path(__file__).parents[2]


def main() -> int:
    """Exit code 1: a row failed; 2: bad input."""
    keys = [*(table.key for table in TABLES), "time", "search"]
    parser = argparse.ArgumentParser(prog="benchmarks.accuracy", description=__doc__)
    parser.add_argument("--data", default="", help="folder of the data sets; else $LSM_EDGE_DATA, else ../shared/data")
    parser.add_argument("--results", type=Path, default=ROOT / "build" / "accuracy", help="where results are kept")
    parser.add_argument("--page", type=Path, default=ROOT / "docs" / "accuracy.md", help="what is written")
    parser.add_argument("--workers", type=int, default=min(2, os.cpu_count() or 1), help="rows at a time")
    parser.add_argument("--tables", nargs="+", choices=keys, default=keys, metavar="TABLE", help=", ".join(keys))
    parser.add_argument("--rows", default="", help="only rows whose name has this in it")
    parser.add_argument("--render", action="store_true", help="measure nothing, write the page from what is there")
    asked = parser.parse_args()
    data = Path(asked.data or os.environ.get("LSM_EDGE_DATA") or ROOT.parent / "shared" / "data").resolve()
    try:
        failures = []
        if not asked.render:
            if "search" in asked.tables and not asked.rows:
                run_search(data=data, results=asked.results, n_workers=asked.workers, say=_say)
            if "time" in asked.tables and not asked.rows:
                run_timed(results=asked.results, n_workers=asked.workers, say=_say)
            jobs = jobs_of([table for table in TABLES if table.key in asked.tables])
            jobs = [job for job in jobs if asked.rows in job.row.name]
            failures = run_jobs(jobs, data=data, results=asked.results, n_workers=asked.workers, say=_say)
        write_atomically(asked.page, page(TABLES, CLAIMS, asked.results).encode())
    except LsmEdgeError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("interrupted; the next run goes on from here", file=sys.stderr)
        return 1
    _say(f"written: {asked.page}")
    for failure in failures:
        print(f"failed: {failure}", file=sys.stderr)
    return 1 if failures else 0


def _say(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main())
