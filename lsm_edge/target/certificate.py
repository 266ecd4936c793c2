"""What was checked, written so that somebody else can check it again.

A certificate is JSON: `claims` (what was found, which a new run must find again), `scope` (how much was run),
`environment` (with which tools; may differ) and `not_checked` (said plainly). A page for people lies beside it.
"""

from __future__ import annotations

import hashlib
import json
import platform
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import pydantic
from pydantic import BaseModel, ConfigDict, Field

from lsm_edge import __version__
from lsm_edge.board import Board
from lsm_edge.errors import ConfigError
from lsm_edge.files import write_atomically
from lsm_edge.model import Model
from lsm_edge.ranges import ranges_of
from lsm_edge.selftest import known_answer
from lsm_edge.target.emulate import Emulator
from lsm_edge.target.faults import PASS, FaultCoverage, code_faults, table_faults
from lsm_edge.target.native import compiler_name
from lsm_edge.target.qemu import QemuCore, machine_for
from lsm_edge.target.templates import render
from lsm_edge.target.verify import Recording, Verification, verify

FORMAT: Final = 1
Progress = Callable[[int, int], None]


class Scope(BaseModel):
    """How much is run."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    emulated_recordings: int = Field(default=30, ge=1)
    table_bits: int = Field(default=2000, ge=1)
    code_bits: int = Field(default=50, ge=0)
    seed: int = Field(default=0, ge=0)


class Certificate(BaseModel):
    """See the module; `claims` are plain JSON values."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    lsm_edge_certificate: int = FORMAT
    board: str
    scope: Scope
    claims: dict[str, Any]
    environment: dict[str, str]
    not_checked: list[str]

    @property
    def holds(self) -> bool:
        """Whether everything that was checked was as it should be."""
        claims = self.claims
        return (
            claims["verification"]["differences"] == 0
            and not claims["altered_files"]
            and claims["selftest"]["passes"]
            and claims["selftest"]["table_bits"]["share"] == 1.0
            and all(row["verdict"] != "OVERFLOWS" for row in claims["ranges"])
        )


def certify(
    model: Model,
    recordings: Sequence[Recording],
    *,
    elf: Path,
    board: Board,
    library: Mapping[str, str],
    scope: Scope,
    prefix: str = "lsm",
    progress: Progress | None = None,
) -> tuple[Certificate, Verification]:
    """Run everything that a certificate claims.

    Raises:
        MismatchError: the firmware holds another model, or crashes.
        BuildError, DataError: as `verify`.
    """
    second = _second_emulator(model, board, library, prefix)
    result = verify(
        model,
        recordings,
        elf=elf,
        board=board,
        library=library,
        prefix=prefix,
        n_emulated=scope.emulated_recordings,
        others={second.name: second.tap} if second else None,
        progress=progress,
    )
    emulator = Emulator(model, elf, board, prefix=prefix)
    status = emulator.selftest()
    tables = code = FaultCoverage(bits=0, flipped=0, noticed=0, missed=())
    if status == PASS:
        tables = table_faults(emulator, scope.table_bits, scope.seed, progress)
        code = code_faults(emulator, scope.code_bits, scope.seed, progress)
    answer = known_answer(model)
    claims: dict[str, Any] = {
        "model": {"name": model.manifest.name, "digest": model.digest, "labels": list(model.manifest.labels)},
        "generated_sources": {"sha256": _digest_of_files(library)},
        "altered_files": list(result.altered_files),
        "elf": {
            "sha256": hashlib.sha256(elf.read_bytes()).hexdigest(),
            "compiler": emulator.elf.producer(f"{prefix}.c"),
        },
        "core": board.core,
        "recordings_sha256": _digest_of_recordings(recordings),
        "verification": _counts(result),
        "ranges": [item.as_row() for item in ranges_of(model).values()],
        "selftest": {
            "passes": status == PASS,
            "sounds": len(answer.seeds),
            "hops": answer.n_hops,
            "neurons": model.manifest.reservoir.n_neurons,
            "neurons_reached": answer.neurons_reached,
            "table_bits": {**asdict(tables), "share": tables.share},
            # A crash or an endless loop may be noticed or not as memory happens to lie: counted, not claimed again.
        },
    }
    environment = {
        "lsm-edge": __version__,
        "host": f"{platform.system()} {platform.machine()}, Python {platform.python_version()}",
        "host compiler": compiler_name(),
        "emulators": ", ".join([f"unicorn {version('unicorn')}", *([second.name] if second else [])]),
        "code bits noticed": f"{code.noticed} of {code.flipped} flipped, {code.bits} in all",
    }
    return Certificate(
        board=board.id,
        scope=scope,
        claims=claims,
        environment=environment,
        not_checked=_not_checked(result, len(recordings), tables.flipped, tables.bits, code.flipped - code.noticed),
    ), result


def save_certificate(certificate: Certificate, path: Path) -> Path:
    """Write the JSON and, beside it, the page; returns the page's path.

    Raises:
        ConfigError: they cannot be written.
    """
    text = json.dumps(certificate.model_dump(mode="json"), indent=2, ensure_ascii=False)
    write_atomically(path, f"{text}\n".encode())
    page = path.with_suffix(".md")
    write_atomically(page, render("certificate.md.j2", {"c": certificate}).encode())
    return page


def load_certificate(path: Path) -> Certificate:
    """Read a certificate.

    Raises:
        ConfigError: it cannot be read, or is none.
    """
    try:
        certificate = Certificate.model_validate_json(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None
    except (pydantic.ValidationError, ValueError):
        raise ConfigError(f"{path}: is not a certificate of lsm-edge") from None
    if certificate.lsm_edge_certificate != FORMAT:
        found = certificate.lsm_edge_certificate
        raise ConfigError(f"{path}: is in certificate format {found}; this lsm-edge reads format {FORMAT}")
    return certificate


def _second_emulator(model: Model, board: Board, library: Mapping[str, str], prefix: str) -> QemuCore | None:
    """QEMU as a machine of the board's core, if it is installed."""
    if prefix != "lsm":
        return None
    machine = machine_for(board)
    return QemuCore(model, machine, library=library) if shutil.which(machine.program) else None


def broken_claims(before: Certificate, now: Certificate) -> list[str]:
    """What a certificate claims and a new run does not find: one line each; empty if it holds.

    A second emulator that is not installed here is not a broken claim: `not_checked` of the new run says so.
    """
    lines: list[str] = []
    targets = now.claims["verification"]["targets"]
    if "qemu" not in targets:
        before.claims["verification"]["targets"].pop("qemu", None)
    _compare("", before.claims, json.loads(json.dumps(now.claims)), lines)
    if not now.holds:
        lines.append("what was found now is not in order")
    return lines


def _compare(where: str, before: Any, now: Any, lines: list[str]) -> None:
    if isinstance(before, dict) and isinstance(now, dict):
        for key in sorted(set(before) | set(now)):
            _compare(f"{where}.{key}" if where else key, before.get(key), now.get(key), lines)
    elif before != now:
        lines.append(f"{where}: was {_short(before)}, is {_short(now)}")


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 80 else text[:77] + "..."


def _counts(result: Verification) -> dict[str, Any]:
    """What a new run must find again: everything but the names of the host's compiler and emulator."""
    targets = {
        role: {key: value for key, value in asdict(target).items() if key not in ("name", "first_difference")}
        for role, target in zip(("host", "unicorn", "qemu"), result.targets, strict=False)
    }
    first = str(result.first_difference) if result.first_difference else None
    keys = ("recordings", "steps", "integers", "differences", "tap_digest")
    return {**{key: getattr(result, key) for key in keys}, "first_difference": first, "targets": targets}


def _not_checked(result: Verification, n: int, flipped: int, bits: int, code_missed: int) -> list[str]:
    emulated = result.targets[1].recordings
    lines = [
        "the real chip: an emulator executes the same instructions, but has no wait states, no power and no faults",
        "time: how long the firmware takes is not part of this certificate",
        "what brings samples to the library, and what acts on its decisions",
        "sounds other than the recordings: they are covered by the ranges, not by comparison",
        "the end-pointer: recordings were given as whole segments",
    ]
    if emulated < n:
        lines.append(f"{n - emulated} of {n} recordings ran on the host only, not on the emulated core")
    if len(result.targets) < 3:
        lines.append("a second emulator: QEMU is not installed, or the library has a prefix of its own")
    if flipped < bits:
        lines.append(
            f"{bits - flipped} of {bits} table bits were not flipped: that a CRC-32 notices every one is mathematics"
        )
    if code_missed:
        lines.append(f"the code in flash: {code_missed} flipped bits of it went unnoticed by the self-test")
    return lines


def _digest_of_files(files: Mapping[str, str]) -> str:
    sha = hashlib.sha256()
    for name in sorted(files):
        sha.update(f"{name}\n{len(files[name].encode())}\n".encode() + files[name].encode())
    return sha.hexdigest()


def _digest_of_recordings(recordings: Sequence[Recording]) -> str:
    sha = hashlib.sha256()
    for recording in recordings:
        sha.update(f"{len(recording.samples)}\n".encode() + recording.samples.astype("<i2").tobytes())
    return sha.hexdigest()
