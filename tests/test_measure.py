"""What a profile says is what happens: counted once more, one instruction at a time."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from io import StringIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from emulated import M0, M4, compile_firmware
from models import sound
from rich.console import Console
from sample_models import sample_model
from unicorn import unicorn_const

from lsm_edge.board import Board
from lsm_edge.budget import Budget
from lsm_edge.errors import DataError, RangeError
from lsm_edge.target import measure
from lsm_edge.target.emulate import Emulator
from lsm_edge.target.measure import STAGES, Battery, Profile, profile, synthetic_sounds
from lsm_edge.target.meter import PUSH, STAGE_OF, Meter, Tally
from lsm_edge.target.show import show, show_both
from lsm_edge.target.worst_case import Bound, WorstCase

CLIP = sound(1, 16)


def recording(samples: Any) -> Any:
    return SimpleNamespace(samples=samples, path="a clip")


@pytest.fixture(scope="module")
def elf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return compile_firmware(sample_model("endpointer"), M4, tmp_path_factory.mktemp("measure"))


@pytest.fixture(scope="module")
def found(elf: Path) -> Profile:
    return profile(sample_model("endpointer"), elf, M4, [recording(CLIP), recording(CLIP[:640])])


def test_every_instruction_is_counted_under_its_stage(elf: Path) -> None:
    """Against a hook on every single instruction. It is not called for those of an IT block that are skipped."""
    counts, met = counted_singly(elf, M4)
    for stage, tally in met.items():
        assert counts[stage] <= tally.instructions <= 1.05 * counts[stage] + 9, stage


def test_counts_are_exact(tmp_path: Path) -> None:
    """The M0+ has no IT blocks."""
    counts, met = counted_singly(compile_firmware(sample_model("endpointer"), M0, tmp_path), M0)
    assert sum(counts.values()) == sum(tally.instructions for tally in met.values())


def counted_singly(elf: Path, board: Board) -> tuple[Counter[str], Mapping[str, Tally]]:
    """Instructions by stage function, counted one by one, and as the meter counts them."""
    model, clip = sample_model("endpointer"), CLIP[:320]
    emulator = Emulator(model, elf, board)
    stage_of = {}
    for symbol in emulator.library_functions():
        stage = symbol.name.split(".")[0].removeprefix("lsm_")
        for at in range(symbol.address, symbol.address + symbol.size, 2):
            stage_of[at] = stage if stage in STAGE_OF or stage == "class" else PUSH
    counts, running = Counter[str](), [PUSH]

    def on_instruction(uc: Any, at: int, size: int, _: Any) -> None:
        # What is not the library's belongs to whoever called it last.
        running[0] = stage_of.get(at, running[0])
        counts[running[0]] += 1

    emulator._uc.hook_add(unicorn_const.UC_HOOK_CODE, on_instruction)
    emulator._reset()
    counts.clear()
    emulator._library("begin", emulator.context)
    emulator._push_all(clip, None)
    emulator._library("end", emulator.context)
    counts.pop("class", None)  # asked by `_push_all`
    return counts, Meter(model, elf, board).hear(clip).functions


def test_parts_add_up(found: Profile, elf: Path) -> None:
    assert sum(stage.instructions_per_s for stage in found.stages.values()) == pytest.approx(
        found.total.instructions_per_s
    )
    assert set(found.stages) == set(STAGES)
    assert found.total.cycles_per_s.low <= found.total.cycles_per_s.expected <= found.total.cycles_per_s.high
    assert found.total.instructions_per_decision * found.decisions == pytest.approx(
        found.total.instructions_per_s * found.seconds
    )
    memory = found.memory
    assert memory.flash_bytes == (
        sum(memory.tables.values()) + memory.library_code_bytes + memory.rest_of_firmware_bytes
    )
    assert memory.tables["recurrent_weight"] == sample_model("endpointer").manifest.reservoir.n_synapses
    assert 0 < memory.stack_seen_bytes <= memory.stack_bound_bytes
    assert memory.context_bytes <= memory.static_ram_bytes


def test_moments(found: Profile) -> None:
    assert found.end is not None
    for moment in (found.step, found.hop, found.end):
        assert 0 < moment.mean_instructions <= moment.worst_instructions <= moment.bound_instructions
        assert moment.bound_cycles > moment.mean_cycles.expected
    deadline = found.deadline
    assert deadline.hop_s == pytest.approx(0.008)
    assert deadline.hop_clock_hz == pytest.approx(found.hop.bound_cycles / 0.008, abs=1)
    assert deadline.end_latency_s == pytest.approx(found.end.bound_cycles / M4.clock_hz)
    assert found.work.neuron_updates_per_s == found.work.steps_per_s * 64
    assert found.work.instructions_per_synaptic_operation is not None
    assert found.work.instructions_per_synaptic_operation > 0


def test_live_mode_has_no_segments(tmp_path: Path) -> None:
    model = sample_model("live")
    found = profile(model, compile_firmware(model, M4, tmp_path), M4, synthetic_sounds(model.manifest)[:1])
    assert found.end is None
    assert found.deadline.end_latency_s is None
    assert found.work.instructions_per_synaptic_operation is None
    assert found.decisions > 5
    show(found, Console(quiet=True))


def test_a_budget_names_each_limit_that_is_broken(found: Profile) -> None:
    assert found.over(Budget()) == []
    tight = Budget(1, 1, 1, 1, 1, 1, 1, 1)
    names = [line.split(" ")[0] for line in found.over(tight)]
    assert names[:7] == [
        "flash", "ram", "instructions/s", "stack", "instructions/step", "cycles/s", "cycles/step",
    ]  # fmt: skip
    assert ("power" in names) == (M4.energy is not None)
    assert found.over(Budget(stack_bytes=found.memory.stack_bound_bytes)) == []


def test_what_is_printed_and_what_is_json(found: Profile) -> None:
    console = Console(record=True, width=140, file=StringIO())
    show(found, console)
    show_both(found, replace(found, model="other"), console)
    text = console.export_text()
    for word in (*STAGES, "never above", "real time", "deadline", "end of a segment", "other", "+0.0 %"):
        assert word in text, word
    assert json.loads(json.dumps(found.as_json()))["stages"]["push"]["cycles_per_s"]["low"] > 0


def test_a_board_without_a_figure_has_no_energy(found: Profile) -> None:
    assert measure._power(found.total, 1.0, M4.model_copy(update={"energy": None}), Battery()) is None
    unknown = replace(found, power=None)
    assert unknown.over(Budget(power_uw=1)) == []
    console = Console(record=True, file=StringIO())
    show(unknown, console)
    assert "states no figure" in console.export_text()


def test_a_battery_lasts_longer_if_less_is_heard(found: Profile) -> None:
    if found.power is None:
        pytest.skip("the board states no figure")
    lives = [measure._power(found.total, 1.0, M4, Battery(duty_cycle=share)) for share in (1.0, 0.1)]
    assert lives[0] and lives[1]
    assert lives[1].life.expected_h == pytest.approx(10 * lives[0].life.expected_h)


def test_nothing_to_hear(elf: Path) -> None:
    with pytest.raises(DataError, match="no recordings to profile with"):
        profile(sample_model("endpointer"), elf, M4, [recording(np.zeros(0, np.int16))])


def test_a_bound_that_does_not_hold_is_an_error(elf: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nothing = Bound(1000, 1000.0)
    bounds = WorstCase({}, nothing, nothing, 1, 1, 1, 1)
    monkeypatch.setattr(measure, "worst_case", lambda *_, **__: bounds)
    with pytest.raises(RangeError, match=r"hop: took \d+ instructions, but its bound is 1000"):
        profile(sample_model("endpointer"), elf, M4, [recording(CLIP)])
