"""A firmware ELF as facts: symbols, loadable bytes, and where the fields of a struct are.

Enters: an ELF for Arm with symbols and debug information (DWARF 4 or 5), from gcc or clang. Only what is asked for is
parsed: of the debug information, one type of one compile unit.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final

from elftools.common.exceptions import DWARFError, ELFError
from elftools.dwarf.die import DIE
from elftools.elf.elffile import ELFFile

from lsm_edge.errors import BuildError

# Copies that a compiler makes of a static function for some of its callers. (A `.part` or `.cold` piece is no copy.)
_CLONE: Final = r"(\.(constprop|isra|lto_priv|llvm)\.\d+)*"
# What pyelftools raises on a file that is cut short or damaged; it also trips over what it finds.
_DAMAGE: Final = (
    ELFError,
    DWARFError,
    AssertionError,
    ArithmeticError,
    AttributeError,
    LookupError,
    RecursionError,
    TypeError,
    ValueError,
)


@dataclass(frozen=True)
class Symbol:
    """A name in the symbol table. `unit` is the source file that a local symbol comes from, "" for a global one."""

    name: str
    address: int  # of a function: without the Thumb bit
    size: int
    is_function: bool
    unit: str


@dataclass(frozen=True)
class Segment:
    """Bytes that are in memory when `main` begins: `data` is stored at `load_address`, zeros up to `size` follow it."""

    address: int
    load_address: int
    data: bytes
    size: int


@dataclass(frozen=True)
class Field:
    """Where a member of a struct is, and how long it is."""

    offset: int
    size: int


@dataclass(frozen=True)
class Struct:
    """A struct as the compiler laid it out."""

    size: int
    fields: dict[str, Field]


class Elf:
    """One firmware file.

    Raises:
        BuildError: it cannot be read, is not an executable ELF for Arm, or has no symbols.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            raise BuildError(f"{path}: is not there; run lsm-edge build first") from None
        except OSError as error:
            raise BuildError(f"{path}: cannot be read: {error.strerror}") from None
        try:
            self._file = ELFFile(io.BytesIO(data))
            machine, kind = self._file["e_machine"], self._file["e_type"]
            self.segments = list(_segments(self._file))
            symbols = list(_symbols(self._file))
        except _DAMAGE:
            raise BuildError(f"{path}: is not an ELF file, or was cut short; run lsm-edge build") from None
        if machine != "EM_ARM" or kind != "ET_EXEC":
            raise BuildError(f"{path}: is {kind} for {machine}, must be an executable for Arm (ET_EXEC, EM_ARM)")
        if not symbols:
            raise BuildError(f"{path}: has no symbols; verification finds functions by name: do not strip it")
        self._symbols: dict[str, list[Symbol]] = {}
        for symbol in symbols:
            self._symbols.setdefault(symbol.name, []).append(symbol)

    def symbol(self, name: str, unit: str = "") -> Symbol:
        """The symbol `name`; where several compile units have one, that of the source file `unit`.

        Raises:
            BuildError: there is none, or there are several and `unit` does not tell them apart.
        """
        found = _of_unit(self._symbols.get(name, []), unit)
        if not found:
            raise BuildError(f"{self.path}: has no symbol {name}: stripped, inlined at link time, or other firmware")
        if len(found) > 1:
            raise BuildError(f"{self.path}: has {len(found)} symbols {name}" + (f" of {unit}" if unit else ""))
        return found[0]

    def functions(self, name: str, unit: str = "") -> list[Symbol]:
        """The function `name` and the clones that a compiler made of it; empty if it was inlined everywhere."""
        pattern = re.compile(re.escape(name) + _CLONE)
        found = [s for same in self._symbols.values() if pattern.fullmatch(same[0].name) for s in same if s.is_function]
        return _of_unit(found, unit)

    def functions_of(self, unit: str, prefix: str) -> list[Symbol]:
        """The functions of source file `unit`: its local ones, and the global ones whose names begin with `prefix`."""
        functions = self._functions_by_address
        return [s for s in functions if s.unit == unit or (not s.unit and s.name.startswith(prefix))]

    def all_functions(self) -> list[Symbol]:
        """Every function, by address."""
        return self._functions_by_address

    def data_of(self, unit: str, prefix: str) -> list[Symbol]:
        """What source file `unit` defines that is no function: its local names, and the global ones with the prefix."""
        found = [symbol for same in self._symbols.values() for symbol in same if symbol.size and not symbol.is_function]
        return [s for s in found if s.unit == unit or (not s.unit and s.name.startswith(prefix))]

    def place(self, address: int) -> str:
        """An address as `function+offset`, for messages."""
        for symbol in self._functions_by_address:
            if symbol.address <= address < symbol.address + max(symbol.size, 2):
                return f"{symbol.name}+{address - symbol.address:#x}"
        return "no function"

    def read(self, address: int, n_bytes: int) -> bytes:
        """What is at an address when `main` begins.

        Raises:
            BuildError: no segment holds it.
        """
        for segment in self.segments:
            offset = address - segment.address
            if offset >= 0 and offset + n_bytes <= segment.size:
                return segment.data[offset : offset + n_bytes].ljust(n_bytes, b"\0")
        raise BuildError(f"{self.path}: has nothing at {address:#010x}")

    def text(self, name: str, unit: str = "") -> str:
        """The characters of the array `name`, up to its NUL.

        Raises:
            BuildError: there is no such array.
        """
        symbol = self.symbol(name, unit)
        return self.read(symbol.address, symbol.size).partition(b"\0")[0].decode("ascii", "replace")

    def struct(self, typedef: str, unit: str) -> Struct:
        """Layout of the struct called `typedef`, as the compile unit of source file `unit` has it, or else any other.

        Raises:
            BuildError: there is no debug information, or it does not describe this type.
        """
        try:
            for top in self._units(unit):
                for die in top.iter_children():
                    if die.tag == "DW_TAG_typedef" and _name(die) == typedef:
                        return _struct(_target(die))
        except _DAMAGE as error:
            raise BuildError(f"{self.path}: its debug information cannot be read: {error}") from None
        raise BuildError(f"{self.path}: has no debug information about {typedef}; compile with -g and do not strip")

    def producer(self, unit: str) -> str:
        """The compiler of source file `unit` and, if it left them, its flags; "" without debug information."""
        try:
            tops = self._units(unit)
            found = tops[0].attributes.get("DW_AT_producer") if tops else None
        except _DAMAGE:
            return ""
        return found.value.decode("utf-8", "replace") if found else ""

    def _units(self, unit: str) -> list[DIE]:
        """The compile units' top entries, those of source file `unit` first."""
        if not self._file.has_dwarf_info(strict=True):
            return []
        tops = [cu.get_top_DIE() for cu in self._file.get_dwarf_info(relocate_dwarf_sections=False).iter_CUs()]
        return sorted(tops, key=lambda top: re.split(r"[/\\]", _name(top))[-1] != unit)

    @cached_property
    def _functions_by_address(self) -> list[Symbol]:
        found = [symbol for same in self._symbols.values() for symbol in same if symbol.is_function]
        return sorted(found, key=lambda symbol: symbol.address)


def _of_unit(symbols: list[Symbol], unit: str) -> list[Symbol]:
    return [symbol for symbol in symbols if symbol.unit == unit] or symbols


def _segments(file: ELFFile) -> Iterator[Segment]:
    for segment in file.iter_segments("PT_LOAD"):
        if segment["p_memsz"]:
            yield Segment(segment["p_vaddr"], segment["p_paddr"], segment.data(), segment["p_memsz"])


def _symbols(file: ELFFile) -> Iterator[Symbol]:
    table: Any = file.get_section_by_name(".symtab")
    unit = ""
    for symbol in table.iter_symbols() if table else ():
        info, name = symbol["st_info"], symbol.name
        if info["type"] == "STT_FILE":
            unit = re.split(r"[/\\]", name)[-1]
        elif name and not name.startswith("$") and symbol["st_shndx"] != "SHN_UNDEF":
            is_function = info["type"] == "STT_FUNC"
            address = symbol["st_value"] & ~1 if is_function else symbol["st_value"]
            yield Symbol(name, address, symbol["st_size"], is_function, unit if info["bind"] == "STB_LOCAL" else "")


def _name(die: DIE) -> str:
    attribute = die.attributes.get("DW_AT_name")
    return attribute.value.decode("utf-8", "replace") if attribute else ""


def _target(die: DIE) -> DIE:
    """The type that a typedef, a member, an array ... is of."""
    return die.get_DIE_from_attribute("DW_AT_type")


def _number(die: DIE, name: str) -> Any:
    attribute = die.attributes.get(name)
    return attribute.value if attribute else None


def _struct(die: DIE) -> Struct:
    fields = {}
    for member in die.iter_children():
        if member.tag == "DW_TAG_member":
            fields[_name(member)] = Field(int(_number(member, "DW_AT_data_member_location")), _size(_target(member)))
    return Struct(int(_number(die, "DW_AT_byte_size")), fields)


def _size(die: DIE) -> int:
    """sizeof a type."""
    n_bytes = _number(die, "DW_AT_byte_size")
    if n_bytes is not None:
        return int(n_bytes)
    n_elements = 1
    if die.tag == "DW_TAG_array_type":
        for extent in die.iter_children():
            count, last = _number(extent, "DW_AT_count"), _number(extent, "DW_AT_upper_bound")
            n_elements *= int(count if count is not None else last + 1)
    return n_elements * _size(_target(die))
