"""The timing model against what is published, and what it makes of blocks, jumps and flash.

`pytest tests/test_timing.py --update-golden` writes the table of sequences into `docs/timing.md`.
"""

from __future__ import annotations

import re
import subprocess
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import pytest
from hypothesis import given
from hypothesis import strategies as st
from needs import need

from lsm_edge.board import Board, load_board
from lsm_edge.errors import BuildError, ConfigError
from lsm_edge.target.thumb import Kind, decode
from lsm_edge.target.timing import Cycles, cycles_of

PAGE = Path(__file__).parents[1] / "docs" / "timing.md"
F446, G071, L476 = (load_board(name) for name in ("nucleo_f446re", "nucleo_g071rb", "nucleo_l476rg"))
SLOW_HZ = 16_000_000  # no wait states on any of them
AT = 0x08000100
NOP = "00bf"

SOURCES = {
    "m0trm": "Arm DDI 0432C, 3.3: Cortex-M0 instruction summary",
    "m0ptrm": "Arm DDI 0484C, 3.3: Cortex-M0+ instruction summary",
    "m3trm": "Arm DDI 0337I, 3.3: Cortex-M3 instruction set summary",
    "m4trm": "Arm 100166, 3.3.1: Cortex-M4 instruction set summary",
    "pairs": "Arm DDI 0337I, 3.3.2: load/store timings (TI SWCU185G repeats them)",
    "branches": "compendium.i-0.nl, branch timing (measured)",
    "m3m4": "github.com/jnk0le/random, cortex_m3m4.md (measured on STM32F103, STM32F407)",
    "m33": "github.com/jnk0le/random, cortex_m33.md (measured on RP2350)",
    "m7": "github.com/jnk0le/random, cortex_m7.md (measured on STM32H743)",
}


@dataclass(frozen=True)
class Sequence:
    """Instructions, and how many cycles somebody else says they take.

    `loops` means one turn of a loop that never ends; `turns` that the jump at the end goes to byte `head` until so
    many turns are over.
    """

    core: str
    published: float
    source: str
    text: str
    code: str
    loops: bool = False
    turns: int = 1
    head: int = 0

    @property
    def cycles(self) -> Cycles:
        """What the model says."""
        n_bytes, repeats = len(self.code) // 2, 1000 if self.loops else 1
        blocks = Counter({(AT, n_bytes): repeats})
        if self.turns > 1:
            blocks += Counter({(AT + self.head, n_bytes - self.head): self.turns - 1, (AT + n_bytes, 2): 1})
        found = cycles_of(blocks, reader(self.code + NOP), on(self.core), SLOW_HZ)
        after = self.turns > 1  # the nop
        return Cycles(*((bound / repeats - after) for bound in (found.low, found.expected, found.high)))

    @property
    def error(self) -> float:
        """By how much the model is above what is published."""
        return self.cycles.expected / self.published - 1


SEQUENCES = [
    Sequence("cortex-m4", 3, "pairs", "ldr r0, [r1]; ldr r1, [r2]", "08681168"),
    Sequence("cortex-m4", 3, "pairs", "ldr r0, [r1, r2]; str r1, [r3, r2]", "88589950"),
    Sequence("cortex-m4", 3, "pairs", "ldr r0, [r1, r2]; str r0, [r3, #20]", "88585861"),
    Sequence("cortex-m4", 4, "pairs", "ldr r0, [r1, r5]; ldr r1, [r2]; ldr r2, [r3, #4]", "485911685a68"),
    Sequence("cortex-m4", 4, "pairs", "adds r1, #4; ldr r0, [r1]", "04310868"),
    Sequence("cortex-m4", 5, "pairs", "ldr.w pc, [r0]", "d0f800f0"),
    Sequence("cortex-m4", 6, "pairs", "tbb [pc, r0]", "dfe800f0"),
    Sequence("cortex-m4", 2, "m3m4", "ldr r0, [r1]; str r0, [r1, #4]", "08684860"),
    Sequence("cortex-m4", 4, "m3m4", "str r0, [r1]; ldr r2, [r1, #4]", "08604a68"),
    Sequence("cortex-m4", 2, "m3m4", "str r0, [r1, r2]", "8850"),
    Sequence("cortex-m4", 5, "m4trm", "ldm r0!, {r1, r2, r3, r4}", "1ec8"),
    Sequence("cortex-m4", 6, "m4trm", "push {r4, r5, r6, r7, lr}", "f0b5"),
    Sequence("cortex-m4", 3, "m4trm", "ldrd r0, r1, [r2]", "d2e90001"),
    Sequence(
        "cortex-m4", 3, "m4trm",
        "smlad r0, r1, r2, r0; smlal r4, r5, r6, r7; mla r0, r1, r2, r3",
        "21fb0200c6fb074501fb0230",
    ),
    Sequence("cortex-m4", 4, "branches", "adds r0, r2; subs r1, #1; bne .-4", "80180139fcd1", loops=True),
    Sequence(
        "cortex-m4", 16, "branches",
        "mov r2, r0; mov.w r0, #1; add r0, r2; sub.w r1, r1, #1; cmp r1, #0; bne .-8",
        "02464ff001001044a1f101010029fad1", turns=3, head=6,
    ),
    Sequence(
        "cortex-m4", 19, "branches",
        "mov r2, r0; mov.w r0, #1; mul r0, r0, r2; sub.w r1, r1, #1; cmp r1, #0; bne .-10",
        "02464ff0010000fb02f0a1f101010029f9d1", turns=3, head=6,
    ),
    Sequence("cortex-m3", 2, "m3trm", "mla r0, r1, r2, r3", "01fb0230"),
    Sequence("cortex-m3", 3, "pairs", "ldr r0, [r1]; ldr r1, [r2]", "08681168"),
    Sequence("cortex-m0plus", 3, "m0ptrm", "subs r0, #1; bne .-2", "0138fdd1", loops=True),
    Sequence("cortex-m0plus", 2, "m0ptrm", "ldrh r0, [r1, r2]", "885a"),
    Sequence("cortex-m0plus", 6, "m0ptrm", "push {r4, r5, r6, r7, lr}", "f0b5"),
    Sequence("cortex-m0plus", 8, "m0ptrm", "pop {r4, r5, r6, r7, pc}", "f0bd"),
    Sequence("cortex-m0plus", 3, "m0ptrm", "bl .", "fff7feff"),
    Sequence("cortex-m0plus", 2, "m0ptrm", "muls r0, r1; muls r2, r3", "48435a43"),
    Sequence("cortex-m0", 4, "m0trm", "subs r0, #1; bne .-2", "0138fdd1", loops=True),
    Sequence("cortex-m0", 9, "m0trm", "pop {r4, r5, r6, r7, pc}", "f0bd"),
    Sequence("cortex-m33", 3, "m33", "subs r7, #1; bne .-2", "013ffdd1", loops=True),
    Sequence("cortex-m33", 3, "m33", "subs r7, #1; add r0, r1; bne .-4", "013f0844fcd1", loops=True),
    Sequence("cortex-m33", 6, "m33", "subs r7, #1; ldm r6!, {r0, r1, r2, r3}; bne .-4", "013f0fcefcd1", loops=True),
    Sequence("cortex-m33", 3, "m33", "ldr r0, [r1]; add r2, r0", "08680244"),
    Sequence("cortex-m33", 4, "m33", "muls r0, r1; muls r2, r3", "48435a43"),
    Sequence("cortex-m33", 3, "m33", "add.w r0, r1, r2, ror #24; add r3, r0", "01eb32600344"),
    Sequence(
        "cortex-m33", 3, "m33",
        "smlad r0, r1, r2, r0; smlad r0, r1, r2, r0; smlad r0, r1, r2, r0",
        "21fb020021fb020021fb0200",
    ),
    Sequence(
        "cortex-m7", 2, "m7",
        "add.w r0, r1, r2; add.w r3, r4, r5; add.w r6, r4, r5; add.w r7, r1, r2",
        "01eb020004eb050304eb050601eb0207",
    ),
    Sequence("cortex-m7", 1, "m7", "ldr.w r0, [r4]; ldr.w r1, [r4, #4]", "d4f80000d4f80410"),
    Sequence("cortex-m7", 2, "m7", "ldr.w r0, [r4]; add.w r1, r0, r2", "d4f8000000eb0201"),
    Sequence("cortex-m7", 3, "m7", "mul r0, r1, r2; add.w r3, r0, r4", "01fb02f000eb0403"),
    Sequence("cortex-m7", 2, "m7", "uadd8 r0, r1, r2; uadd8 r3, r4, r5", "81fa42f084fa45f3"),
    Sequence("cortex-m7", 2, "m7", "ldm.w r0, {r1, r2, r3, r4}", "90e81e00"),
    Sequence(
        "cortex-m7", 3, "m7",
        "smlad r0, r1, r2, r0; smlad r0, r1, r2, r0; smlad r0, r1, r2, r0",
        "21fb020021fb020021fb0200",
    ),
]


def reader(code: str) -> Callable[[int, int], bytes]:
    """Memory that holds these bytes."""
    data = bytes.fromhex(code)
    return lambda address, n_bytes: data[address - AT : address - AT + n_bytes]


def on(core: str, board: Board = F446) -> Board:
    """`board` with another core."""
    return board.model_copy(update={"core": core, "multiply_cycles": 1 if core.startswith("cortex-m0") else None})


@pytest.mark.parametrize("sequence", SEQUENCES, ids=lambda sequence: f"{sequence.core}: {sequence.text}")
def test_the_published_count_is_within_the_bounds(sequence: Sequence) -> None:
    cycles = sequence.cycles
    assert cycles.low <= sequence.published <= cycles.high
    assert abs(sequence.error) <= 0.05


def test_the_bytes_are_what_the_text_says(tmp_path: Path) -> None:
    assembler, objcopy = need("arm-none-eabi-as"), need("arm-none-eabi-objcopy")
    for sequence in SEQUENCES:
        source = tmp_path / "one.s"
        source.write_text(".syntax unified\n.thumb\n" + sequence.text.replace("; ", "\n") + "\n", encoding="ascii")
        subprocess.run([assembler, f"-mcpu={sequence.core}", "-o", tmp_path / "one.o", source], check=True)
        subprocess.run([objcopy, "-O", "binary", "-j", ".text", tmp_path / "one.o", tmp_path / "one.bin"], check=True)
        assert (tmp_path / "one.bin").read_bytes().hex() == sequence.code, sequence.text


def test_the_page_has_the_table(request: pytest.FixtureRequest) -> None:
    rows = [
        f"| {one.core.removeprefix('cortex-').upper().replace('PLUS', '+')} | `{one.text}`{' (a turn)' * one.loops} "
        f"| {one.published:g} | {one.cycles.expected:.3g} | {one.error:+.0%} | {one.source} |"
        for one in SEQUENCES
    ]
    errors = [abs(one.error) for one in SEQUENCES]
    table = "\n".join(
        [
            "| core | sequence | published | model | error | source |",
            "|---|---|---:|---:|---:|---|",
            *rows,
            "",
            f"{len(rows)} sequences: error {min(errors):.0%} at least, {median(errors):.0%} in the middle, "
            f"{max(errors):.0%} at most.",
            "",
            *(f"- {name}: {source}" for name, source in SOURCES.items()),
        ]
    )
    text = PAGE.read_text(encoding="utf-8")
    fresh = re.sub(r"(?s)(<!-- sequences -->\n).*(\n<!-- end -->)", lambda found: found[1] + table + found[2], text)
    if request.config.getoption("--update-golden"):
        PAGE.write_text(fresh, encoding="utf-8")
    assert PAGE.read_text(encoding="utf-8") == fresh


def test_only_known_sources_are_named() -> None:
    assert {one.source for one in SEQUENCES} == set(SOURCES)
    assert len(SEQUENCES) >= 12


# loop: adds r0, #1; beq skip; adds r1, #1   skip: subs r2, #1; bne loop   nop
TWO_JUMPS = "0130" "00d0" "0131" "013a" "fad1" + NOP


@given(st.lists(st.booleans(), min_size=1, max_size=40))
def test_counts_of_blocks_tell_which_jumps_were_taken(skips: list[bool]) -> None:
    """Every turn is five or six instructions, and each jump that is taken one more cycle on a Cortex-M0+."""
    n = len(skips)
    added = n - sum(skips)
    blocks = {(AT, 4): n, (AT + 4, 6): added, (AT + 6, 4): n - added, (AT + 10, 2): 1}
    found = cycles_of(blocks, reader(TWO_JUMPS), on("cortex-m0plus"), SLOW_HZ)
    truth = 4 * n + added + sum(skips) + (n - 1) + 1
    assert found.expected == pytest.approx(truth)
    assert found.high - found.low <= 0.04 * truth + 1.03  # the model's own error, and one entry from elsewhere


def test_a_jump_is_in_doubt_where_others_may_lead_behind_it() -> None:
    blocks = {(AT, 4): 10, (AT + 4, 2): 10}  # ten times to the instruction behind beq: fallen, or come from elsewhere
    found = cycles_of(blocks, reader(TWO_JUMPS), on("cortex-m0plus"), SLOW_HZ)
    assert found.low < found.expected < found.high


def test_an_instruction_that_its_condition_skips_takes_one_cycle() -> None:
    cmp_it_ldr = "8842" "08bf" "0168"  # cmp r0, r1; it eq; ldreq r1, [r0]
    found = cycles_of({(AT, 6): 1}, reader(cmp_it_ldr), on("cortex-m4"), SLOW_HZ)
    assert found.low == pytest.approx(2 * 0.97)
    assert found.high == pytest.approx(4 * 1.03)


def loop_of(n_bytes: int) -> str:
    """That many bytes: additions, and a jump back to the first."""
    offset = (-n_bytes - 2) // 2 & 0x7FF
    return "0130" * (n_bytes // 2 - 1) + (0xE000 | offset).to_bytes(2, "little").hex()


@pytest.mark.parametrize("board", [F446, G071, L476], ids=lambda board: board.id)
def test_nobody_waits_at_the_reset_clock(board: Board) -> None:
    block = {(AT, 400): 1000}
    slow = cycles_of(block, reader(loop_of(400)), board, board.reset_clock_hz)
    fast = cycles_of(block, reader(loop_of(400)), board)
    assert board.flash_reads.wait_states(board.reset_clock_hz) == 0
    assert slow.expected < fast.expected
    assert slow.high < fast.high
    assert slow.low == fast.low
    assert cycles_of(block, reader(loop_of(400)), board, board.clock_hz) == fast


def test_a_loop_that_fits_the_cache_is_read_once() -> None:
    def waiting(n_bytes: int, turns: int) -> float:
        block = {(AT, n_bytes): turns}
        slow, fast = (cycles_of(block, reader(loop_of(n_bytes)), F446, hz) for hz in (SLOW_HZ, None))
        return fast.expected - slow.expected

    assert waiting(1000, 1000) == waiting(1000, 10) > 0
    assert waiting(1400, 1000) == pytest.approx(100 * waiting(1400, 10))


def test_constants_in_flash() -> None:
    load = {(AT, 2): 10}
    without, some = (cycles_of(load, reader("0868"), F446, data_lines=lines) for lines in (None, 3))
    none = cycles_of(load, reader("0868"), F446, data_lines=0)
    assert some.expected - none.expected == 3 * 5
    assert without.expected == none.expected
    assert without.high - none.high == pytest.approx(10 * 5 * 1.03)


def test_a_clock_that_the_flash_cannot_follow() -> None:
    with pytest.raises(ConfigError, match="80000001 Hz: the flash can be read at up to 80000000 Hz"):
        cycles_of({}, reader(NOP), L476, 80_000_001)


def test_what_is_no_code_is_refused() -> None:
    with pytest.raises(BuildError, match="0x08000102: the bytes ffff"):
        cycles_of({(AT, 4): 1}, reader("0130ffff"), F446)


PIECES = sorted({one.code for one in SEQUENCES if not re.search(r"pc|bl|bne", one.text)})
CORES = ("cortex-m0", "cortex-m0plus", "cortex-m3", "cortex-m4", "cortex-m33", "cortex-m7")


@given(
    st.lists(st.sampled_from(PIECES), min_size=1, max_size=12),
    st.sampled_from(CORES),
    st.sampled_from([SLOW_HZ, 60_000_000, 180_000_000]),
    st.integers(0, 1),
)
def test_the_bounds_hold_the_estimate(pieces: list[str], core: str, clock_hz: int, offset: int) -> None:
    code = NOP * offset + "".join(pieces)
    found = cycles_of({(AT, len(code) // 2): 7}, reader(code), on(core), clock_hz)
    assert 0 < found.low <= found.expected <= found.high


@given(st.lists(st.sampled_from(PIECES), min_size=1, max_size=8), st.sampled_from(CORES), st.integers(2, 50))
def test_cycles_add_up(pieces: list[str], core: str, times: int) -> None:
    code = "".join(pieces)
    once, often = (cycles_of({(AT, len(code) // 2): n}, reader(code), on(core), SLOW_HZ) for n in (1, times))
    assert often.expected == pytest.approx(times * once.expected)


@given(
    st.lists(st.sampled_from(PIECES), min_size=2, max_size=6),
    st.sampled_from(CORES),
    st.sampled_from([SLOW_HZ, 180_000_000]),
)
def test_the_upper_bounds_of_parts_hold_the_whole(pieces: list[str], core: str, clock_hz: int) -> None:
    """What bounds blocks one by one bounds what they do together."""
    code = "".join(pieces)
    whole = cycles_of({(AT, len(code) // 2): 1}, reader(code), on(core), clock_hz)
    at, parts = AT, 0.0
    for piece in pieces:
        parts += cycles_of({(at, len(piece) // 2): 1}, reader(code), on(core), clock_hz).high
        at += len(piece) // 2
    assert whole.expected <= whole.high <= parts + 1e-9


@pytest.mark.parametrize(
    ("text", "code", "kind"),
    [
        ("mls", "01fb1232", Kind.MULTIPLY_ADD),
        ("umlal", "e1fb0201", Kind.LONG_MULTIPLY),
        ("sel", "a1fa82f0", Kind.PACKED),
        ("uxtb16", "3ffa81f0", Kind.PACKED),
        ("cbz", "00b1", Kind.BRANCH),
        ("bx", "7047", Kind.JUMP),
        ("sdiv", "91fbf2f0", Kind.DIVIDE),
        ("strb", "0870", Kind.STORE),
        ("pop", "f0bd", Kind.LOAD_MANY),
        ("add", "0130", Kind.ALU),
    ],
)
def test_kinds(text: str, code: str, kind: Kind) -> None:
    (one,) = decode(bytes.fromhex(code), AT)
    assert (one.name, one.kind) == (text, kind)
