"""The golden model as a whole: what its taps are, and that a clip's taps depend on nothing but the clip."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import pytest
from models import HOP, LIVE, RECURRENT, extremes, small_model, sound

from lsm_edge import golden
from lsm_edge.golden import TAPS, Taps, run_clips
from lsm_edge.target.native import tap_shapes

OPTIONS: dict[str, dict[str, Any]] = {
    "current": {},
    "delta": {"encoder": {"kind": "delta"}},
    "recurrent": {"reservoir": RECURRENT},
    "running peak": {"frontend": {"level": "running_peak"}},
    "trace": {"readout": {"state": "trace"}},
    "live": LIVE,
    "live, recurrent": {**LIVE, "reservoir": RECURRENT},
}


def same(one: Taps, other: Taps) -> bool:
    return all(np.array_equal(one[name], other[name]) for name in TAPS)


@pytest.mark.parametrize("name", OPTIONS)
@pytest.mark.parametrize("n_hops", [0, 1, 4, 30, 31, 50])
def test_taps_have_their_types_and_shapes(name: str, n_hops: int) -> None:
    """For nothing at all, for the longest segment, and for more than that (30 hops are the longest)."""
    model, samples = small_model(**OPTIONS[name]), sound(1, n_hops, rest=7)
    (clip,) = run_clips(model, [samples])
    assert {tap: taps.shape for tap, taps in clip.taps.items()} == tap_shapes(model, len(samples))
    assert {tap: taps.dtype.str.replace("|", "<") for tap, taps in clip.taps.items()} == TAPS


@pytest.mark.parametrize("name", OPTIONS)
def test_a_batch_is_its_clips(name: str) -> None:
    """Clips of any lengths together: each is what it is alone."""
    model = small_model(**OPTIONS[name])
    clips = [sound(1, 12), sound(2, 40), sound(3, 0), sound(4, 1, rest=5), *extremes(9 * HOP).values()]
    together = run_clips(model, clips)
    for samples, clip in zip(clips, together, strict=True):
        assert same(run_clips(model, [samples])[0].taps, clip.taps)


def test_nothing_to_run() -> None:
    assert run_clips(small_model(), []) == []


def test_sounds_make_neurons_fire_and_classes_differ() -> None:
    """Otherwise the tests here would say little."""
    for name in OPTIONS:
        unbiased = small_model(**OPTIONS[name], tables={"bias": np.zeros(3)})
        clips = run_clips(unbiased, [sound(seed, 30) for seed in range(20)])
        assert np.mean([clip.taps["reservoir.spikes"].any() for clip in clips]) > 0.8
        assert len({clip.label for clip in clips}) > 1


def test_an_unfinished_hop_is_not_heard() -> None:
    model, samples = small_model(), sound(1, 20)
    assert same(run_clips(model, [samples])[0].taps, run_clips(model, [np.append(samples, samples[: HOP - 1])])[0].taps)


def test_only_the_longest_segment_is_heard() -> None:
    """Of 50 hops, 30: the frames of all 50 are reported, and change nothing."""
    model, samples = small_model(), sound(1, 50)
    long, short = (run_clips(model, [piece])[0].taps for piece in (samples, samples[: 30 * HOP]))
    assert (long["frontend.frame"][:30] == short["frontend.frame"]).all()
    assert all(np.array_equal(long[name], short[name]) for name in TAPS if name != "frontend.frame")


def test_live_the_future_changes_no_past() -> None:
    """Everything up to a decision is the same whatever comes after; 5 frames are a decision."""
    model, samples = small_model(**LIVE), sound(1, 52)
    whole, part = (run_clips(model, [piece])[0].taps for piece in (samples, samples[: 20 * HOP]))
    assert len(whole["decision.class"]) == 52 // 5 + 1
    for name in TAPS:
        known = (
            4 if name in ("decision.class", "readout.features") else 8 if name == "readout.scores" else len(part[name])
        )
        assert (whole[name][:known] == part[name][:known]).all()


def test_live_each_decision_has_two_equal_rows_of_scores() -> None:
    taps = run_clips(small_model(**LIVE), [sound(1, 52)])[0].taps
    assert (taps["readout.scores"][::2] == taps["readout.scores"][1::2]).all()
    assert (taps["readout.scores"][::2].argmax(axis=1) == taps["decision.class"]).all()


def test_a_live_clip_is_taken_for_its_last_decision() -> None:
    clips = run_clips(small_model(**LIVE, tables={"bias": np.zeros(3)}), [sound(seed, 52) for seed in range(20)])
    assert all(clip.label == clip.taps["decision.class"][-1] for clip in clips)
    assert any(clip.label != clip.taps["decision.class"][0] for clip in clips)


def test_without_a_frame_the_bias_decides() -> None:
    model = small_model()
    (clip,) = run_clips(model, [np.zeros(HOP - 1, np.int16)])
    assert (clip.taps["readout.scores"] == model["bias"]).all()
    assert clip.label == model["bias"].argmax()


def test_in_silence_nothing_stirs() -> None:
    """Taps sum to zero, so frames that are the same in all bands and at all times leave the liquid at rest."""
    model = small_model(encoder={"max_delay_frames": 0})
    taps = run_clips(model, [np.zeros(20 * HOP, np.int16)])[0].taps
    assert not taps["reservoir.v"].any()


@pytest.mark.parametrize("n_neurons", [1, 31, 32, 33, 64, 65])
def test_spikes_are_packed_by_neuron(n_neurons: int) -> None:
    spikes = np.random.default_rng(1).random((7, n_neurons)) < 0.3
    words = golden.pack_spikes(spikes)
    assert words.shape == (7, (n_neurons + 31) // 32)
    for t in range(7):
        for n in range(words.shape[1] * 32):
            fired = bool(spikes[t, n]) if n < n_neurons else False
            assert bool(words[t, n // 32] >> (n % 32) & 1) == fired


def test_the_digest_of_taps_is_the_documented_one() -> None:
    clips = [clip.taps for clip in run_clips(small_model(), [sound(1, 20), sound(2, 3)])]
    sha = hashlib.sha256()
    for taps in clips:
        for name, kind in TAPS.items():
            sha.update(taps[name].astype(kind).tobytes())
    assert golden.tap_digest(clips) == sha.hexdigest()


def test_the_digest_of_taps_sees_every_tap_and_the_order_of_clips() -> None:
    model = small_model(decision={"confidence": True})
    clips = [clip.taps for clip in run_clips(model, [sound(1, 20), sound(2, 20)])]
    digests = {golden.tap_digest(clips), golden.tap_digest(clips[::-1])}
    for name in TAPS:
        changed = {**clips[0], name: clips[0][name].copy()}
        changed[name].flat[-1] ^= 1
        digests.add(golden.tap_digest([changed, clips[1]]))
    assert len(digests) == len(TAPS) + 2
