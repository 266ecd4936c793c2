"""tools/soak.py: its totals, what it does on Ctrl-C, and what it saves when it finds something."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from differential import reproducers
from differential.check import check
from differential.matrix import EMULATED, HOSTS
from differential.mutations import MUTATIONS
from differential.test_models import need
from differential.test_mutations import ROOT, copy_project, run_in

SOAK = ROOT / "tools" / "soak.py"


@pytest.fixture(autouse=True)
def _all_compilers() -> None:
    for cell in (*HOSTS, *EMULATED):
        need(cell)


def test_totals() -> None:
    command = [sys.executable, str(SOAK), "--models", "3", "--jobs", "1"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    totals = r"^ +\d+:\d\d  3 models, \d+ recordings, [\d,]+ steps, [\d,]+ integers, 0 differences$"
    assert re.search(totals, done.stdout, re.MULTILINE)
    assert re.search(rf"^6 of {len(HOSTS) + len(EMULATED)} cells", done.stdout, re.MULTILINE)


def test_ctrl_c_ends_with_totals() -> None:
    with subprocess.Popen([sys.executable, str(SOAK), "--minutes", "60"], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        process.stdout.readline()
        process.send_signal(signal.SIGINT)
        assert "0 differences" in process.stdout.read()
    assert process.returncode == 0


def test_a_difference_is_made_small_saved_and_replayed(tmp_path: Path) -> None:
    fault = next(mutation for mutation in MUTATIONS if mutation.name == "golden decay sticks at -1")
    copy = tmp_path / "copy"
    copy_project(copy, fault)
    (copy / "tools").mkdir()
    (copy / "tools" / "soak.py").write_bytes(SOAK.read_bytes())
    done = run_in(copy, "tools/soak.py", "--models", "1", "--seed", "4", "--jobs", "1")
    assert done.returncode == 1, done.stdout + done.stderr
    assert "reservoir.v[" in done.stdout

    (path,) = (copy / "tests" / "regressions").glob("*.lsm")
    model, recordings = reproducers.load(path)
    assert model.provenance["tap"] == "reservoir.v"
    assert len(recordings) == 1
    assert sum(map(len, recordings)) < 4000
    assert not check(model, recordings, reproducers.cells_of(model)[:1]).differences, "it is the fault that is found"
