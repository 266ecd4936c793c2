"""The firmware on an emulated core leaves every integer of the golden model, and nothing goes wrong unnoticed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from emulated import KINDS, M0, M4, change_elf, compile_firmware, compile_with_zig, model_of, second_library, sounds
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from needs import need_host_compiler

from lsm_edge.board import Board, Memory
from lsm_edge.errors import BuildError, MismatchError
from lsm_edge.golden import TAPS, Taps, run_clips
from lsm_edge.model import Model
from lsm_edge.target import emulate
from lsm_edge.target.emulate import Emulator
from lsm_edge.target.native import Native

Firmware = Callable[[str, Board], Path]


@pytest.fixture(scope="session")
def firmware(tmp_path_factory: pytest.TempPathFactory) -> Firmware:
    """The ELF of a sample model for a board, compiled once."""
    made: dict[tuple[str, str], Path] = {}

    def make(name: str, board: Board) -> Path:
        if (name, board.id) not in made:
            made[name, board.id] = compile_firmware(model_of(name), board, tmp_path_factory.mktemp(name))
        return made[name, board.id]

    return make


@pytest.fixture(scope="session")
def counts(firmware: Firmware) -> Emulator:
    """The plainest model on the M4."""
    return Emulator(model_of("counts"), firmware("counts", M4), M4)


def assert_equal(expected: Taps, got: Taps) -> None:
    for name in TAPS:
        np.testing.assert_array_equal(got[name], expected[name], err_msg=name)
        assert got[name].dtype == expected[name].dtype


def compare_all(model: Model, emulator: Emulator, chunks: list[int]) -> None:
    clips = [sound.samples for sound in sounds(model)]
    for i, clip in enumerate(run_clips(model, clips)):
        assert_equal(clip.taps, emulator.tap(clips[i], chunks[i % len(chunks)]))


@pytest.mark.parametrize("board", [M4, M0], ids=lambda board: board.core)
@pytest.mark.parametrize("name", KINDS)
def test_every_tap_of_every_kind_of_model(name: str, board: Board, firmware: Firmware) -> None:
    model = model_of(name)
    emulator = Emulator(model, firmware(name, board), board)
    hop = model.manifest.frontend.hop_samples
    compare_all(model, emulator, [hop, hop // 2 + 1, hop - 1])


def test_models_do_something() -> None:
    """What the comparisons above are worth: neurons fire, and features and scores follow."""
    for name in KINDS:
        model = model_of(name)
        taps = run_clips(model, [sound.samples for sound in sounds(model)])[1].taps
        for tap in ("encoder.current", "reservoir.v", "reservoir.spikes", "readout.features", "readout.scores"):
            assert taps[tap].any(), (name, tap)


@pytest.mark.parametrize("level", ["-O0", "-Os", "-O3"])
def test_whatever_the_compiler_does_to_the_stages(level: str, tmp_path: Path) -> None:
    """Clones, jumps instead of calls, no optimisation at all: the taps stay where they were."""
    model = model_of("live-delta")
    compare_all(model, Emulator(model, compile_firmware(model, M4, tmp_path, flags=[level]), M4), [64, 7])


def test_library_that_link_time_optimisation_dissolved(tmp_path: Path) -> None:
    """What cannot be called by name is not passed over."""
    model = model_of("counts")
    emulator = Emulator(model, compile_firmware(model, M4, tmp_path, flags=["-O2", "-flto"]), M4)
    with pytest.raises(BuildError, match=r"has no symbol lsm_init: .*inlined"):
        emulator.tap(sounds(model)[0].samples)


def test_another_compiler(tmp_path: Path) -> None:
    model = model_of("endpointer")
    compare_all(model, Emulator(model, compile_with_zig(model, M4, tmp_path), M4), [64, 7])


def test_two_models_in_one_firmware(tmp_path: Path) -> None:
    lsm, other = model_of("live"), model_of("counts")
    names = ("init", "begin", "push", "end", "class", "scores", "model_digest")
    flags = ["-O2", *(f"-Wl,--undefined=other_{name}" for name in names)]
    elf = compile_firmware(lsm, M4, tmp_path, flags=flags, more=second_library(other, "other"))
    compare_all(lsm, Emulator(lsm, elf, M4), [64])
    compare_all(other, Emulator(other, elf, M4, prefix="other"), [64])


@settings(max_examples=25, deadline=None)
@given(
    samples=hnp.arrays(np.int16, st.integers(0, 700)),
    chunk=st.integers(1, 64),
)
def test_any_samples_in_any_chunks(counts: Emulator, samples: np.ndarray, chunk: int) -> None:
    assert_equal(run_clips(counts.model, [samples])[0].taps, counts.tap(samples, chunk))


@pytest.mark.parametrize("name", ["endpointer", "live"])
def test_stream(name: str, firmware: Firmware) -> None:
    """A stream whose segments the firmware finds itself gives the decisions of the host's C."""
    need_host_compiler()
    model = model_of(name)
    stream = np.concatenate([sound.samples for sound in sounds(model)] * 2)
    decisions = Emulator(model, firmware(name, M4), M4).stream(stream, 50)
    assert decisions
    assert decisions == Native(model).stream(stream)


def test_self_test(counts: Emulator) -> None:
    """The firmware's own known answer, called like any function; a flipped bit of a table is found by it."""
    assert counts.call("lsm_selftest", counts.context) == 1
    counts.flip_bit("mel_weight_q8")
    try:
        assert counts.call("lsm_selftest", counts.context) != 1
    finally:
        counts.flip_bit("mel_weight_q8")


@pytest.mark.parametrize(
    ("table", "bytes_a_neuron", "offset_bytes", "bit", "stage"),
    [
        ("mel_weight_q8", 0, 3, 7, "frontend"),
        ("tap_weight", 6, 2, 6, "encoder"),
        ("threshold", 2, 1, 3, "reservoir"),
        ("readout_weight", 1, 0, 6, "readout"),
        ("bias", 0, 1, 1, "readout"),
    ],
)
def test_flipped_bit_shows_first_in_its_stage(
    counts: Emulator, table: str, bytes_a_neuron: int, offset_bytes: int, bit: int, stage: str
) -> None:
    clip = sounds(counts.model)[-1].samples
    expected = run_clips(counts.model, [clip])[0].taps
    busiest = int(expected["readout.features"][0].argmax())
    offset_bytes += bytes_a_neuron * busiest
    counts.flip_bit(table, offset_bytes, bit)
    try:
        got = counts.tap(clip)
    finally:
        counts.flip_bit(table, offset_bytes, bit)
    differ = [name for name in TAPS if not np.array_equal(expected[name], got[name])]
    assert differ[0].startswith(stage)
    assert_equal(expected, counts.tap(clip))


def test_core_is_the_board_s(firmware: Firmware) -> None:
    """The M0+ refuses what only an M4 can do."""
    model = model_of("counts")
    board = M4.model_copy(update={"core": M0.core, "emulator": M0.emulator})
    with pytest.raises(MismatchError, match=r"cortex-m0plus.* an instruction that this core does not have .*lsm_"):
        Emulator(model, firmware("counts", M4), board).tap(sounds(model)[0].samples)


def test_word_at_an_odd_address(firmware: Firmware) -> None:
    """The M0+ has no unaligned access."""
    emulator = Emulator(model_of("counts"), firmware("counts", M0), M0)
    with pytest.raises(MismatchError, match="raises an exception"):
        emulator.call("lsm_push", emulator.context + 1, 0, 0)


def test_step_out_of_bounds(counts: Emulator) -> None:
    """A read just beyond the context or the samples is named with its place."""
    for count in (counts.model.manifest.frontend.hop_samples, 1):
        start = counts._samples_end - 2 * count
        counts.call("lsm_init", counts.context)
        assert counts.call("lsm_push", counts.context, start, count) in (0, 1)
        with pytest.raises(MismatchError, match=r"lsm_push\(\) reads \d bytes of nothing at 0x\w+ \(pc .*lsm_push"):
            counts.call("lsm_push", counts.context, start + 2, count)
    with pytest.raises(MismatchError, match=r"lsm_init\(\) writes \d bytes to nothing"):
        counts.call("lsm_init", counts.context + 8)
    with pytest.raises(MismatchError, match=r"lsm_init\(\) writes \d bytes to flash"):
        counts.call("lsm_init", M4.flash.address)


def with_code(emulator: Emulator, function: str, code: bytes, act: Callable[[], object]) -> None:
    """`act` while `function` begins with other instructions."""
    address = emulator.elf.symbol(function).address
    before = emulator.read(address, len(code))
    emulator.write(address, code)
    try:
        act()
    finally:
        emulator.write(address, before)


def test_no_hang(counts: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(emulate, "CALL_LIMIT_S", 0.2)

    def act() -> None:
        with pytest.raises(MismatchError, match=r"lsm_class\(\) has not returned after 0.2 s .*lsm_class"):
            counts.call("lsm_class", counts.context)

    with_code(counts, "lsm_class", b"\xfe\xe7", act)  # b .


def test_lost_stack(counts: Emulator) -> None:
    def act() -> None:
        with pytest.raises(MismatchError, match="another stack pointer"):
            counts.call("lsm_class", counts.context)

    with_code(counts, "lsm_class", b"\x01\xb4\x70\x47", act)  # push {r0}; bx lr


@pytest.mark.parametrize(
    ("function", "code", "said"),
    [
        ("lsm_end", b"\x01\x20\x70\x47", "leaves 0 bytes of frontend.level"),  # movs r0, #1; bx lr
        ("lsm_end", b"\x00\x20\x70\x47", r"lsm_end\(\) refuses with status 0"),
        ("lsm_begin", b"\x02\x20\x40\x42\x70\x47", r"lsm_begin\(\) refuses with status -2"),
        ("lsm_class", b"\x63\x20\x70\x47", "contradict the taps"),  # movs r0, #99; bx lr
        ("lsm_scores", b"\x04\x30\x70\x47", "contradict the taps"),  # adds r0, #4; bx lr
    ],
)
def test_firmware_that_does_not_do_its_work(counts: Emulator, function: str, code: bytes, said: str) -> None:
    def act() -> None:
        with pytest.raises(MismatchError, match=said):
            counts.tap(sounds(counts.model)[0].samples)

    with_code(counts, function, code, act)


def test_another_model(firmware: Firmware) -> None:
    """Firmware says which model it holds; no other is compared with it."""
    model = model_of("counts")
    other = model.replace(bias=model["bias"] // 2)
    with pytest.raises(MismatchError, match=f"holds model {model.digest[:12]}, but counts is {other.digest[:12]}"):
        Emulator(other, firmware("counts", M4), M4)


def test_another_layout(tmp_path: Path) -> None:
    """A header from another lsm-edge: same model, other context."""
    model = model_of("counts")
    header = second_library(model, "lsm")["lib/lsm/lsm.h"]
    grown = header.replace("} lsm_t;", "    uint32_t more; } lsm_t;")
    elf = compile_firmware(model, M4, tmp_path, more={"lib/lsm/lsm.h": grown})
    with pytest.raises(MismatchError, match="its lsm_t of"):
        Emulator(model, elf, M4)


def test_stage_that_cannot_be_watched(firmware: Firmware, tmp_path: Path) -> None:
    elf = change_elf(firmware("counts", M4), tmp_path / "f.elf", remove=["--strip-symbol=lsm_encoder"])
    with pytest.raises(BuildError, match="no function lsm_encoder, so this stage cannot be watched"):
        Emulator(model_of("counts"), elf, M4)


def test_another_board(firmware: Firmware) -> None:
    board = M4.model_copy(update={"flash": Memory(address=0, bytes=65536)})
    with pytest.raises(BuildError, match="nucleo_f446re has no memory; was it built for another board"):
        Emulator(model_of("counts"), firmware("counts", M4), board)


def test_unknown_core(firmware: Firmware) -> None:
    board = M4.model_copy(update={"emulator": M4.emulator.model_copy(update={"cpu": "UC_CPU_ARM_CORTEX_M99"})})
    with pytest.raises(BuildError, match="has no UC_CPU_ARM_CORTEX_M99"):
        Emulator(model_of("counts"), firmware("counts", M4), board)


def test_memory_that_is_not_there(counts: Emulator) -> None:
    for act in (lambda: counts.read(0x9000_0000, 4), lambda: counts.write(0x9000_0000, b"1234")):
        with pytest.raises(BuildError, match="has no memory at 0x90000000"):
            act()
