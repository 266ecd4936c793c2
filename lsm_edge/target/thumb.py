"""Thumb instructions as facts that time depends on.

Enters: the bytes of a basic block. Leaves: `Instruction`s: what they read and write, what kind they are, where they
jump. capstone decodes.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache
from typing import Any

import capstone
from capstone import arm

from lsm_edge.errors import BuildError


class Kind(Enum):
    """What instructions that take the same time have in common."""

    ALU = "alu"
    PACKED = "packed"  # DSP, bit fields, extending adds
    MULTIPLY = "multiply"
    MULTIPLY_ADD = "multiply-add"
    LONG_MULTIPLY = "long multiply"
    DIVIDE = "divide"
    LOAD = "load"
    STORE = "store"
    LOAD_MANY = "load many"
    STORE_MANY = "store many"
    BRANCH = "branch"  # to an address in the instruction
    JUMP = "jump"  # to an address in a register
    TABLE_JUMP = "table jump"
    IT = "it"
    BARRIER = "barrier"
    SYSTEM = "system"


@dataclass(frozen=True)
class Instruction:
    """One instruction; `kind` says how it works, `leaves` whether it writes the program counter."""

    address: int
    size: int
    name: str  # without condition and width
    kind: Kind
    conditional: bool
    sets_flags: bool
    reads: frozenset[str]
    writes: frozenset[str]
    base: str  # of a load or store
    index: str
    updates_base: bool
    n_registers: int  # loaded or stored
    shifts_operand: bool
    accumulator: str
    target: int | None
    leaves: bool

    @property
    def end(self) -> int:
        """The address of the next one."""
        return self.address + self.size

    @property
    def straddles(self) -> bool:
        """Whether it is 32 bits wide and lies in two words."""
        return self.size == 4 and self.address % 4 != 0

    @property
    def addressed_by(self) -> frozenset[str]:
        """The registers that a load's or store's address comes from."""
        return frozenset((self.base, self.index)) - {""}


# In the order in which they are tried.
_KINDS: tuple[tuple[Kind, re.Pattern[str]], ...] = tuple(
    (kind, re.compile(pattern))
    for kind, pattern in (
        (Kind.IT, r"it"),
        (Kind.TABLE_JUMP, r"tb[bh]"),
        (Kind.JUMP, r"bl?x(ns)?"),
        (Kind.BRANCH, r"b|bl|cbn?z"),
        (Kind.LOAD_MANY, r"ldm\w*|pop|ldrd|vldm\w*|vpop"),
        (Kind.STORE_MANY, r"stm\w*|push|strd|vstm\w*|vpush"),
        (Kind.LOAD, r"ldr\w*|ldrex\w*|vldr|pld\w*"),
        (Kind.STORE, r"str\w*|strex\w*|vstr"),
        (Kind.DIVIDE, r"[su]div"),
        (Kind.LONG_MULTIPLY, r"[su]mull|[su]mlal|umaal|smlal[bt][bt]|smls?ldx?|smlaldx?"),
        (Kind.MULTIPLY_ADD, r"ml[as]|smla[bt][bt]|smlaw[bt]|sml[as]dx?|smml[as]r?"),
        (Kind.MULTIPLY, r"mul|smmulr?|smul[bt][bt]|smulw[bt]|smu[as]dx?"),
        (Kind.PACKED, r"(s|u|q|sh|uh|uq)(add|sub)(8|16)|(s|u|q|sh|uh|uq)(asx|sax)|qd?(add|sub)|usada?8|sel|pkh(bt|tb)"),
        (Kind.PACKED, r"[su]xta[bh](16)?|[su]xtb16|[su]sat(16)?|[su]bfx|bf[ci]|rev(16|sh)?|rbit|clz"),
        (Kind.BARRIER, r"[di]sb|dmb"),
        (Kind.SYSTEM, r"mrs|msr|cps|svc|bkpt|udf|wf[ie]|sev"),
    )
)

_decoder = capstone.Cs(capstone.CS_ARCH_ARM, capstone.CS_MODE_THUMB | capstone.CS_MODE_MCLASS)
_decoder.detail = True


@lru_cache(maxsize=1 << 16)  # the same few blocks again and again
def decode(code: bytes, address: int) -> tuple[Instruction, ...]:
    """The instructions of straight code that begins at `address`.

    Raises:
        BuildError: the bytes are no Thumb code, or code that capstone does not know.
    """
    instructions = [_instruction(found) for found in _decoder.disasm(code, address)]
    end = instructions[-1].end if instructions else address
    if end != address + len(code) or not code:
        raise BuildError(f"0x{end:08x}: the bytes {code[end - address :][:4].hex()} are no instruction that is known")
    return tuple(instructions)


def is_wide(code: bytes) -> bool:
    """Whether the instruction that begins with these two bytes has two more."""
    return code[1] >> 3 >= 0b11101


def _instruction(found: Any) -> Instruction:
    name = _decoder.insn_name(found.id)
    kind = next((kind for kind, pattern in _KINDS if pattern.fullmatch(name)), Kind.ALU)
    reads, writes = (frozenset(map(_decoder.reg_name, registers)) for registers in found.regs_access())
    memory = next((operand for operand in found.operands if operand.type == arm.ARM_OP_MEM), None)
    registers = [_decoder.reg_name(operand.reg) for operand in found.operands if operand.type == arm.ARM_OP_REG]
    base = _name(memory.mem.base) if memory else ""
    many = kind in (Kind.LOAD_MANY, Kind.STORE_MANY)
    if many and not memory:
        base = "sp" if name in ("push", "pop", "vpush", "vpop") else registers.pop(0)
    return Instruction(
        address=found.address,
        size=found.size,
        name=name,
        kind=kind,
        conditional=kind is not Kind.IT and (found.cc != arm.ARM_CC_AL or name in ("cbz", "cbnz")),
        sets_flags=bool(found.update_flags),
        reads=reads,
        writes=writes,
        base=base,
        index=_name(memory.mem.index) if memory else "",
        updates_base=bool(found.writeback) or name in ("push", "pop"),
        n_registers=len(registers) if many else 1,
        shifts_operand=not memory and any(operand.shift.type != arm.ARM_SFT_INVALID for operand in found.operands),
        accumulator=registers[-1] if kind is Kind.MULTIPLY_ADD else "",
        target=found.operands[-1].imm if kind is Kind.BRANCH else None,
        leaves=kind in (Kind.BRANCH, Kind.JUMP, Kind.TABLE_JUMP) or "pc" in writes,
    )


def _name(register: int) -> str:
    return _decoder.reg_name(register) or "" if register else ""
