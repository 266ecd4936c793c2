"""The shipped folders are found, in a working copy and in a wheel."""

from __future__ import annotations

from pathlib import Path

import pytest

from lsm_edge import assets
from lsm_edge.errors import LsmEdgeError

ROOT = Path(__file__).resolve().parent.parent


@pytest.mark.parametrize("name", ["templates", "firmware", "boards", "firmware/platform"])
def test_a_working_copy_uses_its_own_folders(name: str) -> None:
    assert assets.asset(name) == ROOT / name


def test_a_wheel_uses_what_it_brought(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was packed with the code wins over a folder that happens to lie beside the package."""
    (tmp_path / "boards").mkdir()
    packed = tmp_path / "lsm_edge" / "_assets" / "boards"
    packed.mkdir(parents=True)
    monkeypatch.setattr(assets, "_PACKAGE", tmp_path / "lsm_edge")
    assert assets.asset("boards") == packed


def test_a_missing_folder_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(assets, "_PACKAGE", tmp_path / "lsm_edge")
    with pytest.raises(LsmEdgeError, match="boards: is missing"):
        assets.asset("boards")
