"""Where real recordings are that are not part of the project."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


def shared_data(name: str) -> Path:
    """The folder `name` of $LSM_EDGE_DATA, or of ../shared/data beside the checkout.

    Missing recordings fail a test where CI is set; elsewhere they skip it.
    """
    root = Path(os.environ.get("LSM_EDGE_DATA") or Path(__file__).parents[2] / "shared" / "data")
    if not (root / name).is_dir():
        message = f"{root / name} is missing: set LSM_EDGE_DATA to the folder that holds it"
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)
    return root / name
