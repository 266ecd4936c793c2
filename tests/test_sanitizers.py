"""The generated library and the firmware around it, on this machine, under the sanitizers.

They find what C leaves undefined, and clang's also what is defined but seldom meant: unsigned arithmetic that wraps
around (`c/intended_wrap.txt` lists where it is meant) and conversions that change a value.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest
from needs import missing, need
from sample_models import SETTINGS, sample_model

from lsm_edge.assets import asset
from lsm_edge.ranges import ranges_of
from lsm_edge.target.codegen import Form, choices_of, generate_library, render_host
from lsm_edge.target.context import context_fields

HERE = Path(__file__).parent / "c"
PORT = asset("firmware") / "port"
SANITIZERS = {
    "gcc": ["-fsanitize=address,undefined,bounds-strict"],
    "clang": [
        "-fsanitize=address,undefined,integer,local-bounds",
        f"-fsanitize-ignorelist={HERE / 'intended_wrap.txt'}",
    ],
}
CHECK_BOUNDS = ["-include", "assert.h", "-DLSM_ASSERT=assert"]
LIMIT_S = 300  # a program that never ends is a failure
FLAGS = ["-std=c99", "-O1", "-g", "-Wall", "-Wextra", "-Werror", "-fno-sanitize-recover=all"]
SEEDS = range(1, 4)

both = pytest.mark.parametrize("compiler", SANITIZERS)


@both
@pytest.mark.parametrize("name", SETTINGS)
def test_the_library_does_nothing_undefined(compiler: str, name: str, tmp_path: Path) -> None:
    """And no integer leaves the bounds that the generator has proven."""
    write_fenced_library(name, tmp_path)
    flags = [f"-DIS_LIVE={int(name.startswith('live'))}", *CHECK_BOUNDS]
    program = compiled(compiler, tmp_path, flags, "lsm.c", HERE / "library.c")
    for seed in SEEDS:
        assert run(program, seed) == ""


@both
@pytest.mark.parametrize("vectors", [[], ["-march=native"]], ids=["narrow", "native"])
@pytest.mark.parametrize("name", SETTINGS)
def test_the_library_for_this_machine_does_nothing_undefined(
    compiler: str, vectors: list[str], name: str, tmp_path: Path
) -> None:
    write_fenced_library(name, tmp_path, "wide")
    rows = choices_of(sample_model(name), ranges_of(sample_model(name)), "wide")["rows"]
    (tmp_path / "host.c").write_text(render_host(sample_model(name), rows=rows), encoding="utf-8")
    program = compiled(compiler, tmp_path, [*vectors, "-std=gnu11", *CHECK_BOUNDS], HERE / "wide.c")
    for seed in SEEDS:
        assert run(program, seed) == ""


@both
def test_the_firmware_does_nothing_undefined(compiler: str, tmp_path: Path) -> None:
    """Whatever comes over the line."""
    write_fenced_library("endpointer", tmp_path)
    includes = [f"-I{HERE / 'fake_board'}", f"-I{PORT}"]
    compiled(compiler, tmp_path, [*includes, "-Dmain=firmware_main", "-c"], PORT.parent / "app" / "main.c")
    sources = ["main.o", "lsm.c", PORT / "console.c", HERE / "firmware.c"]
    program = compiled(compiler, tmp_path, includes[:1], *sources)
    for seed in SEEDS:
        assert run(program, seed) == ""


@both
def test_memcpy_memmove_and_memset_do_what_they_are_for(compiler: str, tmp_path: Path) -> None:
    renamed = [f"-D{name}=port_{name}" for name in ("memcpy", "memmove", "memset")]
    compiled(compiler, tmp_path, [*renamed, f"-I{PORT}", "-c"], PORT / "mem.c")
    assert run(compiled(compiler, tmp_path, [], "mem.o", HERE / "memory.c"), 1) == ""


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("headroom_of(lsm->samples, LSM_WINDOW_SAMPLES)", "headroom_of(lsm->samples, LSM_WINDOW_SAMPLES + 1U)"),
        ("if (lsm->n_frames < LSM_MAX_FRAMES) {", "if (lsm->n_frames <= LSM_MAX_FRAMES) {"),
        ("room = (size_t)LSM_HOP_SAMPLES - lsm->fill;", "room = (size_t)LSM_HOP_SAMPLES + 1U - lsm->fill;"),
        ("lsm->slot + 1U < N_SLOTS", "lsm->slot < N_SLOTS"),
    ],
)
def test_one_element_too_far_is_found(right: str, wrong: str, tmp_path: Path) -> None:
    """Also where the next field of the context would have taken it."""
    write_fenced_library("endpointer", tmp_path)
    source = tmp_path / "lsm.c"
    text = source.read_text(encoding="utf-8")
    assert right in text
    source.write_text(text.replace(right, wrong), encoding="utf-8")
    program = compiled("gcc", tmp_path, ["-DIS_LIVE=0"], "lsm.c", HERE / "library.c")
    found = run(program, 1)
    assert "use-after-poison" in found or "overflow" in found or "out of bounds" in found


def write_fenced_library(name: str, folder: Path, form: Form = "portable") -> None:
    """The library, with 24 bytes between the fields of its context that library.c and wide.c forbid to touch."""
    model = sample_model(name)
    files = generate_library(model, form=form)
    header, fences = files["lsm.h"], []
    for field in context_fields(model, dsp=False):
        declared = rf"^ *{field.type} +{field.name}(\[.*?\])?;"
        header, n_found = re.subn(declared, rf"\g<0> uint8_t fence_{field.name}[24];", header, flags=re.MULTILINE)
        assert n_found == 1, field
        fences.append(f"X(fence_{field.name})")
    header = header.replace("#ifdef __cplusplus", f"#define LSM_FENCES(X) {' '.join(fences)}\n#ifdef __cplusplus", 1)
    for file, text in {**files, "lsm.h": header}.items():
        (folder / file).write_text(text, encoding="utf-8")


def compiled(compiler: str, folder: Path, flags: Sequence[str], *sources: str | Path) -> Path:
    """Sources, of the folder if they are not elsewhere, as one program; or with -c as object files."""
    need(compiler)
    program = folder / "program"
    output = [] if "-c" in flags else ["-o", str(program)]
    command = [compiler, *FLAGS, *SANITIZERS[compiler], *flags, f"-I{folder}", *map(str, sources), *output]
    done = tool(command, folder)
    if "cannot find" in done.stderr and "asan" in done.stderr:
        missing(f"{compiler}'s sanitizers (Debian: libclang-rt-dev)")
    assert done.returncode == 0, done.stderr
    return program


def run(program: Path, seed: int) -> str:
    """What the program and its sanitizers have to say; nothing if all is well."""
    done = tool([str(program), str(seed)], program.parent)
    said = done.stdout + done.stderr
    return said or ("" if done.returncode == 0 else f"exit code {done.returncode}")


def tool(command: Sequence[str], folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, cwd=folder, capture_output=True, text=True, errors="replace", check=False, timeout=LIMIT_S
    )
