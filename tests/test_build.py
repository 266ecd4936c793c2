"""From a generated project to an ELF that starts: real builds, offline, then run in an emulator."""

from __future__ import annotations

import http.server
import importlib.util
import os
import shutil
import struct
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from build_fixture.machine import DIRT, Machine, frame
from build_fixture.project import project_files, write_project
from elftools.elf.elffile import ELFFile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lsm_edge.board import load_board
from lsm_edge.errors import BuildError, ConfigError
from lsm_edge.target import build
from lsm_edge.target.build import BuildResult, build_project, find_toolchain, official_is_installed, registry_answers

GCC_M4, GCC_L4, GCC_M0, ZIG_M4 = (
    ("gcc", "nucleo_f446re"),
    ("gcc", "nucleo_l476rg"),
    ("gcc", "nucleo_g071rb"),
    ("zig", "nucleo_f446re"),
)
DIGEST = "0123456789abcdef" * 4
BANNER = f"lsm-edge 9.9.9 abi=1 model={DIGEST} sample_hz=8000 hop_samples=8 neurons=5 classes=3 selftest=pass\n"
# Python imports a module of this name by itself: here it notes every look at the network.
NETWORK_SPY = """
import os, socket
def noted(*args, **kwargs):
    with open(os.environ["NETWORK_NOTES"], "a") as file:
        file.write(repr(args))
    raise OSError("no network in this test")
socket.getaddrinfo = socket.create_connection = noted
"""

Built = Callable[[tuple[str, str]], BuildResult]


def need(is_there: bool, tool: str) -> None:
    """A missing tool skips a test, but fails it in CI."""
    if not is_there:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(f"{tool} is not installed")


def need_toolchain(name: str) -> None:
    need(importlib.util.find_spec("SCons") is not None, "SCons")
    if name == "gcc":
        need(shutil.which("arm-none-eabi-gcc") is not None, "arm-none-eabi-gcc")
    else:
        need(importlib.util.find_spec("ziglang") is not None, "ziglang")


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
    """No test touches the user's cache, nor PlatformIO's registry unless it says so."""
    monkeypatch.setenv("LSM_EDGE_CACHE", str(cache))
    monkeypatch.delenv("LSM_EDGE_TOOLCHAIN", raising=False)
    monkeypatch.setattr(build, "_REGISTRY_URL", "http://127.0.0.1:9/")


@pytest.fixture(scope="session")
def built(cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Built:
    """Builds of the fixture project, each made once."""
    results: dict[tuple[str, str], BuildResult] = {}

    def get(which: tuple[str, str]) -> BuildResult:
        toolchain, board_id = which
        need_toolchain(toolchain)
        if which not in results:
            board = load_board(board_id)
            project = write_project(tmp_path_factory.mktemp("-".join(which)), board)
            with pytest.MonkeyPatch.context() as patch:
                patch.setenv("LSM_EDGE_CACHE", str(cache))
                patch.setenv("LSM_EDGE_TOOLCHAIN", toolchain)
                heard: list[str] = []
                results[which] = build_project(project, board, offline=True, progress=heard.append)
            assert [line for line in heard if "warning" in line.lower()] == []
        return results[which]

    return get


def machine(built: Built, which: tuple[str, str], *, has_usart: bool = True) -> Machine:
    return Machine(built(which).elf, load_board(which[1]), has_usart=has_usart)


ALL = pytest.mark.parametrize("which", [GCC_M4, GCC_L4, GCC_M0, ZIG_M4], ids="-".join)


@ALL
def test_the_result_says_what_was_built(built: Built, which: tuple[str, str]) -> None:
    result = built(which)
    assert result.offline
    assert result.elf.name == "firmware.elf"
    assert ("GCC" if which[0] == "gcc" else "clang") in result.compiler
    # .data holds one word and .bss one word, the samples and the context, whatever the padding.
    assert 4 + 4 + 16 + 48 <= result.ram_bytes <= 96
    assert 1500 < result.flash_bytes < 6000


@ALL
def test_sizes_are_what_the_sections_say(built: Built, which: tuple[str, str]) -> None:
    result = built(which)
    with result.elf.open("rb") as file:
        sizes = {section.name: section["sh_size"] for section in ELFFile(file).iter_sections()}
        allocated = {section.name for section in ELFFile(file).iter_sections() if section["sh_flags"] & 2}
    assert allocated == {".vectors", ".text", ".rodata", ".data", ".bss"}
    assert result.flash_bytes == sum(sizes[name] for name in (".vectors", ".text", ".rodata", ".data"))
    assert result.ram_bytes == sizes[".data"] + sizes[".bss"]


@ALL
def test_the_core_finds_its_first_stack_and_the_reset_handler(built: Built, which: tuple[str, str]) -> None:
    board = load_board(which[1])
    with built(which).elf.open("rb") as file:
        image = ELFFile(file)
        vectors = image.get_section_by_name(".vectors")
        stack, *handlers = struct.unpack("<16I", vectors.data())
        symbols = {s.name: s["st_value"] for s in image.get_section_by_name(".symtab").iter_symbols()}
        assert vectors["sh_addr"] == board.flash.address
        assert image.header["e_entry"] == handlers[0] == symbols["Reset_Handler"]
    assert stack == board.ram.end
    assert all(board.flash.holds(handler) and handler & 1 for handler in handlers if handler)
    assert set(handlers[1:]) == {0, symbols["Default_Handler"]}


@ALL
def test_the_library_is_whole_and_libc_is_not_there(built: Built, which: tuple[str, str]) -> None:
    """Every public function can be called by name; nothing is undefined."""
    with built(which).elf.open("rb") as file:
        symbols = list(ELFFile(file).get_section_by_name(".symtab").iter_symbols())
    names = {symbol.name for symbol in symbols}
    functions = {"lsm_init", "lsm_push", "lsm_begin", "lsm_end", "lsm_class", "lsm_scores"}
    assert functions | {"lsm_labels", "lsm_model_digest"} <= names
    assert {"memcpy", "memmove", "memset"} <= names
    assert not names & {"_start", "exit", "printf", "malloc", "__libc_init_array"}
    assert [s.name for s in symbols if s.name and s["st_shndx"] == "SHN_UNDEF"] == []


@ALL
def test_start_up_prepares_memory_for_main(built: Built, which: tuple[str, str]) -> None:
    """.data and .bss hold what C says, though the RAM was full of dirt; the rest of it is not touched."""
    board = machine(built, which)
    assert board.run_to("main")
    assert board.read(board.symbols["lsm_of_data"], 4) == struct.pack("<i", 7)
    start, end = board.symbols["bss_start"], board.symbols["bss_end"]
    assert board.read(start, end - start) == bytes(end - start)
    assert board.read(end, 1024) == bytes([DIRT]) * 1024


@ALL
def test_without_a_serial_port_it_goes_on(built: Built, which: tuple[str, str]) -> None:
    """Every wait is bounded: an emulator without a USART reaches the place where samples are awaited."""
    board = machine(built, which, has_usart=False)
    assert board.run_to("console_receive")


@ALL
def test_a_session(built: Built, which: tuple[str, str]) -> None:
    board = machine(built, which)
    assert board.answer() == BANNER
    assert board.answer(frame("h")) == BANNER
    assert board.answer(frame("s", (1,))) == "error state\n"
    assert board.answer(frame("b")) == "more\n"
    assert board.answer(frame("b")) == "error state\n"
    assert board.answer(frame("s", (300, -30000, 5))) == "more\n"
    assert board.answer(frame("s", (-32768, 32767, 0, 1, 2, 3, 4, 5))) == "more\n"
    assert board.answer(frame("e")) == "ready 1 -9886 9900 7 down\n"
    assert board.answer(frame("e")) == "error state\n"
    assert board.answer(frame("b") + b"") == "more\n"
    assert board.answer(frame("s", ())) == "more\n"
    assert board.answer(frame("e")) == "ready 2 7 7 7 not moved\n"
    assert board.answer(frame("b")) == "more\n"
    assert board.answer(frame("i")) == "more\n"
    assert board.answer(frame("s", (1,))) == "error state\n"


def test_a_decision_against_every_class(built: Built) -> None:
    board = machine(built, GCC_L4)
    board.answer()
    assert [board.answer(frame("b")), board.answer(frame("s", (777,)))] == ["more\n", "more\n"]
    assert board.answer(frame("e")) == "ready -1 266 -252 7 -\n"


@pytest.mark.parametrize(
    ("broken", "answer"),
    [
        (frame("h")[:-1] + b"\x00", "error frame\n"),
        (frame("h")[:-1], "error frame\n"),
        (frame("h")[:2], "error frame\n"),
        (b"\xa5", "error frame\n"),
        (frame("s", (1, 2, 3))[:-4], "error frame\n"),
        (frame("s", (0x5555,) * 9), "error count\n"),
        (frame("s", (-23131,) * 9), "error count\n"),  # 0xA5A5: looks like nine more frames
        (frame("h", (1,)), "error count\n"),
        (frame("?"), "error operation\n"),
        (b"noise" + frame("?"), "error operation\n"),
    ],
)
def test_a_broken_frame_is_refused_and_forgotten(built: Built, broken: bytes, answer: str) -> None:
    board = machine(built, GCC_L4)
    board.answer()
    assert board.answer(broken) == answer
    assert board.answer(frame("h")) == BANNER


def test_the_serial_port_is_set_up(built: Built) -> None:
    """Clocks, pins and baud rate are written where the board's file says."""
    for which in (GCC_M4, GCC_L4, GCC_M0):
        board = machine(built, which)
        board.answer()
        console = board.board.console
        brr = console.usart_address + (0x08 if console.usart == "usart_v1" else 0x0C)
        gpio = {console.gpio_address + at for at in (0x00, 0x0C, 0x20)}
        assert {console.usart_enable_address, console.gpio_enable_address, brr} | gpio <= board.touched


@pytest.mark.parametrize("which", [GCC_M4, GCC_M0, ZIG_M4], ids="-".join)
def test_decimals(built: Built, which: tuple[str, str]) -> None:
    board = machine(built, which)
    assert board.run_to("main")
    for value in (0, 1, -1, 9, 10, -10, 99999, 2**31 - 1, -(2**31)):
        del board.sent[:]
        board.call("console_decimal", value)
        assert board.sent == str(value).encode()


@pytest.mark.parametrize("which", [GCC_M4, GCC_M0, ZIG_M4], ids="-".join)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(to=st.integers(0, 40), start=st.integers(0, 40), count=st.integers(0, 40), value=st.integers(-1, 256))
def test_memory_functions(built: Built, which: tuple[str, str], to: int, start: int, count: int, value: int) -> None:
    """At any alignment, length and overlap they do what Python's slices do, and return their first argument."""
    board = machine(built, which)
    at = board.board.ram.address + 4096
    before = bytes(range(100, 196))
    wanted = {
        "memmove": before[:to] + before[start : start + count] + before[to + count :],
        "memset": before[:to] + bytes([value & 0xFF]) * count + before[to + count :],
    }
    if abs(to - start) >= count:
        wanted["memcpy"] = wanted["memmove"]
    for name, after in wanted.items():
        board.uc.mem_write(at, before)
        assert board.call(name, at + to, value if name == "memset" else at + start, count) == at + to
        assert board.read(at, len(before)) == after, name


@pytest.mark.parametrize("toolchain", ["gcc", "zig"])
def test_the_folder_does_not_matter(
    built: Built, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, toolchain: str
) -> None:
    """The same project somewhere else, with a space in its path, gives the same ELF to the last byte."""
    need_toolchain(toolchain)
    monkeypatch.setenv("LSM_EDGE_TOOLCHAIN", toolchain)
    board = load_board("nucleo_f446re")
    other = build_project(write_project(tmp_path / "some where" / "else", board), board, offline=True)
    data = other.elf.read_bytes()
    assert data == built((toolchain, board.id)).elf.read_bytes()
    assert str(tmp_path).encode() not in data


def test_the_offline_settings_differ_in_one_line(built: Built) -> None:
    project = built(GCC_M4).elf.parents[3]
    ours = (project / "platformio.ini").read_text(encoding="utf-8").splitlines()
    copy = (project / ".pio" / "offline" / "platformio.ini").read_text(encoding="utf-8").splitlines()
    assert len(ours) == len(copy)
    changed = [pair for pair in zip(ours, copy, strict=True) if pair[0] != pair[1]]
    assert changed == [("platform = ststm32", "platform = lsm_edge")]


def test_offline_leaves_the_network_and_the_users_platformio_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    need_toolchain("gcc")
    (tmp_path / "spy").mkdir()
    (tmp_path / "spy" / "sitecustomize.py").write_text(NETWORK_SPY, encoding="utf-8")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "spy"))
    monkeypatch.setenv("NETWORK_NOTES", str(tmp_path / "notes"))
    monkeypatch.setenv("LSM_EDGE_CACHE", str(tmp_path / "cache"))  # as on the first run
    monkeypatch.setenv("PLATFORMIO_CORE_DIR", str(tmp_path / "users"))
    monkeypatch.setenv("PLATFORMIO_BUILD_DIR", str(tmp_path / "elsewhere"))
    monkeypatch.setenv("PLATFORMIO_BUILD_FLAGS", "-DNOT_FOR_US -O0")
    board = load_board("nucleo_g071rb")
    result = build_project(write_project(tmp_path / "project", board), board, offline=True)
    assert result.elf == (tmp_path / "project" / ".pio" / "build" / board.id / "firmware.elf").resolve()
    assert not (tmp_path / "users").exists()
    assert not (tmp_path / "elsewhere").exists()
    assert not (tmp_path / "notes").exists()


def edited(folder: Path, name: str, old: str, new: str) -> Path:
    """The fixture project for the M4 board with one change."""
    files = project_files(load_board("nucleo_f446re"))
    assert old in files[name]
    write_project(folder, load_board("nucleo_f446re"))
    (folder / name).write_text(files[name].replace(old, new), encoding="utf-8")
    return folder


@pytest.mark.parametrize(
    ("name", "old", "new", "said"),
    [
        ("src/main.c", "int main(void)", "int main(vo id)", "error"),
        ("lib/lsm/lsm.h", "LSM_ABI          1", "LSM_ABI          2", "generate the project again"),
        ("src/main.c", "lsm_init(&stream);\n    say", 'printf("");\n    say', "printf"),
        ("lib/lsm/lsm.h", "uint8_t is_open;", "uint8_t is_open, much[130000];", "no room for the stack"),
        ("lib/lsm/lsm.h", "uint8_t is_open;", "uint8_t is_open, much[140000];", "overflow"),
        ("platformio.ini", "platform = ststm32\n", "", "platform: missing"),
        ("platformio.ini", "env:nucleo_f446re", "env:other", "nucleo_f446re"),
    ],
)
def test_a_failed_build_says_why(tmp_path: Path, name: str, old: str, new: str, said: str) -> None:
    need_toolchain("gcc")
    project = edited(tmp_path / "project", name, old, new)
    with pytest.raises(BuildError) as error:
        build_project(project, load_board("nucleo_f446re"), offline=True)
    assert said in str(error.value)
    assert len(str(error.value).splitlines()) <= 13


def test_a_folder_without_a_project(tmp_path: Path) -> None:
    with pytest.raises(BuildError, match="run lsm-edge generate --board nucleo_f446re first"):
        build_project(tmp_path, load_board("nucleo_f446re"), offline=True)


def no_module(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name in names else found(name))


def test_without_a_compiler_the_message_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    no_module(monkeypatch, "ziglang")
    board = load_board("nucleo_f446re")
    with pytest.raises(BuildError) as error:
        build_project(write_project(tmp_path / "project", board), board, offline=True)
    assert "gcc-arm-none-eabi" in str(error.value)
    assert "lsm-edge[zig]" in str(error.value)
    monkeypatch.setattr(build, "official_is_installed", lambda board: False)
    with pytest.raises(BuildError, match="registry does not answer; to build without it: no Arm compiler"):
        build_project(tmp_path / "project", board)


def test_without_scons_the_message_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    no_module(monkeypatch, "SCons")
    monkeypatch.setattr(build, "find_toolchain", lambda: "gcc")
    board = load_board("nucleo_f446re")
    with pytest.raises(BuildError, match=r"pip install 'lsm-edge\[offline\]'"):
        build_project(write_project(tmp_path / "project", board), board, offline=True)


def test_the_toolchain_is_found_or_chosen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compiler = tmp_path / "arm-none-eabi-gcc"
    compiler.touch(mode=0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: sys)
    assert find_toolchain() == "gcc"
    monkeypatch.setenv("LSM_EDGE_TOOLCHAIN", "zig")
    assert find_toolchain() == "zig"
    monkeypatch.setenv("LSM_EDGE_TOOLCHAIN", "")
    compiler.unlink()
    assert find_toolchain() == "zig"
    monkeypatch.setenv("LSM_EDGE_TOOLCHAIN", "gcc")
    with pytest.raises(BuildError, match="LSM_EDGE_TOOLCHAIN=gcc: no Arm compiler"):
        find_toolchain()
    monkeypatch.setenv("LSM_EDGE_TOOLCHAIN", "tcc")
    with pytest.raises(ConfigError, match="must be gcc or zig"):
        find_toolchain()


@pytest.mark.parametrize(
    ("asked", "is_installed", "answers", "official_works", "expected"),
    [
        (False, False, False, True, "official"),
        (True, True, True, True, "offline"),
        (None, True, False, True, "official"),
        (None, False, True, True, "official"),
        (None, False, False, True, "offline"),
        (None, False, True, False, "official, offline"),  # it answered, but gave nothing
        (None, True, True, False, "official, error"),  # it is there: then the project is at fault
        (False, False, True, False, "official, error"),
    ],
)
def test_which_way_is_taken(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    asked: bool | None,
    is_installed: bool,
    answers: bool,
    official_works: bool,
    expected: str,
) -> None:
    taken = []

    def official(*_: object) -> BuildResult:
        taken.append("official")
        if not official_works:
            raise BuildError("no")
        return BuildResult(tmp_path, 1, 1, "", offline=False)

    def offline(*_: object) -> BuildResult:
        taken.append("offline")
        return BuildResult(tmp_path, 1, 1, "", offline=True)

    monkeypatch.setattr(build, "official_is_installed", lambda board: is_installed)
    monkeypatch.setattr(build, "registry_answers", lambda: answers)
    monkeypatch.setattr(build, "_offline_obstacle", lambda: "")
    monkeypatch.setattr(build, "_build_official", official)
    monkeypatch.setattr(build, "_build_offline", offline)
    (tmp_path / "platformio.ini").touch()
    try:
        result = build_project(tmp_path, load_board("nucleo_f446re"), offline=asked)
        assert result.offline == (taken[-1] == "offline")
    except BuildError:
        taken.append("error")
    assert ", ".join(taken) == expected


def test_an_installed_official_platform_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLATFORMIO_CORE_DIR", str(tmp_path))
    board = load_board("nucleo_f446re")
    for path in ("platforms/ststm32@19.6.0/platform.json", "packages/tool-scons/package.json"):
        (tmp_path / path).parent.mkdir(parents=True)
        (tmp_path / path).touch()
        assert not official_is_installed(board)
    (tmp_path / "packages" / "toolchain-gccarmnoneeabi").mkdir()
    assert official_is_installed(board)


@pytest.fixture
def server() -> Iterator[str]:
    """An HTTP server that knows no page."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_error(404)

        def log_message(self, *args: object) -> None:
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as listening:
        thread = threading.Thread(target=listening.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{listening.server_port}/"
        listening.shutdown()
        thread.join()


def test_any_answer_of_the_registry_will_do(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(build, "_REGISTRY_URL", server)
    assert registry_answers()


def test_a_registry_that_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither a closed port nor a name server that says nothing keeps us waiting."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    assert not registry_answers()
    silence = threading.Event()

    def never(*_: object, **__: object) -> None:
        silence.wait(10)
        raise OSError

    monkeypatch.setattr(build, "_REGISTRY_WAIT_S", 0.05)
    monkeypatch.setattr(build.urllib.request, "urlopen", never)
    assert not registry_answers()
    silence.set()


def test_what_is_not_an_elf(tmp_path: Path) -> None:
    (tmp_path / "firmware.elf").write_bytes(b"MZ")
    with pytest.raises(BuildError, match="cannot be read as ELF"):
        build.read_sizes(tmp_path / "firmware.elf", load_board("nucleo_f446re"))


def test_generated_files_know_no_place() -> None:
    """No path of this machine, no unfilled hole."""
    for name, text in project_files(load_board("nucleo_g071rb")).items():
        assert str(Path.home()) not in text, name
        assert "{{" not in text and "None" not in text, name
        assert text.endswith("\n") and "\t" not in text, name
