"""A difference that was found, made small and saved, to be replayed for ever.

`<name>.lsm` is the model, whose provenance says what differed and where; `<name>.npz` beside it holds the recordings.
`test_regressions.py` replays whatever lies in `tests/regressions/`.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Final

import numpy as np

from differential.check import Difference, check
from differential.matrix import EMULATED, HOSTS, Cell
from differential.models import N_NEURONS, Samples, random_model, random_recordings, seeded
from lsm_edge.files import write_atomically
from lsm_edge.model import Model, load_model, save_model

FOLDER: Final = Path(__file__).parents[1] / "regressions"


def save(model: Model, recordings: Sequence[Samples], difference: Difference, folder: Path = FOLDER) -> Path:
    """Write both files; the model's path."""
    path = folder / f"{difference.tap.replace('.', '-')}-{model.digest[:8]}.lsm"
    save_model(replace(model, provenance=asdict(difference)), path)
    data = io.BytesIO()
    np.savez_compressed(data, *recordings)
    write_atomically(path.with_suffix(".npz"), data.getvalue())
    return path


def load(path: Path) -> tuple[Model, list[Samples]]:
    """What `save` has written."""
    with np.load(path.with_suffix(".npz"), allow_pickle=False) as archive:
        recordings = [archive[f"arr_{i}"] for i in range(len(archive.files))]
    return load_model(path), recordings


def cells_of(model: Model) -> list[Cell]:
    """Where a saved model is replayed: on the cell that differed, and as it ships on this machine and on two cores."""
    wanted = ("host gcc -O2", "cortex-m0plus gcc -O2", "cortex-m4 gcc -O2", model.provenance.get("cell"))
    return [cell for cell in (*HOSTS, *EMULATED) if str(cell) in wanted]


def shrink(seed: int, difference: Difference) -> tuple[Model, list[Samples], Difference]:
    """The model of `seed`, made small while its cell still differs: one recording, cut shorter, fewer neurons."""
    random_ = seeded(seed)
    model = random_model(random_)
    recordings = random_recordings(random_, model)
    tap = difference.tap
    cell = next(cell for cell in (*HOSTS, *EMULATED) if str(cell) == difference.cell)

    def differs(candidate: Model, heard: Sequence[Samples]) -> Difference | None:
        return next((found for found in check(candidate, heard, [cell]).differences if found.tap == tap), None)

    for alone in [recordings[difference.recording : difference.recording + 1], *([samples] for samples in recordings)]:
        if found := differs(model, alone):
            recordings, difference = list(alone), found
            break
    while len(recordings) == 1 and len(recordings[0]) > 1:
        samples = recordings[0]
        shorter = (samples[: len(samples) // 2], samples[len(samples) // 2 :], samples[: len(samples) * 7 // 8])
        kept = next(((part, found) for part in shorter if (found := differs(model, [part]))), None)
        if kept is None:
            break
        recordings, difference = [kept[0]], kept[1]
    for largest in N_NEURONS:
        if largest >= model.manifest.reservoir.n_neurons:
            break
        smaller = random_model(seeded(seed), largest)
        if found := differs(smaller, recordings):
            return smaller, recordings, found
    return model, recordings, difference
