"""Every command of the README runs, in order, and prints what the README shows.

`pytest tests/test_readme.py --update-golden` writes what they print into the README.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from shared_data import shared_data

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"

BLOCK = re.compile(r"```console\n(.*?)```", re.DOTALL)
UNSHOWN = re.compile(r"^lsm-edge .*", re.MULTILINE)  # commands whose output is long, or differs
FEWER = (("--trials 200", "--trials 2"),)
# What differs from machine to machine: times, compilers, what compilers make of the code, versions of emulators.
MASKS = (
    (re.compile(r"\d+\.\d s$"), "N s"),
    (re.compile(r"^built .*"), "built"),
    (re.compile(r"^flash [\d,]+ of"), "flash N of"),
    (re.compile(r"RAM [\d,]+ of"), "RAM N of"),
    (re.compile(r"\((gcc|clang|zig|unicorn|qemu)[^)]*\)"), r"(\1)"),
    (re.compile(r"[━┳┏┓┡╇┩└┴┘─]+|\s+"), " "),
)


def masked(line: str) -> str:
    for pattern, replacement in MASKS:
        line = pattern.sub(replacement, line)
    return line.strip()


def shown() -> list[tuple[str, str]]:
    """(command, output) of every `$ ` line in the README's console blocks."""
    found = []
    for block in BLOCK.findall(README.read_text(encoding="utf-8")):
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, _, output = part.partition("\n")
            found.append((command, output))
    return found


def test_readme_commands_print_what_it_shows(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    (tmp_path / "free-spoken-digit-dataset").mkdir()
    (tmp_path / "free-spoken-digit-dataset" / "recordings").symlink_to(shared_data("fsdd/recordings"))
    text = README.read_text(encoding="utf-8")
    for command, output in shown():
        done = run(command, tmp_path)
        if request.config.getoption("--update-golden"):
            text = text.replace(f"$ {command}\n{output}", f"$ {command}\n{done.stdout}", 1)
        else:
            assert [masked(line) for line in done.stdout.splitlines()] == [masked(line) for line in output.splitlines()]
    if request.config.getoption("--update-golden"):
        README.write_text(text, encoding="utf-8")


    for command in UNSHOWN.findall("".join(re.findall(r"```sh\n(.*?)```", text, re.DOTALL))):
        for many, fewer in FEWER:
            command = command.replace(many, fewer)
        assert run(command, tmp_path).stdout


def run(command: str, folder: Path) -> subprocess.CompletedProcess[str]:
    program, *arguments = command.split()
    assert program == "lsm-edge"
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "120"}
    done = subprocess.run(
        [sys.executable, "-m", "lsm_edge.cli", *arguments],
        cwd=folder, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done


def test_readme_names_both_commands() -> None:
    text = README.read_text(encoding="utf-8")
    assert "make demo" in text
    assert "make test" in text
