"""The generated C on this machine: equal to the golden model, however a stream is cut, whatever was there before."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cffi
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from models import HOP, LABELS, LIVE, RECURRENT, extremes, small_model, sound, with_tables
from needs import need, need_host_compiler
from numpy.typing import NDArray
from sample_models import SETTINGS, sample_model

from lsm_edge import golden
from lsm_edge.errors import BuildError
from lsm_edge.golden import TAPS
from lsm_edge.learn.liquid import GoldenLiquid
from lsm_edge.model import Model, table_specs
from lsm_edge.ranges import ranges_of
from lsm_edge.target.codegen import FORMS, NEVER_CHOSEN_BY, Form, choices_of, generate_library
from lsm_edge.target.native import Native, host_compiler

NativeOf = Callable[[Model], Native]
READY, MORE, ERR_NULL, ERR_COUNT, ERR_STATE, ERR_TABLE, ERR_ANSWER = 1, 0, -1, -2, -3, -4, -5
OPTIONS: dict[str, dict[str, Any]] = {
    "plain": {},
    "recurrent": {"reservoir": {**RECURRENT, "reset": "zero"}},
    "delta, trace": {"encoder": {"kind": "delta"}, "readout": {"state": "trace"}},
    "running peak, length": {
        "frontend": {"level": "running_peak"},
        "readout": {"window_by": "length", "transform": "linear"},
    },
    "live": LIVE,
    "live, recurrent": {**LIVE, "reservoir": RECURRENT},
    "with endpointer": {"decision": {"endpointer": {}}},
    "with gate": {"decision": {"endpointer": {"gate_db": 6.0, "hang_ms": 16.0}}},
}


def any_model(name: str) -> Model:
    return sample_model(name) if name in SETTINGS else small_model(**OPTIONS[name])


def differences(model: Model, native: Native, samples: NDArray[np.int16], chunk: int | None = None) -> list[str]:
    """The taps in which C and the golden model differ."""
    want, got = golden.run_clips(model, [samples])[0].taps, native.tap(samples, chunk)
    return [name for name in TAPS if not np.array_equal(want[name], got[name])]


@pytest.mark.parametrize("name", [*OPTIONS, *SETTINGS])
def test_every_tap_is_the_golden_models(native: NativeOf, name: str) -> None:
    model = any_model(name)
    hop = model.manifest.frontend.hop_samples
    sounds = [sound(seed, n_hops, hop=hop, rest=3) for seed, n_hops in [(1, 0), (2, 1), (3, 20), (4, 90)]]
    for samples in [*sounds, *extremes(9 * hop + 5).values()]:
        assert differences(model, native(model), samples) == []


@pytest.mark.parametrize("name", OPTIONS)
@settings(max_examples=15)
@given(seed=st.integers(0, 10**6), n_hops=st.integers(0, 40), rest=st.integers(0, HOP - 1), chunk=st.integers(1, HOP))
def test_any_sound_in_any_chunks(native: NativeOf, name: str, seed: int, n_hops: int, rest: int, chunk: int) -> None:
    model = any_model(name)
    assert differences(model, native(model), sound(seed, n_hops, rest=rest), chunk) == []


@pytest.mark.parametrize("seed", range(4))
def test_any_wiring(native: NativeOf, seed: int) -> None:
    """Other neurons, other weights; everything drawn to its ends."""
    model = small_model(seed=seed, reservoir={**RECURRENT, "n_neurons": 40}, encoder={"shift": 0})
    rng = np.random.default_rng(seed)
    model = with_tables(
        model,
        {
            "threshold": rng.choice([1, 2000, 32767], 40),
            "leak_q15": rng.choice([0, 16384, 32767], 40),
            "tap_weight": rng.choice([-127, 0, 127], (40, 4)),
            "recurrent_weight": rng.choice([-127, 127], model["recurrent_weight"].shape),
            "bias": rng.choice([-(2**30), 2**30], 3),
        },
    )
    for sound_seed in range(5):
        assert differences(model, native(model), sound(sound_seed, 30)) == []


@pytest.mark.parametrize("name", OPTIONS)
def test_hearing_and_stirring_are_the_golden_models(native: NativeOf, name: str) -> None:
    """The two halves that training uses."""
    model = any_model(name)
    clips = [sound(seed, 5 + seed) for seed in range(40)]
    c, python = native(model), GoldenLiquid(model)
    frames = c.hear(clips)
    assert all(np.array_equal(one, other) for one, other in zip(frames, python.hear(clips), strict=True))
    got, want = c.stir(frames, count_spikes=True), python.stir(frames, count_spikes=True)
    for one, other in [(got.features, want.features), (got.scores, want.scores), (got.classes, want.classes)]:
        assert one.dtype == other.dtype
        assert np.array_equal(one, other)
    assert np.array_equal(got.spikes, want.spikes)
    assert got.spikes.sum() > 0
    assert not c.stir(frames).spikes.any()


def test_arrays_of_another_type_are_refused(native: NativeOf) -> None:
    """Read as they lie in memory, they would be noise."""
    c, samples = native(small_model()), sound(1, 3)
    with pytest.raises(TypeError, match="array of int64 where C expects int16"):
        c.hear([samples.astype(np.int64)])
    with pytest.raises(TypeError, match="float32"):
        c.tap(samples.astype(np.float32))
    with pytest.raises(TypeError, match="array of int64 where C expects uint8"):
        c.stir([golden.hear(small_model(), samples)])


def test_progress_is_told(native: NativeOf) -> None:
    model, clips = small_model(), [sound(seed, 3) for seed in range(40)]
    for liquid in (native(model), GoldenLiquid(model)):
        heard: dict[int, int] = {}
        stirred: dict[int, int] = {}
        liquid.stir(liquid.hear(clips, heard.__setitem__), stirred.__setitem__)
        assert list(heard.items())[-1] == list(stirred.items())[-1] == (40, 40)


def test_another_compiler_says_the_same() -> None:
    for name in ("recurrent", "live"):
        model = any_model(name)
        for level in ("-O0", "-O2"):
            library = Native(model, compiler=[need("clang")], flags=[level])
            assert differences(model, library, sound(1, 30)) == []


def test_another_prefix_says_the_same() -> None:
    need_host_compiler()
    model = any_model("with endpointer")
    assert differences(model, Native(model, prefix="kws"), sound(1, 30)) == []


# Tables that are exchanged after compiling.


def test_loading_another_model_is_compiling_it(native: NativeOf) -> None:
    need_host_compiler()
    first, second = small_model(seed=1, reservoir=RECURRENT), small_model(seed=2, reservoir=RECURRENT)
    second = Model(
        first.manifest, {**first.tables, "threshold": second["threshold"], "readout_weight": second["readout_weight"]}
    )
    frames = golden.hear(first, sound(1, 25)).astype(np.uint8)
    writable = Native(first, writable=True)
    for model in (second, first, second):
        writable.load(model)
        assert np.array_equal(writable.stir([frames]).scores, native(model).stir([frames]).scores)


def test_two_libraries_of_one_model_do_not_share_their_tables() -> None:
    need_host_compiler()
    model = small_model()
    other = with_tables(model, {"bias": [5, 6, 7]})
    frames = golden.hear(model, sound(1, 25)).astype(np.uint8)
    one, two = Native(model, writable=True), Native(model, writable=True)
    before = one.stir([frames]).scores.tolist()
    two.load(other)
    assert one.stir([frames]).scores.tolist() == before
    assert two.stir([frames]).scores.tolist() != before
    assert Native(model, writable=True).stir([frames]).scores.tolist() == before


def test_what_cannot_be_loaded_is_refused(native: NativeOf) -> None:
    need_host_compiler()
    model = small_model()
    with pytest.raises(ValueError, match="writable"):
        native(model).load(model)
    writable = Native(model, writable=True)
    with pytest.raises(ValueError, match="same manifest"):
        writable.load(small_model(labels=["a", "b", "c"]))
    with pytest.raises(ValueError, match="front end"):
        writable.load(with_tables(model, {"window_q15": 1}))
    needs = generate_library(model)
    with pytest.raises(ValueError, match="of its own"):
        Native(model, library=needs, writable=True).load(model)


@pytest.mark.parametrize("changed", ["rows that do not fit", "drive that does not fit", "leaks"])
def test_tables_that_c_is_written_otherwise_for_are_loaded_too(changed: str, native: NativeOf) -> None:
    need_host_compiler()
    model = small_model(reservoir=RECURRENT)
    weight, target = model["recurrent_weight"].copy(), model["recurrent_target"].copy()
    weight[:2], target[:2] = 127, target[0]  # the first two synapses are of one source, and now reach one neuron
    other = {
        "rows that do not fit": with_tables(model, {"recurrent_weight": weight, "recurrent_target": target}),
        "drive that does not fit": with_tables(model, {"tap_weight": 127, "recurrent_weight": 127}),
        "leaks": with_tables(model, {"leak_q15": np.resize([1000, 32000], model["leak_q15"].shape)}),
    }[changed]
    frames, writable = golden.hear(model, sound(1, 25)).astype(np.uint8), Native(model, writable=True)
    for loaded in (other, model, other):
        writable.load(loaded)
        assert np.array_equal(writable.stir([frames]).features, native(loaded).stir([frames]).features)
        assert differences(loaded, writable, sound(1, 25)) == []


def test_tables_of_any_kind_can_be_loaded(native: NativeOf) -> None:
    """Leaks that differ, synapses that come in no blocks, sums of more than 16 bits: nothing depends on the first."""
    need_host_compiler()
    model = small_model(reservoir={**RECURRENT, "topology": {"kind": "blocks", "fan_in": 8}})
    frames = golden.hear(model, sound(1, 25)).astype(np.uint8)
    targets = model["recurrent_target"].copy()
    targets[:4] = targets[3::-1]
    leaks = np.resize([28672, 24576, 1], model.manifest.reservoir.n_neurons)
    others = ({"recurrent_target": targets}, {"leak_q15": leaks}, {"tap_weight": 127}, {"recurrent_weight": 127})
    writable = Native(model, writable=True)
    for tables in others:
        other = with_tables(model, tables)
        writable.load(other)
        assert np.array_equal(writable.stir([frames]).scores, native(other).stir([frames]).scores)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", SETTINGS)
def test_what_is_loaded_without_a_look_at_it_chooses_nothing(name: str, form: Form) -> None:
    model = sample_model(name)
    specs = table_specs(model.manifest)
    others = {table: specs[table].high for table in NEVER_CHOSEN_BY & specs.keys()}
    assert len(others) >= 3
    was, now = (choices_of(each, ranges_of(each), form) for each in (model, with_tables(model, others)))
    assert was == now


# Compiling.


def test_the_compiler_is_the_one_that_is_asked_for(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CC", f"{sys.executable} -c 'two words'")
    assert host_compiler() == [sys.executable, "-c", "two words"]
    monkeypatch.setenv("CC", str(tmp_path / "no-such-compiler"))
    monkeypatch.setitem(sys.modules, "ziglang", None)
    assert host_compiler() is None
    with pytest.raises(BuildError, match="no C compiler found"):
        Native(small_model())


def test_what_a_compiler_says_is_passed_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    need_host_compiler()
    monkeypatch.setenv("LSM_EDGE_CACHE", str(tmp_path))
    library = generate_library(small_model())
    with pytest.raises(BuildError, match=r"cannot compile the generated C:\n[\s\S]*no_such_type"):
        Native(small_model(), library={**library, "lsm.c": library["lsm.c"] + "\nno_such_type x;\n"})
    assert list((tmp_path / "native").iterdir()) == []


def test_what_was_compiled_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    need_host_compiler()
    monkeypatch.setenv("LSM_EDGE_CACHE", str(tmp_path))
    Native(small_model())
    kept = list((tmp_path / "native").iterdir())
    assert len(kept) == 1
    monkeypatch.setattr(subprocess, "run", lambda *_args, **_kwargs: pytest.fail("compiled again"))
    Native(small_model())
    Native(small_model(), writable=False)
    assert list((tmp_path / "native").iterdir()) == kept


def test_a_cache_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    need_host_compiler()
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("LSM_EDGE_CACHE", str(tmp_path / "file"))
    with pytest.raises(BuildError, match="LSM_EDGE_CACHE"):
        Native(small_model())


# The C interface, called as a C programmer would.


class Api:
    """The public functions of a generated library, on contexts that are bytes."""

    def __init__(self, name: str, model: Model, folder: Path) -> None:
        self.name = name
        for file, text in generate_library(model).items():
            (folder / file).write_text(text, encoding="utf-8")
        (folder / "api.c").write_text('#include "lsm.c"\nint context_bytes(void) { return (int)sizeof(lsm_t); }\n')
        command = [*need_host_compiler(), "-std=c99", "-O1", "-fPIC", "-shared", "api.c", "-o", "api.so"]
        subprocess.run(command, cwd=folder, check=True)
        self.ffi = cffi.FFI()
        self.ffi.cdef(
            "void lsm_init(void *); int lsm_push(void *, const int16_t *, size_t); int lsm_begin(void *);"
            "int lsm_end(void *); int lsm_class(const void *); const int32_t *lsm_scores(const void *);"
            "int lsm_selftest(void *); int context_bytes(void);"
        )
        self.c = self.ffi.dlopen(str(folder / "api.so"))
        self.hop = model.manifest.frontend.hop_samples
        self.n_bytes = self.c.context_bytes()

    def context(self, fill: int | None = None) -> Any:
        """A context: initialised, or filled with a byte."""
        memory = self.ffi.new("uint32_t[]", self.n_bytes // 4)
        if fill is None:
            self.c.lsm_init(memory)
        else:
            self.ffi.memmove(memory, bytes([fill]) * self.n_bytes, self.n_bytes)
        return memory

    def bytes_of(self, context: Any) -> bytes:
        return bytes(self.ffi.buffer(context))

    def push(self, context: Any, samples: NDArray[np.int16], chunk: int = 0) -> list[tuple[int, list[int]]]:
        """The decisions over `samples`: class and scores."""
        decisions = []
        for at in range(0, len(samples), chunk or self.hop):
            piece = np.ascontiguousarray(samples[at : at + (chunk or self.hop)])
            status = self.c.lsm_push(context, self.ffi.from_buffer("int16_t[]", piece), len(piece))
            assert status in (READY, MORE)
            if status == READY:
                decisions.append((self.c.lsm_class(context), self.scores(context)))
        return decisions

    def scores(self, context: Any) -> list[int]:
        return list(self.c.lsm_scores(context)[0 : len(LABELS)])


API_OPTIONS = ["recurrent", "with endpointer", "live, recurrent"]


@pytest.fixture(scope="module", params=API_OPTIONS)
def api(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Api:
    return Api(request.param, any_model(request.param), tmp_path_factory.mktemp("api"))


def test_before_any_decision(api: Api) -> None:
    context = api.context()
    assert api.c.lsm_class(context) == -1
    assert api.scores(context) == [0, 0, 0]


def test_an_empty_push_is_fine(api: Api) -> None:
    context = api.context()
    before = api.bytes_of(context)
    assert api.c.lsm_push(context, api.ffi.NULL, 0) == MORE
    assert api.bytes_of(context) == before


def test_null_is_refused(api: Api) -> None:
    null, samples, context = api.ffi.NULL, api.ffi.new("int16_t[]", api.hop), api.context()
    api.c.lsm_init(null)
    assert api.c.lsm_push(null, samples, 1) == ERR_NULL
    assert api.c.lsm_begin(null) == ERR_NULL
    assert api.c.lsm_end(null) == ERR_NULL
    assert api.c.lsm_selftest(null) == ERR_NULL
    assert api.c.lsm_class(null) == -1
    assert api.c.lsm_scores(null) == null
    before = api.bytes_of(context)
    assert api.c.lsm_push(context, null, 1) == ERR_NULL
    assert api.bytes_of(context) == before


@pytest.mark.parametrize("count", [1, 10**6, 2**64 - 1])
def test_more_than_a_hop_is_refused_and_not_consumed(api: Api, count: int) -> None:
    context, samples = api.context(), api.ffi.new("int16_t[]", [1] * api.hop)
    assert api.c.lsm_push(context, samples, 7) == MORE
    before = api.bytes_of(context)
    assert api.c.lsm_push(context, samples, max(count, api.hop + 1)) == ERR_COUNT
    assert api.bytes_of(context) == before


@pytest.mark.parametrize("fill", [0, 255, 0xA5])
def test_a_context_that_was_not_initialised_is_refused(api: Api, fill: int) -> None:
    context, samples = api.context(fill), api.ffi.new("int16_t[]", api.hop)
    assert api.c.lsm_push(context, samples, 1) == ERR_STATE
    assert api.c.lsm_begin(context) == ERR_STATE
    assert api.c.lsm_end(context) == ERR_STATE
    assert api.c.lsm_class(context) == -1
    assert api.bytes_of(context) == bytes([fill]) * api.n_bytes


def test_a_context_of_another_model_is_refused(api: Api, tmp_path: Path) -> None:
    other = Api("other", small_model(seed=99), tmp_path)
    context = api.ffi.new("uint32_t[]", max(api.n_bytes, other.n_bytes) // 4)
    other.c.lsm_init(context)
    assert other.c.lsm_begin(context) == MORE
    assert api.c.lsm_begin(context) == ERR_STATE


def test_a_segment_must_be_open_to_be_closed(api: Api) -> None:
    context = api.context()
    before = api.bytes_of(context)
    if api.name.startswith("live"):
        assert api.c.lsm_end(context) == READY
    else:
        assert api.c.lsm_end(context) == ERR_STATE
        assert api.bytes_of(context) == before
        assert api.c.lsm_begin(context) == MORE
        assert api.c.lsm_end(context) == READY
        assert api.c.lsm_end(context) == ERR_STATE


def decided(api: Api, context: Any, samples: NDArray[np.int16], chunk: int = 0) -> list[tuple[int, list[int]]]:
    """Everything that is decided over a segment given by hand."""
    assert api.c.lsm_begin(context) == MORE
    decisions = api.push(context, samples, chunk)
    assert api.c.lsm_end(context) == READY
    return [*decisions, (api.c.lsm_class(context), api.scores(context))]


def test_decisions_are_the_golden_models(api: Api) -> None:
    model = any_model(api.name)
    for seed in range(5):
        samples = sound(seed, 27)
        taps = golden.run_clips(model, [samples])[0].taps
        classes, scores = taps["decision.class"], taps["readout.scores"]
        rows = scores[::2] if api.name.startswith("live") else scores[-1:]
        assert decided(api, api.context(), samples) == list(zip(classes.tolist(), rows.tolist(), strict=True))


@settings(max_examples=20)
@given(chunks=st.lists(st.integers(0, HOP), min_size=1, max_size=60), seed=st.integers(0, 1000))
def test_chunks_of_any_sizes_change_nothing(api: Api, chunks: list[int], seed: int) -> None:
    """After the same samples the whole context is the same, byte for byte, and so were all decisions on the way."""
    samples = sound(seed, sum(chunks) // HOP + 1)[: sum(chunks)]
    for open_by_hand in (False, True):
        whole, cut = api.context(), api.context()
        if open_by_hand:
            assert api.c.lsm_begin(whole) == api.c.lsm_begin(cut) == MORE
        want, got, at = api.push(whole, samples), [], 0
        for chunk in chunks:
            got += api.push(cut, samples[at : at + chunk], chunk)
            at += chunk
        assert got == want
        assert api.bytes_of(cut) == api.bytes_of(whole)


def test_init_forgets_everything(api: Api) -> None:
    fresh = api.bytes_of(api.context())
    for fill in (0, 255, 0xA5):
        context = api.context(fill)
        api.c.lsm_init(context)
        assert api.bytes_of(context) == fresh
        decided(api, context, sound(1, 30))
        api.c.lsm_init(context)
        assert api.bytes_of(context) == fresh


def test_contexts_do_not_disturb_each_other(api: Api) -> None:
    one, two, alone, other = api.context(), api.context(), api.context(), api.context()
    first, second = sound(1, 25), sound(2, 25)
    for context in (one, two, alone, other):
        assert api.c.lsm_begin(context) == MORE
    want = api.push(alone, first), api.push(other, second)
    got: tuple[list[Any], list[Any]] = ([], [])
    for at in range(0, len(first), 32):
        got[0].extend(api.push(one, first[at : at + 32], 32))
        got[1].extend(api.push(two, second[at : at + 32], 32))
    assert got == want
    assert api.bytes_of(one) == api.bytes_of(alone)
    assert api.bytes_of(two) == api.bytes_of(other)


def test_a_second_segment_knows_nothing_of_the_first(api: Api) -> None:
    """But for the sound itself, whose window looks back: after silence as long as a window, nothing is left of it."""
    silence, samples = np.zeros(4 * HOP, np.int16), sound(7, 20)
    used = api.context()
    decided(api, used, sound(1, 40))
    api.push(used, silence)
    fresh = api.context()
    api.push(fresh, silence)
    if api.name.startswith("live"):
        # The running peak is the stream's, not the segment's; let it be the same.
        for context in (used, fresh):
            api.push(context, np.round(32767 * np.sin(2.75 * np.arange(4 * HOP))).astype(np.int16))  # 3500 Hz
            api.push(context, silence)
    assert decided(api, used, samples) == decided(api, fresh, samples)


def test_a_segment_begun_again_begins_anew(api: Api) -> None:
    used, fresh = api.context(), api.context()
    assert api.c.lsm_begin(used) == MORE
    for context in (used, fresh):
        api.push(context, np.zeros(10 * HOP, np.int16))
    assert decided(api, used, sound(3, 20)) == decided(api, fresh, sound(3, 20))


def test_the_selftest_passes_and_leaves_a_context_that_is_ready(api: Api) -> None:
    context = api.context(0xA5)
    assert api.c.lsm_selftest(context) == READY
    assert api.bytes_of(context) == api.bytes_of(api.context())
