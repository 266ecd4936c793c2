"""Writing files: all of it, or nothing."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from lsm_edge.errors import ConfigError
from lsm_edge.files import cache_folder, check_writable, write_atomically


def test_folders_are_made(tmp_path: Path) -> None:
    write_atomically(tmp_path / "a" / "b" / "c.bin", b"\x00\xff")
    assert (tmp_path / "a" / "b" / "c.bin").read_bytes() == b"\x00\xff"


def test_an_identical_file_is_left_untouched(tmp_path: Path) -> None:
    path = tmp_path / "a"
    write_atomically(path, b"same")
    os.utime(path, ns=(1, 1))
    before = path.stat()
    write_atomically(path, b"same")
    assert (path.stat().st_mtime_ns, path.stat().st_ino) == (before.st_mtime_ns, before.st_ino)
    write_atomically(path, b"new")
    assert path.read_bytes() == b"new"


def test_permissions_are_the_usual_ones(tmp_path: Path) -> None:
    """A temporary file is its owner's alone; what it becomes is not."""
    umask = os.umask(0o027)
    try:
        write_atomically(tmp_path / "a", b"")
    finally:
        os.umask(umask)
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o640


def test_a_failure_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"old")

    def full(_from: str, _to: str) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(ConfigError, match="a: cannot be written: No space left on device"):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_places_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    for path in (tmp_path, tmp_path / "file" / "below"):
        with pytest.raises(ConfigError, match="cannot be written"):
            write_atomically(path, b"data")
        with pytest.raises(ConfigError, match=r"is a folder|cannot be written"):
            check_writable(path)
    assert (tmp_path / "file").read_bytes() == b""


def test_looking_whether_a_place_can_be_written_leaves_no_file(tmp_path: Path) -> None:
    check_writable(tmp_path / "new" / "a.lsm")
    assert list(tmp_path.rglob("*")) == [tmp_path / "new"]
    (tmp_path / "a.lsm").write_bytes(b"old")
    check_writable(tmp_path / "a.lsm")
    assert (tmp_path / "a.lsm").read_bytes() == b"old"


def test_the_cache_goes_where_it_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.delenv("LSM_EDGE_CACHE", raising=False)
    assert cache_folder() == Path.home() / ".cache" / "lsm-edge"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "lsm-edge"
    monkeypatch.setenv("LSM_EDGE_CACHE", str(tmp_path / "other"))
    assert cache_folder() == tmp_path / "other"
