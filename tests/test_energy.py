"""Energy and battery life: arithmetic that can be done by hand."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lsm_edge.board import Board, board_ids, load_board
from lsm_edge.errors import ConfigError
from lsm_edge.target.energy import Energy, battery_life, energy_of
from lsm_edge.target.timing import Cycles

L476 = load_board("nucleo_l476rg")
MILLION = Cycles(1e6, 1e6, 1e6)


def test_the_page_has_the_boards_figures() -> None:
    page = (Path(__file__).parents[1] / "docs" / "timing.md").read_text(encoding="utf-8")
    for board_id in board_ids():
        board = load_board(board_id)
        assert board.energy is not None
        figure = f"{board.energy.expected_pj:g} ({board.energy.low_pj:g} to {board.energy.high_pj:g})"
        (row,) = (line for line in page.splitlines() if line.startswith(f"| {board.mcu[:9]}, ") and figure in line)
        assert f"{board.energy.volts:g} V" in row
        assert board.energy.kind in row


def with_energy(**facts: Any) -> Board:
    """The board with other facts of its energy."""
    assert L476.energy is not None
    return L476.model_copy(update={"energy": L476.energy.model_copy(update=facts)})


def test_a_million_cycles_take_as_many_microjoules_as_one_takes_picojoules() -> None:
    figure = L476.energy
    energy = energy_of(MILLION, L476, figure.clock_hz if figure else None)
    assert figure is not None
    assert energy == Energy(figure.low_pj, figure.expected_pj, figure.high_pj, 1.8)


def test_the_published_inference_comes_out() -> None:
    """MLPerf Tiny v1.2, keyword spotting on a NUCLEO-L4R5ZI: 23.175 a second at 120 MHz, 1820.454 uJ each."""
    n = 120e6 / 23.175
    energy = energy_of(Cycles(n, n, n), with_energy(), 120_000_000)
    assert energy is not None
    assert energy.expected_uj == pytest.approx(1820.454, rel=0.005)


def test_a_linear_regulator_draws_the_same_current_from_any_supply() -> None:
    linear, switching = (energy_of(MILLION, with_energy(regulator=kind)) for kind in ("linear", "switching"))
    assert linear is not None
    assert switching is not None
    assert (linear.linear_volts, switching.linear_volts) == (1.8, None)
    lives = {
        volts: [battery_life(power, 1000, volts, 1.0, 0).expected_h for power in (linear, switching)]
        for volts in (1.8, 3.6)
    }
    assert lives[3.6] == pytest.approx([lives[1.8][0], 2 * lives[1.8][1]])
    assert lives[1.8][0] == lives[1.8][1] == pytest.approx(1000 / (351 / 1.8 / 1000))


def test_a_slower_clock_widens_the_band_upwards() -> None:
    slow = energy_of(MILLION, with_energy(clock_hz=80_000_000, high_pj=400.0), 40_000_000)
    assert slow == Energy(262, 351, pytest.approx(440.0), 1.8)  # a tenth of the power lasts twice as long


def test_no_figure_no_energy() -> None:
    assert energy_of(MILLION, L476.model_copy(update={"energy": None})) is None


def test_a_battery() -> None:
    """1000 mAh at 3 V are 3 Wh; 10 % of 10 mW and 10 uA at 3 V draw 1.03 mW."""
    life = battery_life(Energy(5000, 10_000, 20_000), 1000, 3.0, 0.1, 10)
    assert life.expected_h == pytest.approx(3 / 1.03e-3)
    assert life.low_h == pytest.approx(3 / 2.03e-3)
    assert life.high_h == pytest.approx(3 / 0.53e-3)


def test_nothing_drawn_lasts_for_ever() -> None:
    assert battery_life(Energy(0, 0, 0), 1000, 3.0, 1.0, 0.0).expected_h == math.inf


@given(st.floats(1, 1e6), st.floats(1, 1e5), st.floats(0.5, 5), st.floats(0.001, 1), st.floats(0, 1e4))
def test_life_is_energy_over_power(uw: float, mah: float, volts: float, duty: float, sleep_ua: float) -> None:
    life = battery_life(Energy(uw / 2, uw, uw * 2), mah, volts, duty, sleep_ua)
    assert life.low_h <= life.expected_h <= life.high_h
    assert life.expected_h * (duty * uw + sleep_ua * volts) == pytest.approx(mah * volts * 1000)


@pytest.mark.parametrize(
    ("numbers", "name"),
    [
        ((0, 3, 1, 0), "capacity_mah"),
        ((1, math.nan, 1, 0), "volts"),
        ((1, 3, 1.5, 0), "duty_cycle"),
        ((1, 3, 0, 0), "duty_cycle"),
        ((1, 3, 1, -1), "sleep_ua"),
    ],
)
def test_numbers_that_cannot_be(numbers: tuple[float, float, float, float], name: str) -> None:
    with pytest.raises(ConfigError, match=f"{name}: .* is not allowed"):
        battery_life(Energy(1, 2, 3), *numbers)
