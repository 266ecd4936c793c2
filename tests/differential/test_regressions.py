"""Every difference that was ever found stays away."""

from __future__ import annotations

from pathlib import Path

import pytest

from differential import reproducers
from differential.check import check
from differential.test_models import need

SAVED = sorted(path.with_suffix(".lsm") for path in reproducers.FOLDER.glob("*.npz"))


@pytest.mark.parametrize("path", SAVED, ids=[path.stem for path in SAVED])
def test_regression(path: Path) -> None:
    model, recordings = reproducers.load(path)
    cells = reproducers.cells_of(model)
    for cell in cells:
        need(cell)
    assert not check(model, recordings, cells).differences
