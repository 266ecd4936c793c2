"""The generated library and the firmware around it, on this machine, under every sanitizer that finds what C leaves undefined.

Also under those of clang that find defined but unintended things: unsigned wrap-around (`c/intended_wrap.txt` lists what is
meant) and implicit conversions that change a value.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest
from needs import missing, need
from sample_models import SETTINGS, sample_model

from lsm_edge.assets import asset
from lsm_edge.target.codegen import generate_library
from lsm_edge.target.context import context_fields

HERE = Path(__file__).parent / "c"
COMMON = ["-std=c99", "-O1", "-g", "-Wall", "-Wextra", "-Werror", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
FLAGS = {
    "gcc": [*COMMON, "-fsanitize=bounds-strict"],
    "clang": [*COMMON, "-fsanitize=integer,local-bounds", f"-fsanitize-ignorelist={HERE / 'intended_wrap.txt'}"],
}
SEEDS = range(1, 5)

both = pytest.mark.parametrize("compiler", FLAGS)


@both
@pytest.mark.parametrize("name", SETTINGS)
def test_the_library_does_nothing_undefined(compiler: str, name: str, tmp_path: Path) -> None:
    write_fenced_library(name, tmp_path)
    program = compiled(compiler, tmp_path, [f"-DIS_LIVE={int(name.startswith('live'))}"], "lsm.c", "library.c")
    for seed in SEEDS:
        assert run(program, seed) == ""


@both
def test_the_firmware_does_nothing_undefined(compiler: str, tmp_path: Path) -> None:
    """Whatever comes over the line."""
    write_fenced_library("endpointer", tmp_path)
    for source in ("app/main.c", "port/console.c", "port/console.h"):
        shutil.copy(asset("firmware") / source, tmp_path)
    board = f"-I{HERE / 'fake_board'}"
    compiled(compiler, tmp_path, [board, "-Dmain=firmware_main", "-c"], "main.c")
    program = compiled(compiler, tmp_path, [board], "main.o", "console.c", "lsm.c", "firmware.c")
    for seed in SEEDS:
        assert run(program, seed) == ""


@both
def test_memcpy_memmove_and_memset_do_what_they_are_for(compiler: str, tmp_path: Path) -> None:
    for source in ("mem.c", "string.h"):
        shutil.copy(asset("firmware") / "port" / source, tmp_path)
    renamed = [f"-D{name}=port_{name}" for name in ("memcpy", "memmove", "memset")]
    compiled(compiler, tmp_path, [*renamed, "-c"], "mem.c")
    (tmp_path / "string.h").unlink()  # the program itself has a C library
    assert run(compiled(compiler, tmp_path, [], "mem.o", "memory.c"), 0) == ""


@both
@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("headroom_of(lsm->samples, LSM_WINDOW_SAMPLES)", "headroom_of(lsm->samples, LSM_WINDOW_SAMPLES + 1U)"),
        ("if (lsm->n_frames < LSM_MAX_FRAMES) {", "if (lsm->n_frames <= LSM_MAX_FRAMES) {"),
        ("lsm->fill == LSM_HOP_SAMPLES", "lsm->fill > LSM_HOP_SAMPLES"),
        ("lsm->slot + 1U < N_SLOTS", "lsm->slot < N_SLOTS"),
    ],
)
def test_one_element_too_far_is_found(compiler: str, right: str, wrong: str, tmp_path: Path) -> None:
    """Also where the next field of the context would have taken it."""
    write_fenced_library("endpointer", tmp_path)
    source = tmp_path / "lsm.c"
    text = source.read_text(encoding="utf-8")
    assert right in text
    source.write_text(text.replace(right, wrong), encoding="utf-8")
    program = compiled(compiler, tmp_path, ["-DIS_LIVE=0"], "lsm.c", "library.c")
    found = run(program, 1)
    assert "use-after-poison" in found or "overflow" in found or "out of bounds" in found


def write_fenced_library(name: str, folder: Path) -> None:
    """The library, with 24 bytes between the fields of its context that library.c forbids to touch."""
    model = sample_model(name)
    files = generate_library(model)
    header, fences = files["lsm.h"], []
    for field in context_fields(model.manifest):
        declared = rf"^( *{field.type} +{field.name}(?:\[.*?\])?;)(?= )|^( *{field.type} +{field.name}(?:\[.*?\])?;)$"
        header, n_found = re.subn(declared, rf"\g<0> uint8_t fence_{field.name}[24];", header, flags=re.MULTILINE)
        assert n_found == 1, field
        fences.append(f"X(fence_{field.name})")
    header = header.replace("#ifdef __cplusplus", f"#define LSM_FENCES(X) {' '.join(fences)}\n#ifdef __cplusplus", 1)
    for file, text in {**files, "lsm.h": header}.items():
        (folder / file).write_text(text, encoding="utf-8")


def compiled(compiler: str, folder: Path, flags: Sequence[str], *sources: str) -> Path:
    """Sources of the folder, or else of tests/c, as one program, or as one object file for each."""
    need(compiler)
    program = folder / "program"
    paths = [str(folder / name if (folder / name).exists() else HERE / name) for name in sources]
    output = [] if "-c" in flags else ["-o", str(program)]
    done = tool([compiler, *FLAGS[compiler], f"-I{folder}", *flags, *paths, *output], folder)
    if done.returncode and "cannot find" in done.stderr and "asan" in done.stderr:
        missing(f"the sanitizers of {compiler} (Debian: libclang-rt-dev)")
    assert done.returncode == 0, done.stderr
    return program


def run(program: Path, seed: int) -> str:
    """What the program and its sanitizers have to say; nothing if all is well."""
    done = tool([str(program), str(seed)], program.parent)
    said = done.stdout + done.stderr
    return said or ("" if done.returncode == 0 else f"exit code {done.returncode}")


def tool(command: Sequence[str], folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, errors="replace", check=False, timeout=300)
