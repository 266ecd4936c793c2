"""The firmware that would be flashed, run on an emulated core, its library called function by function.

The ELF is loaded as it is: nothing is compiled in for this. Taps are read from the context, as laid out by the debug
information, whenever one of the library's stage functions returns. The caller of the library is this module, in place
of the firmware's `main`: its context and samples lie in memory of their own beyond the board's, between unmapped pages,
so that a step over either end is an error. Everything that start-up code does not initialise is filled with a pattern.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from unicorn import Uc, UcError, arm_const, unicorn_const  # type: ignore[attr-defined,unused-ignore]
from unicorn import __version__ as unicorn_version  # type: ignore[attr-defined,unused-ignore]

from lsm_edge.board import Board
from lsm_edge.errors import BuildError, MismatchError
from lsm_edge.golden import TAPS, Taps
from lsm_edge.model import Model
from lsm_edge.target.context import context_bytes, context_fields, current_rows, history_frames
from lsm_edge.target.elf import Elf, Segment, Symbol
from lsm_edge.target.native import tap_shapes

# The largest lsm_end() there can be takes some 2^34 instructions, at a hundred million a second. The limit is in
# seconds because Unicorn, asked to count instructions, becomes several times slower.
CALL_LIMIT_S: Final = 600

_STAGES: Final = ("frontend", "encoder", "reservoir", "frame", "readout", "decision")
_MORE, _READY = 0, 1
_READ_ONLY: Final = unicorn_const.UC_PROT_READ | unicorn_const.UC_PROT_EXEC
_PAGE: Final = 4096
_APART: Final = 1 << 20
_UNINITIALISED: Final = b"\xa5"
_ARGUMENTS: Final = (
    arm_const.UC_ARM_REG_R0,
    arm_const.UC_ARM_REG_R1,
    arm_const.UC_ARM_REG_R2,
    arm_const.UC_ARM_REG_R3,
)
_INVALID: Final = {
    unicorn_const.UC_MEM_READ_UNMAPPED: "reads {} bytes of nothing at {:#010x}",
    unicorn_const.UC_MEM_WRITE_UNMAPPED: "writes {} bytes to nothing at {:#010x}",
    unicorn_const.UC_MEM_FETCH_UNMAPPED: "runs into nothing at {1:#010x}",
    unicorn_const.UC_MEM_READ_PROT: "reads {} forbidden bytes at {:#010x}",
    unicorn_const.UC_MEM_WRITE_PROT: "writes {} bytes to flash at {:#010x}",
    unicorn_const.UC_MEM_FETCH_PROT: "runs data as code at {1:#010x}",
}
_STOPPED: Final = {
    unicorn_const.UC_ERR_INSN_INVALID: "executes an instruction that this core does not have",
    unicorn_const.UC_ERR_EXCEPTION: "raises an exception",
}


class Emulator:
    """A model's firmware on the core of its board.

    Raises:
        BuildError: the ELF is missing, damaged, stripped, does not fit the board, or lacks a stage function.
        MismatchError: the ELF holds another model, or another layout of the context, than `model` asks for.
    """

    def __init__(self, model: Model, elf: Path, board: Board, *, prefix: str = "lsm") -> None:
        self.model, self.board, self.prefix = model, board, prefix
        self.name = f"{board.core} (unicorn {unicorn_version})"
        self.elf = Elf(elf)
        self._unit = f"{prefix}.c"
        self._check_model()
        self._fields = self.elf.struct(f"{prefix}_t", self._unit).fields
        self._uc = _core(board)
        self._load()
        beyond = _up(max(board.flash.end, board.ram.end), _APART)
        self._context_bytes = context_bytes(model, dsp=board.dsp)
        self._return_address = self._provide(beyond + _APART, _PAGE) - _PAGE
        # Both end where their memory ends, but for what aligns the context to eight bytes.
        self.context = self._provide(beyond + 2 * _APART, self._context_bytes) - _up(self._context_bytes, 8)
        self._samples_end = self._provide(beyond + 3 * _APART, 2 * model.manifest.frontend.hop_samples)
        self._invalid = ""
        self._uc.hook_add(unicorn_const.UC_HOOK_MEM_INVALID, self._on_invalid)
        self._taps: dict[str, list[bytearray]] | None = None
        self._running: list[tuple[str, int, int]] = []  # stage functions entered: name, return address, stack pointer
        self._watched: set[int] = set()
        for stage in _STAGES:
            self._watch_entry(stage)

    def call(self, function: str, *arguments: int, limit_s: float | None = None) -> int:
        """Call a function of the firmware by its symbol with at most four integers; its result, as an unsigned number.

        Raises:
            MismatchError: it touches memory that is not there, executes what is no instruction, or does not return.
            BuildError: there is no such function.
        """
        limit_s = limit_s or CALL_LIMIT_S
        address = self.elf.symbol(function).address
        for register, value in zip(_ARGUMENTS, arguments, strict=False):
            self._uc.reg_write(register, value)
        stack = self.board.ram.end & ~7
        self._uc.reg_write(arm_const.UC_ARM_REG_SP, stack)
        self._uc.reg_write(arm_const.UC_ARM_REG_LR, self._return_address | 1)
        self._running.clear()
        self._invalid = ""
        try:
            self._uc.emu_start(address | 1, self._return_address, timeout=int(limit_s * 1e6))
        except UcError as error:
            raise self._failure(function, self._invalid or _STOPPED.get(error.errno, str(error))) from None
        if self._uc.reg_read(arm_const.UC_ARM_REG_PC) != self._return_address:
            raise self._failure(function, f"has not returned after {limit_s:g} s")
        if self._uc.reg_read(arm_const.UC_ARM_REG_SP) != stack:
            raise self._failure(function, "returns with another stack pointer than it was called with")
        self._on_return(self._uc, self._return_address, 0, None)
        return int(self._uc.reg_read(arm_const.UC_ARM_REG_R0))

    def tap(self, samples: NDArray[np.int16], chunk: int | None = None) -> Taps:
        """One clip as one segment, in chunks of at most one hop; every tap of every step.

        Raises:
            MismatchError: the firmware fails, refuses, or leaves more or fewer integers than it should.
        """
        self._taps = {name: [] for name in TAPS}
        try:
            self._reset()
            self._expect(self._library("begin", self.context), "begin", _MORE)
            self._push_all(samples, chunk)
            self._expect(self._library("end", self.context), "end", _READY)
            found = {name: b"".join(pieces) for name, pieces in self._taps.items()}
        finally:
            self._taps = None
        taps: Taps = {}
        for name, shape in tap_shapes(self.model, len(samples)).items():
            n_bytes = int(np.prod(shape)) * np.dtype(TAPS[name]).itemsize
            if len(found[name]) != n_bytes:
                raise MismatchError(f"{self.elf.path}: leaves {len(found[name])} bytes of {name}, expected {n_bytes}")
            taps[name] = np.frombuffer(found[name], TAPS[name]).reshape(shape)
        self._check_answer(taps)
        return taps

    def stream(self, samples: NDArray[np.int16], chunk: int | None = None) -> list[int]:
        """The decisions over a stream whose segments the library finds itself.

        Raises:
            MismatchError: the firmware fails or refuses.
        """
        self._reset()
        return self._push_all(samples, chunk)

    def selftest(self, limit_s: float | None = None) -> int:
        """What `lsm_selftest` says of the firmware as it is now in memory: a status, 1 for passed.

        Raises:
            MismatchError: it crashes or does not return.
        """
        status = self.call(f"{self.prefix}_selftest", self.context, limit_s=limit_s)
        return _signed(status & 0xFF, 8)

    def table(self, name: str) -> Symbol:
        """Where a table of the model is in flash.

        Raises:
            BuildError: the compiler left it out.
        """
        return self.elf.symbol(name, self._unit)

    def library_functions(self) -> list[Symbol]:
        """The functions that were compiled from the generated library."""
        return self.elf.functions_of(self._unit, f"{self.prefix}_")

    def read(self, address: int, n_bytes: int) -> bytes:
        """What the emulated memory holds.

        Raises:
            BuildError: there is no memory.
        """
        try:
            return bytes(self._uc.mem_read(address, n_bytes))
        except UcError:
            raise BuildError(f"{self.board.id}: has no memory at {address:#010x}") from None

    def write(self, address: int, data: bytes, *, is_code: bool = True) -> None:
        """Change the emulated memory, flash included; the ELF stays as it is.

        Raises:
            BuildError: there is no memory.
        """
        try:
            self._uc.mem_write(address, data)
        except UcError:
            raise BuildError(f"{self.board.id}: has no memory at {address:#010x}") from None
        if is_code:
            self._uc.ctl_flush_tb()

    def flip_bit(self, place: str | int, offset_bytes: int = 0, bit: int = 0, *, is_code: bool = True) -> None:
        """Turn one bit over, in memory, of a table by its symbol or of the byte at an address.

        Raises:
            BuildError: there is no such symbol, or no memory.
        """
        start = self.elf.symbol(place, self._unit).address if isinstance(place, str) else place
        (byte,) = self.read(start + offset_bytes, 1)
        self.write(start + offset_bytes, bytes([byte ^ 1 << bit]), is_code=is_code)

    def _check_model(self) -> None:
        found = self.elf.text(f"{self.prefix}_model_digest")
        if found != self.model.digest:
            name, wanted = self.model.manifest.name, self.model.digest
            raise MismatchError(
                f"{self.elf.path}: holds model {found[:12]}, but {name} is {wanted[:12]}; "
                "run lsm-edge generate and lsm-edge build again"
            )
        layout = self.elf.struct(f"{self.prefix}_t", self._unit)
        fields = {field.name: field.n_bytes for field in context_fields(self.model, dsp=self.board.dsp)}
        n_bytes = context_bytes(self.model, dsp=self.board.dsp)
        if {name: field.size for name, field in layout.fields.items()} != fields or layout.size != n_bytes:
            raise MismatchError(
                f"{self.elf.path}: its {self.prefix}_t of {layout.size} bytes is not the {n_bytes} bytes that this "
                "lsm-edge knows; run lsm-edge generate and lsm-edge build again"
            )

    def _load(self) -> None:
        """What a programmer writes into the flash, and what start-up code makes of the RAM."""
        flash, ram = self.board.flash, self.board.ram
        self._uc.mem_map(flash.address, _up(flash.bytes, _PAGE), _READ_ONLY)
        self._uc.mem_map(ram.address, _up(ram.bytes, _PAGE))
        self._uc.mem_write(flash.address, b"\xff" * flash.bytes)
        self._uc.mem_write(ram.address, _UNINITIALISED * ram.bytes)
        for segment in self.elf.segments:
            if not self._has_room(segment):
                raise BuildError(
                    f"{self.elf.path}: puts {segment.size} bytes at {segment.address:#010x}, where {self.board.id} "
                    "has no memory; was it built for another board?"
                )
            if segment.data:
                self._uc.mem_write(segment.load_address, segment.data)
            if segment.address != segment.load_address or not segment.data:
                self._uc.mem_write(segment.address, segment.data.ljust(segment.size, b"\0"))

    def _has_room(self, segment: Segment) -> bool:
        memories = (self.board.flash, self.board.ram)
        needed = [(segment.address, segment.size)] + [(segment.load_address, len(segment.data))] * bool(segment.data)
        return all(any(m.address <= a and a + n <= m.end for m in memories) for a, n in needed)

    def _provide(self, address: int, n_bytes: int) -> int:
        """Map memory with nothing around it; the address after its last byte."""
        self._uc.mem_map(address, _up(n_bytes, _PAGE))
        return address + _up(n_bytes, _PAGE)

    def _reset(self) -> None:
        self._uc.mem_write(self.context, _UNINITIALISED * self._context_bytes)
        self._library("init", self.context)

    def _library(self, function: str, *arguments: int) -> int:
        return self.call(f"{self.prefix}_{function}", *arguments)

    def _push_all(self, samples: NDArray[np.int16], chunk: int | None) -> list[int]:
        data = np.ascontiguousarray(samples, "<i2").tobytes()
        step = 2 * (chunk or self.model.manifest.frontend.hop_samples)
        decisions = []
        for at in range(0, len(data), step):
            piece = data[at : at + step]
            start = self._samples_end - len(piece)
            self._uc.mem_write(start, piece)
            status = self._library("push", self.context, start, len(piece) // 2)
            self._expect(status, "push", _MORE, _READY)
            if status == _READY:
                decisions.append(_signed(self._library("class", self.context)))
        return decisions

    def _expect(self, status: int, function: str, *allowed: int) -> None:
        status = _signed(status & 0xFF, 8)  # an enum may be a single byte; what is above it then means nothing
        if status not in allowed:
            raise MismatchError(f"{self.elf.path}: {self.prefix}_{function}() refuses with status {status}")

    def _check_answer(self, taps: Taps) -> None:
        """The public functions must say what the last taps say."""
        label = _signed(self._library("class", self.context))
        scores, field = self._library("scores", self.context), self._fields["scores"]
        is_there = scores == self.context + field.offset
        is_last = self.read(self.context + field.offset, field.size) == taps["readout.scores"][-1].tobytes()
        if label != taps["decision.class"][-1] or not is_there or not is_last:
            raise MismatchError(f"{self.elf.path}: {self.prefix}_class() or {self.prefix}_scores() contradict the taps")

    def _watch_entry(self, stage: str) -> None:
        name = f"{self.prefix}_{stage}"
        functions = self.elf.functions(name, self._unit)
        if not functions:
            raise BuildError(
                f"{self.elf.path}: has no function {name}, so this stage cannot be watched: it was stripped, or "
                "inlined against the library's wish; build with lsm-edge build"
            )
        for function in functions:
            hook = unicorn_const.UC_HOOK_CODE
            self._uc.hook_add(hook, self._on_entry, stage, function.address, function.address)

    def _on_entry(self, uc: Any, address: int, size: int, stage: str) -> None:
        if self._taps is None:
            return
        back = uc.reg_read(arm_const.UC_ARM_REG_LR) & ~1
        self._running.append((stage, back, uc.reg_read(arm_const.UC_ARM_REG_SP)))
        if back not in self._watched and back != self._return_address:
            self._watched.add(back)
            uc.hook_add(unicorn_const.UC_HOOK_CODE, self._on_return, None, back, back)
            uc.ctl_remove_cache(back, back + 2)  # what was translated before does not know of the hook

    def _on_return(self, uc: Any, address: int, size: int, _: Any) -> None:
        """Leave the stage functions that return here: several if one ended in a jump to the next."""
        while self._running:
            stage, back, stack = self._running[-1]
            if back != address or stack != uc.reg_read(arm_const.UC_ARM_REG_SP):
                return
            self._running.pop()
            self._record(stage)

    def _record(self, stage: str) -> None:
        """Read what a stage has left, as templates/host.c.j2 does."""
        manifest = self.model.manifest
        if stage == "frontend":
            self._keep("frontend.frame", "frame")
        elif stage == "encoder":
            row = self._field("row") if current_rows(manifest) > 1 else 0
            n_bytes = 2 * manifest.reservoir.n_neurons
            # An input current is held for all steps of a frame; delta sends anew at every step.
            for _ in range(manifest.reservoir.steps_per_frame if manifest.encoder.kind == "current" else 1):
                self._keep("encoder.current", "current", row * n_bytes, n_bytes)
        elif stage == "reservoir":
            self._keep("reservoir.v", "v")
            self._keep("reservoir.refractory", "refractory")
            self._keep("reservoir.spikes", "spikes")
        elif stage == "frame":
            bands = manifest.frontend.n_bands
            first = (history_frames(manifest) + self._field("at")) * bands
            self._keep("frontend.level", "frames", first, bands)
        elif stage == "readout":
            self._keep("readout.features", "features")
            self._keep("readout.scores", "scores")
        else:
            self._keep("readout.scores", "scores")
            self._keep("decision.class", "decision")
            if manifest.decision.confidence:
                self._keep("decision.confidence", "confidence_q15")

    def _field(self, name: str) -> int:
        """What an unsigned scalar of the context holds."""
        field = self._fields[name]
        return int.from_bytes(self._uc.mem_read(self.context + field.offset, field.size), "little")

    def _keep(self, tap: str, name: str, first: int = 0, n_bytes: int | None = None) -> None:
        assert self._taps is not None
        field = self._fields[name]
        self._taps[tap].append(self._uc.mem_read(self.context + field.offset + first, n_bytes or field.size))

    def _on_invalid(self, uc: Any, access: int, address: int, size: int, value: int, _: Any) -> bool:
        self._invalid = _INVALID.get(access, "fails with {} bytes at {:#010x}").format(size, address)
        return False

    def _failure(self, function: str, what: str) -> MismatchError:
        pc = self._uc.reg_read(arm_const.UC_ARM_REG_PC)
        where = f"pc {pc:#010x}, {self.elf.place(pc)}"
        return MismatchError(f"{self.elf.path}: on {self.name}, {function}() {what} ({where})")


def _core(board: Board) -> Any:
    """A blank core of the board's kind."""
    # Not with UC_MODE_MCLASS: whatever model is set then, Unicorn runs a Cortex-M33.
    uc: Any = Uc(unicorn_const.UC_ARCH_ARM, unicorn_const.UC_MODE_THUMB)  # type: ignore[no-untyped-call,unused-ignore]
    model = getattr(arm_const, board.emulator.cpu, None)
    if model is None:
        raise BuildError(f"board {board.id}: emulator.cpu: unicorn {unicorn_version} has no {board.emulator.cpu}")
    uc.ctl_set_cpu_model(model)
    if uc.ctl_get_cpu_model() != model:
        raise BuildError(f"unicorn {unicorn_version} runs another core than {board.emulator.cpu}")
    return uc


def _up(n: int, multiple: int) -> int:
    return -(-n // multiple) * multiple


def _signed(value: int, bits: int = 32) -> int:
    return value - (1 << bits) if value >> (bits - 1) else value
