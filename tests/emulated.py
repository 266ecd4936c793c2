"""Small firmware for the emulator's tests: generated projects, compiled straight by gcc or by zig's clang."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from elftools.elf.elffile import ELFFile
from needs import missing, need
from numpy.typing import NDArray

from lsm_edge.board import Board, load_board
from lsm_edge.config import parse_config
from lsm_edge.learn.wire import draft
from lsm_edge.model import Model
from lsm_edge.target.codegen import generate_library, generate_project
from lsm_edge.target.elf import Elf

M4, M0 = load_board("nucleo_f446re"), load_board("nucleo_g071rb")

_LIVE: dict[str, Any] = {
    "frontend": {"level": "running_peak"},
    "readout": {"state": "trace", "n_windows": 1, "length_feature": False},
    "decision": {"mode": "live", "every_ms": 24.0},
}
# Between them: both encoders, both states, both modes, both resets, recurrence with delays, an end-pointer, one step a
# frame, and neurons that do and do not fill their words of spikes.
KINDS: dict[str, dict[str, Any]] = {
    "counts": {"reservoir": {"n_neurons": 37}, "decision": {"max_segment_ms": 240.0}},
    "trace": {
        "encoder": {"kind": "delta", "delta": 5},
        "reservoir": {"n_neurons": 50, "reset": "zero", "topology": {"kind": "random"}, "max_delay_steps": 7},
        "readout": {"state": "trace", "transform": "linear", "window_by": "length", "n_windows": 4},
    },
    "endpointer": {
        "frontend": {"window_samples": 128},
        "encoder": {"kind": "current", "max_delay_frames": 0},
        "reservoir": {"n_neurons": 64, "steps_per_frame": 1, "refractory_steps": 3},
        "decision": {
            "max_segment_ms": 160.0,
            "endpointer": {"onset_db": 6.0, "hang_ms": 32.0, "preroll_ms": 16.0, "gate_db": 6.0},
        },
    },
    "live": {**_LIVE, "encoder": {"kind": "current", "n_taps": 3}, "reservoir": {"n_neurons": 33}},
    "live-delta": {
        **_LIVE,
        "encoder": {"kind": "delta"},
        "reservoir": {"n_neurons": 32, "steps_per_frame": 1, "topology": {"kind": "maass"}, "max_delay_steps": 2},
    },
    "one-neuron": {
        "seed": 2,
        "frontend": {"n_bands": 8, "window_samples": 512, "range_db": 96},
        "reservoir": {"n_neurons": 1, "refractory_steps": 0},
        "readout": {"n_windows": 1, "transform": "linear", "length_feature": False},
    },
}


def model_of(kind: str) -> Model:
    """An untrained model of `KINDS` with low thresholds, so that neurons fire, and a random readout."""
    config = parse_config({"name": kind, "dataset": {"path": "."}, **KINDS[kind]}, kind)
    model = draft(config, ["yes", "no", "neither"], recurrent_unit=300.0)
    rng = np.random.default_rng(3)
    weights = rng.integers(-127, 128, model["readout_weight"].shape).astype(np.int8)
    bias = rng.integers(-999, 999, model["bias"].shape).astype(np.int32)
    threshold = rng.integers(800, 1500, model["threshold"].shape).astype(np.int16)
    return model.replace(threshold=threshold, readout_weight=weights, bias=bias)


_FLAGS = ("-std=c99", "-g", "-ffreestanding", "-ffunction-sections", "-fdata-sections")
_LINK = ("-nostdlib", "-T", "linker.ld", "-Wl,--gc-sections", "-Wl,--entry=Reset_Handler")
_ZIG_FLAGS = ("-fomit-frame-pointer", "-fno-unwind-tables", "-fno-asynchronous-unwind-tables", "-fno-sanitize=all")


@dataclass(frozen=True, eq=False)
class Sound:
    """A recording, as far as verification looks at it."""

    samples: NDArray[np.int16]
    path: str


def sounds(model: Model) -> list[Sound]:
    """A sweep, noise, silence, full scale, next to nothing, nothing, and one that is longer than a segment may be."""
    frontend, rng = model.manifest.frontend, np.random.default_rng(5)
    n = 9 * frontend.hop_samples + 5
    t = np.arange(n)
    sweep = 9000 * np.sin(t * t * 0.0006)
    longest = 60 * frontend.hop_samples if model.manifest.decision.mode == "segment" else n
    drawn = {
        "sweep": sweep,
        "noise": rng.normal(0, 3000, n),
        "silence": np.zeros(n),
        "extremes": rng.choice([-32768, 32767], n),
        "short": sweep[: frontend.hop_samples // 2],
        "empty": sweep[:0],
        "long": np.resize(sweep, longest) + rng.normal(0, 100, longest),
    }
    return [Sound(np.clip(samples, -32768, 32767).astype(np.int16), path) for path, samples in drawn.items()]


def compile_firmware(
    model: Model,
    board: Board,
    folder: Path,
    *,
    flags: Sequence[str] = ("-O2",),
    more: Mapping[str, str] | None = None,
) -> Path:
    """The project that `lsm-edge generate` writes, and `more` files, as an ELF from gcc."""
    need("arm-none-eabi-gcc")
    sources, includes = _write(folder, {**generate_project(model, board), **(more or {})})
    compiler = ["arm-none-eabi-gcc", *board.compile_flags, *_FLAGS, *flags]
    _run([*compiler, *includes, *sources, *_LINK, "-lgcc", "-o", "firmware.elf"], folder)
    return folder / "firmware.elf"


def compile_with_zig(model: Model, board: Board, folder: Path) -> Path:
    """The same from zig's clang, which writes other debug information and lays things out differently."""
    if importlib.util.find_spec("ziglang") is None:
        missing("ziglang")
    sources, includes = _write(folder, generate_project(model, board))
    target = ("-target", "thumb-freestanding-eabi", f"-mcpu={board.core.replace('-', '_')}", "-O2")
    compiler = [sys.executable, "-m", "ziglang", "cc", *target, *_ZIG_FLAGS, *_FLAGS]
    _run([*compiler, *includes, *sources, *_LINK, "-o", "firmware.elf"], folder)
    return folder / "firmware.elf"


def second_library(model: Model, prefix: str) -> dict[str, str]:
    """Another model's library, to be linked into the same firmware."""
    return {f"lib/{prefix}/{name}": text for name, text in generate_library(model, prefix=prefix).items()}


def change_elf(elf: Path, to: Path, *, remove: Sequence[str]) -> Path:
    """A copy without some of it."""
    _run(["arm-none-eabi-objcopy", *remove, str(elf), str(to)], to.parent)
    return to


def flip_bit_in_elf(elf: Path, to: Path, table: str, offset_bytes: int, bit: int) -> Path:
    """A copy in which one bit of a table is another."""
    data = bytearray(elf.read_bytes())
    address = Elf(elf).symbol(table, "lsm.c").address + offset_bytes
    with elf.open("rb") as file:
        (at,) = ELFFile(file).address_offsets(address)
    data[at] ^= 1 << bit
    to.write_bytes(data)
    return to


def _write(folder: Path, files: Mapping[str, str]) -> tuple[list[str], list[str]]:
    """Write a project; its C files, and its folders as options."""
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    sources = sorted(name for name in files if name.endswith(".c"))
    return sources, [f"-I{name}" for name in sorted({str(Path(name).parent) for name in files if name.endswith(".h")})]


def _run(command: Sequence[str], folder: Path) -> None:
    cache = str(folder / "cache")
    environment = {**os.environ, "ZIG_GLOBAL_CACHE_DIR": cache, "ZIG_LOCAL_CACHE_DIR": cache}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
