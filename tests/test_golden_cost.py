"""What the stages cost may not grow unnoticed: executed instructions and code bytes are compared with cost.json.

The counts are deterministic, but belong to a compiler's version. Of another version than the file's nothing is known.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest
from emulated import M0, M4, compile_firmware, compile_with_zig
from models import sound
from sample_models import sample_model
from test_sample import SAMPLE

from lsm_edge.board import Board
from lsm_edge.model import Model, load_model
from lsm_edge.target.codegen import generate_project
from lsm_edge.target.elf import Elf
from lsm_edge.target.meter import PUSH, STAGE_OF, Meter

COSTS: Final = Path(__file__).parent / "golden" / "cost.json"
MOST_GROWTH: Final = 1.02
HOPS: Final = 24
AGAIN: Final = "`pytest tests/test_golden_cost.py --update-golden`"

MODELS: Final[dict[str, Callable[[], Model]]] = {
    "tiny": lambda: load_model(SAMPLE / "tiny.lsm"),
    "endpointer": lambda: sample_model("endpointer"),
    "delta": lambda: sample_model("delta"),
    "live-delta": lambda: sample_model("live-delta"),
}
CORES: Final = {
    "cortex-m0plus": M0,
    "cortex-m4 with DSP": M4,
    "cortex-m4 without": M4.model_copy(update={"dsp": False}),
}
# Clang links for the M0+ only with a library that it does not bring.
CELLS: Final = [
    *(("gcc", core, model) for core in CORES for model in MODELS),
    ("clang", "cortex-m4 with DSP", "endpointer"),
    ("clang", "cortex-m4 without", "endpointer"),
]


@pytest.mark.parametrize(("compiler", "core", "name"), CELLS)
def test_no_stage_has_become_dearer(
    compiler: str, core: str, name: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    model, board = MODELS[name](), CORES[core]
    elf = compile_firmware(model, board, tmp_path, flags=(flag_of(model, board),)) if compiler == "gcc" else None
    elf = elf or compile_with_zig(model, board, tmp_path)
    cell = f"{version_of(compiler, elf)}, {core}, {name}"
    found = costs_of(model, elf, board)
    known: dict[str, dict[str, int]] = json.loads(COSTS.read_text(encoding="utf-8")) if COSTS.exists() else {}
    if request.config.getoption("--update-golden"):
        kept = {key: costs for key, costs in known.items() if not _is_same_cell(key, compiler, core, name)}
        lines = [f"{json.dumps(key)}: {json.dumps(costs)}" for key, costs in sorted({**kept, cell: found}.items())]
        COSTS.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")
        return
    if cell not in known:
        told = f"{COSTS.name} knows nothing of {cell}; with this compiler, run {AGAIN}"
        # CI has the gcc of its distribution; ziglang is whichever is newest.
        (pytest.fail if os.environ.get("CI") and compiler == "gcc" else pytest.skip)(told)
    grown = [
        f"{what}: {known[cell].get(what, 0):,} -> {now:,}"
        for what, now in found.items()
        if now > MOST_GROWTH * known[cell].get(what, 0)
    ]
    assert not grown, f"{cell}: {'; '.join(grown)}; if that is meant, run {AGAIN}"


def test_the_file_holds_these_cells_and_no_others() -> None:
    known = json.loads(COSTS.read_text(encoding="utf-8"))
    assert len(known) == len(CELLS)
    assert all(any(_is_same_cell(key, *cell) for key in known) for cell in CELLS)


def costs_of(model: Model, elf: Path, board: Board) -> dict[str, int]:
    """Executed instructions of each stage function over one sound, and the library's code."""
    meter = Meter(model, elf, board)
    functions = meter.hear(sound(1, HOPS, hop=model.manifest.frontend.hop_samples)).functions
    executed = {name: functions[name].instructions for name in (*STAGE_OF, PUSH) if functions[name].calls}
    return {**executed, "code bytes": sum({s.address: s.size for s in meter.library_functions()}.values())}


def flag_of(model: Model, board: Board) -> str:
    """How the project's firmware is optimised."""
    (flag,) = re.findall(r"^\s+(-O\w)$", generate_project(model, board)["platformio.ini"], re.MULTILINE)
    return str(flag)


def version_of(compiler: str, elf: Path) -> str:
    """The compiler's version, as far as code depends on it."""
    if compiler == "clang":
        return f"clang of ziglang {importlib.metadata.version('ziglang')}"
    found = re.search(r"(\d+\.\d+)\.\d+", Elf(elf).producer("lsm.c"))
    return f"gcc {found[1] if found else 'of unknown version'}"


def _is_same_cell(key: str, compiler: str, core: str, name: str) -> bool:
    return key.startswith(compiler) and key.endswith(f", {core}, {name}")
