"""A tiny data set for searches: three sounds by four voices, three takes each, and a config with a small space."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import yaml

TAKES, VOICES, HZ = 3, ("ann", "bob", "cay", "dan"), 8000


def write_recordings(folder: Path) -> None:
    """A falling, a rising and a steady tone, in noise, each voice at its own pitch."""
    rng = np.random.default_rng(1)
    t = np.arange(round(0.12 * HZ)) / HZ
    for word, slope in (("down", -6000.0), ("level", 0.0), ("up", 6000.0)):
        (folder / word).mkdir(parents=True)
        for i, voice in enumerate(VOICES):
            for take in range(TAKES):
                start = 1300 + 120 * i + rng.uniform(-200, 200)
                tone = np.sin(2 * np.pi * (start + slope * t / 2) * t) + rng.normal(0, 0.5, len(t))
                samples = np.round(6000 * tone).astype(np.int16)
                soundfile.write(folder / word / f"{voice}_{take}.wav", samples, HZ)


def settings(split: str = "leave-one-group-out", **sections: Any) -> dict[str, Any]:
    """The config as YAML would give it."""
    kinds: dict[str, Any] = {
        "leave-one-group-out": {"kind": split},
        "pattern": {"kind": split, "test": "/dan_"},
    }
    return {
        "name": "tones",
        "seed": 2,
        "dataset": {"path": "tones", "pattern": r"/(?P<group>\w+)_\d+\.wav$", "split": kinds[split]},
        "frontend": {"n_bands": 12},
        "reservoir": {"n_neurons": 12, "steps_per_frame": 2},
        "decision": {"max_segment_ms": 160.0},
        "search": {"space": {"reservoir.n_neurons": [8, 12, 16], "readout.n_windows": [1, 3]}},
        **sections,
    }


def write_project(folder: Path, **sections: Any) -> Path:
    """Recordings and `tones.yaml` in a folder; the YAML's path."""
    write_recordings(folder / "tones")
    path = folder / "tones.yaml"
    path.write_text(yaml.safe_dump(settings(**sections)))
    return path
