"""Writing files so that nothing half-written is ever seen."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from lsm_edge.errors import ConfigError


def write_atomically(path: Path, data: bytes) -> None:
    """Write `data` under a temporary name beside `path`, then rename; an identical file is left untouched.

    Raises:
        ConfigError: the place cannot be written to; what was there before is still there.
    """
    try:
        if path.is_file() and path.read_bytes() == data:
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
            umask = os.umask(0)
            os.umask(umask)
            os.chmod(temporary, 0o666 & ~umask)  # noqa: PTH101 - mkstemp makes files that only the owner reads
            os.replace(temporary, path)  # noqa: PTH105
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise ConfigError(f"{path}: cannot be written: {error.strerror}") from None


def check_writable(path: Path) -> None:
    """Find out before long work whether `path` can be written at its end.

    Raises:
        ConfigError: it cannot.
    """
    if path.is_dir():
        raise ConfigError(f"{path}: is a folder; a file is written here")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        raise ConfigError(f"{path}: cannot be written: {error.strerror}") from None


def cache_folder() -> Path:
    """Where compiled libraries and tools are kept: $LSM_EDGE_CACHE, else the user's cache folder."""
    named = os.environ.get("LSM_EDGE_CACHE")
    if named:
        return Path(named)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "lsm-edge"
