"""A folder of WAV files -> labelled int16 clips, in an order that depends on their paths alone."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from lsm_edge.config import Dataset
from lsm_edge.dataset.folder import find_files, matches
from lsm_edge.dataset.labels import check_sources, read_index, tag
from lsm_edge.dataset.wav import decode_wav
from lsm_edge.errors import DataError

_BAD_FILES_SHOWN: Final = 3


@dataclass(frozen=True, eq=False)
class Clip:
    """One recording: mono samples at the front end's rate, and what is known of it."""

    samples: NDArray[np.int16]
    label: str
    group: str | None
    path: str
    part: str | None = None


@dataclass(frozen=True, eq=False)
class Recordings:
    """All clips of a data set, sorted by path; `labels` in natural order ("2" before "10")."""

    clips: tuple[Clip, ...]
    labels: tuple[str, ...]
    skipped: tuple[tuple[str, str], ...] = ()

    def __len__(self) -> int:
        return len(self.clips)

    @cached_property
    def targets(self) -> NDArray[np.int64]:
        """Each clip's class, as an index into `labels`; shape (clips,)."""
        classes = {label: i for i, label in enumerate(self.labels)}
        return np.array([classes[clip.label] for clip in self.clips], dtype=np.int64)

    @cached_property
    def groups(self) -> tuple[str | None, ...]:
        """Each clip's group (speaker, subject)."""
        return tuple(clip.group for clip in self.clips)


def load_recordings(
    config: Dataset,
    *,
    root: Path,
    sample_hz: int,
    folder: Path | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Recordings:
    """Read every recording that `config` names; `root` is the config file's folder, `folder` overrides `config.path`.

    `progress` is called with the files done and the files in all. With `on_bad_file: skip` files that cannot be used
    are listed with their reason in `skipped`; otherwise the first of them are in the error.

    Raises:
        ConfigError: `files` leads out of the folder, or two settings say the same thing.
        DataError: no folder, no files, a bad file, a bad index, or fewer than two classes.
    """
    check_sources(config)
    folder = folder if folder is not None else root / config.path
    paths = find_files(folder, config.files)
    rows = {}
    bad: list[tuple[str, str]] = []
    if config.index is not None:
        rows = read_index(folder, config.index)
        listed = {path for path in rows if matches(path, config.files)}
        bad = [(path, f"is listed in {config.index.file} but not there") for path in sorted(listed - set(paths))]
    clips: list[Clip] = []
    for done, path in enumerate(paths, start=1):
        try:
            tags = tag(path, config, rows)
            samples = decode_wav(
                _read(folder, path), sample_hz=sample_hz, channel=config.channel, resample=config.resample
            )
            samples.flags.writeable = False
            clips.append(Clip(samples, tags.label, tags.group, path, tags.part))
        except DataError as error:
            bad.append((_printable(path), str(error)))
        if progress is not None:
            progress(done, len(paths))
    bad.sort()
    if bad and (config.on_bad_file == "error" or not clips):
        raise DataError(_complaint(folder, bad, len(clips) + len(bad)))
    labels = tuple(sorted({clip.label for clip in clips}, key=natural_order))
    if len(labels) < 2:
        left = f"all {len(clips)} recordings" + (f" that are not skipped ({len(bad)} are)" if bad else "")
        raise DataError(f"{folder}: {left} are of class {labels[0]!r}; at least 2 classes are needed")
    return Recordings(tuple(clips), labels, tuple(bad))


def natural_order(text: str) -> tuple[list[str | int], str]:
    """A sort key in which numbers inside a text count as numbers."""
    pieces = re.split("([0-9]+)", text)
    return [int(piece) if i % 2 else piece for i, piece in enumerate(pieces)], text


def _read(folder: Path, path: str) -> bytes:
    try:
        path.encode()
    except UnicodeEncodeError:
        raise DataError("has a name that is not Unicode text") from None
    try:
        return (folder / path).read_bytes()
    except OSError as error:
        raise DataError(f"cannot be read: {error.strerror}") from None


def _printable(path: str) -> str:
    return path if path.isprintable() else path.encode("unicode_escape").decode()


def _complaint(folder: Path, bad: list[tuple[str, str]], n_files: int) -> str:
    lines = [f"{folder / path}: {reason}" for path, reason in bad[:_BAD_FILES_SHOWN]]
    if len(bad) > _BAD_FILES_SHOWN:
        lines.append(f"and {len(bad) - _BAD_FILES_SHOWN} more")
    if len(bad) < n_files:
        lines.append(f"{len(bad)} of {n_files} recordings cannot be used; dataset.on_bad_file: skip leaves them out")
    return "\n".join(lines)
