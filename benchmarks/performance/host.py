"""The same network on this machine: the kernels compiled for it, and Brian2's C++ standalone, in turns on one core."""

from __future__ import annotations

import json
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from benchmarks.performance.network import FAN_IN, N_NEURONS, REFRACTORY_STEPS, STEP_MS, network
from lsm_edge.errors import BuildError
from lsm_edge.target.native import Native

ROUNDS, REPEATS = 5, 4
RUNS = 12  # of ours, one after the other, take about as long as one of Brian2's


@dataclass(frozen=True)
class Pace:
    """One simulator: seconds of wall time a simulated second, and what it simulated."""

    name: str
    seconds: float
    rate_hz: float

    @property
    def times_real(self) -> float:
        """Simulated seconds a second."""
        return 1 / self.seconds

    @property
    def events_per_s(self) -> float:
        """Recurrent synaptic events a second of wall time."""
        return N_NEURONS * self.rate_hz * FAN_IN / self.seconds


def race(brian_python: Path, topology: str = "random") -> tuple[Pace, Pace]:
    """Ours and Brian2's; medians over rounds, each simulator's turns between the other's.

    Ours is compiled as it ships: tables are constants, and no hook is called after a stage.

    Raises:
        BuildError: Brian2 does not run.
    """
    net = network(topology)
    spikes = net.run()
    liquid = Native(net.model, flags=("-fno-instrument-functions",))
    ours: list[float] = []
    theirs: list[float] = []
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        shape = {"n_steps": net.n_steps, "refractory_steps": REFRACTORY_STEPS, "repeats": REPEATS}
        np.savez(folder / "network.npz", **net.plain(), **shape)
        for _ in range(ROUNDS):
            for _ in range(REPEATS):
                started = time.perf_counter()
                for _ in range(RUNS):
                    liquid.stir([net.frames])
                ours.append((time.perf_counter() - started) / RUNS)
            brian = _run_brian(brian_python, folder)
            theirs += brian["seconds"]
    simulated_s = net.n_steps * STEP_MS / 1000
    return (
        Pace("lsm-edge", median(ours) / simulated_s, spikes / N_NEURONS / simulated_s),
        Pace(f"Brian2 {brian['version']}", median(theirs) / simulated_s, brian["spikes"] / N_NEURONS / simulated_s),
    )


def _run_brian(python: Path, folder: Path) -> dict[str, Any]:
    script = Path(__file__).with_name("brian.py")
    command = [python, script, folder / "network.npz", folder / "standalone"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise BuildError(f"{script.name}: {done.stderr[-2000:]}")
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer
