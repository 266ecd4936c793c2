"""Where the folders that ship with the package are: `templates`, `firmware`, `boards`, `examples`.

In a wheel they lie under `lsm_edge/_assets/`, in a working copy at the top of the repository.
"""

from __future__ import annotations

from pathlib import Path

from lsm_edge.errors import LsmEdgeError

_PACKAGE = Path(__file__).resolve().parent


def asset(name: str) -> Path:
    """The shipped folder or file `name`, such as "boards" or "firmware/platform".

    Raises:
        LsmEdgeError: it is in neither place, which no working installation shows.
    """
    for root in (_PACKAGE / "_assets", _PACKAGE.parent):
        if (root / name).exists():
            return root / name
    raise LsmEdgeError(f"{name}: is missing from this installation of lsm-edge; install it again")
