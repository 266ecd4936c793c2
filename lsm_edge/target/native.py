"""The generated C, compiled for the host and called from Python.

Training runs here, so that the readout is fitted on the very code that will run on the board; verification runs here
too. Compiled libraries are cached by the hash of their sources, compiler and flags.
"""

from __future__ import annotations

import hashlib
import os
import platform
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import cffi
import numpy as np
from numpy.typing import NDArray

from lsm_edge.errors import BuildError
from lsm_edge.files import cache_folder
from lsm_edge.golden import TAPS, Taps
from lsm_edge.model import Model
from lsm_edge.ranges import ranges_of
from lsm_edge.target.codegen import NEVER_CHOSEN_BY, Form, choices_of, generate_library, render_host

FLAGS: Final = ("-std=gnu11", "-O3", "-fPIC", "-shared", "-fno-semantic-interposition", "-finstrument-functions")
_KERNEL: Final = "static inline __attribute__((no_instrument_function))"
FORM: Final[Form] = "wide"  # the fastest here, unless a library is given
FRONTEND_TABLES: Final = ("window_q15", "twiddle_q15", "mel_start", "mel_end", "mel_weight_q8")

_CDEF: Final = """
typedef struct { uint8_t *data; size_t used; size_t size; } tap_t;
void host_prepare(void);
uint64_t host_context_bytes(void);
void host_hear(const int16_t *samples, uint64_t n_samples, uint8_t *frames);
int32_t host_stir(const uint8_t *frames, uint64_t n_frames, uint8_t *features, int32_t *scores, uint32_t *totals);
void host_tap(const int16_t *samples, uint64_t n_samples, uint64_t chunk, tap_t *into);
uint64_t host_stream(
    const int16_t *samples, uint64_t n_samples, uint64_t chunk, uint8_t *frames, int32_t *decisions, uint64_t room);
"""

Progress = Callable[[int, int], None]


def host_compiler() -> list[str] | None:
    """The command of a C compiler for this machine, or None.

    $CC (with its arguments, if it has any), else cc, gcc, clang, else the PyPI package ziglang.
    """
    named = shlex.split(os.environ.get("CC", ""))
    for command in [named] if named else [["cc"], ["gcc"], ["clang"]]:
        if shutil.which(command[0]):
            return command
    try:
        import ziglang  # type: ignore[import-not-found,import-untyped,unused-ignore] # noqa: F401
    except ImportError:
        return None
    return [sys.executable, "-m", "ziglang", "cc"]


def compiler_name() -> str:
    """Such as "gcc 12.2.0"; "none" without a C compiler."""
    compiler = host_compiler()
    if compiler is None:
        return "none"
    said = _version(tuple(compiler))
    versions = re.findall(r"\b\d+(?:\.\d+)+\b", said)
    return " ".join(["clang" if "clang" in said else "gcc", *versions[-1:]])


class Native:
    """A model's generated library, loaded into this process.

    It has the form that is fastest here; or `library`, one that was generated before with `prefix`, is compiled as it
    ships.

    With `writable` tables, `load` exchanges a model of the same manifest for another, mostly without compiling again.
    `compiler` is a command other than `host_compiler()`; `flags` come after `FLAGS` and win over them. With `asserts`,
    an integer that leaves the bounds which the generator has proven for it aborts the process.

    Raises:
        BuildError: there is no C compiler, or it failed.
    """

    def __init__(
        self,
        model: Model,
        *,
        writable: bool = False,
        library: Mapping[str, str] | None = None,
        prefix: str = "lsm",
        compiler: Sequence[str] | None = None,
        flags: Sequence[str] = (),
        asserts: bool = False,
    ) -> None:
        self._given, self._prefix, self._writable = library, prefix, writable
        macros = prefix.upper()
        defines = [f"-D{macros}_KERNEL={_KERNEL}", *([f"-D{macros}_TABLE="] if writable else [])]
        if asserts:
            defines.append(f"-D{macros}_ASSERT(condition)=((condition) ? (void)0 : __builtin_abort())")
        self._flags, self._compiler = [*FLAGS, *flags, *defines], compiler or host_compiler()
        self._compile(model)

    def _compile(self, model: Model) -> None:
        self.model, self._choices = model, choices_of(model, ranges_of(model), FORM)
        files = dict(self._given or generate_library(model, prefix=self._prefix, form=FORM))
        files["host.c"] = render_host(model, self._prefix, rows=self._given is None and self._choices["rows"])
        self._ffi = cffi.FFI()
        self._ffi.cdef(_CDEF)
        own = self._own(model).items() if self._writable else ()
        self._ffi.cdef("".join(f"extern {_c_type(table)} {name}[{table.size}];\n" for name, table in own))
        compiled = _compiled(files, self._flags, self._compiler)
        self._library = _private(self._ffi, compiled) if self._writable else self._ffi.dlopen(str(compiled))
        self._tables: dict[str, NDArray[Any]] = {}
        for name, table in own:
            memory = self._ffi.buffer(getattr(self._library, name))
            self._tables[name] = np.frombuffer(memory, table.dtype).reshape(table.shape)
        self._library.host_prepare()

    @staticmethod
    def _own(model: Model) -> dict[str, NDArray[Any]]:
        """The tables that `load` exchanges: all but the front end's."""
        return {name: table for name, table in model.tables.items() if name not in FRONTEND_TABLES and table.size}

    @property
    def context_bytes(self) -> int:
        """sizeof(lsm_t) on this machine."""
        return int(self._library.host_context_bytes())

    def load(self, model: Model) -> None:
        """Write another model's tables over the present ones; compile again if C would be written otherwise for them.

        Raises:
            ValueError: the library was not built with writable tables, or the manifests or front ends differ.
        """
        if not self._tables or self._given is not None or model.manifest != self.model.manifest:
            raise ValueError("only a library of its own with writable tables takes another model, of the same manifest")
        if any(not np.array_equal(model[name], self.model[name]) for name in FRONTEND_TABLES):
            raise ValueError("only a model with the same front end can be loaded; its tables are not exchanged")
        own = self._own(model).items()
        changed = {name: table for name, table in own if not np.array_equal(table, self.model[name])}
        wiring = not changed.keys() <= NEVER_CHOSEN_BY
        if wiring and choices_of(model, ranges_of(model), FORM) != self._choices:
            self._compile(model)
            return
        for name, table in changed.items():
            self._tables[name][...] = table
        if wiring:
            self._library.host_prepare()
        self.model = model

    def hear(self, clips: Sequence[NDArray[np.int16]], progress: Progress | None = None) -> list[NDArray[np.uint8]]:
        """Samples of each clip -> its frames, shape (frames, bands)."""
        frontend = self.model.manifest.frontend

        def one(samples: NDArray[np.int16]) -> NDArray[np.uint8]:
            samples = _contiguous(samples, np.int16)
            frames = np.empty((len(samples) // frontend.hop_samples, frontend.n_bands), np.uint8)
            self._library.host_hear(self._in("int16_t *", samples), len(samples), self._out("uint8_t *", frames))
            return frames

        return _in_parallel(one, clips, progress)

    def stir(
        self, segments: Sequence[NDArray[np.uint8]], progress: Progress | None = None, *, count_spikes: bool = False
    ) -> Stirred:
        """Segments given as frames -> features, scores, classes; and each neuron's spikes over all of them."""
        manifest = self.model.manifest
        shape = (manifest.readout.n_windows, manifest.reservoir.n_neurons)
        features = np.zeros((len(segments), *shape), np.uint8)
        scores = np.zeros((len(segments), manifest.n_classes), np.int32)
        spikes = np.zeros((len(segments) if count_spikes else 0, manifest.reservoir.n_neurons), np.uint32)
        order = range(len(segments))

        def one(i: int) -> int:
            frames = _contiguous(segments[i], np.uint8)
            totals = self._out("uint32_t *", spikes[i]) if count_spikes else self._ffi.NULL
            result = self._library.host_stir(
                self._in("uint8_t *", frames),
                len(frames),
                self._out("uint8_t *", features[i]),
                self._out("int32_t *", scores[i]),
                totals,
            )
            return int(result)

        classes = np.array(_in_parallel(one, order, progress), np.int64)
        return Stirred(features, scores, classes, spikes.sum(axis=0, dtype=np.int64))

    def tap(self, samples: NDArray[np.int16], chunk: int | None = None) -> Taps:
        """One clip as one segment, in chunks of at most one hop; every tap of every step."""
        samples = _contiguous(samples, np.int16)
        shapes = tap_shapes(self.model, len(samples))
        buffers = {name: np.zeros(shapes[name], kind) for name, kind in TAPS.items()}
        taps = self._ffi.new("tap_t[]", len(TAPS))
        for tap, buffer in zip(taps, buffers.values(), strict=True):
            tap.data, tap.size = self._out("uint8_t *", buffer), buffer.nbytes
        hop = self.model.manifest.frontend.hop_samples
        self._library.host_tap(self._in("int16_t *", samples), len(samples), chunk or hop, taps)
        for tap, (name, buffer) in zip(taps, buffers.items(), strict=True):
            if tap.used != buffer.nbytes:
                raise BuildError(f"host C left {tap.used} bytes of {name}, expected {buffer.nbytes}")
        return buffers

    def stream(self, samples: NDArray[np.int16], chunk: int | None = None) -> list[int]:
        """The decisions over a stream whose segments the library finds itself."""
        return self.listen(samples, chunk)[1]

    def listen(self, samples: NDArray[np.int16], chunk: int | None = None) -> tuple[NDArray[np.uint8], list[int]]:
        """The same, after the frames: a row for every hop, zero where the gate was closed."""
        frontend = self.model.manifest.frontend
        samples = _contiguous(samples, np.int16)
        n_frames, chunk = len(samples) // frontend.hop_samples, chunk or frontend.hop_samples
        frames = np.zeros((n_frames, frontend.n_bands), np.uint8)
        decisions = np.zeros(n_frames + 1, np.int32)
        into = self._out("uint8_t *", frames), self._out("int32_t *", decisions), len(decisions)
        n = self._library.host_stream(self._in("int16_t *", samples), len(samples), chunk, *into)
        found: list[int] = decisions[:n].tolist()
        return frames, found

    def _in(self, kind: str, array: NDArray[Any]) -> Any:
        """A pointer into a contiguous array, which the caller keeps alive."""
        return self._ffi.cast(kind, self._ffi.from_buffer(array)) if array.size else self._ffi.NULL

    def _out(self, kind: str, array: NDArray[Any]) -> Any:
        if not array.size:
            return self._ffi.NULL
        return self._ffi.cast(kind, self._ffi.from_buffer(array, require_writable=True))


@dataclass(frozen=True)
class Stirred:
    """What the liquid made of a list of segments."""

    features: NDArray[np.uint8]  # (segments, windows, neurons)
    scores: NDArray[np.int32]  # (segments, classes)
    classes: NDArray[np.int64]  # (segments,)
    spikes: NDArray[np.int64]  # (neurons,), zero if not asked for

    @property
    def best(self) -> NDArray[np.int64]:
        """The classes with the highest scores, rejected or not: shape (segments,)."""
        return np.asarray(np.argmax(self.scores, axis=1), np.int64)


def tap_shapes(model: Model, n_samples: int) -> dict[str, tuple[int, ...]]:
    """The shape of every tap of a clip of that many samples."""
    manifest = model.manifest
    n, decision = manifest.reservoir.n_neurons, manifest.decision
    frames = n_samples // manifest.frontend.hop_samples
    live = decision.mode == "live"
    heard = frames if live else min(frames, decision.max_frames)
    steps = heard * manifest.reservoir.steps_per_frame
    spoken = frames // decision.every_frames + 1 if live else 1
    return {
        "frontend.frame": (frames, manifest.frontend.n_bands),
        "frontend.level": (heard, manifest.frontend.n_bands),
        "encoder.current": (steps, n),
        "reservoir.v": (steps, n),
        "reservoir.refractory": (steps, n),
        "reservoir.spikes": (steps, (n + 31) // 32),
        "readout.features": (spoken if live else manifest.readout.n_windows, n),
        "readout.scores": (2 * spoken if live else manifest.readout.n_windows + 1, manifest.n_classes),
        "decision.class": (spoken,),
        "decision.confidence": (spoken if decision.confidence else 0,),
    }


def _c_type(table: NDArray[Any]) -> str:
    return f"{'u' if table.dtype.kind == 'u' else ''}int{8 * table.dtype.itemsize}_t"


def _contiguous(array: NDArray[Any], kind: type[np.integer[Any]]) -> NDArray[Any]:
    """The array as C reads it; one of another type would be read as noise."""
    if array.dtype != kind:
        raise TypeError(f"an array of {array.dtype} where C expects {np.dtype(kind)}")
    return np.ascontiguousarray(array)


def _in_parallel(one: Callable[[Any], Any], items: Sequence[Any], progress: Progress | None) -> list[Any]:
    """`one` over all items on all cores (cffi lets go of the interpreter's lock while C runs), a few at a time."""
    n_threads = os.cpu_count() or 1
    size = min(max(len(items) // (8 * n_threads), 1), 16)  # a task costs about as much as a short recording
    done: list[Any] = []
    with ThreadPoolExecutor(n_threads) as pool:
        each = pool.map if len(items) > 1 else map  # to start a thread takes a tenth of a second of sound
        for results in each(lambda i: [one(item) for item in items[i : i + size]], range(0, len(items), size)):
            done += results
            if progress is not None:
                progress(len(done), len(items))
    return done


def _compiled(files: Mapping[str, str], flags: Sequence[str], compiler: Sequence[str] | None) -> Path:
    """The shared library made from `files`, from the cache if it was made before."""
    if compiler is None:
        raise BuildError("no C compiler found on this machine: install gcc or clang, or `pip install ziglang`")
    own, features = _own_cpu(tuple(compiler))
    flags = [*own, *flags]
    sha = hashlib.sha256(repr([compiler, _version(tuple(compiler)), platform.machine(), features, flags]).encode())
    for name in sorted(files):
        sha.update(f"\n{name}\n".encode() + files[name].encode())
    target = cache_folder() / "native" / f"{sha.hexdigest()[:32]}.so"
    if target.is_file():
        return target
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent) as folder:
            for name, text in files.items():
                (Path(folder) / name).write_text(text, encoding="utf-8")
            command = [*compiler, *flags, "host.c", "-o", "host.so"]
            done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
            if done.returncode:
                raise BuildError(f"{' '.join(compiler)} cannot compile the generated C:\n{done.stderr[-2000:]}")
            (Path(folder) / "host.so").replace(target)
    except OSError as error:
        reason = f"cannot be written: {error.strerror}; name another place in $LSM_EDGE_CACHE"
        raise BuildError(f"{target.parent}: {reason}") from None
    return target


def _private(ffi: cffi.FFI, compiled: Path) -> Any:
    """A library loaded from a copy of its own: loaded from the same file twice, it would share its tables."""
    with tempfile.TemporaryDirectory(dir=compiled.parent, ignore_cleanup_errors=True) as folder:
        return ffi.dlopen(str(shutil.copy(compiled, Path(folder) / compiled.name)))


@lru_cache
def _own_cpu(compiler: tuple[str, ...]) -> tuple[list[str], str]:
    """The flag that lets a compiler use all of this machine's CPU, if it knows one, and the macros that tell which."""
    for flag in ("-march=native", "-mcpu=native"):
        asked = [*compiler, flag, "-dM", "-E", "-x", "c", os.devnull]
        done = subprocess.run(asked, capture_output=True, text=True, check=False)
        if not done.returncode:
            return [flag], done.stdout
    return [], ""


@lru_cache
def _version(compiler: tuple[str, ...]) -> str:
    done = subprocess.run([*compiler, "--version"], capture_output=True, text=True, check=False)
    return done.stdout.partition("\n")[0]
