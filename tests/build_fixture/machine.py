"""A board in an emulator: the core, flash, RAM and a serial port, running an ELF from its vector table."""

from __future__ import annotations

import binascii
import struct
from collections import deque
from pathlib import Path

import unicorn
from elftools.elf.elffile import ELFFile
from unicorn import Uc, arm_const

from lsm_edge.board import Board

PERIPHERALS = ((0x40000000, 0x00100000), (0x48000000, 0x00010000), (0x50000000, 0x00010000))
# Status, data to read and data to write, and the status bits "a byte came" and "there is room".
USART = {"usart_v1": (0x00, 0x04, 0x04), "usart_v2": (0x1C, 0x24, 0x28)}
RXNE, TXE = 1 << 5, 1 << 7
DIRT = 0xA7


class Machine:
    """`sent` holds what the firmware said; `feed` is what the computer says."""

    def __init__(self, elf: Path, board: Board, *, has_usart: bool = True) -> None:
        self.board = board
        self.sent = bytearray()
        self.fed: deque[int] = deque()
        self.touched: set[int] = set()
        self.uc = Uc(unicorn.UC_ARCH_ARM, unicorn.UC_MODE_THUMB | unicorn.UC_MODE_MCLASS)
        self.uc.ctl_set_cpu_model(getattr(arm_const, board.emulator.cpu))
        self.uc.mem_map(board.flash.address, board.flash.bytes)
        self.uc.mem_map(board.ram.address, board.ram.bytes)
        self.uc.mem_write(board.ram.address, bytes([DIRT]) * board.ram.bytes)
        status, receive, send = USART[board.console.usart]
        self._status, self._receive, self._send = (board.console.usart_address + at for at in (status, receive, send))
        self._has_usart = has_usart
        for address, n_bytes in PERIPHERALS:
            self.uc.mmio_map(address, n_bytes, self._read, address, self._write, address)
        with elf.open("rb") as file:
            image = ELFFile(file)
            for segment in image.iter_segments("PT_LOAD"):
                self.uc.mem_write(segment["p_paddr"], segment.data())
            self.symbols = {s.name: s["st_value"] for s in image.get_section_by_name(".symtab").iter_symbols()}
        self.stack, self.reset = struct.unpack("<II", self.read(board.flash.address, 8))
        self.uc.reg_write(arm_const.UC_ARM_REG_SP, self.stack)
        self._pc = self.reset

    def read(self, address: int, n_bytes: int) -> bytes:
        return bytes(self.uc.mem_read(address, n_bytes))

    def run_to(self, symbol: str, n_instructions: int = 10_000_000) -> bool:
        """Run until `symbol` is about to run; False if it was not reached."""
        until = self.symbols[symbol] & ~1
        self.uc.emu_start(self._pc | 1, until, count=n_instructions)
        self._pc = self.uc.reg_read(arm_const.UC_ARM_REG_PC)
        return self._pc & ~1 == until

    def answer(self, request: bytes = b"") -> str:
        """Send `request` and run until the firmware has said a line."""
        self.fed.extend(request)
        del self.sent[:]
        for _ in range(1000):
            self.uc.emu_start(self._pc | 1, 0xFFFFFFFE, count=20_000)
            self._pc = self.uc.reg_read(arm_const.UC_ARM_REG_PC)
            if self.sent.endswith(b"\n"):
                break
        return self.sent.decode()

    def call(self, symbol: str, *arguments: int) -> int:
        """Call a function as C does."""
        end = self.board.flash.end - 4
        for register, value in zip(("R0", "R1", "R2", "R3"), arguments, strict=False):
            self.uc.reg_write(getattr(arm_const, f"UC_ARM_REG_{register}"), value & 0xFFFFFFFF)
        self.uc.reg_write(arm_const.UC_ARM_REG_LR, end | 1)
        self.uc.emu_start(self.symbols[symbol] | 1, end, count=1_000_000)
        assert self.uc.reg_read(arm_const.UC_ARM_REG_PC) & ~1 == end, f"{symbol} did not return"
        return int(self.uc.reg_read(arm_const.UC_ARM_REG_R0))

    def _read(self, uc: Uc, offset: int, n_bytes: int, base: int) -> int:
        if not self._has_usart:
            return 0
        address = base + offset
        if address == self._status:
            return TXE | (RXNE if self.fed else 0)
        if address == self._receive:
            return self.fed.popleft() if self.fed else 0
        return 0

    def _write(self, uc: Uc, offset: int, n_bytes: int, value: int, base: int) -> None:
        self.touched.add(base + offset)
        if self._has_usart and base + offset == self._send:
            self.sent.append(value & 0xFF)


def frame(operation: str, samples: tuple[int, ...] = ()) -> bytes:
    """One request, as the comment at the top of main.c has it."""
    body = operation.encode() + struct.pack(f"<H{len(samples)}h", len(samples), *samples)
    return b"\xa5" + body + struct.pack("<H", binascii.crc_hqx(body, 0))
