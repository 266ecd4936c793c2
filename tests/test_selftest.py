"""The self-test that the firmware carries: its known answer, and whether it notices what goes wrong."""

from __future__ import annotations

import zlib
from pathlib import Path

import numpy as np
import pytest
from emulated import KINDS, M0, M4, Sound, compile_firmware, model_of, sounds

from lsm_edge.board import Board
from lsm_edge.errors import ConfigError
from lsm_edge.model import table_specs
from lsm_edge.selftest import MOST_SOUNDS, known_answer, sound, table_crc
from lsm_edge.target.certificate import Scope, broken_claims, certify, load_certificate, save_certificate
from lsm_edge.target.codegen import generate_library
from lsm_edge.target.emulate import Emulator
from lsm_edge.target.faults import ANSWER_WRONG, PASS, TABLE_WRONG, code_faults, table_faults


@pytest.fixture(scope="module")
def firmware(tmp_path_factory: pytest.TempPathFactory) -> Emulator:
    """A small model with recurrence on an emulated M4."""
    model = model_of("trace")
    return Emulator(model, compile_firmware(model, M4, tmp_path_factory.mktemp("firmware")), M4)


@pytest.mark.parametrize("board", [M4, M0], ids=lambda board: board.id)
@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_model_passes(kind: str, board: Board, tmp_path: Path) -> None:
    model = model_of(kind)
    emulator = Emulator(model, compile_firmware(model, board, tmp_path), board)
    assert emulator.selftest() == PASS
    assert emulator.selftest() == PASS, "the second time as well: it leaves nothing behind"


def test_sound_is_as_documented() -> None:
    """Against a second writing of docs/numerics.md, section 8; and it is neither silent nor clipped."""
    random, left, sign, expected = 5, 0, 1, []
    for _ in range(3):
        random = (random * 1664525 + 1013904223) % 2**32
        half_period, softness = 2 + random // 2**26, random // 2**20 % 8
        for _ in range(40):
            if not left:
                left, sign = half_period, -sign
            left -= 1
            random = (random * 1664525 + 1013904223) % 2**32
            expected.append(sign * (16384 // 2**softness) + (random // 2**16 - 32768) // 2 ** (softness + 3))
    assert sound(5, 3, 40).tolist() == expected
    assert 0 < np.abs(sound(5, 64, 40).astype(int)).max() <= 16384 + 4096


def test_known_answer_reaches_more_with_every_sound() -> None:
    model = model_of("counts")
    answer = known_answer(model)
    assert 1 <= len(answer.seeds) <= MOST_SOUNDS
    assert len(set(answer.seeds)) == len(answer.seeds)
    assert answer.neurons_reached == model.manifest.reservoir.n_neurons


def test_table_checksum_covers_every_table() -> None:
    model = model_of("trace")
    seen = b"".join(model[name].tobytes() for name in table_specs(model.manifest))
    assert table_crc(model) == zlib.crc32(seen)


def test_every_bit_of_every_table_is_noticed(firmware: Emulator) -> None:
    coverage = table_faults(firmware, most=10**9)
    assert coverage.flipped == coverage.bits == 8 * firmware.model.table_bytes
    assert coverage.noticed == coverage.flipped
    assert firmware.selftest() == PASS, "every bit was turned back"


def test_a_table_bit_and_a_wrong_answer_are_told_apart(firmware: Emulator) -> None:
    firmware.flip_bit("threshold", 3, 1)
    assert firmware.selftest() == TABLE_WRONG
    firmware.flip_bit("threshold", 3, 1)
    entry = firmware.elf.functions("lsm_decision", "lsm.c")[0].address
    code = firmware.read(entry, 2)
    firmware.write(entry, b"\x70\x47")  # bx lr: no decision is made
    assert firmware.selftest() == ANSWER_WRONG
    firmware.write(entry, code)
    assert firmware.selftest() == PASS


def test_most_flipped_bits_of_code_are_noticed(firmware: Emulator) -> None:
    coverage = code_faults(firmware, most=40)
    assert coverage.flipped == 40
    assert coverage.share > 0.5
    assert len(coverage.missed) == min(coverage.flipped - coverage.noticed, 8)
    assert firmware.selftest() == PASS


def test_certificate_holds_until_a_byte_of_a_table_changes(tmp_path: Path) -> None:
    model = model_of("counts")
    recordings: list[Sound] = sounds(model)
    scope = Scope(emulated_recordings=3, table_bits=40, code_bits=4)
    parts = {"board": M4, "library": generate_library(model), "scope": scope}
    elf = compile_firmware(model, M4, tmp_path / "here")
    certificate, result = certify(model, recordings, elf=elf, **parts)
    assert certificate.holds
    assert result.differences == 0
    page = save_certificate(certificate, tmp_path / "out.json")
    text = page.read_text(encoding="utf-8")
    for shown in (model.digest, certificate.claims["elf"]["sha256"], "cannot overflow", "## Not checked"):
        assert shown in text

    claimed = load_certificate(tmp_path / "out.json")
    again, _ = certify(model, recordings, elf=elf, **parts)
    assert broken_claims(claimed, again) == []

    altered = dict(parts["library"])
    altered["lsm_tables.h"] = altered["lsm_tables.h"].replace("leak_q15", "leak_q15 ", 1)
    now, _ = certify(model, recordings, elf=elf, **{**parts, "library": altered})
    assert any("altered_files" in line for line in broken_claims(load_certificate(tmp_path / "out.json"), now))


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"lsm_edge_certificate": 2}', "\x00"])
def test_what_is_no_certificate_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(ConfigError, match=r"x\.json"):
        load_certificate(tmp_path / "x.json")
