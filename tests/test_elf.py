"""An ELF as facts, from two compilers, and what is said of one that cannot be used."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from emulated import M4, change_elf, compile_firmware, compile_with_zig, model_of, second_library

from lsm_edge.errors import BuildError
from lsm_edge.target.context import context_bytes, context_fields
from lsm_edge.target.elf import Elf

MODEL = model_of("endpointer")
KEEP = ("init", "begin", "push", "end", "class", "scores", "selftest")


@pytest.fixture(scope="session")
def gcc_elf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Firmware with two models: `lsm`, and `other`."""
    keep = [f"-Wl,--undefined=other_{name}" for name in KEEP]
    more = second_library(model_of("counts"), "other")
    return compile_firmware(MODEL, M4, tmp_path_factory.mktemp("two"), flags=["-O2", *keep], more=more)


@pytest.fixture(scope="session")
def zig_elf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return compile_with_zig(MODEL, M4, tmp_path_factory.mktemp("zig"))


@pytest.mark.parametrize("which", ["gcc_elf", "zig_elf"])
def test_layout_of_the_context(which: str, request: pytest.FixtureRequest) -> None:
    """Every field is where the declared types say, without padding."""
    struct = Elf(request.getfixturevalue(which)).struct("lsm_t", "lsm.c")
    offset_bytes = 0
    for field in context_fields(MODEL, dsp=M4.dsp):
        assert (struct.fields[field.name].offset, struct.fields[field.name].size) == (offset_bytes, field.n_bytes)
        offset_bytes += field.n_bytes
    assert struct.size == context_bytes(MODEL, dsp=M4.dsp)


@pytest.mark.parametrize("which", ["gcc_elf", "zig_elf"])
def test_symbols_and_bytes(which: str, request: pytest.FixtureRequest) -> None:
    """Functions are found without their Thumb bit, tables with what they hold."""
    elf = Elf(request.getfixturevalue(which))
    assert elf.text("lsm_model_digest") == MODEL.digest
    push = elf.symbol("lsm_push")
    assert push.is_function
    assert push.address % 2 == 0
    assert elf.place(push.address + 2) == "lsm_push+0x2"
    assert elf.place(0xFFFF_FFF0) == "no function"
    table = elf.symbol("threshold", "lsm.c")
    assert elf.read(table.address, table.size) == MODEL["threshold"].tobytes()
    assert all(elf.functions(f"lsm_{stage}", "lsm.c") for stage in ("frontend", "encoder", "reservoir", "readout"))


def test_names_that_two_models_share(gcc_elf: Path) -> None:
    """Both libraries have a table of each name; the source file tells them apart, and without it nobody guesses."""
    elf, other = Elf(gcc_elf), model_of("counts")
    table = elf.symbol("threshold", "other.c")
    assert elf.read(table.address, table.size) == other["threshold"].tobytes()
    assert elf.struct("other_t", "other.c").size == context_bytes(other, dsp=False)
    with pytest.raises(BuildError, match="has 2 symbols threshold"):
        elf.symbol("threshold")


def test_variables_start_as_zeros(gcc_elf: Path) -> None:
    """.bss takes no room in the file, and is zero when `main` begins."""
    elf = Elf(gcc_elf)
    stream = elf.symbol("stream", "main.c")
    assert elf.read(stream.address, stream.size) == bytes(stream.size)
    with pytest.raises(BuildError, match="nothing at 0x00000000"):
        elf.read(0, 4)


def test_missing_names(gcc_elf: Path) -> None:
    elf = Elf(gcc_elf)
    assert elf.functions("lsm_nothing") == []
    with pytest.raises(BuildError, match="no symbol lsm_nothing"):
        elf.symbol("lsm_nothing")
    with pytest.raises(BuildError, match="no debug information about no_such_t"):
        elf.struct("no_such_t", "lsm.c")


def test_stripped(gcc_elf: Path, tmp_path: Path) -> None:
    with pytest.raises(BuildError, match="has no symbols"):
        Elf(change_elf(gcc_elf, tmp_path / "bare.elf", remove=["--strip-all"]))
    elf = Elf(change_elf(gcc_elf, tmp_path / "nodebug.elf", remove=["--strip-debug"]))
    with pytest.raises(BuildError, match="compile with -g"):
        elf.struct("lsm_t", "lsm.c")


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda data: b"", "not an ELF"),
        (lambda data: b"int main(void) { return 0; }", "not an ELF"),
        (lambda data: data[:40], "not an ELF"),
        (lambda data: data[: len(data) // 2], "not an ELF"),
        (lambda data: data[:18] + b"\x3e\x00" + data[20:], "must be an executable for Arm"),
        (lambda data: data[:16] + b"\x01\x00" + data[18:], "must be an executable for Arm"),
    ],
)
def test_damaged_or_foreign(gcc_elf: Path, tmp_path: Path, damage: Callable[[bytes], bytes], said: str) -> None:
    path = tmp_path / "firmware.elf"
    path.write_bytes(damage(gcc_elf.read_bytes()))
    with pytest.raises(BuildError, match=said):
        Elf(path)


def test_damaged_debug_information(gcc_elf: Path, tmp_path: Path) -> None:
    noise = tmp_path / "noise"
    noise.write_bytes(b"\xff" * 4096)
    elf = Elf(change_elf(gcc_elf, tmp_path / "firmware.elf", remove=[f"--update-section=.debug_abbrev={noise}"]))
    with pytest.raises(BuildError, match="debug information"):
        elf.struct("lsm_t", "lsm.c")


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(BuildError, match="run lsm-edge build first"):
        Elf(tmp_path / "firmware.elf")
    with pytest.raises(BuildError, match="cannot be read"):
        Elf(tmp_path)
