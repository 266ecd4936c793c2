"""Frames -> currents: taps reach back into silence, delta events rebuild the frames, and C says the same integers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from kernels import Kernels
from models import small_model, with_tables

from lsm_edge.fixed import Ints
from lsm_edge.model import Model
from lsm_edge.stages import encoder
from lsm_edge.target.codegen import tap_places

BYTES = st.integers(0, 255)
FRAMES = arrays(np.int64, (9, 8), elements=BYTES)
FEW_FRAMES = arrays(np.int64, (3, 8), elements=BYTES)


def current_model(**settings: Any) -> Model:
    return small_model(encoder={"kind": "current", "n_taps": 4, "max_delay_frames": 3, **settings})


@pytest.mark.parametrize("shift", [0, 2, 7])
@given(frames=FRAMES)
def test_current_is_a_sum_over_band_and_delay(shift: int, frames: Ints) -> None:
    model = current_model(shift=shift)
    got = encoder.encode_current(model, frames[None])[0]
    for t in range(len(frames)):
        for n in (0, 7, 19):
            total = 0
            for offset, weight in zip(model["tap_offset"][n].tolist(), model["tap_weight"][n].tolist(), strict=True):
                delay, band = 3 - offset // 8, offset % 8
                total += weight * (int(frames[t - delay, band]) if delay <= t else 0)
            assert got[t, n] == min(max(total >> shift, -32768), 32767)


def test_taps_see_zeros_before_the_start() -> None:
    """Each of four neurons looks at one band, 0 to 3 frames back: what a frame holds reaches it so much later."""
    model = small_model(
        encoder={"kind": "current", "n_taps": 2, "max_delay_frames": 3, "shift": 0},
        reservoir={"n_neurons": 4},
        tables={
            "tap_offset": [[(3 - delay) * 8 + 5, 0 if delay < 3 else 1] for delay in range(4)],
            "tap_weight": [[100, 0]] * 4,
        },
    )
    frames = np.zeros((1, 6, 8), np.int64)
    frames[0, :, 5] = [7, 20, 0, 0, 0, 255]
    assert encoder.encode_current(model, frames)[0].T.tolist() == [
        [700, 2000, 0, 0, 0, 25500],
        [0, 700, 2000, 0, 0, 0],
        [0, 0, 700, 2000, 0, 0],
        [0, 0, 0, 700, 2000, 0],
    ]


def test_current_saturates() -> None:
    model = with_tables(current_model(shift=0), {"tap_weight": np.array([[127] * 4] * 10 + [[-127] * 4] * 10)})
    got = encoder.encode_current(model, np.full((1, 4, 8), 255))[0, 3]
    assert got.tolist() == [32767] * 10 + [-32768] * 10


@pytest.mark.parametrize("shift", [0, 2, 7])
@pytest.mark.parametrize("weights", ["drawn", "extreme"])
@given(frames=FRAMES)
def test_current_in_c(kernels: Kernels, shift: int, weights: str, frames: Ints) -> None:
    model = current_model(shift=shift)
    if weights == "extreme":
        model = with_tables(model, {"tap_weight": np.random.default_rng(1).choice([-127, 127], (20, 4))})
    flat = np.concatenate([np.zeros(24, np.uint8), frames.astype(np.uint8).ravel()])
    want = encoder.encode_current(model, frames[None])[0]
    for t in range(len(frames)):
        got = np.zeros(20, np.int16)
        kernels.encode_current(got, flat[8 * t :], model["tap_offset"], model["tap_weight"], 20, 4, shift)
        assert (got == want[t]).all()


@pytest.mark.parametrize("form", ["any-sums", "16-bit-sums", "dsp"])
@pytest.mark.parametrize(
    ("reach", "n_taps", "n_neurons", "n_bands"), [(0, 2, 1, 8), (1, 3, 7, 11), (9, 3, 16, 8), (6, 7, 4, 9)]
)
@pytest.mark.parametrize("shift", [0, 2, 7])
@settings(max_examples=20)
@given(frames=FRAMES)
def test_four_frames_at_once_in_c(
    kernels: Kernels, form: str, reach: int, n_taps: int, n_neurons: int, n_bands: int, shift: int, frames: Ints
) -> None:
    """As the generated code calls it: aligned to the segment's end, whatever part of it has been heard."""
    model = small_model(
        frontend={"window_samples": 256, "n_bands": n_bands},
        encoder={"kind": "current", "n_taps": n_taps, "max_delay_frames": reach, "shift": shift, "spans": "fixed"},
        reservoir={"n_neurons": n_neurons},
    )
    weights = np.random.default_rng(1).choice([-127, -1, 0, 90, 127], (n_neurons, n_taps))
    model = with_tables(model, {"tap_weight": weights if form == "any-sums" else within_16_bits(weights)})
    frames = np.tile(np.concatenate([frames, frames[::-1], frames[1:]]), 2)[:, :n_bands]
    assert_same_in_fours(kernels, model, frames, form)


def within_16_bits(weights: Ints) -> Ints:
    """Without those that could take a neuron's sum out of int16."""
    for sign in (1, -1):
        part = np.maximum(sign * weights, 0)
        weights = np.where((part > 0) & (part.cumsum(axis=1) > 128), 0, weights)
    return weights


def assert_same_in_fours(kernels: Kernels, model: Model, frames: Ints, form: str) -> None:
    encoder_, n_neurons, n_bands = model.manifest.encoder, model.manifest.reservoir.n_neurons, frames.shape[1]
    reach, sizes = encoder_.max_delay_frames, (n_neurons, encoder_.n_taps)
    flat = np.concatenate([np.zeros(3 * n_bands, np.uint8), frames.astype(np.uint8).ravel()])
    want = encoder.encode_current(model, frames[None])[0]
    kept = (reach + 7) // 4 * 4
    by_band = np.zeros(n_bands * kept // 2, np.uint32)
    for t in range((len(frames) - 1) % 4 - 3, len(frames), 4):
        got, at = np.zeros((4, n_neurons), np.int16), t + 3 - reach
        if form == "dsp":
            newest = (t + 3) // 4 % (kept // 4)
            kernels.keep_four(by_band[newest:], flat[(t + 3) * n_bands :], n_bands, kept)
            offsets, weights = tap_places(model, kept), model["tap_weight"]
            kernels.encode_four_dsp(got, by_band[newest:].view(np.uint8), offsets, weights, *sizes, encoder_.shift)
        else:
            first, missing = flat[max(at, 0) * n_bands :], max(-at, 0) * n_bands
            tables = (model["tap_offset"], model["tap_weight"])
            kernels.encode_four(got, first, missing, *tables, *sizes, n_bands, encoder_.shift, form != "any-sums")
        for row in range(4):
            assert t + row < 0 or (got[row] == want[t + row]).all()


@pytest.mark.parametrize("shift", [0, 1, 7])
@given(ends=arrays(np.int64, 12, elements=st.sampled_from([0, 255])))
def test_sums_at_the_ends_of_16_bits(kernels: Kernels, shift: int, ends: Ints) -> None:
    """Three bands that weigh 127, 127 and 1, or the opposite; each frame is nothing, or reaches an end to the last."""
    model = small_model(
        encoder={"kind": "current", "n_taps": 3, "max_delay_frames": 0, "shift": shift, "spans": "fixed"},
        reservoir={"n_neurons": 3},
        tables={
            "tap_offset": [[0, 1, 2], [3, 4, 5], [2, 1, 0]],
            "tap_weight": [[127, 127, 1], [-127, -127, -1], [1, 127, 127]],
        },
    )
    frames = np.zeros((12, 8), np.int64)
    frames[:, :6] = np.where(ends[:, None] > 0, [255, 3, 1, 255, 3, 2], 0)
    got = encoder.encode_current(model, frames[None])[0]
    assert set(got[:, :2].ravel().tolist()) <= {0, 32767 >> shift, -32768 >> shift}
    for form in ("any-sums", "16-bit-sums", "dsp"):
        assert_same_in_fours(kernels, model, frames, form)


def delta_model(delta: int = 12, shift: int = 4, n_bands: int = 8) -> Model:
    return small_model(
        frontend={"window_samples": 128, "n_bands": n_bands},
        encoder={"kind": "delta", "delta": delta, "shift": shift, "fan_in": 5},
    )


@pytest.mark.parametrize("delta", [3, 12, 127])
@settings(max_examples=30)
@given(frames=FEW_FRAMES)
def test_delta_events_rebuild_the_frame(delta: int, frames: Ints) -> None:
    """Each held long enough, every frame is known within `delta` from the events alone."""
    model, reference, rebuilt = delta_model(delta), np.zeros((1, 8), np.int64), np.zeros(8, np.int64)
    for frame in frames:
        for _ in range(255 // delta + 1):
            before = reference
            _, reference = encoder.encode_delta(model, frame[None], reference)
            rebuilt = rebuilt + (reference - before)[0]
            assert set(np.abs(reference - before).ravel().tolist()) <= {0, delta}
        assert (np.abs(frame - rebuilt) < delta).all()
        assert ((rebuilt >= 0) & (rebuilt <= 255)).all()


def test_delta_sends_up_on_even_and_down_on_odd_lines() -> None:
    model = delta_model(delta=10, shift=3)
    frame, reference = np.array([[10, 9, 0, 0, 50, 50, 0, 255]]), np.array([[0, 0, 10, 9, 50, 61, 0, 0]])
    current, after = encoder.encode_delta(model, frame, reference)
    assert after.tolist() == [[10, 0, 0, 9, 50, 51, 0, 10]]
    sent = [0, 2 * 2 + 1, 2 * 5 + 1, 2 * 7]
    assert (current[0] == 8 * encoder.input_matrix(model)[sent].sum(axis=0)).all()


def test_delta_saturates() -> None:
    model = with_tables(delta_model(delta=1, shift=8), {"input_weight": 127})
    current, _ = encoder.encode_delta(model, np.full((1, 8), 255), np.zeros((1, 8), np.int64))
    fan_in = (encoder.input_matrix(model)[::2] != 0).sum(axis=0)
    assert current[0].tolist() == [min(int(n) * 127 * 256, 32767) for n in fan_in]


@pytest.mark.parametrize("delta", [1, 12, 127])
@pytest.mark.parametrize("shift", [0, 8])
@given(frames=FRAMES)
def test_delta_in_c(kernels: Kernels, delta: int, shift: int, frames: Ints) -> None:
    model = delta_model(delta, shift)
    assert_same_deltas(kernels, model, frames)


@pytest.mark.parametrize("n_bands", [8, 15, 16, 17, 32])
@pytest.mark.parametrize("seed", range(3))
def test_delta_of_any_number_of_bands_in_c(kernels: Kernels, n_bands: int, seed: int) -> None:
    """Steps of every size, both ways, to both ends."""
    rng = np.random.default_rng(seed)
    frames = rng.integers(0, 256, (30, n_bands)) * rng.integers(0, 2, (30, 1))
    assert_same_deltas(kernels, delta_model(int(rng.integers(1, 128)), 3, n_bands), frames)


def assert_same_deltas(kernels: Kernels, model: Model, frames: Ints) -> None:
    """The golden model, the portable kernel, and the twin with its rows: 32 of up lines, then those of down lines."""
    n_bands, settings_ = frames.shape[1], (model.manifest.encoder.delta, model.manifest.encoder.shift)
    reference, got = np.zeros((1, n_bands), np.int64), np.zeros((2, 20), np.int16)
    kept, frame_bytes = np.zeros((2, n_bands), np.uint8), frames.astype(np.uint8)
    start, *synapses = (model[f"input_{name}"] for name in ("start", "target", "weight"))
    rows = np.zeros((64, 20), np.int8)
    for line in range(2 * n_bands):
        kernels.spread_row(rows[line // 2 + 32 * (line % 2)], *synapses, start[line], start[line + 1], 20)
    for frame in frame_bytes.repeat(3, axis=0):
        want, reference = encoder.encode_delta(model, frame[None].astype(np.int64), reference)
        kernels.encode_delta(got[0], kept[0], frame, start, *synapses, n_bands, 20, *settings_)
        kernels.encode_delta_wide(got[1], kept[1], frame, rows, n_bands, 20, *settings_)
        assert (got == want[0]).all()
        assert (kept == reference[0]).all()


def test_rows_become_a_matrix() -> None:
    """Rows may be empty; synapses on the same pair add up."""
    start, target, weight = np.array([0, 2, 2, 5]), np.array([1, 3, 0, 0, 2]), np.array([5, -6, 7, 8, -9])
    assert encoder.dense_rows(start, target, weight, 4).tolist() == [[0, 5, 0, -6], [0, 0, 0, 0], [15, 0, -9, 0]]


def test_a_batch_is_its_clips() -> None:
    frames = np.random.default_rng(1).integers(0, 256, (3, 5, 8))
    model = current_model()
    together = encoder.encode_current(model, frames)
    assert all((encoder.encode_current(model, frames[i : i + 1])[0] == together[i]).all() for i in range(3))
