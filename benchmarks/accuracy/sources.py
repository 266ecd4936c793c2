"""Which sources a result depends on: when they change, and not only their comments, it is measured again."""

from __future__ import annotations

import ast
import hashlib
from functools import lru_cache
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]

_HEARING: Final = (
    "benchmarks/accuracy/tasks.py",
    "benchmarks/accuracy/scene.py",
    "benchmarks/accuracy/cost.py",
    "lsm_edge/dataset/*.py",
    "lsm_edge/stages/frontend.py",
    "lsm_edge/learn/augment.py",
    "lsm_edge/learn/noise.py",
    "lsm_edge/learn/draw.py",
)
_READOUT: Final = ("lsm_edge/learn/fit.py", "lsm_edge/learn/solvers.py", "lsm_edge/stages/readout.py")
_WIRING: Final = ("lsm_edge/learn/wire.py", "lsm_edge/learn/kernels.py", "lsm_edge/stages/encoder.py")
_LIQUID: Final = (
    "benchmarks/accuracy/liquids.py",
    "lsm_edge/fixed.py",
    "lsm_edge/stages/reservoir.py",
    "lsm_edge/learn/calibrate.py",
    "lsm_edge/learn/quantise.py",
    "lsm_edge/learn/select.py",
    "lsm_edge/learn/trainer.py",
)
_TIME: Final = (
    "benchmarks/accuracy/streams.py",
    "benchmarks/accuracy/timed.py",
    "lsm_edge/evaluation/metrics.py",
    "lsm_edge/golden.py",
    "lsm_edge/learn/draw.py",
)


def _peer(*modules: str) -> tuple[str, ...]:
    return tuple(f"benchmarks/accuracy/peers/{module}.py" for module in modules)


SOURCES: Final = {
    "liquid": (*_HEARING, *_READOUT, *_WIRING, *_LIQUID),
    "nested": (*_HEARING, *_READOUT, *_WIRING, *_LIQUID, "benchmarks/accuracy/nested.py", "lsm_edge/search/exam.py"),
    "linear": (*_HEARING, *_READOUT, "lsm_edge/learn/ablate.py", *_peer("linear", "pooling")),
    "relu_taps": (*_HEARING, *_READOUT, *_WIRING, *_peer("relu_taps", "pooling")),
    "forest": (*_HEARING, *_peer("forest", "pooling")),
    "perceptron": (*_HEARING, *_peer("perceptron", "pooling")),
    "echo_state": (*_HEARING, *_READOUT, *_peer("echo_state", "pooling", "ridge")),
    "minirocket": (*_HEARING, *_peer("minirocket", "ridge")),
    "gru": (*_HEARING, *_peer("gru", "network")),
    "ds_cnn": (*_HEARING, *_peer("ds_cnn", "network")),
    "search": (*_HEARING, *_READOUT, *_WIRING, *_LIQUID, "lsm_edge/search/*.py"),
    "time": (*_TIME, *_READOUT, *_WIRING, *_LIQUID),
}


@lru_cache
def source_digest(kind: str) -> str:
    """Hex digits over what the sources of a kind of model say to the interpreter."""
    sha = hashlib.sha256()
    for pattern in SOURCES[kind]:
        for path in sorted(ROOT.glob(pattern)):
            sha.update(f"{path.name}\n{spoken(path.read_text(encoding='utf-8'))}\n".encode())
    return sha.hexdigest()


def spoken(source: str) -> str:
    """A module without comments and docstrings, however it is laid out."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node) is not None:
            del node.body[0]
    return ast.dump(tree)
