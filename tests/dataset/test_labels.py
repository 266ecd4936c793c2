"""dataset/labels.py: from a path to a label, a group and a part."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from wavs import write

from lsm_edge.config import Dataset, IndexFile
from lsm_edge.dataset.labels import Tags, check_sources, read_index, tag
from lsm_edge.errors import ConfigError, DataError

DIGITS = r"(?P<label>\d)_(?P<group>[a-z]+)_(?P<index>\d+)\.wav"


def dataset(**settings: Any) -> Dataset:
    return Dataset.model_validate({"path": "data", **settings})


def test_label_from_the_folder_and_group_from_the_pattern() -> None:
    assert tag("words/yes/anna_0.wav", dataset(), {}) == Tags("yes", None, None)
    config = dataset(pattern=r"/(?P<group>[^/]+)_\d+\.wav$")
    assert tag("words/yes/anna_0.wav", config, {}) == Tags("yes", "anna", None)
    with pytest.raises(DataError, match="has no label: it lies in no folder"):
        tag("anna_0.wav", dataset(), {})


def test_label_from_the_pattern() -> None:
    config = dataset(label_from="pattern", pattern=DIGITS)
    assert tag("7_jackson_32.wav", config, {}) == Tags("7", "jackson", None)
    with pytest.raises(DataError, match=r"does not match dataset\.pattern: "):
        tag("seven_jackson.wav", config, {})
    with pytest.raises(DataError, match=r"has no label: dataset\.pattern's group named label is empty"):
        tag("x.wav", dataset(label_from="pattern", pattern="(?P<label>a)?x"), {})


def test_label_group_and_part_from_the_index() -> None:
    index = {"label_column": "word", "group_column": "who", "split_column": "part"}
    config = dataset(label_from="index", index=index)
    rows = {"a.wav": {"file": "a.wav", "word": "yes", "who": "anna", "part": "test", "": "0"}}
    assert tag("a.wav", config, rows) == Tags("yes", "anna", "test")
    assert tag("a.wav", dataset(label_from="index", index={"label_column": "word"}), rows) == Tags("yes", None, None)
    with pytest.raises(DataError, match=r"is not listed in index\.csv"):
        tag("b.wav", config, rows)
    with pytest.raises(DataError, match=r"has no label: its dataset\.index\.label_column is empty"):
        tag("a.wav", config, {"a.wav": {"file": "a.wav", "word": " ", "who": "", "part": ""}})


def test_two_sources_for_the_group_are_refused() -> None:
    check_sources(dataset(pattern="(?P<group>.)", index={}))
    with pytest.raises(ConfigError, match=r"index\.group_column both say the group"):
        check_sources(dataset(pattern="(?P<group>.)", index={"group_column": "who"}))


@pytest.mark.parametrize(
    "label",
    [
        "int",
        '"; rm -rf',
        "*/ #error",
        "it's",
        "да",
        "はい",
        "👩‍👩‍👧",
        "a\\n",
        "%s",
        " yes ",
        "..",
        "x" * 64,
        "ünï",
    ],
)
def test_labels_are_carried_through_untouched(label: str) -> None:
    config = dataset(label_from="index", index={"label_column": "word"})
    assert tag("a.wav", config, {"a.wav": {"word": label}}).label == label


@pytest.mark.parametrize("label", ["a\0b", "a\nb", "a\x1bb", "a\x85b", "a\u2028b", "a\udcffb"])
def test_control_characters_in_a_label_are_refused(label: str) -> None:
    with pytest.raises(DataError, match="has a label with a control character, 'a") as caught:
        tag(f"{label}/a.wav", dataset(), {})
    str(caught.value).encode()
    assert str(caught.value).isprintable()


def test_long_labels_are_refused() -> None:
    with pytest.raises(DataError, match=r"has a label of 65 characters, .* allowed: 64"):
        tag(f"{'x' * 65}/a.wav", dataset(), {})


def index_of(folder: Path, text: str | bytes, **settings: str) -> dict[str, dict[str, str]]:
    write(folder, "index.csv", text if isinstance(text, bytes) else text.encode())
    return read_index(folder, IndexFile.model_validate({"label_column": "word", **settings}))


def test_index_paths_are_posix_however_they_were_written(tmp_path: Path) -> None:
    rows = index_of(tmp_path, '\ufefffile,word\r\nyes\\a.wav,yes\r\n"./no/b, c.wav",no\r\n\r\nd.wav\r\n')
    assert {path: row["word"] for path, row in rows.items()} == {"yes/a.wav": "yes", "no/b, c.wav": "no", "d.wav": ""}


@pytest.mark.parametrize(
    ("text", "settings", "why"),
    [
        ("", {}, r"has no column 'file' \(dataset\.index\.path_column\)"),
        ("name,word\n", {}, r"has no column 'file' \(dataset\.index\.path_column\); it has: name, word"),
        ("file,label\n", {}, r"has no column 'word' \(dataset\.index\.label_column\)"),
        ("file,word\n", {"group_column": "who"}, r"has no column 'who' \(dataset\.index\.group_column\)"),
        ("file,word\n", {"split_column": "part"}, r"has no column 'part' \(dataset\.index\.split_column\)"),
        ("file,word\na,x\n./a,x\n", {}, "line 3: names a a second time"),
        ("file,word\n,x\n", {}, "line 2: names no recording in column 'file'"),
        (b"file,word\n\xff,x\n", {}, "is not UTF-8 text"),
        ('file,word\n"' + "x" * 200_000, {}, "is not a CSV file: field larger than"),
        (
            "file,word\na,x\n",
            {"file": "other.csv"},
            r"other\.csv: cannot be read .*: No such file",
        ),
    ],
)
def test_bad_indices_say_why(tmp_path: Path, text: str | bytes, settings: dict[str, str], why: str) -> None:
    with pytest.raises(DataError, match=why):
        index_of(tmp_path, text, **settings)
