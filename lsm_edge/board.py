"""Boards as facts: core, clock, memory, console, and what PlatformIO and the emulator call them.

Enters: `boards/<id>.toml`, shipped or in the user's current folder (which wins). Leaves: a frozen `Board` whose facts
agree with each other.
"""

from __future__ import annotations

import difflib
import re
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import pydantic
from pydantic import BaseModel, ConfigDict, Field, model_validator

from lsm_edge.assets import asset
from lsm_edge.budget import Section as BudgetSection
from lsm_edge.errors import ConfigError

_ID = re.compile(r"[a-z][a-z0-9_]*")
_CORES_WITH_DSP = ("cortex-m4", "cortex-m7", "cortex-m33")

Address = Annotated[int, Field(ge=0, lt=2**32, multiple_of=4)]
Bit = Annotated[int, Field(ge=0, le=31)]
# Names end up in comments and in PlatformIO's ini file: no line ends, no comment signs.
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9 ._+()-]*$")]


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Memory(_Section):
    """A stretch of memory."""

    address: Address
    bytes: int = Field(gt=0, multiple_of=4)

    @property
    def end(self) -> int:
        """The first address after it."""
        return self.address + self.bytes

    def holds(self, address: int) -> bool:
        """Whether `address` lies in it."""
        return self.address <= address < self.end


class FlashReads(_Section):
    """What it takes to read the flash, with its accelerator on as the maker advises."""

    max_clock_hz: list[Annotated[int, Field(gt=0)]] = Field(min_length=1)  # with 0, 1, 2... wait states
    bytes: Literal[4, 8, 16, 32]  # what one read brings
    prefetch: bool
    cache_bytes: int = Field(ge=0)  # for instructions

    def wait_states(self, clock_hz: int) -> int:
        """How many cycles one read takes beyond the first.

        Raises:
            ConfigError: the flash cannot be read at that clock.
        """
        for n, highest_hz in enumerate(self.max_clock_hz):
            if clock_hz <= highest_hz:
                return n
        raise ConfigError(f"{clock_hz} Hz: the flash can be read at up to {self.max_clock_hz[-1]} Hz")


class EnergyPerCycle(_Section):
    """What a cycle of the whole chip takes while it computes, and who says so."""

    low_pj: float = Field(gt=0)
    expected_pj: float = Field(gt=0)
    high_pj: float = Field(gt=0)
    volts: float = Field(gt=0, le=5.5)  # the supply at which this holds
    regulator: Literal["linear", "switching"]  # for the core's voltage
    clock_hz: int = Field(gt=0)
    kind: Literal["measured", "measured on a sibling", "data sheet"]
    source: str = Field(min_length=1)


class PlatformioIds(_Section):
    """What PlatformIO's registry calls the platform and the board."""

    platform: Name
    board: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]+$")]


class Emulator(_Section):
    """The Unicorn CPU model that runs the same instructions."""

    cpu: Annotated[str, Field(pattern=r"^UC_CPU_ARM_CORTEX_M\d+$")]


class Console(_Section):
    """The USART that the board's debugger shows to the computer as a serial port."""

    usart: Literal["usart_v1", "usart_v2"]
    usart_address: Address
    usart_enable_address: Address
    usart_enable_bit: Bit
    gpio_address: Address
    gpio_enable_address: Address
    gpio_enable_bit: Bit
    tx_pin: int = Field(ge=0, le=15)
    rx_pin: int = Field(ge=0, le=15)
    pin_function: int = Field(ge=0, le=15)
    baud: int = Field(ge=1200, le=2_000_000)


class Board(_Section):
    """A board: facts only, none of them derived."""

    id: Annotated[str, Field(pattern=f"^{_ID.pattern}$")]
    name: Name
    vendor: Name
    url: Annotated[str, Field(pattern=r"^https://\S+$")]
    mcu: Name
    core: Literal["cortex-m0", "cortex-m0plus", "cortex-m3", "cortex-m4", "cortex-m7", "cortex-m33"]
    dsp: bool
    clock_hz: int = Field(gt=0)
    reset_clock_hz: int = Field(gt=0)
    multiply_cycles: Literal[1, 32] | None = None  # an option of the Cortex-M0 and M0+
    compile_flags: list[Annotated[str, Field(pattern=r"^-m[a-z0-9=.+-]+$")]] = Field(min_length=1)
    flash: Memory
    flash_reads: FlashReads
    ram: Memory
    energy: EnergyPerCycle | None = None
    budget: BudgetSection = {}
    platformio: PlatformioIds
    emulator: Emulator
    console: Console

    @property
    def sources(self) -> dict[str, str]:
        """The hand-written files of a project for this board: {path under `firmware/`: path in the project}."""
        return {
            "app/main.c": "src/main.c",
            "port/startup.c": "src/startup.c",
            "port/mem.c": "src/mem.c",
            "port/console.c": "src/console.c",
            "port/console.h": "src/console.h",
            f"port/{self.console.usart}.h": "src/usart.h",
            "port/string.h": "include/string.h",
            "port/link.py": "link.py",
        }

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.dsp and self.core not in _CORES_WITH_DSP:
            raise ValueError(f"dsp: a {self.core} has no DSP instructions; allowed with {', '.join(_CORES_WITH_DSP)}")
        if f"-mcpu={self.core}" not in self.compile_flags:
            raise ValueError(f"compile_flags: -mcpu={self.core} is missing, though core says {self.core}")
        if (self.multiply_cycles is None) == self.core.startswith("cortex-m0"):
            raise ValueError("multiply_cycles: 1 or 32 for a cortex-m0 or cortex-m0plus; other cores have no choice")
        if sorted(set(self.flash_reads.max_clock_hz)) != self.flash_reads.max_clock_hz:
            raise ValueError("flash_reads.max_clock_hz: must rise from wait state to wait state")
        if self.flash_reads.max_clock_hz[-1] < self.clock_hz:
            raise ValueError(f"flash_reads.max_clock_hz: must reach clock_hz, {self.clock_hz}")
        if self.energy and not self.energy.low_pj <= self.energy.expected_pj <= self.energy.high_pj:
            raise ValueError("energy: low_pj, expected_pj and high_pj must rise")
        if self.flash.address < self.ram.end and self.ram.address < self.flash.end:
            raise ValueError("flash and ram overlap")
        wanted = self.console.baud
        made = self.reset_clock_hz / max(1, round(self.reset_clock_hz / wanted))
        # Receivers sample the middle of ten bits: both ends together may be off by some 5 %.
        if abs(made / wanted - 1) > 0.02:
            raise ValueError(f"console.baud: {wanted} cannot be made from {self.reset_clock_hz} Hz within 2 %")
        return self


def board_ids() -> list[str]:
    """The ids that `load_board` knows, sorted."""
    return sorted(_board_files())


def load_board(board_id: str) -> Board:
    """Read one board.

    Raises:
        ConfigError: the board is unknown, or its file is not readable, not TOML or not right.
    """
    files = _board_files()
    if board_id not in files:
        close = difflib.get_close_matches(board_id, files, n=1)
        hint = f"did you mean {close[0]}? " if close else ""
        raise ConfigError(
            f"board {board_id!r} is unknown; {hint}known: {', '.join(sorted(files))}; "
            "a file boards/<id>.toml in the current folder adds one"
        )
    path = files[board_id]
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None
    except ValueError as error:  # TOML or UTF-8
        raise ConfigError(f"{path}: is not valid TOML: {error}") from None
    if "id" in data:
        raise ConfigError(f"{path}: id: the file's name says it; remove the key")
    try:
        return Board.model_validate({"id": board_id, **data})
    except pydantic.ValidationError as error:
        lines = [f"{path}: {_explain(item)}" for item in error.errors(include_url=False)]
        raise ConfigError("\n".join(lines)) from None


def _board_files() -> dict[str, Path]:
    folders = (asset("boards"), Path("boards"))
    return {path.stem: path for folder in folders for path in folder.glob("*.toml") if _ID.fullmatch(path.stem)}


def _explain(item: Any) -> str:
    """One pydantic error as `key path: what is wrong (got value)`."""
    key = ".".join(map(str, item["loc"])) or "board"
    if item["type"] == "missing":
        return f"{key}: missing"
    if item["type"] == "extra_forbidden":
        section: Any = Board.model_fields[item["loc"][0]].annotation if len(item["loc"]) > 1 else Board
        known = sorted(section.model_fields)
        close = difflib.get_close_matches(str(item["loc"][-1]), known, n=1)
        return f"{key}: unknown key; " + (f"did you mean {close[0]}?" if close else f"allowed: {', '.join(known)}")
    message = str(item["msg"]).removeprefix("Value error, ")
    if isinstance(item["input"], dict):
        return f"{key}: {message}" if item["loc"] else message
    return f"{key}: {message[0].lower()}{message[1:]} (got {item['input']!r})"
