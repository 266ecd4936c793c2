"""The study: nothing finished is lost, nothing is run twice, and nobody else's search is mixed in."""

from __future__ import annotations

import json
import multiprocessing
import os
import platform
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from lsm_edge.budget import Budget
from lsm_edge.errors import ConfigError
from lsm_edge.search.cost import Cost
from lsm_edge.search.front import by_accuracy, choose_without, draw_front, front_of, front_table
from lsm_edge.search.space import Knob, Settings
from lsm_edge.search.study import Claim, Study, Tried

KNOB = Knob("reservoir.n_neurons", (8, 16, 24))
COST = Cost(flash_bytes=1000, ram_bytes=10, instructions_per_s=1e6, table_bytes=500)
MARKS = {(0, 1): np.array([[0.5], [0.75]])}


def settle(choose: Callable[[Knob], int]) -> Settings:
    return {KNOB.key: KNOB.values[choose(KNOB)]}


def ask(study: Study) -> Claim:
    return study.ask(settle, blindly=True)


@pytest.fixture(params=["journal", "sqlite"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    kinds = {"journal": str(tmp_path / "deep" / "study.journal"), "sqlite": f"sqlite:///{tmp_path}/study.db"}
    return kinds[request.param]


def test_what_was_found_is_read_back(storage: str) -> None:
    study = Study(storage, "x", "d1")
    study.enqueue({KNOB.key: 2})
    claim = ask(study)
    assert claim.settings == {KNOB.key: 24}
    assert study.tried()[0].outcome is None
    claim.done(0.625, COST, MARKS)
    ask(study).stopped("refused", "flash 9 > 8", COST)
    ask(study).stopped("poor", "after 1 exams", COST, MARKS)
    done, refused, poor = Study(storage, "x", "d1").tried()
    assert (done.outcome, done.settings, done.cost) == ("done", {KNOB.key: 24}, COST)
    assert np.array_equal(done.marks[0, 1], MARKS[0, 1])
    assert (refused.outcome, refused.why) == ("refused", "flash 9 > 8")
    assert poor.outcome == "poor"
    assert study.n_counted() == 2


def test_other_search_is_refused(storage: str) -> None:
    Study(storage, "x", "d1")
    Study(storage, "y", "d2")
    with pytest.raises(ConfigError, match="holds the search 'x' of another config"):
        Study(storage, "x", "d2")


def test_same_settings_are_run_by_one(storage: str) -> None:
    """Two that begin the same at once: exactly one goes on, whichever looks first."""
    first, second = Study(storage, "x", "d"), Study(storage, "x", "d")
    one, two = ask(first), ask(second)
    two._trial.set_user_attr("key", "same")
    two._trial.set_user_attr("goes", True)  # looked before `one` had written
    assert not one.is_first("same")
    one.stopped("repeated", "")
    three = ask(first)
    assert not three.is_first("same")
    three.stopped("repeated", "")
    two.done(0.5, COST, MARKS)
    four = ask(first)
    assert not four.is_first("same")
    assert four.is_first("other")
    four.done(0.5, COST, MARKS)
    assert first.n_counted() == 2
    five = ask(first)
    assert five.is_first("third")
    assert five.is_surplus(2)
    assert not five.is_surplus(3)


def test_killed_trial_is_buried_and_tried_again(tmp_path: Path) -> None:
    storage = str(tmp_path / "study.journal")
    Study(storage, "x", "d").enqueue({KNOB.key: 1})
    code = (
        "import os, sys; sys.path[:0] = [sys.argv[2]]\n"
        "from test_study import *\n"
        "claim = ask(Study(sys.argv[1], 'x', 'd')); claim.is_first('k'); os._exit(9)"
    )
    done = subprocess.run([sys.executable, "-c", code, storage, str(Path(__file__).parent)], check=False)
    assert done.returncode == 9
    study = Study(storage, "x", "d")
    assert study.tried()[0].outcome is None
    assert study.bury() == 1
    assert study.bury() == 0
    assert study.tried()[0].outcome == "killed"
    again = ask(study)
    assert again.settings == {KNOB.key: 16}
    assert again.is_first("k")


def test_own_trials_are_not_buried(tmp_path: Path) -> None:
    study = Study(str(tmp_path / "study.journal"), "x", "d")
    ask(study)
    assert study.bury() == 0
    assert study.n_running_here() == 1


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc")
def test_number_of_a_process_is_given_again(tmp_path: Path) -> None:
    study = Study(str(tmp_path / "study.journal"), "x", "d")
    claim = ask(study)
    claim._trial.set_user_attr("process", [platform.node(), os.getpid(), "another boot"])
    assert study.n_running_here() == 0
    assert study.bury() == 1


def test_torn_last_line(tmp_path: Path) -> None:
    """What a killed process left of a line is cut off; what others then write can be read."""
    path = tmp_path / "study.journal"
    ask(Study(str(path), "x", "d")).done(0.5, COST, MARKS)
    whole = path.read_bytes()
    for torn in (b"{", b'{"op_code":8,"worker_id":"a'):
        path.write_bytes(whole + torn)
        study = Study(str(path), "x", "d")
        assert [trial.outcome for trial in study.tried()] == ["done"]
    ask(study).done(0.5, COST, MARKS)
    assert all(json.loads(line) for line in path.read_bytes().splitlines())
    assert Study(str(path), "x", "d").n_counted() == 2


@pytest.mark.parametrize(
    "storage",
    ["{0}/notes.txt", "{0}", "nosuch://host/db", "sqlite:///{0}/nowhere/else.db", "{0}/notes.txt/below"],
)
def test_bad_storage(storage: str, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("dear diary\n")
    with pytest.raises(ConfigError, match=r"storage|is not a study"):
        Study(storage.format(tmp_path), "x", "d").tried()


def test_password_is_not_shown() -> None:
    with pytest.raises(ConfigError) as caught:
        Study("nosuch://me:secret@host/db", "x", "d")
    assert "nosuch://host/db" in str(caught.value)
    assert "secret" not in str(caught.value)


def trial(number: int, accuracy: float, flash: int, instructions: float, outcome: str = "done") -> Tried:
    marks = {(a, b): np.array([[accuracy], [accuracy]]) for a in range(3) for b in range(a + 1, 3)}
    return Tried(number, {KNOB.key: flash}, outcome, "", Cost(flash, 10, instructions, flash), marks)  # type: ignore[arg-type]


def test_front() -> None:
    tried = [
        trial(0, 0.80, 2000, 2e6),
        trial(1, 0.90, 3000, 3e6),
        trial(2, 0.79, 1980, 2e6),  # about what 0 costs, and poorer
        trial(3, 0.70, 5000, 1e6),  # few instructions
        trial(4, 0.60, 5000, 2e6),  # beaten
        trial(5, 0.99, 1000, 1e6, "poor"),
        trial(6, 0.95, 9000, 1e6),  # over budget
        trial(7, 0.90, 3500, 3e6),  # the same accuracy for more
    ]
    budget = Budget(flash_bytes=8000)
    assert [t.number for t in front_of(tried, budget)] == [1, 0, 3]
    assert next(t.number for t in by_accuracy(tried, Budget())) == 6
    assert front_of([], budget) == []
    assert front_table(front_of(tried, budget)).row_count == 3


def test_choice_for_an_outer_fold() -> None:
    """The best by what the fold has not seen, among what costs no more."""
    tried = [trial(0, 0.80, 2000, 2e6), trial(1, 0.70, 2000, 2e6), trial(2, 0.99, 9000, 2e6)]
    limit = Cost(2000, 10, 2e6, 2000)
    assert choose_without(tried, limit, 1).number == 0
    tried[0].marks[0, 1][0] = 0.0  # the mark on 0 of a fit without 0 and 1: an inner mark for the outer fold 1
    tried[0].marks[0, 1][1] = 1.0
    assert choose_without(tried, limit, 1).number == 1
    assert choose_without(tried, limit, 0).number == 0
    with pytest.raises(ConfigError, match="no finished trial within this cost"):
        choose_without(tried, Cost(1, 1, 1, 1), 0)


def test_picture(tmp_path: Path) -> None:
    """The same front is the same picture, byte for byte."""
    tried = [trial(0, 0.8, 2000, 2e6), trial(1, 0.9, 3000, 3e6)]
    for name in ("a.png", "b.png"):
        draw_front(tried, [], tmp_path / name)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")


def _claim_all(storage: str, results: multiprocessing.Queue[list[str]]) -> None:
    study, mine = Study(storage, "x", "d"), []
    for _ in range(12):
        claim = ask(study)
        key = str(claim.settings)
        if claim.is_first(key):
            mine.append(key)
            claim.done(0.5, COST, MARKS)
        else:
            claim.stopped("repeated", "")
    results.put(mine)


def test_two_processes_never_run_the_same(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    storage, results = str(tmp_path / "study.journal"), context.Queue()
    Study(storage, "x", "d")
    processes = [context.Process(target=_claim_all, args=(storage, results)) for _ in range(2)]
    for process in processes:
        process.start()
    ran = [key for _ in processes for key in results.get(timeout=120)]
    for process in processes:
        process.join()
    assert sorted(ran) == sorted(set(ran))
    assert len(ran) == len(KNOB.values)
