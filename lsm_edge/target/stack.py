"""How deep the stack gets, from the machine code of the very ELF that is flashed.

Every instruction of every function is looked at for what it does to the stack pointer and for where it leads. Nothing
is run and nothing is sampled: a `Depth` is an upper bound, and where there is none (recursion, a call through a
pointer, a frame whose size is only known at run time) that is an error. What an interrupt adds is not in it.

Encodings: Armv7-M architecture reference manual (DDI 0403), chapter A5 and A7; Armv6-M and Armv8-M have the same ones.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from elftools.elf.constants import SH_FLAGS
from elftools.elf.elffile import ELFFile

from lsm_edge.errors import RangeError
from lsm_edge.target.branches import is_call, is_indirect, is_long, target
from lsm_edge.target.elf import Elf

_SP: Final = 13


@dataclass(frozen=True)
class Function:
    """What a call of it takes from the stack by itself, what it calls, and why that is not all (or "")."""

    name: str
    frame_bytes: int
    calls: tuple[str, ...]
    obstacle: str


@dataclass(frozen=True)
class Depth:
    """Bytes of stack that a call of `path[0]` takes at most, and the calls that lead there."""

    n_bytes: int
    path: tuple[str, ...]


def library_depths(elf: Path, prefix: str = "lsm") -> dict[str, Depth]:
    """How deep the stack gets under each public function of the generated library.

    Raises:
        BuildError: the file cannot be read, is not an ELF for Arm, or has no symbols.
        RangeError: there is no bound; the message says where and why.
    """
    functions = call_graph(elf)
    symbols = Elf(elf)
    public = [name for name in functions if name.startswith(f"{prefix}_") and symbols.symbol(name).unit == ""]
    return {name: deepest(functions, name) for name in sorted(public)}


def call_graph(elf: Path) -> dict[str, Function]:
    """Every function of an ELF, by each of its names.

    Raises:
        BuildError: the file cannot be read, is not an ELF for Arm, or has no symbols.
    """
    Elf(elf)
    with elf.open("rb") as file:
        code = _Code(ELFFile(file))
    found = {address: code.function(address) for address in code.names}
    return {name: found[address] for address, names in code.names.items() for name in names}


def deepest(functions: Mapping[str, Function], name: str) -> Depth:
    """How deep the stack gets when `name` is called.

    Raises:
        RangeError: there is no bound; the message says where and why.
    """
    return _deepest(functions, name, (), {})


def _deepest(functions: Mapping[str, Function], name: str, callers: tuple[str, ...], known: dict[str, Depth]) -> Depth:
    path = (*callers, name)
    if name in callers:
        raise RangeError(f"stack of {path[0]}: has no bound: {' -> '.join(path)} is recursion")
    if name not in known:
        function = functions[name]
        if function.obstacle:
            raise RangeError(f"stack of {path[0]}: has no bound: {' -> '.join(path)} {function.obstacle}")
        below = [_deepest(functions, callee, path, known) for callee in function.calls]
        rest = max(below, key=lambda depth: depth.n_bytes, default=Depth(0, ()))
        known[name] = Depth(function.frame_bytes + rest.n_bytes, (name, *rest.path))
    return known[name]


class _Code:
    """The executable sections of an ELF, cut into functions."""

    def __init__(self, file: ELFFile) -> None:
        sections: list[Any] = [s for s in file.iter_sections() if s["sh_flags"] & SH_FLAGS.SHF_EXECINSTR]
        self._sections = [(int(section["sh_addr"]), section.data()) for section in sections]
        self.names: dict[int, list[str]] = {}
        sizes: dict[int, int] = {}
        self._marks: list[tuple[int, bool]] = []  # from this address on there is data (True) or code
        table: Any = file.get_section_by_name(".symtab")
        for symbol in table.iter_symbols():
            address, kind = symbol["st_value"] & ~1, symbol.name[:2]
            if symbol["st_info"]["type"] == "STT_FUNC" and symbol["st_shndx"] != "SHN_UNDEF":
                self.names.setdefault(address, []).append(symbol.name)
                sizes[address] = max(symbol["st_size"], sizes.get(address, 0))
            elif kind in ("$t", "$d"):
                self._marks.append((address, kind == "$d"))
        self._marks.sort()
        self._starts = sorted(self.names)
        # Assembly may lack sizes: such a function ends where the next begins.
        last = max((address + len(data) for address, data in self._sections), default=0)
        following = zip(self._starts, [*self._starts[1:], last], strict=True)
        self._ends = {start: start + sizes[start] if sizes[start] else end for start, end in following}

    def function(self, start: int) -> Function:
        """Decode one function.

        Its frame is the sum of all that is pushed anywhere in it, which is exact unless two paths push apart; no
        compiler pushes in a loop without popping.
        """
        end = self._ends[start]
        frame_bytes, calls, obstacles = 0, dict[str, None](), []
        for address, first, second in self._instructions(start, end):
            taken = _bytes_taken(first, second)
            if taken is None:
                obstacles.append(f"sets the stack pointer from a register at {address:#x}")
            if is_indirect(first, second):
                obstacles.append(f"goes to an address in a register at {address:#x}")
            frame_bytes += taken or 0
            goal = target(address, first, second)
            # Out of a function a jump is a call that does not come back. Within it a bl is a far jump (Armv6-M has no
            # other), but to its very beginning it is recursion.
            if goal is not None and (not start <= goal < end or (is_call(first, second) and goal == start)):
                calls[self._name_at(goal)] = None
        return Function(self.names[start][0], frame_bytes, tuple(calls), ", ".join(obstacles))

    def _name_at(self, address: int) -> str:
        """The function that an address lies in: hand-written code also jumps into the middle of another."""
        return self.names[self._starts[max(bisect_right(self._starts, address) - 1, 0)]][0]

    def _instructions(self, start: int, end: int) -> Iterator[tuple[int, int, int]]:
        """Address, first halfword and, where there is one, second halfword of what is no data."""
        base, data = next((base, data) for base, data in self._sections if base <= start < base + len(data))
        address = start
        while address < end:
            at = address - base
            first, second = (int.from_bytes(data[n : n + 2], "little") for n in (at, at + 2))
            if self._is_data(address):
                address += 2
                continue
            yield address, first, second if is_long(first) else 0
            address += 4 if is_long(first) else 2

    def _is_data(self, address: int) -> bool:
        mark = bisect_right(self._marks, (address, True)) - 1
        return mark >= 0 and self._marks[mark][1]


def _bytes_taken(first: int, second: int) -> int | None:
    """By how much an instruction lowers the stack pointer (0 if it does not); None if that cannot be told from it."""
    destination = second >> 8 & 15
    if first >> 9 == 0b1011010:  # push
        return 4 * (first & 0x1FF).bit_count()
    if first >> 7 == 0b101100001:  # sub sp, #
        return 4 * (first & 0x7F)
    if first == 0xE92D:  # push.w
        return 4 * second.bit_count()
    if first == 0xF84D and second & 0xFFF == 0xD04:  # push.w of one register
        return 4
    if first & 0xFFBF == 0xED2D or first == 0xE96D:  # vpush; strd [sp, #-]!: the low byte counts words
        return 4 * (second & 0xFF)
    if first & 0xFBEF == 0xF1AD and destination == _SP:  # sub.w sp, sp, #
        return _expanded(_immediate(first, second))
    if first & 0xFBFF == 0xF2AD and destination == _SP:  # subw sp, sp, #
        return _immediate(first, second)
    return None if _sets_stack_pointer(first, second) else 0


def _sets_stack_pointer(first: int, second: int) -> bool:
    """Whether an instruction may lower the stack pointer in a way that `_bytes_taken` does not understand."""
    is_immediate = first >> 11 == 0b11110 and not second >> 15
    gives_back = first & 0xFBEF == 0xF10D or first & 0xFBFF == 0xF20D  # add.w, addw sp, sp, #
    return (
        first & 0xFF87 in (0x4485, 0x4685)  # add, mov sp, register
        or ((is_immediate or first >> 9 == 0b1110101) and second >> 8 & 15 == _SP and not gives_back)
        or (first & 0xFE10 == 0xF810 and second >> 12 == _SP)  # ldr sp, [...]
        or (first & 0xFE8F == 0xF80D and second & 0xB00 == 0x900)  # ldr, str [sp, #-]! and [sp], #-
        or first & 0xFEEF == 0xE86D  # the same with two registers
        or first in (0xE93D, 0xED3D, 0xED7D)  # ldmdb, vldmdb sp!
        or (first & 0xFFF0 == 0xF380 and second & 0xFE == 8)  # msr msp, psp
    )


def _immediate(first: int, second: int) -> int:
    return (first >> 10 & 1) << 11 | (second >> 12 & 7) << 8 | second & 0xFF


def _expanded(code: int) -> int:
    """ThumbExpandImm, section A5.3.2."""
    low = code & 0xFF
    if code >> 10 == 0:
        return low * (0x00000001, 0x00010001, 0x01000100, 0x01010101)[code >> 8]
    return (0x80 | low) << (32 - (code >> 7)) & 0xFFFFFFFF  # a rotation to the right by 8 to 31
