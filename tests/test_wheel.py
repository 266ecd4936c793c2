"""A built wheel, installed on its own, trains and generates in an empty folder: all it needs travels inside."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", folder, ROOT]
    subprocess.run(command, check=True, capture_output=True)
    return next(folder.glob("*.whl"))


def test_wheel_holds_what_is_needed_and_no_more(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    needed = ("templates/lsm.c.j2", "firmware/kernels/reservoir.h", "boards/nucleo_f446re.toml", "examples/audio.yaml")
    assert {f"lsm_edge/_assets/{name}" for name in needed} <= set(names)
    assert "lsm_edge/py.typed" in names
    assert not [name for name in names if name.startswith(("tests/", "docs/")) or "__pycache__" in name]


def test_installed_wheel_trains_and_generates(wheel: Path, tmp_path: Path) -> None:
    home, work = tmp_path / "venv", tmp_path / "work"
    work.mkdir()
    venv.create(home, with_pip=False, symlinks=True)
    python = home / ("Scripts" if os.name == "nt" else "bin") / "python"
    site = next(home.glob("lib/python*/site-packages"), home / "Lib" / "site-packages")
    subprocess.run([sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", site, wheel], check=True)
    # The dependencies are this environment's; lsm_edge is the wheel's, which comes first.
    (site / "dependencies.pth").write_text(sysconfig.get_paths()["purelib"] + "\n")
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}

    def run(*arguments: str) -> str:
        command = [python, "-m", "lsm_edge.cli", *arguments]
        done = subprocess.run(command, cwd=work, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    config = site / "lsm_edge" / "_assets" / "examples" / "audio.yaml"
    assert json.loads(run("train", str(config), "--json"))["accuracy_quantised"] >= 0.9
    result = json.loads(run("generate", "--board", "nucleo_l476rg", "--json"))
    assert (work / result["project"] / "lib" / "lsm" / "lsm.c").is_file()
    assert sorted(path.name for path in work.iterdir()) == ["audio.lsm", "build"]
