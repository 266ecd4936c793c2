"""The differential tests find small faults: each is put into a copy of the project, and a check must name its stage."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from differential.mutant import CELLS
from differential.mutations import MUTATIONS, Mutation
from differential.test_models import need

ROOT = Path(__file__).parents[2]


def copy_project(folder: Path, mutation: Mutation | None = None) -> dict[str, str]:
    """A copy of the project, with one fault; the environment in which Python runs it."""
    for name in ("lsm_edge", "firmware", "templates", "boards", "tests/differential"):
        shutil.copytree(ROOT / name, folder / name)
    if mutation:
        path = folder / mutation.file
        text = path.read_text(encoding="utf-8")
        assert text.count(mutation.old) == 1, f"{mutation.name}: {mutation.file} no longer has, once: {mutation.old}"
        path.write_text(text.replace(mutation.old, mutation.new), encoding="utf-8")
    return {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, (folder, folder / "tests")))}


def finding(environment: dict[str, str], on: str) -> tuple[str, str]:
    """The check that finds a difference, and what it says."""
    command = [sys.executable, "-m", "differential.mutant", on]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip(), done.stderr


@pytest.mark.parametrize("mutation", MUTATIONS, ids=[mutation.name for mutation in MUTATIONS])
def test_fault_is_found(mutation: Mutation, tmp_path: Path) -> None:
    for cell in CELLS[mutation.on]:
        need(cell)
    check, what = finding(copy_project(tmp_path / "copy", mutation), mutation.on)
    assert check == mutation.caught_by, what


@pytest.mark.parametrize("on", CELLS)
def test_without_a_fault_nothing_is_found(on: str, tmp_path: Path) -> None:
    for cell in CELLS[on]:
        need(cell)
    assert finding(copy_project(tmp_path / "copy"), on) == ("", "")


def test_list_is_long_enough_and_without_repetition() -> None:
    assert len(MUTATIONS) >= 25
    assert len({mutation.name for mutation in MUTATIONS}) == len(MUTATIONS)
    assert len({(mutation.file, mutation.new) for mutation in MUTATIONS}) == len(MUTATIONS)
