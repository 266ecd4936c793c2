"""Models of spoken digits on emulated cores: trained, generated, built, and every instruction counted."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from benchmarks.settings import changed
from lsm_edge.board import Board, load_board
from lsm_edge.config import Config
from lsm_edge.dataset import Fold, Recordings, load_recordings, split_recordings
from lsm_edge.learn.trainer import Trainer
from lsm_edge.model import Model
from lsm_edge.target.build import build_project
from lsm_edge.target.codegen import generate_project, write_files
from lsm_edge.target.measure import Profile, profile

BASE: Final = Path(__file__).with_name("digits.yaml")
BOARD: Final = "nucleo_f446re"
N_RECORDINGS: Final = 10  # of the test part, spread over speakers and digits

NO_RECURRENCE: Final = {"topology": {"kind": "none"}}


@dataclass(frozen=True)
class Case:
    """A model: what of `BASE` is changed; and the board it is built for, with its DSP instructions or without."""

    name: str
    changes: Mapping[str, Any] = field(default_factory=dict)
    board: str = BOARD
    dsp: bool = True


CASES: Final = (
    Case("128 neurons, recurrent"),
    Case("128 neurons, recurrent, no gate", {"decision": {"endpointer": {"gate_db": None}}}),
    Case("128 neurons, recurrent, any synapses", {"reservoir": {"topology": {"kind": "random", "fan_in": 16}}}),
    Case("128 neurons", {"reservoir": NO_RECURRENCE}),
    Case("256 neurons, recurrent", {"reservoir": {"n_neurons": 256}}),
    Case("256 neurons", {"reservoir": {"n_neurons": 256, "refractory_steps": 0, **NO_RECURRENCE}}),
)
CORES: Final = (
    Case("Cortex-M4 with DSP"),
    Case("Cortex-M4 without", dsp=False),
    Case("Cortex-M0+", board="nucleo_g071rb"),
)
SCALES: Final = (
    *(Case(f"{n} neurons", {"reservoir": {"n_neurons": n}}) for n in (64, 256, 512, 1024)),
    *(Case(f"fan-in {n}", {"reservoir": {"topology": {"kind": "blocks", "fan_in": n}}}) for n in (8, 32)),
    *(Case(f"{n} bands", {"frontend": {"n_bands": n}}) for n in (12, 32)),
    *(Case(f"hop {n} ms", {"frontend": {"hop_ms": n}}) for n in (16,)),
    *(Case(f"spike rate {rate}", {"reservoir": {"target_rate": rate}}) for rate in (0.06, 0.24)),
)


@dataclass(frozen=True)
class Measured:
    """What came of a case."""

    case: Case
    accuracy: float  # on the test part, integers end to end
    profile: Profile


class Bench:
    """Recordings are read once, and heard once by each front end; equal models are trained once."""

    def __init__(self, data: Path) -> None:
        self._folder = data / "fsdd" / "recordings"
        self._read: dict[str, tuple[Recordings, Fold]] = {}
        self._heard: dict[str, list[NDArray[np.uint8]]] = {}
        self._trained: dict[str, tuple[Model, float]] = {}

    def measure(self, case: Case) -> Measured:
        """Train, generate, build, profile.

        Raises:
            DataError: the recordings are not there.
            BuildError: the firmware cannot be built.
        """
        config = changed(BASE, case.changes)
        model, accuracy = self._train(config)
        recordings, fold = self._recordings(config)
        chosen = fold.test[:: max(len(fold.test) // N_RECORDINGS, 1)][:N_RECORDINGS]
        board = load_board(case.board)
        board = board if case.dsp else Board.model_validate({**board.model_dump(), "dsp": False})
        with tempfile.TemporaryDirectory() as folder:
            write_files(Path(folder) / "project", generate_project(model, board))
            built = build_project(Path(folder) / "project", board)
            found = profile(model, built.elf, board, [recordings.clips[i] for i in chosen])
        return Measured(case, accuracy, found)

    def measure_all(self, cases: Iterable[Case], say: Callable[[str], None]) -> list[Measured]:
        """One after the other."""
        measured = []
        for case in cases:
            measured.append(self.measure(case))
            say(f"{case.name}: {measured[-1].profile.total.instructions_per_s / 1e6:.2f} million instructions a second")
        return measured

    def _recordings(self, config: Config) -> tuple[Recordings, Fold]:
        key = config.dataset.model_dump_json()
        if key not in self._read:
            sample_hz = config.frontend.sample_hz
            recordings = load_recordings(config.dataset, root=BASE.parent, folder=self._folder, sample_hz=sample_hz)
            (fold,) = split_recordings(recordings, config.dataset, config.seed)
            self._read[key] = recordings, fold
        return self._read[key]

    def _train(self, config: Config) -> tuple[Model, float]:
        key = config.model_dump_json()
        if key not in self._trained:
            recordings, fold = self._recordings(config)
            sound = config.frontend.model_dump_json(exclude={"equalise"})
            trainer = Trainer(config, recordings, frames=self._heard.get(sound))
            self._heard[sound] = trainer.frames
            fitted = trainer.fit(fold.train)
            self._trained[key] = fitted.model, trainer.accuracy(fitted, fold.test)
        return self._trained[key]
