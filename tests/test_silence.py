"""What silence costs: while the gate is closed, taking samples in is nearly all that is done."""

from __future__ import annotations

import numpy as np
import pytest
from emulated import M4, compile_firmware
from models import LABELS, small_config

from lsm_edge.learn import wire
from lsm_edge.target.meter import PUSH, Meter

SAMPLE_HZ, HOP_SAMPLES = 8000, 64
HUM = np.sin(2 * np.pi * 50 / SAMPLE_HZ * np.arange(2 * SAMPLE_HZ))
NOISE = np.random.default_rng(1).normal(0, 1, 2 * SAMPLE_HZ)
QUIET = {
    "digital silence": np.zeros(2 * SAMPLE_HZ),
    "hiss": 20 * NOISE,
    "loud noise, offset and hum": 2000 * (NOISE + 4) + 9000 * HUM,
}


@pytest.fixture(scope="module")
def gated(tmp_path_factory: pytest.TempPathFactory) -> Meter:
    """Hops of 8 ms; a high onset, because noise at the very start of a stream, in a window half empty, is one."""
    frontend, decision = {"window_samples": 256, "n_bands": 20}, {"endpointer": {"gate_db": 6.0, "onset_db": 30.0}}
    model = wire.draft(small_config(frontend=frontend, decision=decision), LABELS)
    elf = compile_firmware(model, M4, tmp_path_factory.mktemp("gated"), flags=("-O3",))
    return Meter(model, elf, M4)


@pytest.mark.parametrize("background", QUIET)
def test_a_second_of_silence(gated: Meter, background: str) -> None:
    """Not the first one, at whose beginning the gate is open."""

    heard = gated.hear(QUIET[background].astype(np.int16), by_hand=False, skipped_hops=SAMPLE_HZ // HOP_SAMPLES)
    second = {name: tally.instructions for name, tally in heard.functions.items()}
    assert sum(second.values()) <= 250_000
    assert set(filter(second.get, second)) <= {PUSH, "gate"}
