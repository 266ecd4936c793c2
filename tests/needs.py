"""Tools that a test cannot do without: one that is missing skips the test, and fails it in CI."""

from __future__ import annotations

import os
import shutil

import pytest

from lsm_edge.target.native import host_compiler


def need(tool: str) -> str:
    """The command `tool`, if it is installed."""
    found = shutil.which(tool)
    if found is None:
        missing(tool)
    return str(found)


def need_host_compiler() -> list[str]:
    """The command of a C compiler for this machine."""
    compiler = host_compiler()
    if compiler is None:
        missing("a C compiler")
    return list(compiler or [])


def missing(tool: str) -> None:
    """Skip, or fail."""
    (pytest.fail if os.environ.get("CI") else pytest.skip)(f"{tool} is not installed")
