"""The C kernels, compiled as they are and called from Python: the other half of every test in `stages/`."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import cffi
import numpy as np
from numpy.typing import NDArray

from lsm_edge.assets import asset
from lsm_edge.target.codegen import DSP_KERNELS, KERNELS, WIDE_KERNELS


class Kernels:
    """Each kernel is an attribute. Arrays are passed as they are: a kernel's pointer type must be the array's type."""

    def __init__(self, compiler: list[str], folder: Path) -> None:
        sources = asset("firmware") / "kernels"
        names = (*KERNELS, *DSP_KERNELS, *WIDE_KERNELS)
        (folder / "kernels.c").write_text("".join(f'#include "{name}"\n' for name in names), encoding="utf-8")
        flags = ["-std=gnu11", "-O1", "-fPIC", "-shared", "-DLSM_KERNEL=", f"-I{sources}"]
        subprocess.run([*compiler, *flags, "kernels.c", "-o", "kernels.so"], cwd=folder, check=True)
        self._ffi = cffi.FFI()
        for name in names:
            self._ffi.cdef(_declarations((sources / name).read_text(encoding="utf-8")))
        self._library = self._ffi.dlopen(str(folder / "kernels.so"))

    def __getattr__(self, name: str) -> Any:
        function = getattr(self._library, name)

        def call(*arguments: Any) -> Any:
            return function(*(self._passed(argument) for argument in arguments))

        return call

    def _passed(self, argument: Any) -> Any:
        if argument is None:
            return self._ffi.NULL
        if isinstance(argument, np.ndarray):
            kind = f"{'u' if argument.dtype.kind == 'u' else ''}int{8 * argument.dtype.itemsize}_t *"
            return self._ffi.from_buffer(kind, argument) if argument.size else self._ffi.cast(kind, 0)
        return argument if isinstance(argument, self._ffi.CData) else int(argument)


def _declarations(source: str) -> str:
    """The prototypes of all functions whose types cffi knows."""
    found = re.findall(r"^LSM_KERNEL(?:_APART)? ([^{;]*?\))\s*\{", source, re.MULTILINE)
    return "".join(f"{prototype};\n" for prototype in found if "sound_t" not in prototype)


def packed(points: NDArray[np.int64]) -> NDArray[np.uint32]:
    """Complex points (n, 2) as the kernels keep them: the real part in the low half of a word."""
    return ((points[:, 0] & 0xFFFF) | (points[:, 1] & 0xFFFF) << 16).astype(np.uint32)


def unpacked(points: NDArray[np.uint32]) -> NDArray[np.int64]:
    """Words as complex points (n, 2)."""
    return points.view(np.int16).reshape(-1, 2).astype(np.int64)
