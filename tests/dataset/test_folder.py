"""dataset/folder.py: which files of a folder are recordings."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from wavs import write

from lsm_edge.dataset.folder import find_files, matches
from lsm_edge.errors import ConfigError, DataError


def test_order_is_that_of_the_paths_not_of_the_file_system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = ["a/10.wav", "a/2.wav", "a/b/1.wav", "a.wav", "Z/1.wav", "é/1.wav"]
    for path in paths:
        write(tmp_path, path)
    in_order = find_files(tmp_path, "**/*.wav")
    assert in_order == sorted(paths)
    scandir = os.scandir

    class Backwards:
        def __init__(self, folder: Path) -> None:
            with scandir(folder) as entries:
                self.entries = sorted(entries, key=lambda entry: entry.name, reverse=True)

        def __enter__(self) -> list[os.DirEntry[str]]:
            return self.entries

        def __exit__(self, *_: object) -> None: ...

    monkeypatch.setattr(os, "scandir", Backwards)
    assert find_files(tmp_path, "**/*.wav") == in_order


@pytest.mark.parametrize(
    ("path", "glob", "fits"),
    [
        ("a.wav", "**/*.wav", True),
        ("x/y/a.wav", "**/*.wav", True),
        ("x/y/a.wav", "*.wav", False),
        ("x/y/a.wav", "x/*.wav", False),
        ("x/y/a.wav", "x/**/a.wav", True),
        ("x/a.wav", "x/**/a.wav", True),
        ("x/a.wav", "**", True),
        ("x/a.wav", "x", False),
        ("x/a.wav", "./x/a.wav", True),
        ("x/A.WAV", "**/*.wav", True),
        ("x/a1.wav", "x/a[0-9].wav", True),
        ("x/ab.wav", "x/a?.wav", True),
        ("x/a/b.wav", "x/a?b.wav", False),
        ("x/a.wav", "x/a.wav/**", True),
    ],
)
def test_globs(path: str, glob: str, fits: bool) -> None:
    assert matches(path, glob) == fits


@pytest.mark.parametrize("glob", ["../*.wav", "a/../../*.wav", "/etc/*.wav", "C:/*.wav", "..\\*.wav", "\\\\host\\*"])
def test_a_glob_that_leaves_the_folder_is_refused(tmp_path: Path, glob: str) -> None:
    with pytest.raises(ConfigError, match=r"dataset\.files: .* is not a pattern below the data folder"):
        find_files(tmp_path, glob)


def test_hidden_names_are_passed_over(tmp_path: Path) -> None:
    for path in ("a.wav", "._a.wav", ".git/b.wav"):
        write(tmp_path, path)
    assert find_files(tmp_path, "**/*.wav") == ["a.wav"]


def test_folders_are_not_recordings_unless_they_say_so(tmp_path: Path) -> None:
    write(tmp_path, "yes/a.wav")
    write(tmp_path, "no.wav/a.wav")
    assert find_files(tmp_path, "**/*") == ["no.wav", "yes/a.wav"]


def test_links_are_followed_but_not_in_circles(tmp_path: Path) -> None:
    write(tmp_path, "data/a.wav")
    write(tmp_path, "elsewhere/b.wav")
    (tmp_path / "data" / "loop").symlink_to(tmp_path / "data")
    (tmp_path / "data" / "there").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "back").symlink_to(tmp_path / "data")
    assert find_files(tmp_path / "data", "**/*.wav") == ["a.wav", "there/b.wav"]


def test_nothing_there(tmp_path: Path) -> None:
    write(tmp_path, "a.flac")
    with pytest.raises(DataError, match=r"nowhere: no such folder \(dataset\.path; --data"):
        find_files(tmp_path / "nowhere", "*.wav")
    with pytest.raises(DataError, match=r"a\.flac: is not a folder"):
        find_files(tmp_path / "a.flac", "*.wav")
    with pytest.raises(DataError, match=r"none of its 1 files matches dataset\.files: \*\.wav"):
        find_files(tmp_path, "*.wav")


def test_a_folder_that_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(folder: Path) -> None:
        raise PermissionError(13, "Permission denied", str(folder))

    monkeypatch.setattr(os, "scandir", denied)
    with pytest.raises(DataError, match="cannot be read: Permission denied"):
        find_files(tmp_path, "*.wav")
