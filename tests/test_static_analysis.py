"""What can be said about the C without running it: compilers' warnings, clang-tidy, cppcheck and its MISRA addon."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from needs import missing, need
from sample_models import SETTINGS, sample_model

from lsm_edge.board import load_board
from lsm_edge.target.codegen import generate_project, write_files

ROOT = Path(__file__).resolve().parent.parent
# Between them: both encoders, states and modes, recurrence, the end-pointer, and both USARTs.
PROJECTS = {"endpointer": "nucleo_f446re", "live-delta": "nucleo_g071rb", "delta": "nucleo_g071rb"}
INCLUDES = ["-Iinclude", "-Ilib/lsm", "-Isrc"]
SOURCES = ["lib/lsm/lsm.c", "src/main.c", "src/console.c", "src/mem.c", "src/startup.c"]
CPPCHECK = "Cppcheck 2.22.0"  # docs/misra.md is about this version: others know other rules
WARNINGS = [
    *("-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Wsign-conversion", "-Wshadow", "-Wundef", "-Wvla"),
    *("-Wcast-align", "-Wcast-qual", "-Wwrite-strings", "-Wswitch-enum", "-Wdouble-promotion", "-Wredundant-decls"),
    *("-Wstrict-prototypes", "-Wmissing-prototypes", "-Wold-style-definition", "-Werror"),
]


@pytest.fixture(scope="module")
def projects(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A generated project for each of `PROJECTS`."""
    folder = tmp_path_factory.mktemp("projects")
    for name, board in PROJECTS.items():
        write_files(folder / name, generate_project(sample_model(name), load_board(board)))
    return {name: folder / name for name in PROJECTS}


@pytest.mark.parametrize("compiler", ["gcc", "clang"])
@pytest.mark.parametrize("name", SETTINGS)
def test_the_library_compiles_without_a_warning(name: str, compiler: str, tmp_path: Path) -> None:
    need(compiler)
    write_files(tmp_path / "p", generate_project(sample_model(name), load_board("nucleo_f446re")))
    command = [compiler, "-std=c99", "-O2", *WARNINGS, "-Ilib/lsm", "-fsyntax-only", "lib/lsm/lsm.c"]
    assert said_by(command, tmp_path / "p") == ""


@pytest.mark.parametrize("name", PROJECTS)
def test_the_firmware_compiles_without_a_warning(name: str, projects: dict[str, Path]) -> None:
    need("arm-none-eabi-gcc")
    flags = [*load_board(PROJECTS[name]).compile_flags, "-std=c99", "-O2", "-ffreestanding", *WARNINGS, "-fanalyzer"]
    for source in SOURCES:
        command = ["arm-none-eabi-gcc", *flags, *INCLUDES, "-S", "-o", "-", source]
        done = run(command, projects[name])
        assert (done.stderr, done.returncode) == ("", 0)


@pytest.mark.parametrize("name", PROJECTS)
def test_clang_tidy_has_nothing_to_say(name: str, projects: dict[str, Path]) -> None:
    tidy = beside_python("clang-tidy")
    compiler = ["-std=c99", "-ffreestanding", "--target=thumbv7em-none-eabi", *INCLUDES]
    command = [tidy, "--quiet", f"--config-file={ROOT / '.clang-tidy'}", *SOURCES, "--", *compiler]
    done = run(command, projects[name])
    assert (done.stdout, done.returncode) == ("", 0)


def test_each_check_that_is_off_has_its_reason() -> None:
    text = (ROOT / ".clang-tidy").read_text(encoding="utf-8")
    off = re.findall(r"^  -([a-z-]+)", text, re.MULTILINE)
    assert re.findall(r"^# ([a-z]+-[a-z-]+): \S", text, re.MULTILINE) == off == sorted(off)


@pytest.fixture(scope="module")
def findings(projects: dict[str, Path]) -> set[tuple[str, str]]:
    """What cppcheck finds in the projects: (id, file name)."""
    cppcheck = beside_python("cppcheck")
    version = run([cppcheck, "--version"], ROOT).stdout.strip()
    if version != CPPCHECK:
        missing(f"{CPPCHECK} ({version} is not it)")
    command = [
        cppcheck, "--quiet", "--std=c99", "--platform=arm32-wchar_t4", "--addon=misra",
        "--enable=warning,style,performance,portability", "--template={file}\t{id}",
        # A parameter of a kernel has the name of the table it is given, which is declared later: -Wshadow knows.
        "--suppress=shadowVariable",
        "-D__GNUC__=12", "-U__cplusplus", *INCLUDES, *SOURCES,
    ]  # fmt: skip
    found = set()
    for project in projects.values():
        for line in run(command, project).stderr.splitlines():
            file, kind = line.split("\t")
            found.add((kind, Path(file).name))
    return found


def test_cppcheck_finds_nothing_but_deviations_from_misra(findings: set[tuple[str, str]]) -> None:
    assert {finding for finding in findings if not finding[0].startswith("misra-c2012-")} == set()


def test_every_deviation_from_misra_is_listed_and_real(findings: set[tuple[str, str]]) -> None:
    found = {(kind.removeprefix("misra-c2012-"), file) for kind, file in findings if kind.startswith("misra")}
    listed = {(rule, file) for rule, _, files, _ in table() for file in files}
    assert (sorted(found - listed), sorted(listed - found)) == ([], [])


def test_the_list_of_deviations_is_in_order_and_gives_reasons() -> None:
    rules = [rule for rule, _, _, _ in table()]
    assert rules == sorted(set(rules), key=lambda rule: [int(part) for part in rule.split(".")])
    for rule, category, files, reason in table():
        assert category in ("mandatory", "required", "advisory"), rule
        assert files == sorted(files), rule
        assert len(reason) > 20, rule


def table() -> list[tuple[str, str, list[str], str]]:
    """The rows of docs/misra.md: rule, category, files, reason."""
    text = (ROOT / "docs" / "misra.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (\d+\.\d+) \| (\w+) \| ([^|]+) \| ([^|]+) \|$", text, re.MULTILINE)
    return [(rule, category, files.split(", "), reason) for rule, category, files, reason in rows]


def beside_python(tool: str) -> str:
    """A tool that pip installs: beside this Python, or else on the PATH."""
    found = shutil.which(tool, path=str(Path(sys.executable).parent)) or shutil.which(tool)
    if found is None:
        missing(tool)
    return str(found)


def said_by(command: Sequence[str], folder: Path) -> str:
    done = run(command, folder)
    return done.stdout + done.stderr


def run(command: Sequence[str], folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
