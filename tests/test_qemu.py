"""The same taps from a second emulator, on every kind of core; and the image of a board, over its serial port."""

from __future__ import annotations

import dataclasses
import functools
import importlib.util
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from models import extremes, sound
from needs import missing, need
from numpy.typing import NDArray
from sample_models import sample_model

from lsm_edge.board import board_ids, load_board
from lsm_edge.errors import BuildError, MismatchError
from lsm_edge.golden import TAPS, Taps, run_clips
from lsm_edge.model import Model
from lsm_edge.target import qemu
from lsm_edge.target.build import build_project
from lsm_edge.target.codegen import generate_library, generate_project, write_files
from lsm_edge.target.qemu import MACHINES, QemuCore, machine_for, qemu_version, run_console

MICROBIT, M4 = MACHINES["microbit"], MACHINES["mps2-an386"]
SILENT = np.zeros(0, np.int16)


def need_package(name: str) -> None:
    if importlib.util.find_spec(name) is None:
        missing(name)


def need_machine(machine: qemu.Machine, toolchain: str = "gcc") -> None:
    need(machine.program)
    if machine.core == "riscv32" or toolchain == "zig":
        need_package("ziglang")
    else:
        need("arm-none-eabi-gcc")


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
    """No test touches the user's cache."""
    monkeypatch.setenv("LSM_EDGE_CACHE", str(cache))
    monkeypatch.delenv("LSM_EDGE_TOOLCHAIN", raising=False)


def golden(model: Model, samples: NDArray[np.int16]) -> Taps:
    return run_clips(model, [samples])[0].taps


def differing(one: Taps, other: Taps) -> list[str]:
    return [name for name in TAPS if not np.array_equal(one[name], other[name])]


@functools.cache
def arm_core(name: str) -> QemuCore:
    return QemuCore(sample_model(name), M4)


@pytest.mark.parametrize("name", ["endpointer", "delta"])
@pytest.mark.parametrize("machine", MACHINES.values(), ids=lambda machine: machine.id)
def test_every_core_leaves_the_golden_models_integers(machine: qemu.Machine, name: str) -> None:
    need_machine(machine)
    model, samples = sample_model(name), sound(1, 30)
    taps = QemuCore(model, machine).tap(samples)
    assert differing(taps, golden(model, samples)) == []
    assert {name: array.dtype.str for name, array in taps.items()} == {
        name: np.dtype(kind).str for name, kind in TAPS.items()
    }


def test_another_compiler_changes_nothing() -> None:
    need_machine(M4, "zig")
    model, samples = sample_model("live-delta"), sound(2, 20)
    assert differing(QemuCore(model, M4, toolchain="zig").tap(samples), golden(model, samples)) == []


@pytest.mark.parametrize("name", ["silence", "steepest", "slow square", "minus one"])
def test_extremes(name: str) -> None:
    need_machine(M4)
    core, samples = arm_core("segment"), extremes(1000)[name]
    assert differing(core.tap(samples), golden(core.model, samples)) == []


def test_a_recording_may_be_empty() -> None:
    need_machine(M4)
    core = arm_core("segment")
    assert differing(core.tap(SILENT), golden(core.model, SILENT)) == []


def test_chunks_change_nothing() -> None:
    need_machine(M4)
    core, samples = arm_core("segment"), sound(3, 15, rest=9)
    assert differing(core.tap(samples, chunk=7), core.tap(samples)) == []


def test_one_wrong_bit_is_seen() -> None:
    need_machine(M4)
    model, samples = sample_model("segment"), sound(2, 20)
    library = generate_library(model.replace(bias=model["bias"] ^ 1))
    taps = QemuCore(model, M4, library=library).tap(samples)
    assert differing(taps, golden(model, samples)) == ["readout.scores"]


def broken_core(code: str, machine: qemu.Machine) -> QemuCore:
    """`code` runs at the start of lsm_push()."""
    need_machine(machine)
    model = sample_model("segment")
    library = generate_library(model)
    begin = "    lsm_status_t status = LSM_MORE;\n"
    assert library["lsm.c"].count(begin) == 1
    return QemuCore(model, machine, library=library | {"lsm.c": library["lsm.c"].replace(begin, begin + code)})


@pytest.mark.parametrize("machine", [MICROBIT, MACHINES["virt"]], ids=lambda machine: machine.id)
def test_a_fault_is_told(machine: qemu.Machine) -> None:
    core = broken_core("__builtin_trap();", machine)
    with pytest.raises(MismatchError, match=rf"{machine.id}.*the core took an exception"):
        core.tap(sound(4, 5))


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("return LSM_ERR_STATE;", r"lsm_push\(\) refuses"),
        ("return LSM_MORE;", "leaves 0 bytes of frontend.frame, expected"),
        ('for (;;) { __asm__ volatile(""); }', "has not ended after 0.5 s"),
    ],
)
def test_a_library_that_does_not_do_its_work_is_told(code: str, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    core = broken_core(code, M4)
    monkeypatch.setattr(qemu, "RUN_LIMIT_S", 0.5)
    with pytest.raises(MismatchError, match=message):
        core.tap(sound(4, 5))


def test_a_chunk_of_more_than_a_hop_is_refused() -> None:
    need_machine(M4)
    with pytest.raises(MismatchError, match="LSM_HOP_SAMPLES at a time"):
        arm_core("segment").tap(sound(4, 5), chunk=2000)


@pytest.mark.parametrize("memory", ["code_bytes", "ram_bytes"])
def test_a_model_that_does_not_fit_is_refused(memory: str) -> None:
    need_machine(MICROBIT)
    small = dataclasses.replace(MICROBIT, **{memory: 2048})
    with pytest.raises(BuildError, match=r"microbit(?s:.*)the machine has too little"):
        QemuCore(sample_model("segment"), small)


@pytest.mark.parametrize("machine", [M4, MACHINES["virt"]], ids=lambda machine: machine.id)
def test_a_missing_tool_is_named(machine: qemu.Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(BuildError, match=f"{machine.program} is not installed .*apt install"):
        QemuCore(sample_model("segment"), machine)
    monkeypatch.setattr(qemu, "qemu_version", lambda program: "7")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    for toolchain in ("gcc", "zig", None):
        with pytest.raises(BuildError, match="install"):
            QemuCore(sample_model("segment"), machine, toolchain=toolchain)


def test_a_version_is_numbers() -> None:
    need("qemu-system-arm")
    assert qemu_version()[0].isdigit()


def test_every_board_has_a_machine() -> None:
    for board_id in board_ids():
        board = load_board(board_id)
        assert machine_for(board).core.removesuffix("plus") == board.core.removesuffix("plus")


Image = Callable[[str], tuple[Model, Path]]


@pytest.fixture(scope="session")
def image(tmp_path_factory: pytest.TempPathFactory, cache: Path) -> Image:
    """The firmware of a board, as it would be flashed."""

    @functools.cache
    def build(name: str) -> tuple[Model, Path]:
        need_machine(M4)
        need_package("SCons")
        model, board = sample_model(name), load_board("nucleo_f446re")
        project = tmp_path_factory.mktemp("project") / name
        write_files(project, generate_project(model, board))
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("LSM_EDGE_CACHE", str(cache))
            return model, build_project(project, board, offline=True).elf

    return build


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[subprocess.Popen[bytes]]:
    """Every process that was started."""
    processes: list[subprocess.Popen[bytes]] = []
    start = subprocess.Popen

    def spy(*args: Any, **kwargs: Any) -> subprocess.Popen[bytes]:
        processes.append(start(*args, **kwargs))
        return processes[-1]

    monkeypatch.setattr(subprocess, "Popen", spy)
    return processes


@pytest.mark.parametrize("name", ["endpointer", "live-delta"])
def test_a_boards_image_answers_as_the_golden_model(
    name: str, image: Image, started: list[subprocess.Popen[bytes]]
) -> None:
    model, elf = image(name)
    started.clear()
    recordings = [sound(5, 30), SILENT, extremes(1001)["noise"]]
    answers = run_console(model, elf, load_board("nucleo_f446re"), recordings)
    for answer, samples in zip(answers, recordings, strict=True):
        taps = golden(model, samples)
        assert answer == (taps["decision.class"][-1], tuple(taps["readout.scores"][-1].tolist()))
    assert [process.poll() is None for process in started] == [False]


def test_an_image_of_another_model_is_told(image: Image, started: list[subprocess.Popen[bytes]]) -> None:
    _, elf = image("endpointer")
    started.clear()
    with pytest.raises(MismatchError, match=r"firmware\.elf: on netduinoplus2: its banner should name model"):
        run_console(sample_model("live"), elf, load_board("nucleo_f446re"), [SILENT])
    assert [process.poll() is None for process in started] == [False]


def test_an_image_that_does_not_start_is_told(tmp_path: Path, started: list[subprocess.Popen[bytes]]) -> None:
    need("qemu-system-arm")
    elf = tmp_path / "firmware.elf"
    elf.write_bytes(bytes(64))
    with pytest.raises(MismatchError, match=r"the emulator has ended \(qemu: fatal: Lockup"):
        run_console(sample_model("segment"), elf, load_board("nucleo_f446re"), [])
    assert [process.poll() is None for process in started] == [False]


def test_a_silent_image_is_told(
    image: Image, monkeypatch: pytest.MonkeyPatch, started: list[subprocess.Popen[bytes]]
) -> None:
    model, elf = image("endpointer")
    started.clear()
    monkeypatch.setattr(qemu, "ANSWER_LIMIT_S", 1e-6)
    with pytest.raises(MismatchError, match="has not answered for 1e-06 s"):
        run_console(model, elf, load_board("nucleo_f446re"), [])
    assert [process.poll() is None for process in started] == [False]


def test_a_frame_that_came_too_slowly_is_sent_again() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(b"error frame\n" + b"more\n" + 3 * b"error frame\n")
        wire = qemu._Wire(ours)
        assert wire._ask("s", "more", samples=[1, -2]) == "more"
        once, again = theirs.recv(100).split(b"\xa5")[1:]
        assert once == again
        with pytest.raises(MismatchError, match="answers 'error frame' to operation 'e'"):
            wire._ask("e", "ready")


def test_a_failed_self_test_is_told() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        model = sample_model("segment")
        theirs.sendall(f"lsm-edge model={model.digest} selftest=answer\n".encode())
        with pytest.raises(MismatchError, match="its self-test does not pass"):
            qemu._Wire(ours).greet(model)


def test_console_needs_an_image_and_a_machine(tmp_path: Path) -> None:
    model = sample_model("segment")
    with pytest.raises(BuildError, match="is not there; run lsm-edge build first"):
        run_console(model, tmp_path / "firmware.elf", load_board("nucleo_f446re"), [])
    with pytest.raises(BuildError, match="board nucleo_g071rb: no machine"):
        run_console(model, tmp_path, load_board("nucleo_g071rb"), [])
