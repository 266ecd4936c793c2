"""The study: which settings were tried, by whom and with what result, in Optuna's own storage.

By default a journal file; a database URL serves as well. Several processes and machines share one. What a trial found
is in its user attributes, written before it is told as finished, so that a killed process loses only what it was at.
"""

from __future__ import annotations

import os
import platform
import re
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import optuna
from optuna.samplers import RandomSampler, TPESampler
from optuna.storages import BaseStorage, JournalStorage, get_storage
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock, JournalFileSymlinkLock
from optuna.trial import FrozenTrial, TrialState

from lsm_edge.errors import ConfigError
from lsm_edge.search.cost import Cost
from lsm_edge.search.exam import Marks
from lsm_edge.search.space import Knob, Settings

# done: all exams taken. poor: stopped early. refused: over the budget or impossible, before any training.
# repeated: another trial has these settings. killed: its process is gone. surplus: enough trials were under way.
Outcome = Literal["done", "poor", "refused", "repeated", "killed", "surplus"]

_GRACE_S: Final = 15  # a lock that a killed process left behind is taken away after this
_WAIT_S: Final = 20.0  # for another process to say whether it goes on with the same settings
_FORMAT: Final = 1

optuna.logging.set_verbosity(optuna.logging.ERROR)


@dataclass(frozen=True)
class Tried:
    """A trial as it is stored."""

    number: int
    settings: Settings
    outcome: Outcome | None  # None while it runs
    why: str = ""
    cost: Cost | None = None
    marks: Marks = field(default_factory=dict, repr=False)

    @classmethod
    def of(cls, trial: FrozenTrial) -> Tried:
        """From Optuna's record."""
        found = trial.user_attrs
        cost = Cost(**found["cost"]) if "cost" in found else None
        kept = found.get("marks", {}).items()
        marks = {tuple(map(int, left_out.split(","))): np.array(blocks) for left_out, blocks in kept}
        outcome = None
        if trial.state.is_finished():
            outcome = found.get("outcome", "killed")
        return cls(trial.number, found.get("settings", {}), outcome, found.get("why", ""), cost, marks)


class Study:
    """One search, shared by all who have its storage.

    Raises:
        ConfigError: the storage cannot be opened, or holds the search of another config, data or space.
    """

    def __init__(self, storage: str, name: str, digest: str, *, seed: int = 0) -> None:
        self.storage, self._seed = storage, seed
        with _explained(storage):
            self._study = optuna.create_study(
                storage=_open(storage),
                study_name=name,
                directions=["maximize", "minimize", "minimize"],  # accuracy, flash, instructions
                load_if_exists=True,
            )
            attributes = self._study.user_attrs
            if "digest" not in attributes:
                self._study.set_user_attr("digest", digest)
                self._study.set_user_attr("format", _FORMAT)
        found = attributes.get("digest", digest)
        if found != digest:
            shown = _without_password(storage)
            raise ConfigError(
                f"{shown}: holds the search {name!r} of another config, other recordings or another search.space "
                f"({found[:12]}, this is {digest[:12]}); give another --out or --storage, or remove it"
            )

    def tried(self) -> list[Tried]:
        """All trials, in the order in which they were begun."""
        return [Tried.of(trial) for trial in self._trials()]

    def n_counted(self) -> int:
        """Trials that count: finished, stopped early, or running."""
        return sum(trial.outcome in ("done", "poor", None) for trial in self.tried() if trial.settings)

    def enqueue(self, choice: dict[str, int]) -> None:
        """Have these indices tried next."""
        self._study.enqueue_trial(choice)

    def bury(self) -> int:
        """Tell the trials of processes of this machine that are gone as killed, and enqueue what they were at."""
        n = 0
        for trial in self._trials():
            owner = trial.user_attrs.get("process")
            if trial.state != TrialState.RUNNING or owner is None or _is_alive(owner):
                continue
            try:
                self._study.tell(trial.number, state=TrialState.FAIL)
            except ValueError:  # somebody else has just done so
                continue
            self.enqueue(trial.params)
            n += 1
        return n

    def stop(self, token: str) -> None:
        """Ask the workers of one command to stop after their present trials."""
        self._study.set_user_attr("stopped", token)

    def is_stopped(self, token: str) -> bool:
        """Was that asked?"""
        return bool(token) and self._study.user_attrs.get("stopped") == token

    def n_running_here(self) -> int:
        """Trials that live processes of this machine are at."""
        owners = [trial.user_attrs.get("process") for trial in self._trials() if trial.state == TrialState.RUNNING]
        return sum(owner is not None and owner[0] == platform.node() and _is_alive(owner) for owner in owners)

    def ask(self, settle: Callable[[Callable[[Knob], int]], Settings], *, blindly: bool) -> Claim:
        """Begin a trial with settings that the sampler proposes; `blindly`: at random."""
        self._study.sampler = RandomSampler(seed=self._fresh_seed()) if blindly else self._tpe()
        trial = self._study.ask()
        trial.set_user_attr("process", [platform.node(), os.getpid(), _birth(os.getpid())])
        settings = settle(lambda knob: trial.suggest_int(knob.key, 0, len(knob.values) - 1))
        trial.set_user_attr("settings", settings)
        return Claim(self._study, trial, settings)

    def _tpe(self) -> Any:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            return TPESampler(n_startup_trials=16, constant_liar=True, seed=self._fresh_seed())

    def _fresh_seed(self) -> int:
        """Another one for every trial and process."""
        return abs(hash((self._seed, os.getpid(), time.monotonic_ns()))) % 2**32

    def _trials(self) -> list[FrozenTrial]:
        with _explained(self.storage):
            return self._study.get_trials(deepcopy=False)


class Claim:
    """A trial that this process has begun."""

    def __init__(self, study: optuna.Study, trial: optuna.Trial, settings: Settings) -> None:
        self._study, self._trial, self.settings = study, trial, settings
        self.number = trial.number

    def is_first(self, key: str) -> bool:
        """Is no other trial, of any process, with the same `key` done, or going on?

        Everybody writes the key first and looks at the others then. Of those that see each other the lower number waits
        until the higher, which may have looked before, says whether it goes on; the higher gives way at once.
        """
        self._trial.set_user_attr("key", key)
        until = time.monotonic() + _WAIT_S
        while True:
            others = [
                other
                for other in self._study.get_trials(deepcopy=False)
                if other.number != self.number and other.user_attrs.get("key") == key and _stands(other)
            ]
            if any(other.number < self.number or other.user_attrs.get("goes") for other in others):
                return False
            if not others or time.monotonic() > until:
                self._trial.set_user_attr("goes", True)
                return True
            time.sleep(0.05)

    def is_surplus(self, wanted: int) -> bool:
        """Are there already `wanted` trials that count before this one?"""
        before = [trial for trial in self._study.get_trials(deepcopy=False) if trial.number < self.number]
        return sum(_stands(trial) and "goes" in trial.user_attrs for trial in before) >= wanted

    def done(self, accuracy: float, cost: Cost, marks: Marks) -> None:
        """All exams were taken."""
        self._note("done", "", cost, marks)
        self._study.tell(self._trial, [accuracy, cost.flash_bytes, cost.instructions_per_s])

    def stopped(self, outcome: Outcome, why: str, cost: Cost | None = None, marks: Marks | None = None) -> None:
        """It ends here."""
        self._note(outcome, why, cost, marks or {})
        self._study.tell(self._trial, state=TrialState.PRUNED)

    def _note(self, outcome: Outcome, why: str, cost: Cost | None, marks: Marks) -> None:
        if cost is not None:
            self._trial.set_user_attr("cost", cost.as_json())
        if marks:
            as_lists = {",".join(map(str, exam)): blocks.round(5).tolist() for exam, blocks in marks.items()}
            self._trial.set_user_attr("marks", as_lists)
        if why:
            self._trial.set_user_attr("why", why)
        self._trial.set_user_attr("outcome", outcome)


def _stands(trial: FrozenTrial) -> bool:
    return not trial.state.is_finished() or trial.user_attrs.get("outcome") in ("done", "poor")


def _open(storage: str) -> BaseStorage:
    if "://" in storage:
        return get_storage(storage)
    path = Path(storage)
    path.parent.mkdir(parents=True, exist_ok=True)
    kind = JournalFileOpenLock if os.name == "nt" else JournalFileSymlinkLock
    lock = kind(str(path), grace_period=_GRACE_S)
    if path.is_file():
        lock.acquire()
        try:
            _mend(path)
        finally:
            lock.release()
    return JournalStorage(JournalFileBackend(str(path), lock_obj=lock))


def _mend(path: Path) -> None:
    """Cut off the half of a line that a killed process may have left at the end of a journal."""
    with path.open("rb+") as file:
        data = file.read()
        whole = data.rfind(b"\n") + 1
        if whole < len(data):
            file.truncate(whole)


@contextmanager
def _explained(storage: str) -> Iterator[None]:
    """What a storage can raise, in one line."""
    shown = _without_password(storage)
    try:
        yield
    except ConfigError:
        raise
    except OSError as error:
        raise ConfigError(f"{shown}: cannot be used as storage: {error.strerror or error}") from None
    except (ValueError, KeyError, TypeError, AssertionError) as error:
        raise ConfigError(f"{shown}: is not a study of lsm-edge ({_without_password(str(error))})") from None
    except Exception as error:  # SQLAlchemy's and the drivers' own
        raise ConfigError(f"{shown}: cannot be used as storage: {_without_password(str(error))}") from None


def _without_password(text: str) -> str:
    return re.sub(r"//[^/@\s]*@", "//", " ".join(text.split()))[:200]


def _is_alive(owner: list[Any]) -> bool:
    """Of another machine's processes nothing is known: they count as alive."""
    node, pid, birth = owner
    if node != platform.node() or os.name == "nt":
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return bool(_birth(pid) == birth)


def _birth(pid: int) -> str:
    """When a process began, on Linux: its number may since have been given to another one."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        ticks = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except OSError:
        return ""
    return f"{boot} {ticks}"
