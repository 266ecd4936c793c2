"""QEMU, an emulator that knows nothing of the first one: the library's taps, and a whole image on its serial port.

Two ways. `QemuCore` compiles the generated library into a small program (`firmware/qemu/`) for a machine of the wanted
core; the program writes every tap to a file of this computer through semihosting. `run_console` boots the very image
that would be flashed and talks to it as a computer talks to the board, so start-up code and console are run, too.
"""

from __future__ import annotations

import binascii
import importlib.util
import os
import re
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lsm_edge.assets import asset
from lsm_edge.board import Board
from lsm_edge.errors import BuildError, MismatchError
from lsm_edge.files import cache_folder
from lsm_edge.golden import TAPS, Taps
from lsm_edge.model import Model
from lsm_edge.target.build import Toolchain, find_toolchain
from lsm_edge.target.codegen import generate_library
from lsm_edge.target.native import tap_shapes

RUN_LIMIT_S: Final = 600.0
ANSWER_LIMIT_S: Final = 60.0


@dataclass(frozen=True)
class Machine:
    """What QEMU calls a machine, its core as compilers call it, and where code and data go."""

    id: str
    core: str
    code_address: int
    code_bytes: int
    ram_address: int
    ram_bytes: int
    arguments: tuple[str, ...] = ()

    @property
    def program(self) -> str:
        """The emulator's command."""
        return "qemu-system-riscv32" if self.core == "riscv32" else "qemu-system-arm"


_KIB, _MIB = 1 << 10, 1 << 20
_NRF51_BYTES: Final = ("-global", f"nrf51-soc.flash-size={_MIB}", "-global", f"nrf51-soc.sram-size={128 * _KIB}")
# Memory maps: QEMU's hw/arm/nrf51_soc.c (here with more memory than a micro:bit has), mps2.c, mps2-tz.c (secure
# addresses: the core starts there), hw/riscv/virt.c (one memory, cut in two).
MACHINES: Final[Mapping[str, Machine]] = {
    machine.id: machine
    for machine in (
        Machine("microbit", "cortex-m0", 0, _MIB, 0x20000000, 128 * _KIB, _NRF51_BYTES),
        Machine("mps2-an385", "cortex-m3", 0, 4 * _MIB, 0x20000000, 4 * _MIB),
        Machine("mps2-an386", "cortex-m4", 0, 4 * _MIB, 0x20000000, 4 * _MIB),
        Machine("mps2-an500", "cortex-m7", 0, 4 * _MIB, 0x20000000, 4 * _MIB),
        Machine("mps2-an505", "cortex-m33", 0x10000000, 4 * _MIB, 0x38000000, 2 * _MIB),
        Machine("virt", "riscv32", 0x80000000, 8 * _MIB, 0x80800000, 8 * _MIB, ("-bios", "none")),
    )
}
# Machines on which a board's own image runs: same flash, RAM and USART at the same places (hw/arm/stm32f405_soc.c).
CONSOLE_MACHINES: Final[Mapping[str, str]] = {"nucleo_f446re": "netduinoplus2"}

_FLAGS: Final = (
    "-std=c11",
    "-O2",
    "-Wall",
    "-Wextra",
    "-ffreestanding",
    "-finstrument-functions",
    "-DLSM_KERNEL=static inline __attribute__((no_instrument_function))",
    "-I.",
    "-nostdlib",
    "-Wl,--entry=reset",
    "-Wl,-T,machine.ld",
)
# Zig keeps frame pointers and checks unless told not to.
_ZIG: Final = ("-m", "ziglang", "cc", "-fomit-frame-pointer", "-fno-stack-protector", "-fno-sanitize=all")
_PACKAGES: Final = {
    "qemu-system-arm": "qemu-system-arm",
    "qemu-system-riscv32": "qemu-system-misc; in newer ones qemu-system-riscv",
    "arm-none-eabi-gcc": "gcc-arm-none-eabi",
}


def qemu_version(program: str = "qemu-system-arm") -> str:
    """Such as "7.2.22".

    Raises:
        BuildError: it is not installed, or does not say.
    """
    done = subprocess.run([_found(program), "--version"], capture_output=True, text=True, check=False)
    version = re.search(r"version (\d[\w.]*)", done.stdout)
    if version is None:
        raise BuildError(f"{program} --version says nothing about its version: {(done.stdout + done.stderr)[:200]!r}")
    return version[1]


def machine_for(board: Board) -> Machine:
    """The machine with the board's core.

    Raises:
        BuildError: QEMU has none.
    """
    core = "cortex-m0" if board.core == "cortex-m0plus" else board.core  # the same instructions
    for machine in MACHINES.values():
        if machine.core == core:
            return machine
    raise BuildError(f"board {board.id}: no machine of QEMU is known with a {board.core}")


class QemuCore:
    """A model's library on an emulated core; `library` is one that was generated before.

    The toolchain is that of an offline build if none is given; RISC-V is always compiled by zig.

    Raises:
        BuildError: QEMU or a compiler is missing, or the model does not fit the machine's memory.
    """

    def __init__(
        self,
        model: Model,
        machine: Machine,
        *,
        library: Mapping[str, str] | None = None,
        toolchain: Toolchain | None = None,
    ) -> None:
        self.model, self.machine = model, machine
        self.name = f"{machine.core} (qemu {qemu_version(machine.program)}, {machine.id})"
        self._program = _compiled(machine, library or generate_library(model), toolchain)

    def tap(self, samples: NDArray[np.int16], chunk: int | None = None) -> Taps:
        """One clip as one segment, in chunks of at most one hop; every tap of every step.

        Raises:
            MismatchError: the library fails, refuses, does not return, or leaves more or fewer integers than it should.
        """
        recording = struct.pack("<I", chunk or self.model.manifest.frontend.hop_samples)
        recording += np.ascontiguousarray(samples, "<i2").tobytes()
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary)
            (folder / "taps.elf").write_bytes(self._program)
            (folder / "recording").write_bytes(recording)
            self._run(folder)
            taps: Taps = {}
            for name, shape in tap_shapes(self.model, len(samples)).items():
                data, n_bytes = (folder / name).read_bytes(), int(np.prod(shape)) * np.dtype(TAPS[name]).itemsize
                if len(data) != n_bytes:
                    raise MismatchError(f"{self.name}: leaves {len(data)} bytes of {name}, expected {n_bytes}")
                taps[name] = np.frombuffer(data, TAPS[name]).reshape(shape)
        return taps

    def _run(self, folder: Path) -> None:
        semihosting = ("-semihosting-config", "enable=on,target=native")
        command = [*_emulator(self.machine.program, self.machine.id), *self.machine.arguments, *semihosting]
        command += ["-serial", "none", "-kernel", "taps.elf"]
        try:
            done = subprocess.run(
                command, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, timeout=RUN_LIMIT_S, check=False
            )
        except subprocess.TimeoutExpired:
            raise MismatchError(f"{self.name}: has not ended after {RUN_LIMIT_S:g} s") from None
        if done.returncode:
            raise MismatchError(f"{self.name}: {_first_line(done.stderr) or f'ends with code {done.returncode}'}")


class Answer(NamedTuple):
    """What a board said about a recording."""

    label: int
    scores: tuple[int, ...]


def run_console(model: Model, elf: Path, board: Board, recordings: Sequence[NDArray[np.int16]]) -> list[Answer]:
    """Boot the image of a board in `CONSOLE_MACHINES` and send it each recording as one segment, over the serial port.

    Raises:
        BuildError: QEMU or the image is missing, or QEMU has no such machine.
        MismatchError: the image holds another model, fails its self-test, refuses, or does not answer.
    """
    machine = CONSOLE_MACHINES.get(board.id)
    if machine is None:
        known = ", ".join(CONSOLE_MACHINES)
        raise BuildError(f"board {board.id}: no machine of QEMU is known to run its image; one is for {known}")
    if not elf.is_file():
        raise BuildError(f"{elf}: is not there; run lsm-edge build first")
    ours, theirs = socket.socketpair()
    with ours, theirs, tempfile.TemporaryFile() as errors:
        console = ["-chardev", f"socket,id=console,fd={theirs.fileno()}"]
        console += ["-serial", "null", "-serial", "chardev:console"]  # it is the second USART
        process = subprocess.Popen(
            [*_emulator("qemu-system-arm", machine), *console, "-kernel", str(elf.resolve())],
            stdin=subprocess.DEVNULL,
            stdout=errors,
            stderr=errors,
            pass_fds=[theirs.fileno()],
        )
        try:
            theirs.close()
            ours.settimeout(ANSWER_LIMIT_S)
            wire = _Wire(ours)
            wire.greet(model)
            return [wire.hear(model, samples) for samples in recordings]
        except (OSError, MismatchError) as error:
            errors.seek(0)
            said = _first_line(errors.read())
            raise MismatchError(f"{elf}: on {machine}: {error}" + (f" ({said})" if said else "")) from None
        finally:
            process.kill()
            process.wait()


class _Wire:
    """The computer's end of the wire that firmware/app/main.c describes."""

    def __init__(self, end: socket.socket) -> None:
        self._socket = end
        self._heard = b""

    def greet(self, model: Model) -> None:
        """Wait for the banner."""
        banner = self._line()
        said = dict(word.split("=", 1) for word in banner.split() if "=" in word)
        if said.get("model") != model.digest:
            raise MismatchError(f"its banner should name model {model.digest[:12]}, and is {banner!r}")
        if said.get("selftest") != "pass":
            raise MismatchError(f"its self-test does not pass: {banner!r}")

    def hear(self, model: Model, samples: NDArray[np.int16]) -> Answer:
        """Send a recording, one hop at a time; the decision at its end."""
        hop = model.manifest.frontend.hop_samples
        self._ask("i", "more")
        self._ask("b", "more")
        for start in range(0, len(samples), hop):
            self._ask("s", "more", "ready", samples=samples[start : start + hop])
        _, label, *rest = self._ask("e", "ready").split(" ", 2 + model.manifest.n_classes)
        return Answer(int(label), tuple(map(int, rest[: model.manifest.n_classes])))

    def _ask(self, operation: str, *allowed: str, samples: Sequence[int] | NDArray[np.int16] = ()) -> str:
        body = struct.pack(f"<cH{len(samples)}h", operation.encode(), len(samples), *samples)
        request = b"\xa5" + body + struct.pack("<H", binascii.crc_hqx(body, 0))
        for _ in range(3):
            self._socket.sendall(request)
            answer = self._line()
            if answer != "error frame":  # nothing was obeyed: the emulator was kept waiting for a byte
                break
        if answer.split(" ")[0] not in allowed:
            raise MismatchError(f"answers {answer!r} to operation {operation!r}")
        return answer

    def _line(self) -> str:
        while b"\n" not in self._heard:
            try:
                received = self._socket.recv(4096)
            except TimeoutError:
                raise MismatchError(f"has not answered for {ANSWER_LIMIT_S:g} s") from None
            if not received:
                raise MismatchError("the emulator has ended")
            self._heard += received
        line, _, self._heard = self._heard.partition(b"\n")
        return line.decode("utf-8", "replace")


def _emulator(program: str, machine: str) -> list[str]:
    return [_found(program), "-machine", machine, "-display", "none", "-monitor", "none"]


def _found(program: str) -> str:
    path = shutil.which(program)
    if path is None:
        raise BuildError(f"{program} is not installed (Debian and Ubuntu: apt install {_PACKAGES[program]})")
    return path


def _compiler(core: str, toolchain: Toolchain | None) -> list[str]:
    if core == "riscv32":
        toolchain, target = "zig", ["-target", "riscv32-freestanding-none", "-mcpu=generic_rv32+m+a+c"]
    elif (toolchain := toolchain or find_toolchain()) == "gcc":
        return [_found("arm-none-eabi-gcc"), f"-mcpu={core}", "-mthumb", "-mfloat-abi=soft"]
    else:
        target = ["-target", "thumb-freestanding-eabi", f"-mcpu={core.replace('-', '_')}"]
    if importlib.util.find_spec("ziglang") is None:
        raise BuildError(f"no compiler for a {core}: pip install 'lsm-edge[zig]'")
    return [sys.executable, *_ZIG, *target]


def _compiled(machine: Machine, library: Mapping[str, str], toolchain: Toolchain | None) -> bytes:
    """The ELF of the tap runner around `library`."""
    compiler = _compiler(machine.core, toolchain)
    firmware = asset("firmware")
    start = firmware / "qemu" / ("riscv.c" if machine.core == "riscv32" else "cortex_m.c")
    sources = [firmware / "qemu" / "taps.c", start, firmware / "port" / "mem.c"]
    headers = [firmware / "qemu" / "semihost.h", firmware / "port" / "string.h", asset("templates") / "taps.h"]
    numbers = {name: getattr(machine, name) for name in ("code_address", "code_bytes", "ram_address", "ram_bytes")}
    script = "".join(f"{name} = {value:#x};\n" for name, value in numbers.items())
    files = {**library, "machine.ld": script + (firmware / "qemu" / "taps.ld").read_text(encoding="utf-8")}
    files |= {path.name: path.read_text(encoding="utf-8") for path in (*sources, *headers)}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        for name, text in files.items():
            (folder / name).write_text(text, encoding="utf-8")
        command = [*compiler, *_FLAGS, *(path.name for path in sources), "-lgcc", "-o", "taps.elf"]
        environment = os.environ | {"ZIG_GLOBAL_CACHE_DIR": str(cache_folder().resolve() / "zig")}
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
        if done.returncode:
            raise BuildError(f"cannot compile the library for {machine.id} ({machine.core}):\n{done.stderr[-2000:]}")
        return (folder / "taps.elf").read_bytes()


def _first_line(said: bytes) -> str:
    return said.decode(errors="replace").strip().partition("\n")[0]
