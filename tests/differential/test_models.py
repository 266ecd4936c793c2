"""Random models on golden, on every host compiler and on every core: no integer differs."""

from __future__ import annotations

import random
import signal
import subprocess
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from needs import missing

from differential import session
from differential.check import check
from differential.interpreted import check_interpreter
from differential.matrix import EMULATED, HOST_COMPILERS, HOSTS, Cell, Project, cells_of
from differential.models import N_NEURONS, random_model, random_recordings, seeded
from lsm_edge import golden
from lsm_edge.model import Manifest, Model
from lsm_edge.stages import decision, frontend
from lsm_edge.target.context import kept_frames

# In CI zig, which first compiles its own runtime for each core and level, has its turn on two cores only; `make soak`
# goes through all of the matrix.
EVERYDAY_HOSTS = [cell for cell in HOSTS if cell.compiler != "zig" or "-O2" in cell.flags]
ZIG_CORES = ("cortex-m0plus zig -O2", "cortex-m4 zig -O2")
EVERYDAY_CORES = [cell for cell in EMULATED if cell.compiler != "zig" or str(cell) in ZIG_CORES]
PAIRS = [(EVERYDAY_HOSTS[i % len(EVERYDAY_HOSTS)], core) for i, core in enumerate(EVERYDAY_CORES)]
MODELS_PER_PAIR = 2


def need(cell: Cell) -> None:
    """The cell's compiler."""
    if cell.missing_tool:
        missing(f"{cell}: {cell.missing_tool}")


@pytest.mark.parametrize("pair", range(len(PAIRS)), ids=[f"{host} + {core}" for host, core in PAIRS])
def test_no_integer_differs(pair: int) -> None:
    for cell in PAIRS[pair]:
        need(cell)
    for seed in range(pair, MODELS_PER_PAIR * len(PAIRS), len(PAIRS)):
        random_ = seeded(seed)
        model = random_model(random_, largest=129)
        tally = check(model, random_recordings(random_, model, most=3, longest_frames=16), PAIRS[pair])
        assert not tally.differences, f"seed {seed}: " + "\n".join(map(str, tally.differences))
        assert tally.integers > 0


@settings(max_examples=20, suppress_health_check=list(HealthCheck))
@given(st.randoms(use_true_random=False))
def test_no_integer_differs_in_small_models(random_: random.Random) -> None:
    """The same draws, but Hypothesis's: it looks for the simplest model that fails."""
    need(HOSTS[0])
    model = random_model(random_, largest=5)
    tally = check(model, random_recordings(random_, model, most=2, longest_frames=8), HOSTS[:1])
    assert not tally.differences, "\n".join(map(str, tally.differences))


@pytest.mark.parametrize("seed", range(12))
def test_no_integer_differs_in_the_interpreter(seed: int) -> None:
    random_ = seeded(seed)
    model = random_model(random_, largest=65)
    tally = check_interpreter(model, random_recordings(random_, model))
    assert not tally.differences, tally.differences[0]


def test_longest_segment(tmp_path: Path) -> None:
    """4095 frames of 16 steps, in all of which the neurons fire: 65520 spikes in counters of 16 bits."""
    host = next(cell for cell in HOSTS if str(cell) == "host gcc -O2")
    need(host)
    model = _longest_model()
    samples = np.resize(np.array([9000, -9000], np.int16), 4096 * model.manifest.frontend.hop_samples)
    assert not check(model, [samples], [host]).differences
    spikes = host.build(Project(model, tmp_path)).tap(samples)["reservoir.spikes"]
    assert len(spikes) == 65520 and (spikes == 2**model.manifest.reservoir.n_neurons - 1).all()


def _longest_model() -> Model:
    """Some random model that has the right tables, with the settings that no table's shape depends on turned up."""
    for seed in range(20_000):
        model = random_model(seeded(seed), largest=2)
        facts = model.manifest.model_dump()
        by_taps, one_window = facts["encoder"]["kind"] == "current", facts["readout"]["n_windows"] == 1
        one_byte = facts["frontend"]["n_bands"] == 1 and facts["encoder"]["max_delay_frames"] == 0
        if by_taps and one_byte and one_window and facts["decision"]["mode"] == "segment":
            break
    facts["frontend"] |= {"hop_samples": 8, "level": "running_peak", "range_gain": 1, "equalise_q8": 0}
    facts["reservoir"] |= {"steps_per_frame": 16, "reset": "subtract", "refractory_steps": 0, "weight_shift": 0}
    facts["readout"] |= {"state": "counts", "trace_leak_q15": 0, "trace_gain": 0}
    facts["decision"] |= {"max_frames": 4095, "endpointer": None}
    fires = {"tap_weight": 127, "recurrent_weight": 127, "threshold": 1}
    always = {name: np.full_like(model[name], value) for name, value in fires.items() if name in model.tables}
    return Model(Manifest.model_validate(facts), {**model.tables, **always})


def test_undefined_behaviour_ends_the_process(tmp_path: Path) -> None:
    """Where a cell says that it traps, it does."""
    cell = next(cell for cell in HOSTS if "-fsanitize=undefined" in cell.flags)
    need(cell)
    (tmp_path / "wrap.c").write_text("int main(int n, char **a) { (void)a; return (0x7FFFFFFF + n) == 0; }")
    command = [*HOST_COMPILERS[cell.compiler], *cell.flags, "wrap.c", "-o", "wrap"]
    subprocess.run(command, cwd=tmp_path, check=True)
    assert subprocess.run([tmp_path / "wrap"], check=False).returncode == -signal.SIGILL


def test_every_cell_has_its_turn() -> None:
    turns = Counter(cell for i in range(len(HOSTS) * len(EMULATED)) for cell in cells_of(i))
    assert {turns[cell] for cell in HOSTS} == {len(EMULATED)}
    assert {turns[cell] for cell in EMULATED} == {len(HOSTS)}
    assert len({cells_of(i) for i in range(len(HOSTS) * len(EMULATED))}) == len(HOSTS) * len(EMULATED)


def test_every_core_with_twins_takes_that_of_the_encoder_and_passes_it_over() -> None:
    """It depends on the model; of those that are run every day."""
    met = {
        (cell.core, kept_frames(random_model(seeded(seed), largest=129), dsp=True) > 0)
        for pair, cells in enumerate(PAIRS)
        for cell in cells
        for seed in range(pair, MODELS_PER_PAIR * len(PAIRS), len(PAIRS))
        if cell.form == "dsp"
    }
    cores = {cell.core for cell in (*HOSTS, *EMULATED) if cell.form == "dsp"}
    assert met == {(core, taken) for core in cores for taken in (False, True)}


def test_models_use_every_option() -> None:
    manifests = [random_model(seeded(seed), largest=40).manifest for seed in range(300)]
    for stage, entry, options in [
        ("frontend", "sample_hz", {8000, 16000}),
        ("frontend", "window_samples", {128, 256, 512, 1024}),
        ("frontend", "level", {"segment_peak", "running_peak"}),
        ("frontend", "range_gain", {1, 2, 4}),
        ("encoder", "kind", {"current", "delta"}),
        ("encoder", "shift", set(range(9))),
        ("reservoir", "reset", {"subtract", "zero"}),
        ("reservoir", "weight_shift", set(range(9))),
        ("readout", "state", {"counts", "trace"}),
        ("readout", "transform", {"sqrt", "linear"}),
        ("readout", "window_by", {"energy", "length"}),
        ("readout", "length_feature", {False, True}),
        ("readout", "weight_bits", {8, 4}),
        ("decision", "reject", {False, True}),
        ("decision", "confidence", {False, True}),
        ("decision", "mode", {"segment", "live"}),
    ]:
        assert {getattr(getattr(manifest, stage), entry) for manifest in manifests} == options, entry
    assert {manifest.reservoir.n_neurons for manifest in manifests} == {n for n in N_NEURONS if n <= 40}
    for stage, entry, low, high in [
        ("frontend", "n_bands", 1, 32),
        ("frontend", "release_q8", 1, 65280),
        ("encoder", "n_taps", 0, 32),
        ("encoder", "max_delay_frames", 0, 1023),
        ("encoder", "delta", 0, 127),
        ("encoder", "n_synapses", 0, 740),
        ("reservoir", "steps_per_frame", 1, 16),
        ("reservoir", "refractory_steps", 0, 255),
        ("reservoir", "max_delay_steps", 0, 128),
        ("readout", "trace_leak_q15", 0, 32767),
        ("readout", "n_windows", 1, 8),
    ]:
        values = [getattr(getattr(manifest, stage), entry) for manifest in manifests]
        assert (min(values), max(values)) == (low, high), entry
    pointers = [manifest.decision.endpointer for manifest in manifests if manifest.decision.endpointer]
    assert {pointer.gate for pointer in pointers} == {0, 1, 3, 16, 40, 255}
    assert {_shape(manifest) for manifest in manifests} == {(p, r) for p in (True, False) for r in (True, False)}


def _shape(manifest: Manifest) -> tuple[bool, bool]:
    return manifest.decision.endpointer is not None, manifest.reservoir.n_synapses > 0


def test_models_go_to_the_ends_of_their_ranges() -> None:
    """Comparison is worth something: liquids stir, potentials saturate, levels spread, decisions differ."""
    seen: Counter[str] = Counter()
    for seed in range(120):
        random_ = seeded(seed)
        model = random_model(random_, largest=40)
        clips = golden.run_clips(model, random_recordings(random_, model, most=3, longest_frames=16))
        taps = {name: np.concatenate([clip.taps[name].ravel() for clip in clips]) for name in clips[0].taps}
        if not taps["reservoir.v"].size:
            continue
        seen["silent"] += not taps["reservoir.spikes"].any()
        seen["v is lowest"] += taps["reservoir.v"].min() == -32768
        seen["v is highest"] += taps["reservoir.v"].max() == 32767
        seen["current is lowest"] += taps["encoder.current"].min() == -32768
        seen["current is highest"] += taps["encoder.current"].max() == 32767
        seen["longest rest"] += taps["reservoir.refractory"].max() == 255
        seen["level is highest"] += taps["frontend.frame"].max() == 255
        seen["level is lowest"] += taps["frontend.frame"].min() == 0
        seen["feature is highest"] += taps["readout.features"].max() == 255
        seen["many features"] += len(set(taps["readout.features"].tolist())) > 8
        seen["two classes"] += len({*taps["decision.class"].tolist()} - {decision.REJECTED}) > 1
        confidence = taps["decision.confidence"]
        seen["doubt"] += bool(((confidence > 0) & (confidence < 32768)).any())
        seen["some are rejected"] += len({*taps["decision.class"].tolist()} | {decision.REJECTED}) > 1
    assert seen.pop("silent") < 40
    assert min(seen.values()) > 3 and len(seen) == 12, seen


def test_streams_have_segments() -> None:
    """The session's end-pointer answers as `golden.listen` does, and there are decisions to compare."""
    n_decisions = n_behind_gates = n_gated_frames = 0
    for seed in range(40):
        random_ = seeded(seed)
        model = random_model(random_, largest=3)
        samples = np.concatenate(random_recordings(random_, model))
        script = session.Script(samples, tuple(session.Call("push", 1) for _ in samples))
        answers = session.expected_answers(model, script)
        decisions = session.stream_decisions(model, samples)
        assert _labels(answers, model.manifest.n_classes) == decisions
        n_decisions += len(decisions) * (model.manifest.decision.mode == "segment")
        pointer = model.manifest.decision.endpointer
        if pointer and pointer.gate:
            frames = golden.hear(model, samples)
            gated = decision.listen(model, frames, frontend.hop_loudness(model, samples.astype(np.int64)))[1]
            n_behind_gates += len(decisions) * bool(gated.any())
            n_gated_frames += int(gated.sum())
        if model.manifest.decision.endpointer is None and model.manifest.decision.mode == "segment":
            assert golden.listen(model, samples)[1] == []
    assert n_decisions > 30, n_decisions
    assert n_behind_gates > 9 and n_gated_frames > 99, (n_behind_gates, n_gated_frames)


def _labels(answers: list[int], n_classes: int) -> list[int]:
    labels, at = [], 0
    while at < len(answers):
        if answers[at] == session.READY:
            labels.append(answers[at + 1])
            at += n_classes
        at += 2
    return labels
