"""The differential tests find small faults: each is put into a copy of the project, and a check must name its stage."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from differential.check import FAILURE
from differential.mutant import CELLS
from differential.mutations import MUTATIONS, Mutation
from differential.test_models import need

ROOT = Path(__file__).parents[2]


def copy_project(folder: Path, mutation: Mutation | None = None) -> None:
    """A copy of what is tested and of what tests it, with one fault."""
    for name in ("lsm_edge", "firmware", "templates", "boards", "tests/differential"):
        shutil.copytree(ROOT / name, folder / name)
    shutil.copy(ROOT / "tests" / "interpreter.py", folder / "tests")
    if mutation:
        path = folder / mutation.file
        text = path.read_text(encoding="utf-8")
        assert text.count(mutation.old) == 1, f"{mutation.name}: {mutation.file} no longer has, once: {mutation.old}"
        path.write_text(text.replace(mutation.old, mutation.new), encoding="utf-8")


def run_in(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Python in a copy, which must not see the original."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, (folder, folder / "tests")))}
    command = [sys.executable, *arguments]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def finding(folder: Path, on: str, hoped_for: str = "") -> tuple[str, str]:
    """The check that finds a difference, and what it says."""
    done = run_in(folder, "-m", "differential.mutant", on, hoped_for)
    if done.returncode < 0:  # the fault wrote where it must not, and the process died of it
        return FAILURE, done.stderr
    assert done.returncode == 0, done.stderr
    return done.stdout.strip(), done.stderr


@pytest.mark.parametrize("mutation", MUTATIONS, ids=[mutation.name for mutation in MUTATIONS])
def test_fault_is_found(mutation: Mutation, tmp_path: Path) -> None:
    for cell in CELLS[mutation.on]:
        need(cell)
    copy_project(tmp_path / "copy", mutation)
    check, what = finding(tmp_path / "copy", mutation.on, mutation.caught_by)
    assert check == mutation.caught_by, what


def test_without_a_fault_nothing_is_found(tmp_path: Path) -> None:
    for cell in CELLS["host"]:
        need(cell)
    copy_project(tmp_path / "copy")
    assert finding(tmp_path / "copy", "host") == ("", "")


def test_list_is_long_enough_and_without_repetition() -> None:
    assert len(MUTATIONS) >= 25
    assert len({mutation.name for mutation in MUTATIONS}) == len(MUTATIONS)
    assert len({(mutation.file, mutation.old, mutation.new) for mutation in MUTATIONS}) == len(MUTATIONS)
