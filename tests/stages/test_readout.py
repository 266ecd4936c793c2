"""Spikes -> scores: windows divide a segment, features are bytes, and C says the same integers."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from kernels import Kernels
from models import small_model, with_tables

from lsm_edge.fixed import Ints
from lsm_edge.model import Model
from lsm_edge.stages import readout

FRAMES = st.integers(0, 40).flatmap(lambda n: arrays(np.int64, (n, 8), elements=st.integers(0, 255)))


def reader(**settings: Any) -> Model:
    return small_model(readout=settings)


@pytest.mark.parametrize("n_windows", [1, 3, 8])
@given(frames=FRAMES)
def test_windows_of_equal_energy(n_windows: int, frames: Ints) -> None:
    """They divide the segment in order, and each begins with the frame that its share of the energy ends before."""
    model = reader(n_windows=n_windows, window_by="energy")
    windows, weight = readout.window_of(model, frames), readout.activity(model, frames)
    assert windows.shape == (len(frames),)
    assert (np.diff(windows) >= 0).all()
    total = int(weight.sum())
    for t, window in enumerate(windows.tolist()):
        before = int(weight[:t].sum())
        assert 0 <= window < n_windows
        assert window * total <= n_windows * before < (window + 1) * total


@given(n=st.integers(0, 60), n_windows=st.integers(1, 8))
def test_windows_of_equal_length(n: int, n_windows: int) -> None:
    model = reader(n_windows=n_windows, window_by="length")
    windows = readout.window_of(model, np.random.default_rng(n).integers(0, 256, (n, 8)))
    sizes = np.bincount(windows, minlength=n_windows)
    assert sizes.max() - sizes.min() <= 1
    assert (np.diff(windows) >= 0).all()


@given(arrays(np.int64, 8, elements=st.integers(0, 255)))
def test_activity(kernels: Kernels, frame: Ints) -> None:
    """What bands hold above 60 on average, and 20 a band."""
    want = max(sum(frame.tolist()) - 60 * 8, 0) + 20 * 8
    assert readout.activity(reader(), frame[None]) == [want]
    assert kernels.activity_of(frame.astype(np.uint8), 8) == want
    assert readout.activity(reader(window_by="length"), frame[None]) == [1]


@pytest.mark.parametrize("n_steps", [0, 1, 2, 3, 7, 500, 65520])
def test_rates(kernels: Kernels, n_steps: int) -> None:
    counts = np.unique(np.linspace(0, n_steps, 50).astype(np.int64))
    got = readout.rate_q16(counts, np.array([n_steps]))
    assert got.tolist() == [min(c * (65536 // max(n_steps, 1)), 65535) for c in counts.tolist()]
    assert got.max() <= 65535
    assert got[0] == 0
    reciprocal = 65536 // max(n_steps, 1)
    assert [kernels.rate_q16(c, reciprocal) for c in counts] == got.tolist()


def test_features_are_roots_or_high_bytes() -> None:
    state = np.arange(65536)
    assert readout.features_of(reader(transform="sqrt"), state).tolist() == [math.isqrt(i) for i in range(65536)]
    assert readout.features_of(reader(transform="linear"), state).tolist() == [i >> 8 for i in range(65536)]


@pytest.mark.parametrize("steps", [1, 4, 16])
@pytest.mark.parametrize("trace_ms", [5.0, 100.0, 5000.0])
def test_a_trace_stays_below_65536_and_comes_to_rest(kernels: Kernels, steps: int, trace_ms: float) -> None:
    model = small_model(
        readout={"state": "trace", "trace_ms": trace_ms}, reservoir={"n_neurons": 2, "steps_per_frame": steps}
    )
    leak, gain = model.manifest.readout.trace_leak_q15, model.manifest.readout.trace_gain
    trace, seen = np.zeros(2, np.int64), []
    for t in range(3000):
        counts = np.array([steps, t % (steps + 1)])
        after = readout.trace_step(model, trace, counts)
        assert [kernels.trace_step(x, c, leak, gain) for x, c in zip(trace, counts, strict=True)] == after.tolist()
        trace = after
        seen.append(trace)
    assert np.max(seen) <= 65535
    assert seen[-1][0] > 65535 * 0.6
    for _ in range(40_000):
        trace = readout.trace_step(model, trace, np.zeros(2, np.int64))
    assert not trace.any()


def test_scores_add_up_window_by_window() -> None:
    model = with_tables(reader(n_windows=2), {"bias": [1000, 0, -1000], "length_weight": [1, -2, 3]})
    features = np.random.default_rng(1).integers(0, 256, (4, 2, 20))
    weights = model["readout_weight"].astype(np.int64)
    scores = readout.scores_of(model, features, np.array([0, 10, 255, 300]))
    assert scores.shape == (4, 3, 3)
    for clip, length in enumerate([0, 10, 255, 255]):
        first = np.array([1000, 0, -1000]) + weights[0] @ features[clip, 0]
        second = first + weights[1] @ features[clip, 1]
        assert scores[clip].tolist() == [
            first.tolist(),
            second.tolist(),
            (second + length * np.array([1, -2, 3])).tolist(),
        ]


def test_without_a_length_the_last_row_repeats() -> None:
    model = reader(length_feature=False)
    scores = readout.scores_of(model, np.full((1, 3, 20), 255), np.array([99]))
    assert (scores[0, -1] == scores[0, -2]).all()


@pytest.mark.parametrize("twin", ["", "_dsp"])
@given(st.integers(1, 4), st.integers(1, 3), st.integers(1, 25), st.data())
def test_weights_of_four_bits(kernels: Kernels, twin: str, windows: int, classes: int, n: int, data: Any) -> None:
    weights = data.draw(arrays(np.int8, (windows, classes, n), elements=st.integers(-8, 7)))
    packed = readout.pack_weights(weights)
    assert packed.shape == (windows, classes, (n + 1) // 2)
    labels = [f"class {i}" for i in range(classes)]
    settings = {"n_windows": windows, "weight_bits": 4, "length_feature": False}
    model = small_model(labels=labels, readout=settings, reservoir={"n_neurons": n}, tables={"readout_weight": packed})
    assert (readout.weights_of(model) == weights).all()
    features = data.draw(arrays(np.uint8, (windows, n)))
    scores = model["bias"].copy()
    for window in range(windows):
        getattr(kernels, f"add_packed_scores{twin}")(scores, features[window], packed[window], classes, n)
    assert scores.tolist() == readout.scores_of(model, features[None].astype(np.int64), np.zeros(1))[0, -1].tolist()


@pytest.mark.parametrize("twin", ["", "_dsp"])
@given(n=st.integers(1, 70), classes=st.integers(1, 5), extreme=st.booleans(), data=st.data())
def test_scores_in_c(kernels: Kernels, twin: str, n: int, classes: int, extreme: bool, data: Any) -> None:
    features = data.draw(arrays(np.uint8, n))
    labels = [f"class {i}" for i in range(classes)]
    settings = {"n_windows": 1, "length_feature": False}
    model = small_model(labels=labels, readout=settings, reservoir={"n_neurons": n})
    if extreme:
        model = with_tables(model, {"readout_weight": -127})
    scores = model["bias"].copy()
    getattr(kernels, f"add_scores{twin}")(scores, features, model["readout_weight"], classes, n)
    want = readout.scores_of(model, features[None, None].astype(np.int64), np.zeros(1))
    assert scores.tolist() == want[0, 0].tolist()


@pytest.mark.parametrize("twin", ["", "_dsp"])
@given(n=st.integers(1, 70), leak=st.integers(0, 32767), data=st.data())
def test_all_traces_in_c(kernels: Kernels, twin: str, n: int, leak: int, data: Any) -> None:
    gain = min(2 * (32768 - leak), 65535) // 16  # as wire.py makes it for 16 steps a frame
    counts = data.draw(arrays(np.uint16, n, elements=st.sampled_from([0, 0, 0, 1, 16])))
    most = (16 * gain - 1 << 15) // (32768 - leak) + 1 if gain else 0
    trace = data.draw(arrays(np.uint16, n, elements=st.integers(0, most)))
    want = (trace.astype(np.int64) * leak >> 15) + counts.astype(np.int64) * gain
    getattr(kernels, f"trace_all{twin}")(trace, counts, n, leak, gain)
    assert trace.tolist() == want.tolist()
    assert not counts.any()
