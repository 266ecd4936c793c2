"""The generated library as text and as object code: reproducible, clean, renamable, and what it says it is."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cffi
import numpy as np
import pytest
from emulated import M0, M4, compile_firmware
from hypothesis import given
from hypothesis import strategies as st
from models import LIVE, RECURRENT, small_model, sound
from needs import need, need_host_compiler
from sample_models import SETTINGS, sample_model

from lsm_edge.assets import asset
from lsm_edge.board import Board, load_board
from lsm_edge.errors import ConfigError, RangeError
from lsm_edge.files import write_atomically
from lsm_edge.golden import run_clips
from lsm_edge.target import codegen
from lsm_edge.target.codegen import KERNELS, check_fit, generate_library, generate_project, write_files
from lsm_edge.target.context import context_bytes, context_fields, kept_frames
from lsm_edge.target.emulate import Emulator
from lsm_edge.target.faults import table_faults

WARNINGS = ["-Wall", "-Wextra", "-Wconversion", "-Wpedantic", "-Wshadow", "-Werror"]
ARM = {
    "m4": ["-mcpu=cortex-m4", "-mthumb", "-mfloat-abi=soft"],
    "m0plus": ["-mcpu=cortex-m0plus", "-mthumb"],
}
HOSTILE = [
    "*/", '"', "\\", "??/", "%s%n", "🦊", "int", "lsm_push", "lsm.h", "LSM_H", "a" * 64, "été", "1", "0x", "'",
    "/* */ //", "\u202etxet", "#define x", "\\012", "\u200d", " ", "?\\", "{{ 1 }}", "ÿ0",
]  # fmt: skip
FREESTANDING = ["-ffreestanding", f"-I{asset('firmware') / 'port'}"]


def compiled(command: Sequence[str], folder: Path, *arguments: str) -> None:
    """Run a compiler in `folder`; it must not say anything."""
    done = subprocess.run([*command, *arguments], cwd=folder, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def written(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8")
    return folder


@pytest.fixture(scope="module", params=SETTINGS)
def library(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The library of a sample model, in a folder named after it."""
    return written(tmp_path_factory.mktemp(request.param), generate_library(sample_model(request.param)))


def test_the_same_model_is_the_same_text(tmp_path: Path, root: Path) -> None:
    """Also in another process, in another folder, with other hashes."""
    want = repr(sorted(generate_library(sample_model("endpointer")).items()))
    script = (
        "from sample_models import sample_model\nfrom lsm_edge.target.codegen import generate_library\n"
        "print(repr(sorted(generate_library(sample_model('endpointer')).items())))"
    )
    for seed in ("0", "1"):
        environment = {"PYTHONHASHSEED": seed, "PYTHONPATH": f"{root}:{root / 'tests'}", "PYTHONIOENCODING": "utf-8"}
        done = subprocess.run(
            [sys.executable, "-c", script], cwd=tmp_path, env=environment, check=True, capture_output=True, text=True
        )
        assert done.stdout.rstrip("\n") == want


def test_a_kernel_is_shipped_as_it_is() -> None:
    library = generate_library(small_model())
    for name in KERNELS:
        assert library[name] == (asset("firmware") / "kernels" / name).read_text(encoding="utf-8")


def test_the_banner_names_command_model_and_sources() -> None:
    model = small_model()
    library = generate_library(model, command="lsm-edge generate --board x --model a.lsm")
    for name in ("lsm.h", "lsm.c"):
        banner = library[name].partition("*/")[0]
        assert "lsm-edge generate --board x --model a.lsm" in banner
        assert f"model {model.digest[:12]}" in banner
    assert f'"{model.digest}"' in library["lsm.c"]


def test_no_clock_and_no_place(root: Path) -> None:
    for text in generate_library(small_model()).values():
        assert str(root) not in text
        assert str(Path.home()) not in text
        assert not re.search(r"\b20\d\d-\d\d|\b\d\d:\d\d:\d\d|__DATE__|__TIME__|__FILE__", text)


def test_lines_are_short() -> None:
    for text in generate_library(small_model(encoder={"kind": "delta"}, reservoir=RECURRENT)).values():
        assert max(map(len, text.splitlines())) <= 124
        assert text.endswith("\n")
        assert "\t" not in text


@pytest.mark.parametrize("compiler", ["gcc", "clang"])
@pytest.mark.parametrize("level", ["-O0", "-O2"])
def test_no_warning_on_this_machine(library: Path, compiler: str, level: str) -> None:
    compiled([need(compiler), "-std=c99", *WARNINGS, level], library, "-c", "lsm.c", "-o", f"{compiler}{level}.o")


@pytest.mark.parametrize("core", ARM)
@pytest.mark.parametrize("level", ["-Os", "-O2"])
def test_no_warning_and_no_foreign_symbol_on_arm(library: Path, core: str, level: str) -> None:
    """Nothing is exported but `lsm_*`; nothing is needed but memory moves and the compiler's integer helpers."""
    gcc, nm = need("arm-none-eabi-gcc"), need("arm-none-eabi-nm")
    output = f"{core}{level}.o"
    compiled([gcc, *ARM[core], "-std=c99", *WARNINGS, level, *FREESTANDING], library, "-c", "lsm.c", "-o", output)
    exported, needed = symbols(nm, library / output)
    assert all(name.startswith("lsm_") for name in exported)
    helpers = r"mem(cpy|move|set)|__aeabi_(u?idiv(mod)?|u?ldivmod|lmul|ll?s[lr]|lasr|mem\w+)|__gnu_thumb1_case_\w+"
    assert [name for name in needed if not re.fullmatch(helpers, name)] == []


def test_no_foreign_symbol_on_this_machine(library: Path) -> None:
    compiled([need("gcc"), "-std=c99", "-O2", "-fno-stack-protector", "-fno-pie"], library, "-c", "lsm.c", "-o", "nm.o")
    exported, needed = symbols(need("nm"), library / "nm.o")
    speaks = ["lsm_confidence_q15"] if "LSM_CERTAIN" in (library / "lsm.h").read_text(encoding="utf-8") else []
    assert exported == [
        "lsm_begin", "lsm_class", *speaks, "lsm_end", "lsm_init", "lsm_labels", "lsm_model_digest", "lsm_push",
        "lsm_scores", "lsm_selftest",
    ]  # fmt: skip
    assert set(needed) <= {"memcpy", "memmove", "memset"}


def symbols(nm: str, path: Path) -> tuple[list[str], list[str]]:
    """Global symbols that are defined, and those that are not."""
    lines = subprocess.run([nm, "-g", "-P", path], check=True, capture_output=True, text=True).stdout.splitlines()
    names = [line.split()[:2] for line in lines]
    return sorted(name for name, kind in names if kind != "U"), sorted(name for name, kind in names if kind == "U")


@pytest.mark.parametrize("core", ARM)
def test_tables_can_lie_in_ram(core: str, tmp_path: Path) -> None:
    model = sample_model("endpointer")
    written(tmp_path, generate_library(model))
    in_ram = [need("arm-none-eabi-gcc"), *ARM[core], "-std=c99", "-O3", "-DLSM_TABLE=static", *FREESTANDING]
    compiled(in_ram, tmp_path, "-c", "lsm.c")
    said = subprocess.run([need("arm-none-eabi-size"), tmp_path / "lsm.o"], check=True, capture_output=True, text=True)
    n_data_bytes = int(said.stdout.splitlines()[1].split()[1])
    assert model.table_bytes <= n_data_bytes < model.table_bytes + 64


@pytest.mark.parametrize("core", ARM)
@pytest.mark.parametrize("name", SETTINGS)
def test_the_context_is_as_large_as_is_said(name: str, core: str, tmp_path: Path) -> None:
    """Every field where it is said to be, without padding but at the end."""
    model = sample_model(name)
    written(tmp_path, generate_library(model))
    checks, offset = ['#include "lsm.h"'], 0
    for field in context_fields(model, dsp=False):
        checks.append(f"typedef char at_{field.name}[offsetof(lsm_t, {field.name}) == {offset} ? 1 : -1];")
        offset += field.n_bytes
    checks.append(f"typedef char size[sizeof(lsm_t) == {context_bytes(model, dsp=False)} ? 1 : -1];")
    (tmp_path / "check.c").write_text("\n".join(checks), encoding="utf-8")
    compiled([need("arm-none-eabi-gcc"), *ARM[core], "-std=c99", *FREESTANDING], tmp_path, "-c", "check.c")
    header = (tmp_path / "lsm.h").read_text(encoding="utf-8")
    assert f"{context_bytes(model, dsp=False)} bytes on a 32-bit core" in header


@pytest.mark.parametrize(
    "command", [["g++", "-std=c++11", "-xc++"], ["clang", "-std=c++11", "-xc++"], ["gcc", "-std=c99", "-xc"]]
)
def test_the_header_is_c_and_cpp(library: Path, command: list[str]) -> None:
    """Alone, and twice."""
    main = "int main(void) { static lsm_t a; lsm_init(&a); return lsm_class(&a) + 1; }\n"
    source = 2 * '#include "lsm.h"\n' + main
    (library / "header.txt").write_text(source, encoding="utf-8")
    flags = ["-Wall", "-Wextra", "-Wpedantic", "-Werror", "-fsyntax-only"]
    compiled([need(command[0]), *command[1:], *flags], library, "header.txt")


def test_two_models_in_one_program(tmp_path: Path) -> None:
    """Two prefixes, linked together, each answering for itself."""
    program = ['#include "kws.h"', '#include "gesture2.h"', "#include <stdio.h>"]
    body = []
    for prefix, name in (("kws", "endpointer"), ("gesture2", "live-delta")):
        folder = tmp_path / prefix
        folder.mkdir()
        files = generate_library(sample_model(name), prefix=prefix)
        assert {f"{prefix}.h", f"{prefix}.c", f"{prefix}_tables.h", *KERNELS} == set(files)
        assert not any(re.search(r"\blsm_|\bLSM_", text) for text in files.values())
        written(folder, files)
        body.append(f'{{ static {prefix}_t a; printf("%d %s\\n", {prefix}_selftest(&a), {prefix}_model_digest); }}')
    program.append(f"int main(void) {{ {' '.join(body)} return 0; }}")
    (tmp_path / "main.c").write_text("\n".join(program), encoding="utf-8")
    sources = ["main.c", "kws/kws.c", "gesture2/gesture2.c"]
    compiled([need("gcc"), "-std=c99", *WARNINGS, "-Ikws", "-Igesture2"], tmp_path, *sources, "-o", "main")
    said = subprocess.run([tmp_path / "main"], check=True, capture_output=True, text=True).stdout
    assert said.splitlines() == [f"1 {sample_model(name).digest}" for name in ("endpointer", "live-delta")]


@pytest.mark.parametrize("prefix", ["", "Kws", "1x", "a-b", "a" * 17, "../a", "kws\n", "_a", "ä"])
def test_prefixes_that_are_no_names(prefix: str) -> None:
    with pytest.raises(ConfigError, match="must be a lower-case C identifier"):
        generate_library(small_model(), prefix=prefix)


@pytest.mark.parametrize("prefix", ["size", "int16", "uint8", "string", "stdint", "fixed", "frontend", "mel", "crc32"])
def test_prefixes_that_mean_something_already(prefix: str) -> None:
    """`size_t` would become the context, `fixed.h` the header."""
    with pytest.raises(ConfigError, match=rf"--prefix {prefix}: the library uses"):
        generate_library(small_model(), prefix=prefix)


def test_a_command_may_name_the_prefix() -> None:
    command = "lsm-edge generate --model kws_small.lsm --prefix kws"
    assert command in generate_library(small_model(), command=command, prefix="kws")["kws.c"]


@pytest.mark.parametrize("prefix", ["lsm", "kws"])
def test_labels_come_back_unchanged(prefix: str, tmp_path: Path) -> None:
    written(tmp_path, generate_library(small_model(labels=HOSTILE), prefix=prefix))
    flags = ["-std=c99", *WARNINGS, "-fPIC", "-shared", "-trigraphs"]
    compiled([*need_host_compiler(), *flags], tmp_path, f"{prefix}.c", "-o", "labels.so")
    ffi = cffi.FFI()
    ffi.cdef(f"extern const char *const {prefix}_labels[{len(HOSTILE)}];")
    labels = getattr(ffi.dlopen(str(tmp_path / "labels.so")), f"{prefix}_labels")
    assert [ffi.string(label).decode() for label in labels] == HOSTILE


@given(st.text())
def test_any_text_is_a_string_of_plain_characters(text: str) -> None:
    """Nothing that C, a preprocessor, an editor or `--prefix` could take for something else."""
    try:
        encoded = text.encode()
    except UnicodeEncodeError:
        return
    literal = codegen.c_string(text)
    assert re.fullmatch(r'"(?:[A-Za-z0-9 ,-]|\\[0-7]{3})*"', literal)
    back = re.sub(rb"\\([0-7]{3})", lambda octal: bytes([int(octal[1], 8)]), literal[1:-1].encode())
    assert back == encoded


@pytest.mark.parametrize("command", ["*/ int x; /*", "a\nb", "a \\", "??/", "é🦊", "$(rm -rf /)", "a\rb"])
def test_no_command_leaves_its_comment(command: str, tmp_path: Path) -> None:
    written(tmp_path, generate_library(small_model(), command=command))
    compiled([need("gcc"), "-std=c99", "-trigraphs", *WARNINGS], tmp_path, "-fsyntax-only", "lsm.c")
    assert command not in (tmp_path / "lsm.c").read_text(encoding="utf-8")


def test_tables_say_their_range_and_why_they_cannot_overflow() -> None:
    text = generate_library(small_model(reservoir=RECURRENT))["lsm_tables.h"]
    for name in ("tap_weight", "recurrent_weight", "readout_weight", "mel_weight_q8"):
        comment = re.search(rf"/\* {name}: .*?\*/", text, re.DOTALL)
        assert comment is not None
        assert re.search(r"int\d+_t\s+(\*\s+)?cannot\s+(\*\s+)?overflow", comment.group())


def test_a_model_that_could_overflow_is_not_generated() -> None:
    model = small_model(readout={"state": "trace"})
    readout = model.manifest.readout.model_copy(update={"trace_gain": 65535})
    object.__setattr__(model, "manifest", model.manifest.model_copy(update={"readout": readout}))
    with pytest.raises(RangeError, match="a spike trace"):
        generate_library(model)


def test_a_model_that_does_not_fit_is_refused_with_its_sizes() -> None:
    board = load_board("nucleo_g071rb")
    large = small_model(reservoir={"n_neurons": 4096}, readout={"n_windows": 8})
    with pytest.raises(RangeError) as error:
        generate_project(large, board)
    said = str(error.value)
    assert f"does not fit nucleo_g071rb: tables take {large.table_bytes:,} of 131,072 bytes of flash" in said
    assert f"{context_bytes(large, dsp=False):,} of 36,864 bytes of RAM" in said
    lines = re.findall(r"^  (\w+) +([\d,]+) bytes$", said, re.MULTILINE)
    assert {name: int(size.replace(",", "")) for name, size in lines} == {
        name: table.nbytes for name, table in large.tables.items()
    }
    assert [int(size.replace(",", "")) for _, size in lines] == sorted(
        (t.nbytes for t in large.tables.values()), reverse=True
    )
    check_fit(large, load_board("nucleo_l476rg"))


def test_files_are_written_and_identical_ones_left_untouched(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "project"
    write_files(folder, {"a.txt": "a\n", "lib/b.txt": "b\n"})
    assert {path.name: path.read_text() for path in folder.rglob("*.txt")} == {"a.txt": "a\n", "b.txt": "b\n"}
    before = (folder / "a.txt").stat()
    write_files(folder, {"a.txt": "a\n", "lib/b.txt": "B\n", "src/c.txt": "c\n"})
    after = (folder / "a.txt").stat()
    assert (after.st_mtime_ns, after.st_ino) == (before.st_mtime_ns, before.st_ino)
    assert (folder / "lib" / "b.txt").read_text() == "B\n"
    assert (folder / "src" / "c.txt").read_text() == "c\n"
    assert list(folder.parent.iterdir()) == [folder]


@pytest.mark.parametrize("there_before", [False, True])
def test_a_failure_writes_nothing(there_before: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "project"
    if there_before:
        write_files(folder, {"a.txt": "old", "b.txt": "old"})

    def failing(path: Path, data: bytes) -> None:
        if path.name == "b.txt":
            raise ConfigError("the disk is full")
        write_atomically(path, data)

    monkeypatch.setattr(codegen, "write_atomically", failing)
    with pytest.raises(ConfigError, match="the disk is full"):
        write_files(folder, {"a.txt": "new", "b.txt": "new"})
    assert {path.name: path.read_text() for path in tmp_path.rglob("*.txt")} == (
        {"a.txt": "old", "b.txt": "old"} if there_before else {}
    )
    assert list(tmp_path.iterdir()) == ([folder] if there_before else [])


def test_places_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="file: is a file; the project needs a folder"):
        write_files(tmp_path / "file", {"a": ""})
    with pytest.raises(ConfigError, match="cannot be written"):
        write_files(tmp_path / "file" / "below", {"a": ""})
    (tmp_path / "project" / "b").mkdir(parents=True)
    with pytest.raises(ConfigError, match="b: is a folder"):
        write_files(tmp_path / "project", {"a": "new", "b": ""})
    assert not (tmp_path / "project" / "a").exists()


@pytest.mark.parametrize(
    ("values", "rows"),
    [([1, -20, 3], "      1, -20,   3,"), ([0], "    0,"), (list(range(100, 140)), None), ([-(2**31)] * 30, None)],
)
def test_rows_are_aligned(values: list[int], rows: str | None) -> None:
    text = codegen._c_rows(values)
    assert rows is None or text == rows
    assert [int(word) for word in re.findall(r"-?\d+", text)] == values
    assert max(map(len, text.splitlines())) <= 110


@pytest.mark.parametrize("n_neurons", [64, 66, 129])
@pytest.mark.parametrize("board", [M0, M4], ids=lambda board: str(board.core))
def test_blocks_of_four_are_packed(n_neurons: int, board: Board, tmp_path: Path) -> None:
    """Where blocks are delivered, an index stands for four targets; all taps and the self-test stay what they are."""
    recurrent = {"topology": {"kind": "blocks", "fan_in": 16}, "max_delay_steps": 2}
    model = small_model(reservoir={"n_neurons": n_neurons, **recurrent})
    n_synapses, packs = model.manifest.reservoir.n_synapses, board.dsp or n_neurons % 2 == 0
    library = generate_library(model, form="dsp" if board.dsp else "portable")
    assert f"uint16_t recurrent_target[{n_synapses // 4 if packs else n_synapses}]" in library["lsm_tables.h"]
    assert f"deliver_{'blocks' if packs else 'spikes'}{'_dsp' * board.dsp}(lsm->" in library["lsm.c"]
    emulator = Emulator(model, compile_firmware(model, board, tmp_path), board)
    assert emulator.selftest() == 1
    clip = sound(1, 12)
    want, got = run_clips(model, [clip])[0].taps, emulator.tap(clip)
    assert want["reservoir.spikes"].any()
    assert all((got[name] == want[name]).all() for name in want)


@pytest.mark.parametrize(("leaks", "shift"), [([24576], 2), ([32764], 13), ([32766], 0), ([24576, 28672], 0)])
@pytest.mark.parametrize(("weight", "is_wide"), [(64, 0), (65, 1)])
def test_what_depends_on_tables(leaks: list[int], shift: int, weight: int, is_wide: int) -> None:
    """Leaks that are a shift, and drives in [-2^14, 2^14), may be taken two at once."""
    taps = {"kind": "current", "n_taps": 2, "shift": 0}
    tables = {"leak_q15": np.resize(leaks, 20), "tap_weight": [[weight, 0]] * 20}
    model = small_model(encoder=taps, reservoir={"n_neurons": 20}, tables=tables)
    assert re.search(rf", {shift}U, {is_wide}, 1\);", generate_library(model)["lsm.c"])


# Three taps of zero sum fit 16 bits; of each band 12 frames are kept twice, and a segment has at most 30.
BY_BAND: dict[str, Any] = {
    "encoder": {"kind": "current", "n_taps": 3, "max_delay_frames": 5, "shift": 1, "spans": "fixed"},
    "reservoir": {"n_neurons": 33},
}


@pytest.mark.parametrize("n_neurons", [5, 34])
def test_taps_read_by_band(n_neurons: int, tmp_path: Path) -> None:
    """Where a twin takes four frames in halves of words; all taps and the self-test stay what they are."""
    model = small_model(**{**BY_BAND, "reservoir": {"n_neurons": n_neurons}})
    kept = kept_frames(model, dsp=True)
    assert kept == 12
    written(tmp_path, generate_library(model, form="dsp"))
    warnings = [*WARNINGS, "-Wsign-conversion", "-Wcast-align", "-Wcast-qual"]
    compiled([need("gcc"), "-std=c99", *warnings], tmp_path, "-fsyntax-only", "lsm.c")
    compiled([need("arm-none-eabi-gcc"), *ARM["m4"], *warnings, *FREESTANDING], tmp_path, "-fsyntax-only", "lsm.c")
    text = (tmp_path / "lsm.h").read_text(encoding="utf-8")
    assert f"{context_bytes(model, dsp=True)} bytes on a 32-bit core" in text
    assert context_bytes(model, dsp=True) - context_bytes(model, dsp=False) == 2 * 12 * 8
    (tmp_path / "project").mkdir()
    emulator = Emulator(model, compile_firmware(model, M4, tmp_path / "project"), M4)
    assert emulator.selftest() == 1
    for n_frames in (1, 12, 30):
        clip = sound(1, n_frames)
        want, got = run_clips(model, [clip])[0].taps, emulator.tap(clip)
        assert want["encoder.current"].any()
        assert all((got[name] == want[name]).all() for name in want)
    coverage = table_faults(emulator, most=500)
    assert coverage.noticed == coverage.flipped == 500


@pytest.mark.parametrize(
    "changes",
    [
        {"tables": {"tap_weight": 127}},
        {"encoder": {**BY_BAND["encoder"], "max_delay_frames": 12}},
        {"encoder": {"kind": "delta"}},
        LIVE,
    ],
    ids=["sums-of-17-bits", "more-than-a-segment", "delta", "live"],
)
def test_taps_read_frame_by_frame_otherwise(changes: dict[str, Any]) -> None:
    model = small_model(**{**BY_BAND, **changes})
    assert kept_frames(model, dsp=True) == 0
    library = generate_library(model, form="dsp")
    assert "by_band" not in library["lsm.h"] + library["lsm.c"]
    assert f"{context_bytes(model, dsp=False)} bytes on a 32-bit core" in library["lsm.h"]
