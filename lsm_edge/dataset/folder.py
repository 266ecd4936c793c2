"""Which files of a folder are recordings: a glob that means the same on every system.

Order is that of the characters in the path, never the file system's; upper and lower case match each other; names
that begin with a dot (`.git`, macOS's `._` twins) are passed over; links to folders are followed, loops are not.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path

from lsm_edge.errors import ConfigError, DataError


def find_files(folder: Path, glob: str) -> list[str]:
    """The posix paths below `folder` that match `glob` (`**` is any number of folders), sorted.

    Raises:
        ConfigError: the glob leads out of the folder.
        DataError: there is no such folder, it cannot be read, or nothing in it matches.
    """
    _check_glob(glob)
    if not folder.is_dir():
        wrong = "is not a folder" if folder.exists() else "no such folder"
        raise DataError(f"{folder}: {wrong} (dataset.path; --data DIR says where else the recordings are)")
    paths = list(_walk(folder, frozenset()))
    found = sorted(path for path in paths if matches(path, glob))
    if not found:
        raise DataError(f"{folder}: none of its {len(paths)} files matches dataset.files: {glob}")
    return found


def matches(path: str, glob: str) -> bool:
    """Whether a relative posix path fits a glob."""
    return _matches(path.lower().split("/"), [part for part in glob.lower().split("/") if part not in ("", ".")])


def _matches(parts: list[str], globs: list[str]) -> bool:
    if not globs or not parts:
        return not parts and all(glob == "**" for glob in globs)
    if globs[0] == "**":
        return _matches(parts, globs[1:]) or _matches(parts[1:], globs)
    return fnmatchcase(parts[0], globs[0]) and _matches(parts[1:], globs[1:])


def _check_glob(glob: str) -> None:
    if ".." in glob.split("/") or glob.startswith("/") or "\\" in glob or re.match("[A-Za-z]:", glob):
        raise ConfigError(
            f"dataset.files: {glob!r} is not a pattern below the data folder; "
            "allowed: a relative path with / between folders and no .., such as **/*.wav"
        )


def _walk(folder: Path, above: frozenset[str]) -> Iterator[str]:
    """Every file below; also a folder that calls itself .wav, so that it is reported as the bad file it is."""
    real = os.path.realpath(folder)
    if real in above:
        return
    try:
        with os.scandir(folder) as entries:
            listed = [(entry.name, entry.is_dir()) for entry in entries if not entry.name.startswith(".")]
    except OSError as error:
        raise DataError(f"{folder}: cannot be read: {error.strerror}") from None
    for name, is_folder in listed:
        if is_folder and not name.lower().endswith(".wav"):
            yield from (f"{name}/{below}" for below in _walk(folder / name, above | {real}))
        else:
            yield name
