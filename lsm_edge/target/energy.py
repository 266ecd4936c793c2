"""Energy: cycles times what a cycle takes on a board, and how long a battery lasts.

Enters: `Cycles` and a board whose file states a figure. Leaves: `Energy` and `Life`, estimates between two bounds.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from lsm_edge.board import Board
from lsm_edge.errors import ConfigError
from lsm_edge.target.timing import Cycles

# At most this share of the power at the stated clock does not fall with the clock: regulator, flash, oscillators.
_FIXED_SHARE = 0.1


@dataclass(frozen=True)
class Energy:
    """Microjoules: an estimate and its bounds. Of a second's cycles they are microwatts.

    `linear_volts` is the supply at which they hold if the core's regulator is linear: it draws the same current from
    any other. None says that they hold at any supply.
    """

    low_uj: float
    expected_uj: float
    high_uj: float
    linear_volts: float | None = None


@dataclass(frozen=True)
class Life:
    """Hours that a battery lasts: an estimate and its bounds."""

    low_h: float
    expected_h: float
    high_h: float


def energy_of(cycles: Cycles, board: Board, clock_hz: int | None = None) -> Energy | None:
    """What `cycles` take at `clock_hz`, by default the board's highest; None if the board's file does not say."""
    figure = board.energy
    if figure is None:
        return None
    slower = max(1.0, figure.clock_hz / (clock_hz or board.clock_hz))
    return Energy(
        cycles.low * figure.low_pj / 1e6,
        cycles.expected * figure.expected_pj / 1e6,
        cycles.high * figure.high_pj / 1e6 * (1 + _FIXED_SHARE * (slower - 1)),
        figure.volts if figure.regulator == "linear" else None,
    )


def battery_life(power: Energy, capacity_mah: float, volts: float, duty_cycle: float, sleep_ua: float) -> Life:
    """How long a battery lasts.

    `power` is what a second of work takes, `volts` the supply, `duty_cycle` the share of time in which there is work,
    `sleep_ua` what flows all the time. Self-discharge and the cell's inner resistance are not counted.

    Raises:
        ConfigError: a number is not of this world.
    """
    for name, value, fits, allowed in (
        ("capacity_mah", capacity_mah, capacity_mah > 0, "above 0"),
        ("volts", volts, volts > 0, "above 0"),
        ("duty_cycle", duty_cycle, 0 < duty_cycle <= 1, "above 0, at most 1"),
        ("sleep_ua", sleep_ua, sleep_ua >= 0, "0 or more"),
    ):
        if not fits:
            raise ConfigError(f"{name}: {value} is not allowed; allowed: {allowed}")
    stored_uwh = capacity_mah * volts * 1000
    working = duty_cycle * volts / (power.linear_volts or volts)
    drawn_uw = (working * uw + sleep_ua * volts for uw in (power.high_uj, power.expected_uj, power.low_uj))
    return Life(*(stored_uwh / uw if uw else math.inf for uw in drawn_uw))
