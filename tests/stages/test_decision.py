"""Scores -> a class; and where, in a stream, something happens: scenarios by hand, then the C over whole streams."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from kernels import Kernels
from models import HOP, small_model, sound, with_tables
from numpy.typing import NDArray

from lsm_edge import golden
from lsm_edge.model import Model
from lsm_edge.stages import decision
from lsm_edge.target.native import Native

INT32 = st.integers(-(2**31), 2**31 - 1)
# Frames of 8 ms: opens after 3 loud frames, with 2 before them; closes after 5 quiet ones; at most 30 frames.
POINTER: dict[str, Any] = {
    "max_segment_ms": 240.0,
    "endpointer": {"onset_db": 12.0, "onset_ms": 24.0, "hang_ms": 40.0, "preroll_ms": 16.0, "floor_db_per_s": 6.0},
}


@given(arrays(np.int32, st.integers(1, 12), elements=INT32 | st.integers(-1, 1)))
def test_the_highest_score_wins_and_the_lowest_index_on_a_tie(kernels: Kernels, scores: NDArray[np.int32]) -> None:
    want = scores.tolist().index(max(scores.tolist()))
    assert decision.classify(small_model(), scores[None].astype(np.int64)) == [want]
    assert kernels.classify(scores, len(scores)) == want


@given(
    arrays(np.int32, st.integers(1, 12), elements=INT32 | st.integers(-99_999, 99_999)),
    st.integers(0, 65535),
    st.integers(0, 31),
)
def test_confidence(kernels: Kernels, scores: NDArray[np.int32], gain: int, shift: int) -> None:
    """The share of the best score in odds that halve with every octave: C's, golden's, and the formula's in float."""
    tables = {"confidence_gain_q16": [gain], "confidence_shift": [shift]}
    model = with_tables(small_model(decision={"confidence": True}), tables)
    (got,) = decision.confidence_q15(model, scores[None].astype(np.int64)).tolist()
    best = int(scores.argmax())
    assert kernels.confidence_of(scores, len(scores), best, gain, shift) == got
    octaves = (int(scores[best]) - scores.astype(np.int64)) / 2.0**shift * gain / 65536 / 256
    octaves = np.minimum(octaves, 65535 / 65536 * gain / 256)
    assert got / 32768 == pytest.approx(1 / (2.0**-octaves).sum(), abs=0.003 * len(scores))


def test_confidence_at_its_ends(kernels: Kernels) -> None:
    for scores, want in [([5], 32768), ([5, 5], 16384), ([0, 2**31 - 1], 32768), ([-(2**31), 2**31 - 1, 0], 32768)]:
        assert kernels.confidence_of(np.array(scores, np.int32), len(scores), int(np.argmax(scores)), 65535, 0) == want
        assert kernels.confidence_of(np.array([7] * 9, np.int32), 9, 0, 65535, 0) == 32768 // 9


@given(
    arrays(np.int32, st.integers(1, 12), elements=INT32 | st.integers(-1, 1)), st.integers(0, 2**32 - 1), st.booleans()
)
def test_an_answer_that_does_not_lead_is_rejected(
    kernels: Kernels, scores: NDArray[np.int32], margin: int, near: bool
) -> None:
    """The lead is that over the second, up to the whole width of int32; the only class there is is never rejected."""
    best, *others = sorted(scores.tolist(), reverse=True)
    lead = best - others[0] if others else 2**32 - 1
    margin = min(lead + 1, 2**32 - 1) if near else margin
    model = with_tables(small_model(decision={"reject_error": 0.1}), {"reject_margin": [margin]})
    want = scores.tolist().index(best) if lead >= margin else decision.REJECTED
    assert decision.classify(model, scores[None].astype(np.int64)) == [want]
    assert kernels.lead_of(scores, len(scores), kernels.classify(scores, len(scores))) == lead


@given(st.integers(0, 65280), st.integers(0, 255), st.integers(1, 65280))
def test_the_floor_in_c(kernels: Kernels, floor_q8: int, loudness: int, rise_q8: int) -> None:
    assert kernels.follow_floor(floor_q8, loudness, rise_q8) == min(floor_q8 + rise_q8, loudness << 8)


@given(st.integers(0, 65280), st.integers(0, 102400), st.integers(0, 102400))
def test_the_floor_that_moves_with_that_of_hops_in_c(kernels: Kernels, floor_q8: int, before: int, now: int) -> None:
    assert kernels.move_floor(floor_q8, before, now) == min(max(floor_q8 + now - before, 0), 65280)


@pytest.fixture(scope="module")
def pointer() -> Model:
    model = small_model(decision=POINTER)
    found = model.manifest.decision.endpointer
    assert found is not None
    assert (found.onset, found.onset_frames, found.hang_frames, found.preroll_frames) == (32, 3, 5, 2)
    assert model.manifest.decision.max_frames == 30
    return model


def segments(model: Model, *stretches: tuple[int, int]) -> list[tuple[int, int]]:
    """What is found in stretches of (frames, loudness)."""
    loudness = np.repeat([level for _, level in stretches], [n for n, _ in stretches])
    frames = np.zeros((len(loudness), 8), np.int64)
    frames[:, 3] = loudness
    return decision.listen(model, frames, np.zeros(len(frames), np.int64))[0]


def test_a_word(pointer: Model) -> None:
    assert segments(pointer, (10, 40), (20, 200), (9, 40)) == [(10 - 2, 10 + 20)]


def test_a_word_that_has_not_ended(pointer: Model) -> None:
    assert segments(pointer, (10, 40), (20, 200), (4, 40)) == []


def test_a_click_is_no_word(pointer: Model) -> None:
    assert segments(pointer, (10, 40), (2, 200), (1, 40), (2, 200), (20, 40)) == []


def test_a_gap_within_a_word(pointer: Model) -> None:
    """Four quiet frames do not end it, five do."""
    assert segments(pointer, (10, 40), (5, 200), (4, 40), (5, 200), (9, 40)) == [(8, 24)]
    assert segments(pointer, (10, 40), (5, 200), (5, 40), (5, 200), (9, 40)) == [(8, 15), (20, 25)]


def test_a_segment_begins_after_the_last_one_closed(pointer: Model) -> None:
    """And not before the stream: what is before a segment is never heard twice."""
    assert segments(pointer, (1, 40), (5, 200), (9, 40)) == [(0, 6)]
    assert segments(pointer, (10, 40), (5, 200), (5, 40), (9, 200), (9, 40)) == [(8, 15), (20, 29)]
    assert segments(pointer, (10, 40), (5, 200), (6, 40), (9, 200), (9, 40)) == [(8, 15), (20, 30)]
    assert segments(pointer, (10, 40), (5, 200), (7, 40), (9, 200), (9, 40)) == [(8, 15), (20, 31)]


def test_onset_is_the_floor_and_some(pointer: Model) -> None:
    assert segments(pointer, (10, 40), (20, 40 + 31), (9, 40)) == []
    assert segments(pointer, (10, 40), (20, 40 + 32), (9, 40)) == [(8, 30)]


def test_the_longest_segment_is_cut_off_and_what_goes_on_becomes_the_floor(pointer: Model) -> None:
    assert segments(pointer, (10, 40), (200, 200), (20, 40)) == [(8, 38)]
    # Louder still, it is heard again.
    assert segments(pointer, (10, 40), (60, 150), (10, 250), (20, 40)) == [(8, 38), (68, 80)]


def test_cut_off_while_it_is_ending(pointer: Model) -> None:
    """At 30 frames, three of which are quiet: those are left out, and quiet is the floor again."""
    assert segments(pointer, (10, 40), (25, 200), (30, 40)) == [(8, 35)]
    assert segments(pointer, (10, 40), (25, 200), (3, 40), (10, 200), (9, 40)) == [(8, 35), (38, 48)]


def test_the_floor_falls_at_once_and_rises_slowly(pointer: Model) -> None:
    """6 dB a second are 16 steps in 125 frames."""
    assert segments(pointer, (1, 40), (200, 60), (20, 60 + 31), (9, 40)) == []
    assert segments(pointer, (1, 40), (100, 60), (20, 60 + 31), (9, 40)) == [(99, 121)]
    assert segments(pointer, (50, 90), (1, 10), (20, 42), (9, 10)) == [(49, 71)]


def test_a_stream_that_begins_loud_is_its_own_floor(pointer: Model) -> None:
    assert segments(pointer, (50, 255)) == []


@pytest.fixture(scope="module")
def gated() -> Model:
    """As `pointer`, with a gate that opens 16 steps above the floor of hops."""
    return small_model(decision={**POINTER, "endpointer": {**POINTER["endpointer"], "gate_db": 6.0}})


def behind_gate(model: Model, *stretches: tuple[int, int, int]) -> tuple[list[tuple[int, int]], list[int]]:
    """What is found in stretches of (frames, loudness, loudness of hops), and the frames that are not made."""
    lengths, loudness, hops = zip(*stretches, strict=True)
    frames = np.repeat(loudness, lengths)[:, None]
    found, closed = decision.listen(model, frames, np.repeat(hops, lengths))
    return found, np.flatnonzero(closed).tolist()


def test_a_gate_closes_after_the_first_frames_and_some_after_a_word(gated: Model) -> None:
    """Five frames each; those at which a segment is still open do not count."""
    found, closed = behind_gate(gated, (10, 40, 130), (20, 200, 300), (20, 40, 130))
    assert closed == [*range(5, 10), *range(30 + 10, 50)]
    assert found == [(10, 30)]  # without a gate from 8: what was not made is not there to begin with


def test_a_gate_that_is_open_costs_no_beginning(gated: Model) -> None:
    assert behind_gate(gated, (10, 40, 130), (3, 40, 150), (20, 200, 300), (9, 40, 130))[0] == [(11, 33)]
    assert behind_gate(gated, (10, 40, 130), (1, 40, 150), (20, 200, 300), (9, 40, 130))[0] == [(10, 31)]


def test_what_is_no_word_opens_the_gate_and_no_segment(gated: Model) -> None:
    found, closed = behind_gate(gated, (10, 40, 130), (1, 40, 130 + 16), (20, 40, 130))
    assert (found, closed) == ([], [*range(5, 10), *range(16, 31)])
    found, closed = behind_gate(gated, (10, 40, 130), (1, 40, 130 + 15), (20, 40, 130))
    assert (found, closed) == ([], [*range(5, 31)])


def test_noise_that_stays_closes_the_gate_again(gated: Model) -> None:
    """20 steps more are 4 above the gate; 6 dB a second are a step in 8 frames."""
    found, closed = behind_gate(gated, (10, 40, 130), (200, 60, 150))
    assert found == []
    assert 10 + 30 < closed[5] < 10 + 45
    assert closed[5:] == [*range(closed[5], 210)]


def test_the_floor_moves_behind_the_gate(gated: Model) -> None:
    """Noise falls by 40 steps; then a word that is louder than it, but no louder than the noise before."""
    quieter = (10, 90, 180), (20, 50, 140), (20, 85, 170), (20, 50, 140)
    assert behind_gate(gated, *quieter)[0] == [(30, 50)]
    # It rises by 15, in steps of one; then something is louder than the noise before, but not than this one.
    rising = [(10, 90 + step, 180 + step) for step in range(15)]
    assert behind_gate(gated, *rising, (20, 104 + 25, 194 + 25), (20, 104, 194))[0] == []
    assert behind_gate(gated, *rising, (20, 104 + 33, 194 + 33), (20, 104, 194))[0] == [(150, 170)]


def test_a_gate_in_digital_silence(gated: Model) -> None:
    found, closed = behind_gate(gated, (50, 0, 0), (20, 200, 300), (50, 0, 0), (20, 200, 300), (50, 0, 0))
    assert found == [(50, 70), (120, 140)]
    assert closed == [*range(5, 50), *range(80, 120), *range(150, 190)]


def test_without_an_endpointer_nothing_is_found() -> None:
    assert segments(small_model(), (10, 40), (20, 200), (20, 40)) == []


POINTERS = {
    "as above": POINTER,
    "no preroll, one frame": {
        "max_segment_ms": 50.0,
        "endpointer": {"onset_db": 3.0, "onset_ms": 8.0, "hang_ms": 8.0, "preroll_ms": 0.0, "floor_db_per_s": 60.0},
    },
    "as long as can be": {
        "max_segment_ms": 128.0,
        "endpointer": {"onset_db": 20.0, "onset_ms": 56.0, "hang_ms": 300.0, "preroll_ms": 64.0, "floor_db_per_s": 0.5},
    },
    "behind a gate": {**POINTER, "endpointer": {**POINTER["endpointer"], "gate_db": 3.0, "hang_ms": 16.0}},
}


@pytest.mark.parametrize("name", POINTERS)
@settings(max_examples=20)
@given(seed=st.integers(0, 10**6), chunk=st.integers(1, HOP), rest=st.integers(0, HOP - 1))
def test_streams_in_c(native: Callable[[Model], Native], name: str, seed: int, chunk: int, rest: int) -> None:
    """In whatever pieces a stream comes, C decides what the golden model decides of the segments it finds."""
    model = small_model(decision=POINTERS[name])
    samples = sound(seed, 150, rest=rest)
    frames, ends = golden.listen(model, samples)
    found = [frames[first:end] for first, end in ends]
    assert all(0 < len(segment) <= model.manifest.decision.max_frames for segment in found)
    made, decisions = native(model).listen(samples, chunk)
    assert np.array_equal(made, frames)
    assert decisions == [clip.label for clip in golden.run_frames(model, found)]


def test_those_streams_hold_something(native: Callable[[Model], Native]) -> None:
    for name, least in zip(POINTERS, (2, 10, 2, 2), strict=True):
        frames, decisions = native(small_model(decision=POINTERS[name])).listen(sound(3, 600))
        assert (~frames.any(axis=1)).any() or "gate" not in name
        assert len(decisions) >= least
        assert len(set(decisions)) > 1
