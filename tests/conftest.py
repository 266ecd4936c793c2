"""What all tests share: the same random examples every time, and C that is compiled once."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from pathlib import Path

import kernels as c
import pytest
from hypothesis import settings
from needs import need_host_compiler

from lsm_edge.model import Model
from lsm_edge.target.native import Native

settings.register_profile("repeatable", max_examples=50, derandomize=True, deadline=None, database=None)
settings.load_profile("repeatable")

# A shell's background job ignores Ctrl-C, and so would all that is started from here; tests send it.
if threading.current_thread() is threading.main_thread():
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def kernels(tmp_path_factory: pytest.TempPathFactory) -> c.Kernels:
    """The C kernels, callable from Python."""
    return c.Kernels(need_host_compiler(), tmp_path_factory.mktemp("kernels"))


@pytest.fixture(scope="session")
def native() -> Callable[[Model], Native]:
    """A model's generated C, compiled for this machine; the same model is compiled once."""
    need_host_compiler()
    made: dict[str, Native] = {}

    def native_of(model: Model) -> Native:
        if model.digest not in made:
            made[model.digest] = Native(model)
        return made[model.digest]

    return native_of


@pytest.fixture(scope="session")
def root() -> Path:
    """The repository."""
    return Path(__file__).resolve().parent.parent


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--update-golden` rewrites what is committed (sample C, README output) instead of comparing with it."""
    parser.addoption("--update-golden", action="store_true", help="rewrite committed samples of output")
