"""A model -> the recordings that it was trained and tested on, found again."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from lsm_edge.config import Config, parse_config
from lsm_edge.dataset import Fold, Recordings, load_recordings, split_recordings
from lsm_edge.errors import DataError
from lsm_edge.model import Model


def find_recordings(
    model: Model, source: str, data: Path | None, progress: Callable[[int, int], None] | None = None
) -> tuple[Config, Recordings, tuple[Fold, ...]]:
    """The config, recordings and folds that the model was trained with, found through its provenance.

    Raises:
        DataError: the model does not name them, they are not there, or they are of other classes.
    """
    if "config" not in model.provenance or "data" not in model.provenance:
        raise DataError(f"{source}: does not say which recordings it was tested on; train it again")
    config = parse_config(dict(model.provenance["config"]), source)
    folder = data or Path(model.provenance["data"])
    recordings = load_recordings(
        config.dataset, root=Path(), folder=folder, sample_hz=config.frontend.sample_hz, progress=progress
    )
    if recordings.labels != model.manifest.labels:
        there, known = ", ".join(recordings.labels), ", ".join(model.manifest.labels)
        raise DataError(f"{folder}: holds {there}; {source} knows {known}: --data DIR says where its recordings are")
    return config, recordings, split_recordings(recordings, config.dataset, config.seed)
