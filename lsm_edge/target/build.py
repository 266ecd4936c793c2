"""A generated project -> firmware.elf, by PlatformIO.

Two ways lead to the same ELF. *Official*: the platform and compiler of PlatformIO's registry. *Offline*: the project's
own small platform (`firmware/platform/`) with a compiler that is on this machine, in a private PlatformIO folder under
the cache, without a look at the network. `platformio.ini` is the same for both but for its `platform =` line, which the
offline way changes in a copy of its own.
"""

from __future__ import annotations

import http.client
import importlib.metadata
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from elftools.common.exceptions import ELFError
from elftools.elf.constants import SH_FLAGS
from elftools.elf.elffile import ELFFile

from lsm_edge.assets import asset
from lsm_edge.board import Board
from lsm_edge.errors import BuildError, ConfigError
from lsm_edge.files import cache_folder, write_atomically

Toolchain = Literal["gcc", "zig"]

_REGISTRY_URL = "https://api.registry.platformio.org/"
_REGISTRY_WAIT_S = 3.0
_PLATFORM_LINE = re.compile(r"^platform[ \t]*=.*$", re.MULTILINE)
_NO_COMPILER = (
    "no Arm compiler: install arm-none-eabi-gcc (Debian and Ubuntu: apt install gcc-arm-none-eabi; elsewhere: the Arm "
    "GNU Toolchain) or, without root, pip install 'lsm-edge[zig]'"
)
_NO_SCONS = "SCons is missing, which PlatformIO builds with: pip install 'lsm-edge[offline]'"
# SCons looks into the folder that its own package brings; ours is the one that pip installed.
_SCONS_SCRIPT = """import sys

from SCons.Script.Main import main

sys.exit(main())
"""


@dataclass(frozen=True)
class BuildResult:
    """What was built, and how.

    `flash_bytes` is what an upload writes: every allocated section with content, so code, constants and the first
    values of variables. `ram_bytes` is every section that lies in RAM (.data and .bss), without the stack.
    """

    elf: Path
    flash_bytes: int
    ram_bytes: int
    compiler: str
    offline: bool


def build_project(
    project: Path,
    board: Board,
    *,
    offline: bool | None = None,
    progress: Callable[[str], None] | None = None,
) -> BuildResult:
    """Compile a generated project for `board`; `progress` hears PlatformIO's output line by line.

    With `offline` None the official way is taken when its platform is installed or the registry answers, else the
    offline way; the result says which it was.

    Raises:
        BuildError: the folder holds no project, a tool is missing, or the build failed; with the lines that say why.
        ConfigError: LSM_EDGE_TOOLCHAIN names no toolchain.
    """
    project = project.resolve()
    if not (project / "platformio.ini").is_file():
        raise BuildError(f"{project}: holds no platformio.ini; run lsm-edge generate --board {board.id} first")
    hear = progress or (lambda line: None)
    if offline is not None:
        return _build_offline(project, board, hear) if offline else _build_official(project, board, hear)
    if official_is_installed(board) or registry_answers():
        try:
            return _build_official(project, board, hear)
        except BuildError:
            # A registry that answers may still not give: then the platform is not there now.
            if official_is_installed(board) or _offline_obstacle():
                raise
    elif obstacle := _offline_obstacle():
        raise BuildError(f"PlatformIO's registry does not answer; to build without it: {obstacle}")
    return _build_offline(project, board, hear)


def find_toolchain() -> Toolchain:
    """The compiler of an offline build: LSM_EDGE_TOOLCHAIN, else arm-none-eabi-gcc on the PATH, else PyPI's ziglang.

    Raises:
        BuildError: it is not installed; the message says what to install.
        ConfigError: LSM_EDGE_TOOLCHAIN is neither gcc nor zig.
    """
    wanted = os.environ.get("LSM_EDGE_TOOLCHAIN", "")
    if wanted not in ("", "gcc", "zig"):
        raise ConfigError(f"LSM_EDGE_TOOLCHAIN={wanted}: must be gcc or zig")
    if wanted != "zig" and shutil.which("arm-none-eabi-gcc"):
        return "gcc"
    if wanted != "gcc" and importlib.util.find_spec("ziglang"):
        return "zig"
    raise BuildError(f"LSM_EDGE_TOOLCHAIN={wanted}: {_NO_COMPILER}" if wanted else _NO_COMPILER)


def official_is_installed(board: Board) -> bool:
    """Whether the user's own PlatformIO already has what the official way needs."""
    core = Path(os.environ.get("PLATFORMIO_CORE_DIR") or Path.home() / ".platformio")
    needed = (f"platforms/{board.platformio.platform}*/platform.json", "packages/toolchain-*", "packages/tool-scons*")
    return all(any(core.glob(pattern)) for pattern in needed)


def registry_answers() -> bool:
    """Whether PlatformIO's registry can be reached, within three seconds."""
    answers: list[bool] = []

    def ask() -> None:
        try:
            with urllib.request.urlopen(_REGISTRY_URL, timeout=_REGISTRY_WAIT_S):
                answers.append(True)
        except urllib.error.HTTPError as page_error:
            page_error.close()
            answers.append(True)
        except (OSError, http.client.HTTPException):
            answers.append(False)

    # A name server that does not answer is under no timeout: the thread may go on alone.
    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(_REGISTRY_WAIT_S)
    return answers == [True]


def read_sizes(elf: Path, board: Board) -> tuple[int, int]:
    """Flash and RAM bytes of an ELF, as `BuildResult` defines them.

    Raises:
        BuildError: the file is not an ELF.
    """
    try:
        with elf.open("rb") as file:
            sections = [s.header for s in ELFFile(file).iter_sections() if s["sh_flags"] & SH_FLAGS.SHF_ALLOC]
    except (OSError, ELFError) as error:
        raise BuildError(f"{elf}: cannot be read as ELF: {error}") from None
    flash_bytes = sum(section["sh_size"] for section in sections if section["sh_type"] != "SHT_NOBITS")
    ram_bytes = sum(section["sh_size"] for section in sections if board.ram.holds(section["sh_addr"]))
    return flash_bytes, ram_bytes


def _build_official(project: Path, board: Board, hear: Callable[[str], None]) -> BuildResult:
    environment = dict(os.environ)
    _run_platformio(project, board, project / "platformio.ini", environment, hear)
    return _result(project, board, offline=False)


def _build_offline(project: Path, board: Board, hear: Callable[[str], None]) -> BuildResult:
    if obstacle := _offline_obstacle():
        raise BuildError(obstacle)
    cache = cache_folder().resolve()
    # One folder a version: PlatformIO fetches things when it finds a folder of an older one.
    core = cache / f"platformio-{importlib.metadata.version('platformio')}"
    private = project / ".pio" / "offline"
    _provide_platform(core)
    _provide_scons(core)
    _provide_board(private / "boards", board)
    own = {name: value for name, value in os.environ.items() if not name.startswith("PLATFORMIO_")}
    environment = own | {
        "PLATFORMIO_CORE_DIR": str(core),
        "PLATFORMIO_BOARDS_DIR": str(private / "boards"),
        "PLATFORMIO_DISABLE_UPGRADE_CHECK": "true",
        "PLATFORMIO_SETTING_CHECK_PLATFORMIO_INTERVAL": "36500",
        "PLATFORMIO_SETTING_ENABLE_TELEMETRY": "No",
        "ZIG_GLOBAL_CACHE_DIR": str(cache / "zig"),
        "LSM_EDGE_TOOLCHAIN": find_toolchain(),
    }
    _run_platformio(project, board, _offline_settings(project, private), environment, hear)
    return _result(project, board, offline=True)


def _offline_obstacle() -> str:
    """What is missing for an offline build, or nothing."""
    try:
        find_toolchain()
    except BuildError as error:
        return str(error)
    return "" if importlib.util.find_spec("SCons") else _NO_SCONS


def _offline_settings(project: Path, folder: Path) -> Path:
    """A copy of platformio.ini that names the offline platform."""
    text = (project / "platformio.ini").read_text(encoding="utf-8")
    text, n_lines = _PLATFORM_LINE.subn("platform = lsm_edge", text)
    if n_lines == 0:
        raise BuildError(f"{project / 'platformio.ini'}: platform: missing")
    path = folder / "platformio.ini"
    write_atomically(path, text.encode())
    return path


def _provide_platform(core: Path) -> None:
    """Link the offline platform into a PlatformIO folder, as `pio pkg install symlink://...` would."""
    spec = {"name": "lsm_edge", "uri": f"symlink://{asset('firmware') / 'platform'}"}
    _write_json(core / "platforms" / "lsm_edge.pio-link", {"cwd": str(core), "spec": spec})


def _provide_scons(core: Path) -> None:
    """Present the installed SCons as the package `tool-scons`, in the version that this PlatformIO asks for."""
    from platformio.dependencies import get_core_dependencies  # type: ignore[import-untyped]

    version = get_core_dependencies()["tool-scons"].lstrip("~^=")
    folder = core / "packages" / "tool-scons"
    package = {"name": "tool-scons", "version": version}
    _write_json(folder / "package.json", package | {"description": "SCons as installed by pip"})
    _write_json(folder / ".piopm", package | {"type": "tool", "spec": {"owner": "platformio", "name": "tool-scons"}})
    write_atomically(folder / "scons.py", _SCONS_SCRIPT.encode())


def _provide_board(folder: Path, board: Board) -> None:
    manifest = {
        "name": board.name,
        "vendor": board.vendor,
        "url": board.url,
        "build": {"cpu": board.core, "mcu": board.mcu.lower(), "f_cpu": f"{board.clock_hz}L"},
        "upload": {"maximum_size": board.flash.bytes, "maximum_ram_size": board.ram.bytes},
    }
    _write_json(folder / f"{board.platformio.board}.json", manifest)


def _write_json(path: Path, content: Mapping[str, object]) -> None:
    write_atomically(path, json.dumps(content, indent=2).encode())


def _run_platformio(
    project: Path, board: Board, settings: Path, environment: dict[str, str], hear: Callable[[str], None]
) -> None:
    # What a user set for other projects must not move or change this one.
    fixed = {"PLATFORMIO_WORKSPACE_DIR": str(project / ".pio"), "PLATFORMIO_BUILD_DIR": str(project / ".pio" / "build")}
    command = [sys.executable, "-m", "platformio", "run", "-e", board.id, "-c", str(settings)]
    with (
        tempfile.TemporaryFile() as errors,
        subprocess.Popen(
            command,
            cwd=project,
            env=environment | fixed | {"PLATFORMIO_NO_ANSI": "true"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            encoding="utf-8",
            errors="replace",
        ) as process,
    ):
        assert process.stdout
        said: list[str] = []
        for line in process.stdout:
            said.append(line.rstrip())
            hear(said[-1])
        process.wait()
        errors.seek(0)
        complaints = errors.read().decode("utf-8", errors="replace").splitlines()
    for line in complaints:
        hear(line)
    if process.returncode != 0:
        reasons = "\n".join(f"  {line}" for line in _spoken(complaints) or _spoken(said))
        raise BuildError(f"{project}: PlatformIO could not build {board.id}:\n{reasons}")


def _spoken(lines: list[str]) -> list[str]:
    """The last lines that say something: no rulers, no "*** [file] Error 1"."""
    return [line for line in lines if line.strip(" =-*") and not re.match(r"\*\*\* \[|=+ \[", line)][-12:]


def _result(project: Path, board: Board, *, offline: bool) -> BuildResult:
    elf = project / ".pio" / "build" / board.id / "firmware.elf"
    if not elf.is_file():
        raise BuildError(f"{elf}: PlatformIO did not make it, though it reported success; is platformio.ini changed?")
    flash_bytes, ram_bytes = read_sizes(elf, board)
    return BuildResult(elf, flash_bytes, ram_bytes, _compiler_of(elf), offline)


def _compiler_of(elf: Path) -> str:
    """What the compiler wrote into the ELF about itself."""
    with elf.open("rb") as file:
        comment = ELFFile(file).get_section_by_name(".comment")
        return comment.data().split(b"\0")[0].decode(errors="replace") if comment else "unknown"
