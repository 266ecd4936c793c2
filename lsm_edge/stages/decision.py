"""Scores -> a class; and where, in a stream, something happens that is worth a decision.

`docs/numerics.md` section 6.
"""

from __future__ import annotations

import numpy as np

from lsm_edge.fixed import Ints
from lsm_edge.model import Model

REJECTED = -2  # the class of a decision whose best score does not lead by enough


def classify(model: Model, scores: Ints) -> Ints:
    """Index of the highest score, the lowest index on a tie, or `REJECTED`: shape (clips, classes) -> (clips,)."""
    best = np.argmax(scores, axis=-1)
    if not model.manifest.decision.reject or scores.shape[-1] == 1:
        return np.asarray(best)
    ranked = np.sort(scores, axis=-1)
    return np.where(ranked[..., -1] - ranked[..., -2] < int(model["reject_margin"][0]), REJECTED, best)


def segments_of(model: Model, frames: Ints) -> list[tuple[int, int]]:
    """Where the end-pointer opens and closes segments in a stream of frames (frames, bands).

    Loudness is the loudest band. While no segment is open, a noise floor follows it: down at once, up slowly. Loud
    means `onset` above that floor. Returns (first, end) of each closed segment; one still open at the end is left out.
    """
    decision = model.manifest.decision
    pointer = decision.endpointer
    if pointer is None:
        return []
    found: list[tuple[int, int]] = []
    floor_q8, run, first, is_open, earliest = 65280, 0, 0, False, 0
    for t, loudness in enumerate(frames.max(axis=-1).tolist()):
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
    return found
