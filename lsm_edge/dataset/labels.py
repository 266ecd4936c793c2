"""A recording's path -> its label, its group and the part of the data set it belongs to.

They come from the folder's name, from a regular expression on the path, or from a CSV beside the recordings, as the
`dataset` section says. Labels are carried through untouched: quotes, `*/` and emoji are the code generator's business.
"""

from __future__ import annotations

import csv
import re
import unicodedata
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final

from lsm_edge.config import Dataset, IndexFile
from lsm_edge.errors import ConfigError, DataError

_MAX_LABEL_CHARACTERS: Final = 64
# Control characters, halves of surrogate pairs, line and paragraph separators: none survives every file and terminal.
_REFUSED_CATEGORIES: Final = {"Cc", "Cs", "Zl", "Zp"}

Rows = dict[str, dict[str, str]]


@dataclass(frozen=True)
class Tags:
    """What is known of a recording without listening to it."""

    label: str
    group: str | None
    part: str | None


def read_index(folder: Path, index: IndexFile) -> Rows:
    """The rows of the CSV by the posix path of their recording.

    Raises:
        DataError: the file or a column is missing, a row names no recording, or two rows name the same one.
    """
    place = folder / index.file
    try:
        with place.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, restval="")
            columns = list(reader.fieldnames or [])
            lines = [(reader.line_num, row) for row in reader]
    except OSError as error:
        raise DataError(f"{place}: cannot be read (dataset.index.file): {error.strerror}") from None
    except UnicodeDecodeError:
        raise DataError(f"{place}: is not UTF-8 text") from None
    except csv.Error as error:
        raise DataError(f"{place}: is not a CSV file: {error}") from None
    for key in ("path_column", "label_column", "group_column", "split_column"):
        column = getattr(index, key)
        if column is not None and column not in columns:
            raise DataError(f"{place}: has no column {column!r} (dataset.index.{key}); it has: {', '.join(columns)}")
    rows: Rows = {}
    for number, row in lines:
        path = PurePosixPath(row[index.path_column].replace("\\", "/")).as_posix()
        if path == ".":
            raise DataError(f"{place}, line {number}: names no recording in column {index.path_column!r}")
        if path in rows:
            raise DataError(f"{place}, line {number}: names {path} a second time")
        rows[path] = row
    return rows


def check_sources(config: Dataset) -> None:
    """Refuse two sources for one thing.

    Raises:
        ConfigError: both the pattern and the index would say the group.
    """
    groups = re.compile(config.pattern).groupindex if config.pattern is not None else {}
    if "group" in groups and config.index is not None and config.index.group_column is not None:
        raise ConfigError("dataset: pattern's (?P<group>) and index.group_column both say the group; keep one of them")


def tag(path: str, config: Dataset, rows: Rows) -> Tags:
    """The label, group and part of the recording at `path`.

    Raises:
        DataError: it has no usable label; the message is the reason alone, to be put after the file's name.
    """
    named: dict[str, str | None] = {}
    if config.pattern is not None:
        match = re.search(config.pattern, path)
        if match is None:
            raise DataError(f"does not match dataset.pattern: {config.pattern}")
        named = match.groupdict()
    row: dict[str, str] = {}
    index = config.index or IndexFile()
    if config.index is not None:
        if path not in rows:
            raise DataError(f"is not listed in {index.file}")
        row = rows[path]
    label = {
        "folder": PurePosixPath(path).parent.name,
        "pattern": named.get("label"),
        "index": _cell(row, index.label_column),
    }[config.label_from]
    group = _cell(row, index.group_column) or named.get("group")
    _check_label(label or "", config.label_from)
    return Tags(label or "", group or None, _cell(row, index.split_column))


def _cell(row: dict[str, str], column: str | None) -> str | None:
    return row.get(column) if column is not None else None


def _check_label(label: str, label_from: str) -> None:
    if not label.strip():
        source = {
            "folder": "it lies in no folder that could name it",
            "pattern": "dataset.pattern's group named label is empty",
            "index": "its dataset.index.label_column is empty",
        }
        raise DataError(f"has no label: {source[label_from]}")
    if len(label) > _MAX_LABEL_CHARACTERS:
        raise DataError(f"has a label of {len(label)} characters, {label!r}; allowed: {_MAX_LABEL_CHARACTERS}")
    if any(unicodedata.category(character) in _REFUSED_CATEGORIES for character in label):
        raise DataError(f"has a label with a control character, {label!r}")
