"""The dataset module on 3000 real recordings (the Free Spoken Digit Dataset), where they are at hand."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from lsm_edge.config import Config, GroupSplit, load_config
from lsm_edge.dataset import Recordings, load_recordings, split_recordings

REPOSITORY = Path(__file__).parents[2]
SHARED = Path(os.environ.get("LSM_EDGE_DATA", REPOSITORY.parent / "shared" / "data"))


@pytest.fixture(scope="module")
def config() -> Config:
    return load_config(REPOSITORY / "examples" / "fsdd.yaml")


@pytest.fixture(scope="module")
def fsdd(config: Config) -> Recordings:
    folder = SHARED / "fsdd" / "recordings"
    if not folder.is_dir():
        missing = f"{folder} is missing; LSM_EDGE_DATA says where the folder fsdd is"
        pytest.fail(missing) if os.environ.get("CI") else pytest.skip(missing)
    return load_recordings(config.dataset, root=REPOSITORY, sample_hz=config.frontend.sample_hz, folder=folder)


def test_all_recordings_are_read(fsdd: Recordings) -> None:
    assert len(fsdd) == 3000
    assert fsdd.labels == tuple("0123456789")
    assert np.bincount(fsdd.targets).tolist() == [300] * 10
    assert set(fsdd.groups) == {"george", "jackson", "lucas", "nicolas", "theo", "yweweler"}
    assert fsdd.skipped == ()
    lengths = [clip.samples.size for clip in fsdd.clips]
    assert (min(lengths), max(lengths)) == (1148, 18262)


def test_the_official_split(fsdd: Recordings, config: Config) -> None:
    (fold,) = split_recordings(fsdd, config.dataset, config.seed)
    assert (fold.train.size, fold.test.size) == (2700, 300)
    assert np.bincount(fsdd.targets[fold.test]).tolist() == [30] * 10


def test_a_speaker_never_heard(fsdd: Recordings, config: Config) -> None:
    harder = config.dataset.model_copy(update={"split": GroupSplit(kind="leave-one-group-out")})
    folds = split_recordings(fsdd, harder, config.seed)
    assert [fold.name for fold in folds] == ["george", "jackson", "lucas", "nicolas", "theo", "yweweler"]
    assert {(fold.train.size, fold.test.size) for fold in folds} == {(2500, 500)}
