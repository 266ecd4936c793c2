"""Data sets and splits that models are judged on."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np

from lsm_edge.config import ColumnSplit, Dataset, GroupSplit, IndexFile, PatternSplit
from lsm_edge.dataset import Fold, Recordings, load_recordings, split_recordings
from lsm_edge.dataset.recordings import Clip
from lsm_edge.errors import DataError

EXAMPLES: Final = Path(__file__).parents[2] / "examples"
PAIR_TAKES: Final = 15  # of the 50 that each speaker spoke of each digit


@dataclass(frozen=True)
class Task:
    """Recordings and how they are divided; `folder` lies in the folder of the data sets, if it is no example."""

    key: str
    folder: str
    dataset: Dataset
    is_example: bool = False
    is_pairs: bool = False

    def load(self, data: Path, sample_hz: int) -> tuple[Recordings, tuple[Fold, ...]]:
        """Recordings and folds; in every fold the test part holds no group that trains, if the split is by group.

        Raises:
            DataError: the data set is not there.
        """
        place = (EXAMPLES if self.is_example else data) / self.folder
        if not place.is_dir():
            raise DataError(f"{place}: no such folder; DATA=DIR (or $LSM_EDGE_DATA) says where the data sets are")
        recordings = load_recordings(self.dataset, root=place, folder=place, sample_hz=sample_hz)
        if self.is_pairs:
            recordings = joined_pairs(recordings)
        return recordings, split_recordings(recordings, self.dataset, seed=0)


def joined_pairs(recordings: Recordings) -> Recordings:
    """Two digits in a row by one speaker: each digit with the next one (9 with 0), in both orders; 20 classes.

    Either order holds the same words, so that only their order tells the classes apart.
    """
    takes: dict[tuple[str, str], list[Clip]] = {}
    for clip in recordings.clips:
        takes.setdefault((clip.group or "", clip.label), []).append(clip)
    n = len(recordings.labels)
    clips = []
    for group in sorted({clip.group or "" for clip in recordings.clips}):
        for i in range(n):
            for first, second in ((i, (i + 1) % n), ((i + 1) % n, i)):
                a, b = recordings.labels[first], recordings.labels[second]
                words = zip(takes[group, a][:PAIR_TAKES], takes[group, b][-PAIR_TAKES:], strict=True)
                for take, (x, y) in enumerate(words):
                    samples = np.concatenate([x.samples, y.samples])
                    samples.flags.writeable = False
                    clips.append(replace(x, samples=samples, label=a + b, path=f"{a}{b}_{group}_{take:02}"))
    clips.sort(key=lambda clip: clip.path)
    return Recordings(tuple(clips), tuple(sorted({clip.label for clip in clips})))


_DIGITS = Dataset(
    path="recordings",
    label_from="pattern",
    pattern=r"(?P<label>\d)_(?P<group>[a-z]+)_(?P<index>\d+)\.wav",
    split=GroupSplit(kind="leave-one-group-out"),
)
_KEYWORDS = Dataset(
    path="keywords",
    pattern=r"/(?P<group>[a-z0-9-]+)_\d+\.wav$",
    split=PatternSplit(
        kind="pattern",
        test=r"/(caribbean-m2|gb-f1|midlands-f4|nyc-linda|rp-david|scotland-lee|us-m1)_\d+\.wav$",
    ),
)
_OFFICIAL = _DIGITS.model_copy(update={"split": PatternSplit(kind="pattern", test=r"_[0-4]\.wav$")})
_WORDS = Dataset(
    path="speech_commands3",
    index=IndexFile(group_column="speaker", split_column="split"),
    split=ColumnSplit(kind="column", test=["test"]),
)
_SOUNDS = Dataset(
    path="esc10",
    index=IndexFile(file="meta.csv", group_column="fold"),
    split=GroupSplit(kind="leave-one-group-out"),
)

TASKS: Final = {
    task.key: task
    for task in (
        Task("fsdd-loso", "fsdd/recordings", _DIGITS),
        Task("fsdd-official", "fsdd/recordings", _OFFICIAL),
        Task("fsdd-pairs", "fsdd/recordings", _DIGITS, is_pairs=True),
        Task("speech_commands3", "speech_commands3", _WORDS),
        Task("esc10", "esc10", _SOUNDS),
        Task("keywords", "keywords", _KEYWORDS, is_example=True),
    )
}
