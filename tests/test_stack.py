"""The stack's depth is read from machine code; the compiler, the assembler and the emulator say the same."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from emulated import M0, M4, compile_firmware, compile_with_zig, sounds
from needs import need
from sample_models import SETTINGS, sample_model

from lsm_edge.board import Board
from lsm_edge.errors import RangeError
from lsm_edge.target.elf import Elf
from lsm_edge.target.emulate import Emulator
from lsm_edge.target.stack import call_graph, deepest, library_depths

LIBRARY_BYTES = 1024
LINKER_BYTES = 4096  # STACK_BYTES in templates/linker.ld.j2
PUBLIC = {"lsm_init", "lsm_push", "lsm_begin", "lsm_end", "lsm_class", "lsm_scores", "lsm_selftest"}
FLAGS = ("-O2", "-fstack-usage", "-fcallgraph-info")

Firmware = Callable[[str, Board], Path]

boards = pytest.mark.parametrize("board", [M4, M0], ids=lambda board: board.core)
models = pytest.mark.parametrize("name", SETTINGS)


@pytest.fixture(scope="module")
def firmware(tmp_path_factory: pytest.TempPathFactory) -> Firmware:
    """A sample model's ELF; what the compiler says about it lies beside it."""
    made: dict[tuple[str, str], Path] = {}

    def make(name: str, board: Board) -> Path:
        if (name, board.id) not in made:
            made[name, board.id] = compile_firmware(
                sample_model(name), board, tmp_path_factory.mktemp(name), flags=FLAGS
            )
        return made[name, board.id]

    return make


@boards
@models
def test_the_library_needs_little_stack(name: str, board: Board, firmware: Firmware) -> None:
    """And with that: no recursion, no frame of unknown size, no call through a pointer."""
    depths = library_depths(firmware(name, board))
    print(*(f"{board.core} {name} {depth.n_bytes:4} {' -> '.join(depth.path)}" for depth in depths.values()), sep="\n")
    speaks = {"lsm_confidence_q15"} if sample_model(name).manifest.decision.confidence else set()
    assert set(depths) == PUBLIC | speaks
    assert max(depth.n_bytes for depth in depths.values()) <= LIBRARY_BYTES


@boards
def test_the_whole_firmware_has_a_bound(board: Board, firmware: Firmware) -> None:
    functions = call_graph(firmware("endpointer", board))
    from_reset = deepest(functions, "Reset_Handler")
    assert from_reset.path[:3] == ("Reset_Handler", "main", "lsm_selftest")
    assert from_reset.n_bytes <= LINKER_BYTES
    assert not any(function.obstacle for function in functions.values())


@boards
@models
def test_the_compiler_says_the_same_about_frames(name: str, board: Board, firmware: Firmware) -> None:
    elf = firmware(name, board)
    functions = {re.sub(r"\.\d+$", "", key): function for key, function in call_graph(elf).items()}
    said = dict(frames(elf.parent))
    found = {key: functions[key].frame_bytes for key in functions.keys() & said.keys()}
    assert found == {key: said[key] for key in found}
    by_hand = {"__udivsi3", "__aeabi_uidiv", "__aeabi_uidivmod", "__aeabi_lmul", "__muldi3"}
    assert set(functions) - set(found) <= by_hand | {"__aeabi_ldiv0", "__aeabi_idiv0"}


@boards
@models
def test_the_compiler_says_the_same_about_calls(name: str, board: Board, firmware: Firmware) -> None:
    elf = firmware(name, board)
    functions = call_graph(elf)
    found = {(key, callee) for key, function in functions.items() for callee in function.calls}
    said = set(calls(elf.parent))
    # Calls of the compiler's own functions are listed by other names, and even if none is made.
    own = {(caller, callee) for caller, callee in found | said if callee.startswith("__")}
    assert {call for call in found - own if call[0] in {caller for caller, _ in said}} == {
        call for call in said - own if call[0] in functions
    }


@boards
@pytest.mark.parametrize("name", ["endpointer", "live-delta"])
def test_the_emulator_gets_no_deeper(name: str, board: Board, firmware: Firmware) -> None:
    """The emulator fills RAM with a pattern; what is left of it shows how deep the stack got."""
    elf, model = firmware(name, board), sample_model(name)
    depths = library_depths(elf)
    emulator = Emulator(model, elf, board)
    emulator.tap(sounds(model)[1].samples)
    used = stack_used(emulator, elf)
    usual = max(depth.n_bytes for function, depth in depths.items() if function != "lsm_selftest")
    assert usual / 2 < used <= usual
    emulator.selftest()
    assert used < stack_used(emulator, elf) <= depths["lsm_selftest"].n_bytes


def test_clang_makes_as_little_of_it(tmp_path: Path) -> None:
    depths = library_depths(compile_with_zig(sample_model("endpointer"), M4, tmp_path))
    assert set(depths) == PUBLIC
    assert 50 < max(depth.n_bytes for depth in depths.values()) <= LIBRARY_BYTES


@boards
@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("int g(int n); int f(int n) { return n ? 1 + g(n - 1) : 2; } int g(int n) { return f(n) + 1; }", "recursion"),
        ("int f(int n) { return n ? n * f(n - 1) + f(n / 2) : 1; }", "recursion"),
        ("int use(char *p); int f(int n) { char a[n]; return use(a); }", "sets the stack pointer from a register"),
        ("extern int (*p)(void); int f(void) { return p() + 1; }", "goes to an address in a register"),
        ("extern int (*p)(void); int f(void) { return p(); }", "goes to an address in a register"),
    ],
    ids=["mutual", "self", "variable array", "pointer call", "pointer jump"],
)
def test_what_has_no_bound_is_refused(board: Board, source: str, reason: str, tmp_path: Path) -> None:
    functions = call_graph(linked(board, source, tmp_path))
    with pytest.raises(RangeError, match=rf"stack of f: has no bound: f.* {reason}"):
        deepest(functions, "f")


@boards
@pytest.mark.parametrize("n_bytes", [0, 4, 100, 500, 508, 1000, 4000, 4097, 70000])
def test_large_frames(board: Board, n_bytes: int, tmp_path: Path) -> None:
    """Armv6-M has no instruction for large ones: then it says that it does not know."""
    source = f"int use(char *p); int f(int n) {{ char a[{n_bytes} + 4]; use(a); return n + a[0]; }}"
    functions = call_graph(linked(board, source, tmp_path))
    if functions["f"].obstacle:
        assert board == M0 and n_bytes > 500
    else:
        assert functions["f"].frame_bytes == dict(frames(tmp_path))["f"]
        assert deepest(functions, "f").n_bytes == functions["f"].frame_bytes + functions["use"].frame_bytes


def test_a_jump_out_of_a_function_is_a_call(tmp_path: Path) -> None:
    source = "int use(char *p); int f(int n) { char a[64]; use(a); return n; } int g(int n) { return f(n + 1); }"
    functions = call_graph(linked(M4, source, tmp_path))
    assert functions["g"].frame_bytes == 0
    assert deepest(functions, "g").path == ("g", "f", "use")


def test_every_instruction_that_moves_the_stack_pointer(tmp_path: Path) -> None:
    """Against the assembler: instruction -> bytes taken, or None where only running it tells."""
    taken: dict[str, int | None] = {
        "push {r4-r7, lr}": 20,
        "push {r0}": 4,
        "push.w {r4-r11, lr}": 36,
        "str r4, [sp, #-4]!": 4,
        "str r9, [sp, #-4]!": 4,
        "strd r4, r5, [sp, #-8]!": 8,
        "strd r4, r5, [sp, #-16]!": 16,
        "vpush {d8-d11}": 32,
        "vpush {s17-s19}": 12,
        "sub sp, #24": 24,
        "sub sp, #508": 508,
        "sub.w sp, sp, #512": 512,
        "sub.w sp, sp, #4080": 4080,
        "sub.w sp, sp, #65536": 65536,
        "sub.w sp, sp, #0x00ab00ab": 0x00AB00AB,
        "subw sp, sp, #1023": 1023,
        "subw sp, sp, #4095": 4095,
        "sub.w sp, sp, r3": None,
        "add sp, r3": None,
        "mov sp, r7": None,
        "mov.w sp, r7": None,
        "ldr sp, [r0]": None,
        "str r4, [sp, #-8]!": None,
        "str r4, [sp], #-8": None,
        "strb r4, [sp, #-8]!": None,
        "ldr r4, [sp, #-8]!": None,
        "strd r4, r5, [sp], #-8": None,
        "ldmdb sp!, {r4, r5}": None,
        "msr msp, r0": None,
        "msr psp, r0": None,
        "add sp, #24": 0,
        "add.w sp, sp, #1024": 0,
        "addw sp, sp, #1023": 0,
        "pop {r4, pc}": 0,
        "pop.w {r4-r11}": 0,
        "ldr pc, [sp], #4": 0,
        "vpop {d8}": 0,
        "ldr r4, [sp, #8]": 0,
        "str r4, [sp, #8]": 0,
        "str r4, [sp], #8": 0,
        "strd r4, r5, [sp, #8]": 0,
        "ldrd r4, r5, [sp], #8": 0,
        "add r0, sp, #8": 0,
        "mov r7, sp": 0,
        "cmp sp, r0": 0,
        "cmp.w sp, #64": 0,
        "msr primask, r0": 0,
        "movw r4, #0x0d0d": 0,
        "ldr r4, [r5, #-4]!": 0,
        "bx lr": 0,
        "dmb": 0,
    }
    lines = [".syntax unified", ".cpu cortex-m7", ".fpu fpv5-sp-d16", ".thumb"]
    for number, instruction in enumerate(taken):
        name = f"f{number}"
        lines += [f".type {name}, %function", f".global {name}", f"{name}: {instruction}", f".size {name}, . - {name}"]
    (tmp_path / "all.s").write_text("\n".join([*lines, ""]), encoding="utf-8")
    functions = call_graph(linked(M4, "", tmp_path, "all.s"))
    for number, (instruction, n_bytes) in enumerate(taken.items()):
        function = functions[f"f{number}"]
        if n_bytes is None:
            assert "sets the stack pointer" in function.obstacle, instruction
        else:
            assert (function.frame_bytes, function.obstacle) == (n_bytes, ""), instruction


def linked(board: Board, source: str, folder: Path, *more: str) -> Path:
    """A C source, with a function `use` that takes 8 bytes, as an ELF."""
    need("arm-none-eabi-gcc")
    (folder / "given.c").write_text(source, encoding="utf-8")
    (folder / "use.s").write_text(
        ".syntax unified\n.thumb\n.global use, p\n.type use, %function\nuse: push {r4, lr}\npop {r4, pc}\n"
        ".size use, . - use\n.data\n.type p, %object\np: .word use\n",
        encoding="utf-8",
    )
    flags = ["-O2", "-fno-ipa-cp", "-fno-inline", "-fstack-usage", "-nostdlib", "-Wl,--entry=use", "-o", "given.elf"]
    command = ["arm-none-eabi-gcc", *board.compile_flags, *flags, "given.c", "use.s", *more, "-lgcc"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder / "given.elf"


def frames(folder: Path) -> Iterator[tuple[str, int]]:
    """What -fstack-usage wrote: function, bytes. `lsm_class` is called `lsm.class` there."""
    for file in folder.glob("*.su"):
        for line in file.read_text(encoding="utf-8").splitlines():
            place, n_bytes, _ = line.split("\t")
            yield re.sub(r"\.\d+$", "", place.rpartition(":")[2]), int(n_bytes)


def calls(folder: Path) -> Iterator[tuple[str, str]]:
    """What -fcallgraph-info wrote: caller, callee."""
    for file in folder.glob("*.ci"):
        text = file.read_text(encoding="utf-8")
        for caller, callee in re.findall(r'edge: \{ sourcename: "([^"]*)" targetname: "([^"]*)"', text):
            yield caller.rpartition(":")[2], callee.rpartition(":")[2]


def stack_used(emulator: Emulator, elf: Path) -> int:
    """Bytes from the lowest address of the stack that is not as it was to the end of RAM."""
    start, end = Elf(elf).symbol("bss_end").address, emulator.board.ram.end
    return len(emulator.read(start, end - start).lstrip(b"\xa5"))
