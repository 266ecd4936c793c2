"""Scores -> a class; and where, in a stream, something happens that is worth a decision.

`docs/numerics.md` section 6.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from lsm_edge.fixed import Ints, half_to_the_q15
from lsm_edge.model import Model

REJECTED = -2  # the class of a decision whose best score does not lead by enough
LOUDEST_Q8: Final = 255 << 8
LOUDEST_HOP_Q8: Final = 400 << 8  # above every hop of at most 1024 samples: n^2 times their variance is below 2^50


def classify(model: Model, scores: Ints) -> Ints:
    """Index of the highest score, the lowest index on a tie, or `REJECTED`: shape (clips, classes) -> (clips,)."""
    best = np.argmax(scores, axis=-1)
    if not model.manifest.decision.reject or scores.shape[-1] == 1:
        return np.asarray(best)
    ranked = np.sort(scores, axis=-1)
    return np.where(ranked[..., -1] - ranked[..., -2] < int(model["reject_margin"][0]), REJECTED, best)


def confidence_q15(model: Model, scores: Ints) -> Ints:
    """How likely the highest score is the right one, Q15 (32768: certain): shape (clips, classes) -> (clips,).

    The softmax of scores over a temperature, as odds in powers of two: a score that lies x octaves behind has odds of
    2^-x against 1 of the highest. `confidence_gain_q16` and `confidence_shift` say how many octaves a lead is; they
    are chosen on training recordings that the readout was not fitted on (Guo et al., ICML 2017).
    """
    lead = scores.max(axis=-1, keepdims=True) - scores
    within = np.minimum(lead >> int(model["confidence_shift"][0]), 65535)
    odds_q15 = half_to_the_q15((within * int(model["confidence_gain_q16"][0])) >> 16)
    return np.asarray(2**30 // odds_q15.sum(axis=-1))


def listen(model: Model, frames: Ints, hops: Ints) -> tuple[list[tuple[int, int]], NDArray[np.bool_]]:
    """Where the end-pointer opens and closes segments in a stream of frames (frames, bands), and where its gate closes.

    Loudness is the loudest band. While no segment is open, a noise floor follows it: down at once, up slowly. Loud
    means `onset` above that floor. The gate does the same by the loudness of hops, `frontend.hop_loudness`: after
    `hang_frames` hops that are not loud, frames are not made. A segment begins after the last such frame.

    Returns (first, end) of each closed segment, one still open at the end left out; and of each frame whether it was
    not made.
    """
    decision = model.manifest.decision
    pointer = decision.endpointer
    found: list[tuple[int, int]] = []
    gated = np.zeros(len(frames), bool)
    if pointer is None:
        return found, gated
    floor_q8, run, first, is_open, earliest = LOUDEST_Q8, 0, 0, False, 0
    gate_floor_q8, awake = LOUDEST_HOP_Q8, pointer.hang_frames
    for t, (loudness, hop) in enumerate(zip(frames.max(axis=-1).tolist(), hops.tolist(), strict=True)):
        if pointer.gate and not is_open:
            before_q8, gate_floor_q8 = gate_floor_q8, min(gate_floor_q8 + pointer.floor_rise_q8, hop << 8)
            opens = hop >= (gate_floor_q8 >> 8) + pointer.gate
            if not opens and not awake:
                floor_q8 = min(max(floor_q8 + gate_floor_q8 - before_q8, 0), LOUDEST_Q8)
                gated[t], run, earliest = True, 0, t + 1
                continue
            awake = pointer.hang_frames if opens else awake - 1
        if not is_open:
            floor_q8 = min(floor_q8 + pointer.floor_rise_q8, loudness << 8)
        loud = loudness >= (floor_q8 >> 8) + pointer.onset
        run = run + 1 if loud != is_open else 0
        if not is_open and run == pointer.onset_frames:
            is_open, run = True, 0
            first = max(t + 1 - pointer.onset_frames - pointer.preroll_frames, earliest)
        elif is_open and (run == pointer.hang_frames or t + 1 - first == decision.max_frames):
            found.append((first, t + 1 - run))
            if run < pointer.hang_frames:  # cut off at its longest: what is still loud becomes the new floor
                floor_q8 = loudness << 8
            is_open, run, earliest = False, 0, t + 1
    return found, gated
