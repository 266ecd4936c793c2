"""What the golden model is compared with: compilers for this machine and for emulated cores. The matrix is data.

One more core is a line in `CORES`, one more compiler a line in `HOST_COMPILERS` or `CORE_COMPILERS` and in `LEVELS`.
"""

from __future__ import annotations

import importlib.util
import math
import platform
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

from lsm_edge.board import Board, load_board
from lsm_edge.errors import BuildError
from lsm_edge.model import Model
from lsm_edge.target.codegen import Form, generate_project, write_files
from lsm_edge.target.emulate import Emulator
from lsm_edge.target.native import Native

ZIG: Final = (sys.executable, "-m", "ziglang", "cc")
HOST_COMPILERS: Final[Mapping[str, tuple[str, ...]]] = {"gcc": ("gcc",), "clang": ("clang",), "zig": ZIG}
CORE_COMPILERS: Final[Mapping[str, tuple[str, ...]]] = {
    "gcc": ("arm-none-eabi-gcc", "-mthumb", "-mfloat-abi=soft", "-Wall", "-Wextra", "-Werror"),
    "zig": (  # as in firmware/platform/builder/main.py
        *ZIG, "-target", "thumb-freestanding-eabi", "-fomit-frame-pointer", "-fno-unwind-tables",
        "-fno-asynchronous-unwind-tables", "-fno-stack-protector", "-fno-sanitize=all",
    ),
}  # fmt: skip
LEVELS: Final[Mapping[str, tuple[str, ...]]] = {
    "gcc": ("-O0", "-Os", "-O2", "-O3"),
    "clang": ("-O0", "-Os", "-O2", "-O3"),
    "zig": ("-O0", "-Os", "-O2"),  # to which -O3 is -O2
}
CORES: Final[Mapping[str, str]] = {  # each with the Unicorn model that runs its instructions
    "cortex-m0plus": "UC_CPU_ARM_CORTEX_M0",
    "cortex-m3": "UC_CPU_ARM_CORTEX_M3",
    "cortex-m4": "UC_CPU_ARM_CORTEX_M4",
    "cortex-m7": "UC_CPU_ARM_CORTEX_M7",
    "cortex-m33": "UC_CPU_ARM_CORTEX_M33",
}
WITHOUT_DSP: Final = ("cortex-m0plus", "cortex-m3")

# As in templates/platformio.ini.j2 and firmware/port/link.py, but for the level.
_FIRMWARE_FLAGS: Final = (
    "-std=c99", "-g", "-ffreestanding", "-ffunction-sections", "-fdata-sections", "-Iinclude", "-Isrc", "-Ilib/lsm",
    "-nostdlib", "-Wl,--gc-sections", "-Wl,--entry=Reset_Handler", "-Tlinker.ld",
)  # fmt: skip
_FIRMWARE_SOURCES: Final = ("lib/lsm/lsm.c", "src/main.c", "src/startup.c", "src/mem.c", "src/console.c")


class Project:
    """A model's generated project, written out once for all cells of a form: portable, or with twins for DSP.

    Raises:
        RangeError: the model is one that is never generated.
    """

    def __init__(self, model: Model, folder: Path) -> None:
        self.model, self._folder = model, folder
        self._files = {form: generate_project(model, board_of("cortex-m4", form)) for form in ("portable", "dsp")}

    def library(self, form: Form) -> dict[str, str] | None:
        """The generated library; of the form for this machine there is none that ships."""
        inside, files = "lib/lsm/", self._files.get(form)
        return files and {name.removeprefix(inside): text for name, text in files.items() if name.startswith(inside)}

    def folder(self, form: Form) -> Path:
        """Where the project is; the cores' boards differ in compiler flags only."""
        folder = self._folder / form
        if not folder.exists():
            write_files(folder, self._files[form])
        return folder


@dataclass(frozen=True)
class Cell:
    """One compiler with its flags: for an emulated core, or for this machine if `core` is empty."""

    compiler: str
    flags: tuple[str, ...]
    core: str = ""
    form: Form = "portable"

    def __str__(self) -> str:
        flags = " ".join(self.flags)
        return f"{self.core or 'host'} {self.compiler} {flags}{'' if self.form == 'portable' else f', {self.form}'}"

    @property
    def missing_tool(self) -> str:
        """The compiler's name if it is not installed, else nothing."""
        program, *_ = (CORE_COMPILERS if self.core else HOST_COMPILERS)[self.compiler]
        if program == sys.executable:
            return "" if importlib.util.find_spec("ziglang") else "ziglang"
        return "" if shutil.which(program) else program

    def build(self, project: Project) -> Native | Emulator:
        """The project's library, compiled and ready to run.

        Raises:
            BuildError: the compiler is missing or refuses.
        """
        if self.missing_tool:
            raise BuildError(f"{self}: {self.missing_tool} is not installed")
        if self.core:
            return Emulator(project.model, self._firmware(project), board_of(self.core, self.form))
        compiler = HOST_COMPILERS[self.compiler]
        return Native(project.model, library=project.library(self.form), compiler=compiler, flags=self.flags)

    def _firmware(self, project: Project) -> Path:
        """The very project that would be flashed, compiled and linked in one go, without PlatformIO."""
        folder = project.folder(self.form)
        elf = folder / "firmware.elf"
        cpu = self.core.replace("-", "_") if self.compiler == "zig" else self.core
        command = [*CORE_COMPILERS[self.compiler], f"-mcpu={cpu}", *_FIRMWARE_FLAGS, *self.flags, *_FIRMWARE_SOURCES]
        command += ["-lgcc", "-o", elf.name]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
        if done.returncode:
            raise BuildError(f"{self} cannot compile the firmware:\n{done.stderr[-2000:]}")
        return elf


# Undefined behaviour ends the process at once: it is seen whatever it would have computed. (So does zig's -O0.)
_TRAPPING: Final = ("-O1", "-fsanitize=undefined", "-fsanitize-trap=all")

# Vectors of every width that lanes.h knows, whatever this machine's own is.
_VECTORS: Final = ("x86-64-v2", "x86-64-v3") if platform.machine() in ("x86_64", "AMD64") else ()

# Twins for DSP run on this machine too, instruction by instruction; on the M4 both forms do.
HOSTS: Final = (
    *(Cell(compiler, (level,)) for compiler in HOST_COMPILERS for level in LEVELS[compiler]),
    Cell("clang", _TRAPPING),
    Cell("gcc", ("-O2",), form="dsp"),
    Cell("clang", _TRAPPING, form="dsp"),
    *(Cell(compiler, ("-O3",), form="wide") for compiler in ("gcc", "clang")),
    *(Cell("gcc", ("-O3", f"-march={vectors}"), form="wide") for vectors in _VECTORS),
    Cell("clang", _TRAPPING, form="wide"),
)
EMULATED: Final = tuple(
    Cell(compiler, (level,), core, form)
    for compiler in CORE_COMPILERS
    for level in LEVELS[compiler]
    for core in CORES
    for form in ("portable", "dsp")
    if (form == "dsp") == (core not in WITHOUT_DSP) or core == "cortex-m4"
)


def cells_of(i: int) -> tuple[Cell, Cell]:
    """The cells that run model number i: each cell gets its turn, and after a while each with each."""
    lap = i // math.lcm(len(HOSTS), len(EMULATED))
    return HOSTS[i % len(HOSTS)], EMULATED[(i + lap) % len(EMULATED)]


@lru_cache
def board_of(core: str, form: Form = "portable") -> Board:
    """A board that no one sells: the core, with room for any model, and DSP instructions if the form needs them."""
    facts: dict[str, Any] = load_board("nucleo_f446re").model_dump()
    facts |= {"id": core.replace("-", "_"), "core": core, "dsp": form == "dsp"}
    facts["multiply_cycles"] = 1 if core.startswith("cortex-m0") else None
    facts |= {"compile_flags": [f"-mcpu={core}", "-mthumb"], "emulator": {"cpu": CORES[core]}}
    facts["flash"]["bytes"], facts["ram"]["bytes"] = 1 << 21, 1 << 20
    return Board.model_validate(facts)
