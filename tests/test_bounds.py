"""What is proven of a model's integers is asserted in its C: nothing trips it, a bound that is wrong does.

Assertions abort, so the C runs in a child process.
"""

from __future__ import annotations

import faulthandler
import os
import random
import re
import resource
import signal
import subprocess
import traceback
import warnings
from collections.abc import Callable, Mapping
from itertools import count
from pathlib import Path

import numpy as np
import pytest
from differential import session
from differential.models import random_model, random_recordings
from hypothesis import given, settings
from hypothesis import strategies as st
from models import extremes, small_model
from needs import need, need_host_compiler
from numpy.typing import NDArray
from sample_models import SETTINGS, sample_model

from lsm_edge.model import Model
from lsm_edge.target.codegen import generate_library
from lsm_edge.target.native import Native

WARNINGS = ("-Wall", "-Wextra", "-Wconversion", "-Wpedantic", "-Wshadow", "-Werror")


def aborts(run: Callable[[], object]) -> bool:
    """Whether `run` ends in an abort."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # pytest-xdist's threads do nothing that the child needs
        child = os.fork()
    if not child:
        try:
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
            faulthandler.disable()
            run()
            os._exit(0)
        finally:
            traceback.print_exc()
            os._exit(1)
    _, status = os.waitpid(child, 0)
    assert status == 0 or os.WIFSIGNALED(status), "the library did not come to its end"
    assert status == 0 or os.WTERMSIG(status) == signal.SIGABRT
    return status != 0


def built(model: Model, library: Mapping[str, str] | None = None) -> Native:
    return Native(model, asserts=True, library=library, compiler=need_host_compiler(), flags=["-O1"])


def pushing_frames(model: Model, n_frames: int) -> list[NDArray[np.uint8]]:
    """Frames at both ends of their range: at random, for a while at a time; and by the signs of neurons' weights."""
    rng, bands = np.random.default_rng(1), model.manifest.frontend.n_bands
    segments = [rng.choice([0, 255], (n_frames, bands)).repeat(each, axis=0)[:n_frames] for each in (1, 2, 8, 64)]
    segments += [np.full((n_frames, bands), 255), np.zeros((n_frames, bands), int)]
    if model.manifest.encoder.kind == "current":
        signs = np.zeros((2, model.manifest.encoder.max_delay_frames + 1, bands), np.uint8)
        for offsets, weights in zip(model["tap_offset"], model["tap_weight"], strict=True):
            signs.reshape(2, -1)[:, offsets] = np.where([weights > 0, weights < 0], 255, 0)
            segments += [np.resize(sign, (n_frames, bands)) for sign in signs[:, ::-1]]
            segments += [np.resize(sign, (n_frames, bands)) for sign in signs]
    return [np.ascontiguousarray(segment, np.uint8) for segment in segments]


def exercise(native: Native, random_: random.Random) -> None:
    """Frames, clips, streams and the self-test."""
    decision, hop = native.model.manifest.decision, native.model.manifest.frontend.hop_samples
    native.stir(pushing_frames(native.model, min(decision.max_frames + 1, 80)))
    for samples in [*extremes(10 * hop).values(), *random_recordings(random_, native.model, most=3)]:
        native.tap(samples)
        native.stream(samples, chunk=1 + hop // 2)
        session.host_answers(native, session.random_script(random_, native.model, samples))
    assert session.selftest(native) == session.READY


@settings(max_examples=15)
@given(st.integers(0, 2**32 - 1))
def test_no_integer_leaves_its_bounds(seed: int) -> None:
    """Of models with every option and tables at the ends of what is allowed."""
    random_ = random.Random(seed)
    native = built(random_model(random_, 33))
    assert not aborts(lambda: exercise(native, random_))


@pytest.mark.parametrize("name", SETTINGS)
def test_every_assertion_is_reached(name: str) -> None:
    """Each aborts if it is made to fail, one after the other."""
    library = generate_library(sample_model(name))
    at = count()
    text = re.sub(r"LSM_ASSERT\(", lambda _: f"LSM_ASSERT(lsm_failing != {next(at)} && ", library["lsm.c"])
    text = text.replace("#define GUARD", "int lsm_failing = -1;\n#define GUARD")
    native = built(sample_model(name), {**library, "lsm.c": text})
    native._ffi.cdef("extern int lsm_failing;")

    def fail(which: int) -> None:
        native._library.lsm_failing = which
        exercise(native, random.Random(1))

    n_assertions = next(at)
    assert n_assertions >= 10
    assert not aborts(lambda: fail(-1))
    assert [which for which in range(n_assertions) if not aborts(lambda which=which: fail(which))] == []


@pytest.mark.parametrize("end", ["low", "high"])
def test_a_bound_that_is_off_by_one_is_found(end: str) -> None:
    """Of a neuron's current, whose bounds are reached."""
    model = small_model(reservoir={"n_neurons": 1})
    library = generate_library(model)
    (line,) = re.findall(r"LSM_ASSERT\(within_int16\(lsm->current.*\);", library["lsm.c"])
    low, high = map(int, re.findall(r"-?\d+(?=[,)])", line)[-2:])
    narrowed = f"{low + 1}, {high}" if end == "low" else f"{low}, {high - 1}"
    text = library["lsm.c"].replace(line, line.replace(f"{low}, {high}", narrowed))
    frames = pushing_frames(model, 12)
    assert not aborts(lambda: built(model).stir(frames))
    native = built(model, {**library, "lsm.c": text})
    assert aborts(lambda: native.stir(frames))


@pytest.mark.parametrize("compiler", ["gcc", "clang"])
@pytest.mark.parametrize("name", SETTINGS)
def test_assertions_are_no_code_unless_asked_for(compiler: str, name: str, tmp_path: Path) -> None:
    """Not even without optimisation; and asked for, they compile without a warning."""
    need(compiler)
    library = generate_library(sample_model(name))
    without = re.sub(r"LSM_ASSERT\(.*\);", "", library["lsm.c"])
    for file, text in {**library, "without.c": without}.items():
        (tmp_path / file).write_text(text, encoding="utf-8")

    def object_of(source: str, *flags: str) -> bytes:
        command = [compiler, "-std=c99", *WARNINGS, "-O0", *flags, "-c", source, "-o", "lsm.o"]
        subprocess.run(command, cwd=tmp_path, check=True)
        return (tmp_path / "lsm.o").read_bytes().replace(source.encode(), b"lsm.c")

    assert "LSM_ASSERT" not in without
    plain, asked = object_of("lsm.c"), object_of("lsm.c", "-include", "assert.h", "-DLSM_ASSERT=assert")
    assert len(asked) > len(plain)
    (tmp_path / "lsm.c").write_text(without, encoding="utf-8")
    assert object_of("lsm.c") == plain
