"""Nothing that is heard takes longer than the bound says: adversarial sounds, busy liquids, every kind of model."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from emulated import M0, M4, compile_firmware, compile_with_zig, sounds
from models import extremes, sound, with_tables
from numpy.typing import NDArray
from sample_models import sample_model

from lsm_edge.board import Board
from lsm_edge.errors import RangeError
from lsm_edge.model import Model
from lsm_edge.target.elf import Elf
from lsm_edge.target.meter import Meter
from lsm_edge.target.worst_case import WorstCase, worst_case


def heard(model: Model) -> Iterator[NDArray[np.int16]]:
    """Sounds at the ends of what there is, changing sounds, and those that emulators are verified with."""
    hop = model.manifest.frontend.hop_samples
    yield from extremes(8 * hop + 1).values()
    yield sound(1, 30, hop=hop)
    yield from (recording.samples for recording in sounds(model))


def busiest(model: Model) -> Model:
    """Every neuron fires as soon as it may."""
    return with_tables(model, {"threshold": 1})


def assert_holds(bounds: WorstCase, model: Model, elf: Path, board: Board) -> None:
    meter = Meter(model, elf, board)
    for n, samples in enumerate(heard(model)):
        found = meter.hear(samples, by_hand=n % 3 > 0)
        assert found.hop.worst <= bounds.hop.instructions
        if bounds.end is not None:
            assert found.end.worst <= bounds.end.instructions
        for name, bound in bounds.functions.items():
            assert found.functions[name].worst <= bound.instructions, name


@pytest.mark.parametrize(
    ("name", "board", "flag", "busy"),
    [
        ("segment", M4, "-O2", False),
        ("endpointer", M4, "-O3", False),
        ("endpointer", M4, "-O2", True),
        ("endpointer", M0, "-O2", False),
        ("delta", M4, "-O2", True),
        ("delta", M0, "-O3", False),
        ("live", M4, "-O3", False),
        ("live-delta", M4, "-O3", True),
    ],
    ids=lambda value: value.core if isinstance(value, Board) else value if isinstance(value, str) else "busy" * value,
)
def test_no_sound_exceeds_the_bound(name: str, board: Board, flag: str, busy: bool, tmp_path: Path) -> None:
    model = busiest(sample_model(name)) if busy else sample_model(name)
    elf = compile_firmware(model, board, tmp_path, flags=(flag,))
    assert_holds(worst_case(model, elf, board), model, elf, board)


def test_of_clang_too(tmp_path: Path) -> None:
    model = sample_model("endpointer")
    elf = compile_with_zig(model, M4, tmp_path)
    assert_holds(worst_case(model, elf, M4), model, elf, M4)


def test_bounds_are_not_much_above_what_happens(tmp_path: Path) -> None:
    """Of stages that do the same whatever they hear; and a step in which all is due is what the bound says."""
    model = sample_model("live-delta")
    elf = compile_firmware(model, M4, tmp_path)
    bounds, found = worst_case(model, elf, M4), Meter(model, elf, M4).hear(sound(1, 30))
    for name in ("frontend", "readout", "frame"):
        assert bounds.functions[name].instructions <= 1.1 * found.functions[name].worst, name
    assert bounds.idle_step < bounds.due_step <= bounds.functions["reservoir"].instructions
    assert bounds.functions["reservoir"].instructions <= 1.5 * bounds.due_step
    assert all(bound.cycles >= bound.instructions / 2 for bound in bounds.functions.values())
    assert bounds.end is None
    assert 0 < bounds.varying_loops < bounds.loops


def test_a_loop_that_no_workout_enters_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = sample_model("delta")
    elf = compile_firmware(model, M4, tmp_path)
    (encoder,) = Elf(elf).functions("lsm_encoder", "lsm.c")
    monkeypatch.setattr("lsm_edge.target.workouts._jump", lambda tracer, direction: None)
    monkeypatch.setattr("lsm_edge.target.workouts._sounds", lambda n: [np.zeros(n, np.int16)] * 6)
    with pytest.raises(RangeError, match=r"lsm_encoder\S*: has no bound: no workout enters its loop at lsm_encoder"):
        worst_case(model, elf, M4, executed={(encoder.address, encoder.size)})
