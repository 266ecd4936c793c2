"""Where a search's work is done: processes of this machine, or a Dask cluster."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from typing import Any, Final, Protocol

from threadpoolctl import threadpool_limits  # type: ignore[import-untyped,unused-ignore]

from lsm_edge.errors import ConfigError

_POLL_S: Final = 0.5
_CONNECT_S = 10.0


class Future(Protocol):
    """What both kinds of pool hand out."""

    def done(self) -> bool:
        """Has it ended?"""

    def result(self) -> Any:
        """What it returned or raised."""


Submit = Callable[..., Future]


def wait_for(futures: Sequence[Future], tick: Callable[[], None]) -> None:
    """Until all are done; the first error is raised at once.

    Raises:
        ConfigError: a worker process died.
    """
    waiting = list(futures)
    while waiting:
        for future in [future for future in waiting if future.done()]:
            waiting.remove(future)
            try:
                future.result()
            except BrokenProcessPool:
                raise ConfigError(
                    "search: a worker process was killed (out of memory?); finished trials are kept, "
                    "the same command goes on"
                ) from None
        tick()
        if waiting:
            time.sleep(_POLL_S)


@contextmanager
def processes(workers: int) -> Iterator[Submit]:
    """Processes of this machine, which end with this one however it ends."""
    threads = max((os.cpu_count() or 1) // workers, 1)
    pool = ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), _begin, (threads,))
    try:
        yield pool.submit
    except BaseException:
        for process in multiprocessing.active_children():
            process.terminate()
        raise
    finally:
        pool.shutdown(cancel_futures=True)


def _begin(threads: int) -> None:
    """In a new worker: Ctrl-C is the parent's to handle, and a parent that is gone takes its workers with it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threadpool_limits(threads)
    parent = multiprocessing.parent_process()

    def follow() -> None:
        if parent is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=follow, daemon=True).start()


@contextmanager
def dask_cluster(address: str) -> Iterator[Submit]:
    """A Dask cluster, whose machines see the recordings and the storage at the same places.

    Raises:
        ConfigError: Dask is not installed, or no scheduler answers.
    """
    try:
        from distributed import Client
    except ImportError:
        raise ConfigError("--dask needs Dask: pip install 'lsm-edge[dask]'") from None
    try:
        client = Client(address, timeout=_CONNECT_S)  # type: ignore[no-untyped-call]
    except (OSError, ValueError, TypeError) as error:  # OSError: also its timeout
        raise ConfigError(f"--dask {address}: no scheduler answers: {error}") from None
    try:
        yield lambda function, *arguments: client.submit(function, *arguments, pure=False)
    finally:
        client.close()  # type: ignore[no-untyped-call]
