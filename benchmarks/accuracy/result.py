"""What one model got right on one task, kept as JSON, so that a run that was interrupted goes on."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.accuracy.cost import Cost
from lsm_edge.files import write_atomically


@dataclass(frozen=True)
class Result:
    """`right`: for each condition and fold a "1" for each test recording that was recognised, a "0" for the others."""

    right: dict[str, list[str]]
    folds: list[str]
    cost: Cost
    frontend_bytes: int
    n_neurons: int  # 0: no liquid
    cpu_s: float
    packages: dict[str, str]
    chosen: dict[str, str] = field(default_factory=dict)  # the settings, by name, of each fold that had a choice

    def hits(self, condition: str) -> NDArray[np.float64]:
        """1 or 0 a test recording, fold after fold."""
        return np.frombuffer("".join(self.right[condition]).encode(), np.uint8).astype(np.float64) - ord("0")

    def by_fold(self, condition: str) -> NDArray[np.float64]:
        """Accuracy on each fold."""
        return np.array([fold.count("1") / len(fold) for fold in self.right[condition]])

    @property
    def table_bytes(self) -> int:
        """The front end's tables too."""
        return self.cost.n_bytes + self.frontend_bytes


def digest_of(**parts: Any) -> str:
    """16 hex digits that name a model and what it was judged on."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


def save_result(path: Path, result: Result) -> None:
    """To a temporary name, then renamed: what is there is whole."""
    write_atomically(path, json.dumps(asdict(result), sort_keys=True).encode())


def load_result(path: Path) -> Result | None:
    """None if there is none, or one that this version cannot read."""
    try:
        data = json.loads(path.read_bytes())
        return Result(**{**data, "cost": Cost(**data["cost"])})
    except (OSError, ValueError, TypeError, KeyError):
        return None
