"""What a linear readout makes of the same frames and windows, without any liquid: the numbers that keep us honest."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from lsm_edge.model import Model
from lsm_edge.stages import frontend, readout

BANDS = "linear_on_bands"
DELTAS = "linear_on_bands_and_deltas"


def band_features(model: Model, segments: Sequence[NDArray[np.uint8]]) -> dict[str, NDArray[np.float64]]:
    """Means over each window of the levelled bands; and the same with rises and falls from frame to frame beside them.

    Both end with the segment's length. Shapes (segments, windows * bands + 1) and (segments, 3 * windows * bands + 1).
    """
    plain, deltas = [], []
    for segment in segments:
        frames = segment[: model.manifest.decision.max_frames].astype(np.int64)
        if model.manifest.frontend.level == "segment_peak":
            frames = frontend.level_by_segment_peak(model, frames)
        change = np.diff(frames, axis=0, prepend=np.zeros_like(frames[:1]))
        windows = readout.window_of(model, frames)
        rows = [[], []]  # type: list[list[NDArray[np.float64]]]
        for w in range(model.manifest.readout.n_windows):
            inside = windows == w
            for row, quantities in zip(
                rows, ([frames], [frames, np.maximum(change, 0), np.maximum(-change, 0)]), strict=True
            ):
                row += [q[inside].sum(axis=0) / max(int(inside.sum()), 1) for q in quantities]
        length = np.array([min(len(frames), 255)], float)
        plain.append(np.concatenate([*rows[0], length]))
        deltas.append(np.concatenate([*rows[1], length]))
    return {BANDS: np.array(plain), DELTAS: np.array(deltas)}
