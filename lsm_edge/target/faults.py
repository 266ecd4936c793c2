"""Fault injection: does `lsm_selftest`, in the firmware that would be flashed, notice a flipped bit?

In the emulator one bit is turned over, the self-test is called, and the bit is turned back. Table bits: the checksum
must notice every one of them. Code bits: some change nothing that is ever run, so the share that was noticed is stated.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from lsm_edge.errors import MismatchError
from lsm_edge.model import table_specs
from lsm_edge.target.emulate import Emulator

Place = tuple[int, int]  # address, bit
PASS, TABLE_WRONG, ANSWER_WRONG = 1, -4, -5


@dataclass(frozen=True)
class FaultCoverage:
    """How many of the flipped bits the self-test noticed, out of how many there are."""

    bits: int
    flipped: int
    noticed: int
    missed: tuple[str, ...]  # where the first few unnoticed ones are

    @property
    def share(self) -> float:
        """Noticed of flipped."""
        return self.noticed / max(self.flipped, 1)


def table_faults(
    emulator: Emulator, most: int, seed: int = 0, progress: Callable[[int, int], None] | None = None
) -> FaultCoverage:
    """Flip bits of every table: all of them, or `most` drawn evenly over them.

    Raises:
        MismatchError: the self-test fails before anything was flipped.
    """
    places: list[Place] = []
    for name in table_specs(emulator.model.manifest):
        symbol = emulator.table(name)
        places += [(symbol.address + byte, bit) for byte in range(symbol.size) for bit in range(8)]
    return _inject(emulator, places, most, seed, is_code=False, progress=progress)


def code_faults(
    emulator: Emulator, most: int, seed: int = 0, progress: Callable[[int, int], None] | None = None
) -> FaultCoverage:
    """Flip bits of the library's own functions; a crash or an endless loop counts as noticed (a watchdog would).

    Raises:
        MismatchError: the self-test fails before anything was flipped.
    """
    places: list[Place] = []
    for symbol in emulator.library_functions():
        places += [(symbol.address + byte, bit) for byte in range(symbol.size) for bit in range(8)]
    return _inject(emulator, places, most, seed, is_code=True, progress=progress)


def _inject(
    emulator: Emulator,
    places: Sequence[Place],
    most: int,
    seed: int,
    *,
    is_code: bool,
    progress: Callable[[int, int], None] | None,
) -> FaultCoverage:
    started = time.monotonic()
    if (status := emulator.selftest()) != PASS:
        raise MismatchError(f"{emulator.elf.path}: lsm_selftest fails ({status}) before any bit was flipped")
    limit_s = max(1.0, 8 * (time.monotonic() - started))
    chosen = range(len(places))
    if len(places) > most:
        drawn = np.random.default_rng(seed).choice(len(places), most, replace=False)
        chosen = sorted(drawn.tolist())  # type: ignore[assignment]
    missed: list[str] = []
    n_missed = 0
    for done, i in enumerate(chosen):
        address, bit = places[i]
        emulator.flip_bit(address, bit=bit, is_code=is_code)
        try:
            noticed = emulator.selftest(limit_s) != PASS
        except MismatchError:
            noticed = True
        finally:
            emulator.flip_bit(address, bit=bit, is_code=is_code)
        if not noticed:
            n_missed += 1
            missed += [f"{emulator.elf.place(address)}, bit {bit}"] * (len(missed) < 8)
        if progress is not None:
            progress(done + 1, len(chosen))
    return FaultCoverage(len(places), len(chosen), len(chosen) - n_missed, tuple(missed))
