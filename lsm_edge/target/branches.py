"""Where Thumb instructions end and where they lead, from their two halfwords (the second 0 if there is one only).

Encodings: Armv7-M architecture reference manual (DDI 0403), chapter A5 and A7; Armv6-M and Armv8-M have the same ones.
"""

from __future__ import annotations

from typing import Final

_LR: Final = 14
_PC: Final = 15


def is_long(first: int) -> bool:
    """Whether an instruction that begins with this halfword has a second one."""
    return first >> 11 in (0b11101, 0b11110, 0b11111)


def count_instructions(code: bytes) -> int:
    """How many instructions these bytes are."""
    at = n = 0
    while at < len(code):
        at += 4 if is_long(int.from_bytes(code[at : at + 2], "little")) else 2
        n += 1
    return n


def is_indirect(first: int, second: int) -> bool:
    """blx, bx to anything but the link register; mov, add pc; ldr pc other than from the stack."""
    if first & 0xFF07 == 0x4700:
        return bool(first & 0x80) or first >> 3 & 15 != _LR
    loads_word = first & 0xFF70 == 0xF850 and first != 0xF85D
    return first & 0xFF87 in (0x4487, 0x4687) or (loads_word and second >> 12 == _PC)


def is_call(first: int, second: int) -> bool:
    """bl, which is also how far Armv6-M jumps."""
    return first >> 11 == 0b11110 and second & 0xD000 == 0xD000


def target(address: int, first: int, second: int) -> int | None:
    """Where a branch with a fixed target leads."""
    here = address + 4
    if first >> 12 == 0b1101 and first >> 9 != 0b1101111:  # b<condition>, but not udf, svc
        return here + 2 * _signed(first, 8)
    if first >> 11 == 0b11100:  # b
        return here + 2 * _signed(first, 11)
    if first & 0xF500 == 0xB100:  # cbz, cbnz
        return here + 2 * ((first >> 9 & 1) << 5 | first >> 3 & 31)
    if first >> 11 != 0b11110 or not second >> 15:
        return None
    sign, j1, j2 = first >> 10 & 1, second >> 13 & 1, second >> 11 & 1
    if second & 0x1000:  # b.w, bl
        high = (first & 0x400) << 13 | (1 ^ j1 ^ sign) << 22 | (1 ^ j2 ^ sign) << 21
        return here + 2 * _signed(high | (first & 0x3FF) << 11 | second & 0x7FF, 24)
    if second & 0x4000 or first >> 7 & 7 == 7:  # blx to Arm code, which these cores lack; msr, barriers and the like
        return None
    return here + 2 * _signed((first & 0x400) << 9 | j2 << 18 | j1 << 17 | (first & 0x3F) << 11 | second & 0x7FF, 20)


def _signed(value: int, bits: int) -> int:
    """The low bits of a value as a signed number."""
    value &= (1 << bits) - 1
    return value - (1 << bits) if value >> (bits - 1) else value
