"""Metrics of liquids whose answer is known beforehand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from models import LIVE, RECURRENT, small_model, sound
from needs import need_host_compiler
from numpy.typing import NDArray

from lsm_edge.evaluation import metrics
from lsm_edge.learn.liquid import GoldenLiquid, Liquid
from lsm_edge.model import Model
from lsm_edge.target.native import Native

ONE_STEP = {"steps_per_frame": 1, "refractory_steps": 0}


def relays(delays: list[int], **sections: Any) -> Model:
    """Neurons in groups of eight; a group is driven by band 0 at one delay, each neuron from another level on."""
    n = 8 * len(delays)
    longest = max(delays)
    encoder = {"kind": "current", "n_taps": 2, "max_delay_frames": longest, "shift": 0}
    model = small_model(encoder=encoder, reservoir={"n_neurons": n, **ONE_STEP}, **sections)
    bands = model.manifest.frontend.n_bands
    offset = np.repeat((longest - np.array(delays)) * bands, 8)
    return model.replace(
        tap_offset=np.stack([offset, offset], axis=1).astype(np.uint16),
        tap_weight=np.tile(np.array([[64, 63]], np.int8), (n, 1)),
        threshold=np.tile(np.arange(1, 9) * 127 * 28, len(delays)).astype(np.int16),
        leak_q15=np.zeros(n, np.uint16),
    )


def heard(model: Model, n: int = 6) -> tuple[Liquid, list[NDArray[np.uint8]]]:
    liquid = GoldenLiquid(model)
    return liquid, liquid.hear([sound(seed, 30) for seed in range(n)])


def test_memory_is_where_the_taps_are() -> None:
    """Taps at delays of 2 and 5 frames recall these, and nothing else."""
    memory = metrics.memory(relays([2, 5]), seed=1, n_frames=200, longest=20)
    assert memory.by_delay[1] > 0.8
    assert memory.by_delay[4] > 0.8
    assert sum(memory.by_delay) - memory.by_delay[1] - memory.by_delay[4] < 0.3
    assert memory.capacity == sum(memory.by_delay)
    assert memory.reach_ms == 5 * 8


def test_a_liquid_that_never_fires_recalls_nothing() -> None:
    model = small_model(tables={"threshold": 32767})
    assert metrics.memory(model, seed=1, n_frames=100, longest=10).capacity == 0
    assert metrics.memory(model, seed=1, n_frames=100, longest=10).reach_ms == 0


def test_memory_is_the_same_again_and_in_every_mode() -> None:
    first = metrics.memory(small_model(), seed=1, n_frames=60, longest=5)
    assert metrics.memory(small_model(), seed=1, n_frames=60, longest=5) == first
    assert metrics.memory(small_model(seed=1, **LIVE), seed=1, n_frames=60, longest=5).by_delay == first.by_delay


def test_a_liquid_of_taps_forgets_after_the_longest_delay() -> None:
    fading = metrics.fading(relays([0, 5]), seed=1)
    assert fading.forgotten_ms == 5 * 8
    assert fading.left_over[4] > 0.1
    assert not any(fading.left_over[5:])


def test_spikes_that_run_in_a_ring_are_never_forgotten() -> None:
    """Neuron 0, which fires at the loudest of frames only, feeds a ring of neurons that pass spikes on for ever."""
    n, topology = 40, {"topology": {"kind": "random", "fan_in": 2}, "max_delay_steps": 3}
    model = small_model(
        encoder={"kind": "current", "n_taps": 2, "shift": 0}, reservoir={"n_neurons": n, **ONE_STEP, **topology}
    )
    tap_weight = np.zeros((n, 2), np.int8)
    tap_weight[0, 0] = 127
    spare = np.zeros(model.manifest.reservoir.n_synapses - n)
    ring = model.replace(
        recurrent_start=np.r_[np.arange(n), n + len(spare)].astype(np.uint32),
        recurrent_target=np.r_[1, np.arange(2, n), 1, spare].astype(np.uint16),
        recurrent_weight=np.r_[np.full(n, 64), spare].astype(np.int8),
        delay_steps=np.full(n, 3, np.uint8),
        threshold=np.r_[127 * 245, np.full(n - 1, 64 << model.manifest.reservoir.weight_shift)].astype(np.int16),
        leak_q15=np.zeros(n, np.uint16),
        tap_weight=tap_weight,
    )
    fading = metrics.fading(ring, seed=1)
    assert fading.forgotten_ms is None
    assert fading.left_over[-1] > 0.3
    broken = ring.replace(recurrent_weight=np.zeros_like(ring["recurrent_weight"]))
    assert metrics.fading(broken, seed=1).forgotten_ms is not None


def test_one_spike_makes_as_many_as_it_has_strong_synapses() -> None:
    """Every neuron hears two others, each of which suffices to make it fire once."""
    topology = {"topology": {"kind": "random", "fan_in": 2}, "max_delay_steps": 3}
    model = small_model(encoder={"kind": "current", "n_taps": 2, "shift": 7}, reservoir={"n_neurons": 40, **topology})
    threshold = 64 << model.manifest.reservoir.weight_shift
    strong = model.replace(
        threshold=np.full(40, threshold, np.int16),
        leak_q15=np.zeros(40, np.uint16),
        recurrent_weight=np.full_like(model["recurrent_weight"], 64),
        tap_weight=np.zeros_like(model["tap_weight"]),
    )
    found = metrics.branching(strong, heard(model)[1], seed=1)
    assert found.trials > 100
    fan_out = np.diff(model["recurrent_start"].astype(int))
    # `hears` also counts the later spikes of those that hear it: at least its own children.
    assert found.ratio >= fan_out.mean() * 0.9
    weak = strong.replace(recurrent_weight=np.full_like(model["recurrent_weight"], 1))
    assert metrics.branching(weak, heard(model)[1], seed=1).ratio == 0
    inhibiting = model.replace(recurrent_weight=np.full_like(model["recurrent_weight"], -127))
    assert metrics.branching(inhibiting, heard(model)[1], seed=1).ratio < 0


def test_without_recurrence_nothing_branches() -> None:
    assert metrics.branching(small_model(), [], seed=1) == metrics.Branching(0.0, 0.0, 0)


def test_firing_counts_the_silent_and_the_saturated() -> None:
    need_host_compiler()
    model = small_model(reservoir={"refractory_steps": 1})
    model = model.replace(
        threshold=np.r_[np.full(5, 32767), np.full(15, 1)].astype(np.int16),
        tap_weight=np.full((20, 4), 127, np.int8),
        tap_offset=np.full((20, 4), 3 * 8, np.uint16),  # band 0 of the present frame
        leak_q15=np.r_[np.zeros(5), np.full(15, 32767)].astype(np.uint16),
    )
    firing = metrics.firing(Native(model), [np.full((25, 8), 255, np.uint8)] * 2)
    assert firing.silent == 0.25
    assert firing.saturated == 0.75
    assert firing.quantiles[0] == 0
    assert firing.quantiles[-1] == 0.5
    assert firing.step_ms == 2


def test_firing_is_that_of_the_steps_that_are_run() -> None:
    """Of a segment that is too long only the first `max_frames` frames are heard."""
    liquid, frames = heard(small_model())
    longest = liquid.model.manifest.decision.max_frames
    long = [np.concatenate([frame, frame, frame]) for frame in frames]
    assert len(long[0]) > longest
    assert metrics.firing(liquid, long) == metrics.firing(liquid, [frame[:longest] for frame in long])


def test_ranks_of_one_input_and_of_many() -> None:
    liquid, frames = heard(small_model(), 12)
    same = [frames[0]] * 12
    assert metrics.ranks(liquid, frames, [same]).generalisation == 0
    found = metrics.ranks(liquid, frames, [frames, same])
    assert 1 < found.kernel <= found.inputs - 1 == 11
    assert found.generalisation == round(found.kernel / 2)


def test_separation_is_one_between_classes_and_zero_of_itself() -> None:
    liquid, frames = heard(small_model(), 8)
    classes = np.arange(8) % 2
    found = metrics.separation(liquid, frames, classes, {"itself": frames, "another": frames[::-1]})
    itself, another, within, between = found
    assert (itself.input, itself.state) == (0, 0)
    assert another.input > 0
    assert another.state > 0
    assert within.name == "another recording of the class"
    assert (between.input, between.state) == (1, 1)
    assert metrics.separation(liquid, frames, np.zeros(8, np.int64), {}) == []


def test_a_window_is_worth_what_only_it_knows() -> None:
    """The class is in window 1; window 0 is noise, and windows 2 and 3 are copies of each other."""
    rng = np.random.default_rng(1)
    classes = np.arange(200) % 2
    features = rng.integers(0, 256, (200, 4, 6)).astype(np.uint8)
    features[:, 1, 0] = 100 + 80 * classes
    features[:, 3] = features[:, 2]
    parts = [slice(0, 120), slice(120, 200)]
    worth = metrics.window_worth(
        [features[part] for part in parts], [np.full(120, 9), np.full(80, 9)], [classes[part] for part in parts],
        length_feature=True,
    )  # fmt: skip
    assert worth.everything > 0.95
    assert worth.without[1] < 0.7
    assert all(worth.without[i] > 0.95 for i in (0, 2, 3))


@pytest.mark.parametrize("sections", [{}, {"reservoir": RECURRENT}, LIVE, {"encoder": {"kind": "delta", "delta": 4}}])
def test_every_metric_takes_every_kind_of_liquid(sections: dict[str, Any]) -> None:
    model = small_model(**sections)
    liquid, frames = heard(model)
    metrics.memory(model, seed=1, n_frames=40, longest=5)
    metrics.fading(model, seed=1, pairs=2, n_before=8, n_common=8)
    metrics.branching(model, frames, seed=1, trials=4)
    metrics.ranks(liquid, frames, [frames])
    metrics.separation(liquid, frames, np.arange(6) % 3, {"noise": frames})
    metrics.firing(liquid, frames)
