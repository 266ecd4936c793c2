"""The whole search: killed and resumed, by several processes, honest about what was held back."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from needs import need_host_compiler
from spoken import settings, write_project, write_recordings

from lsm_edge import cli
from lsm_edge.budget import Budget
from lsm_edge.config import Config, load_config, parse_config
from lsm_edge.errors import ConfigError, DataError
from lsm_edge.learn.train import train
from lsm_edge.model import load_model
from lsm_edge.search import pool, worker
from lsm_edge.search.bench import Bench
from lsm_edge.search.exam import accuracy_of
from lsm_edge.search.search import search
from lsm_edge.search.space import present_choice
from lsm_edge.search.study import Study, Tried
from lsm_edge.search.worker import Task, bench_of, work

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Recordings and tones.yaml; several searches have folders of their own in it."""
    need_host_compiler()
    folder = tmp_path_factory.mktemp("search")
    write_project(folder)
    return folder


def task_of(project: Path, out: str, config: Config, *, trials: int = 2, budget: Budget | None = None) -> Task:
    return Task(
        config=config.model_dump_json(exclude_unset=True),
        root=str(project),
        data=None,
        storage=str(project / out / "study.journal"),
        trials=trials,
        budget=budget or Budget(),
        out=str(project / out),
        cwd=str(project),
    )


def tried_of(task: Task) -> list[Tried]:
    bench = bench_of(task)
    return Study(task.storage, bench.config.name, bench.digest).tried()


def config_of(**sections: Any) -> Config:
    return parse_config(settings(**sections), "tones.yaml")


def test_two_workers_and_a_front(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing runs twice; the models of the front are what `train` makes of their YAML."""
    monkeypatch.chdir(project)
    config = load_config(project / "tones.yaml")
    seen: list[int] = []
    found = search(
        config,
        root=project,
        out=project / "two",
        trials=4,
        workers=2,
        watch=lambda tried, doing: seen.append(len(tried)),
    )
    ran = [trial for trial in found.tried if trial.outcome in ("done", "poor")]
    assert len(ran) == 4
    assert len({json.dumps(trial.settings) for trial in ran}) == 4
    assert found.tried[0].settings == found.baseline == {"reservoir.n_neurons": 12, "readout.n_windows": 3}
    assert seen
    assert found.members
    listed = json.loads((project / "two" / "front.json").read_text())
    for member, entry in zip(found.members, listed, strict=True):
        assert entry["digest"] == member.digest == load_model(Path(member.model)).digest
        assert 0 <= member.accuracy_held_back <= 1
        assert load_model(Path(member.model)).table_bytes == member.cost.table_bytes
    member = found.members[0]
    again = train(load_config(Path(member.config)), root=project / "two")
    assert again.model.digest == member.digest
    assert load_model(Path(member.model)).provenance["config"] == again.model.provenance["config"]
    assert (project / "two" / "front.png").is_file()


def test_sections_that_a_search_begins_say_their_kind(project: Path) -> None:
    """A config may leave out encoder and topology; the YAML of a member that changes them may not."""
    bare = parse_config({key: settings()[key] for key in ("name", "dataset", "frontend", "decision")}, "bare.yaml")
    changes = {"encoder.n_taps": 2, "reservoir.topology.kind": "random", "reservoir.topology.fan_in": 4}
    page = worker._yaml(bench_of(task_of(project, "bare", bare)), changes, project / "bare")
    made = parse_config(yaml.safe_load(page), "bare")
    assert made.encoder == parse_config(settings(encoder={"kind": "current", "n_taps": 2}), "tones.yaml").encoder
    assert made.reservoir.topology.kind == "random"


def begin(project: Path, out: str) -> subprocess.Popen[str]:
    """The command line, up to the first finished trial."""
    journal = project / out / "study.journal"
    running = subprocess.Popen(
        [sys.executable, "-m", "lsm_edge.cli", "search", "tones.yaml", "--trials", "3", "--out", out],
        cwd=project, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "160"},
    )  # fmt: skip
    until = time.monotonic() + 300
    while b'"outcome":"done"' not in (journal.read_bytes() if journal.is_file() else b""):
        assert time.monotonic() < until
        assert running.poll() is None
        time.sleep(0.05)
    return running


@pytest.mark.skipif(os.name == "nt", reason="needs SIGKILL")
def test_killed_and_resumed(project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """SIGKILL in the middle: every finished trial is still there, the rest is done by the same command."""
    with begin(project, "killed") as running:
        running.send_signal(signal.SIGKILL)
    task = task_of(project, "killed", load_config(project / "tones.yaml"))
    before = [trial for trial in tried_of(task) if trial.outcome == "done"]
    assert before
    monkeypatch.chdir(project)
    monkeypatch.setattr(sys, "argv", ["lsm-edge", "search", "tones.yaml", "--trials", "3", "--out", "killed", "--json"])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 0
    result = json.loads(capsys.readouterr().out)
    assert result["trials"]["done"] + result["trials"]["poor"] == 3
    after = {trial.number: trial for trial in tried_of(task)}
    assert all(after[trial.number].settings == trial.settings for trial in before)
    assert all(accuracy_of(after[trial.number].marks) == accuracy_of(trial.marks) for trial in before)
    ran = [json.dumps(trial.settings) for trial in after.values() if trial.outcome in ("done", "poor")]
    assert len(ran) == len(set(ran))
    assert result["front"]


def test_test_part_is_not_heard(project: Path) -> None:
    """With one fold, marks are the same whatever the test part sounds like; at the end it is tested on."""
    other = project / "other"
    shutil.copytree(project / "tones", other / "tones")
    for path in (other / "tones").rglob("dan_*.wav"):
        shutil.copy(next(path.parent.glob("ann_0.wav")), path)
    config = config_of(split="pattern")
    marks = []
    for folder in (project, other):
        task = task_of(folder, "one", config, trials=1)
        bench = bench_of(task)
        Study(task.storage, config.name, bench.digest).enqueue(present_choice(config, bench.knobs))
        work(task)
        (trial,) = tried_of(task)
        marks.append({exam: blocks.tolist() for exam, blocks in trial.marks.items()})
        assert set(trial.marks) == {(0,), (1,), (2,)}
    assert marks[0] == marks[1]
    found = search(config, root=project, out=project / "one", trials=1)
    (member,) = found.members
    again = train(load_config(Path(member.config)), root=project / "one")
    assert member.accuracy_held_back == again.accuracy_quantised


def test_refused_before_any_training(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "_GIVE_UP_AFTER", 3)
    monkeypatch.setattr(worker, "_BLIND_AFTER", 2)
    monkeypatch.setattr(worker, "Examiner", None)
    task = task_of(project, "refused", config_of(), budget=Budget(flash_bytes=100))
    assert work(task) == "nothing new is left within this budget"
    assert {trial.outcome for trial in tried_of(task)} == {"refused"}
    assert "flash" in tried_of(task)[0].why
    with pytest.raises(ConfigError, match="no finished trial fits the budget; the smallest that was refused: trial"):
        search(config_of(), root=project, out=project / "refused", trials=0, budget=Budget(flash_bytes=100))


def test_small_space_is_exhausted(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When all settings were run, nothing is run again."""
    monkeypatch.setattr(worker, "_GIVE_UP_AFTER", 12)
    monkeypatch.setattr(worker, "_BLIND_AFTER", 1)
    config = config_of(search={"space": {"reservoir.n_neurons": [8, 12]}})
    task = task_of(project, "small", config, trials=50)
    assert work(task) == "nothing new is left within this budget"
    outcomes = [trial.outcome for trial in tried_of(task)]
    assert outcomes.count("done") + outcomes.count("poor") == 2
    assert set(outcomes) <= {"done", "poor", "repeated"}


def test_other_solvers_choose_for_themselves(project: Path) -> None:
    config = config_of(readout={"solver": "logistic", "strengths": [100.0]}, split="pattern")
    task = task_of(project, "logistic", config, trials=1)
    work(task)
    (trial,) = tried_of(task)
    assert trial.outcome == "done"
    assert trial.marks[0,].shape == (1, 1)
    assert worker.fit_member(task, 0, trial.settings)["accuracy"] > 0.3


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--budget", "flash=lots"], "--budget: flash=lots must be a size"),
        (["--trials", "0"], "'--trials'"),
        (["--out", "tones.yaml"], "cannot be written"),
        (["--out", "foreign"], "holds the search 'tones' of another config"),
        (["--storage", "tones.yaml"], "tones.yaml: is not a study of lsm-edge"),
    ],
)
def test_bad_input(
    project: Path,
    arguments: list[str],
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    if arguments[-1] == "foreign":
        Study(str(project / "foreign" / "study.journal"), "tones", "0" * 64)
    monkeypatch.chdir(project)
    monkeypatch.setattr(sys, "argv", ["lsm-edge", "search", "tones.yaml", *arguments])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 2
    assert said in " ".join(capsys.readouterr().err.split())


@pytest.mark.skipif(os.name == "nt", reason="needs SIGINT")
def test_stopped_by_hand(project: Path) -> None:
    """Ctrl-C keeps what is done and says how to go on."""
    with begin(project, "stopped") as running:
        running.send_signal(signal.SIGINT)
        _, said = running.communicate(timeout=120)
    assert running.returncode == 130
    assert "of 3 trials" in said
    assert "the same command goes on from there" in said
    assert "Traceback" not in said


def test_other_recordings_are_another_search(project: Path, tmp_path: Path) -> None:
    config = config_of()
    digest = Bench(config, project, None).digest
    write_recordings(tmp_path / "tones")
    assert Bench(config, tmp_path, None).digest == digest
    (tmp_path / "tones" / "up" / "ann_0.wav").unlink()
    assert Bench(config, tmp_path, None).digest != digest
    assert Bench(config_of(seed=3), project, None).digest != digest


def test_too_few_groups(project: Path, tmp_path: Path) -> None:
    shutil.copytree(project / "tones", tmp_path / "tones", ignore=shutil.ignore_patterns("cay*", "dan*"))
    with pytest.raises(DataError, match="needs 3 groups"):
        search(config_of(), root=tmp_path, out=tmp_path / "out", trials=1)


def test_dask(project: Path) -> None:
    distributed = pytest.importorskip("distributed")
    with distributed.LocalCluster(
        n_workers=1, threads_per_worker=1, processes=True, dashboard_address=None, protocol="tcp"
    ) as cluster:
        found = search(config_of(), root=project, out=project / "dask", trials=1, dask=cluster.scheduler_address)
    assert found.count("done") == 1
    assert found.members


def test_no_dask_there(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("distributed")
    monkeypatch.setattr(pool, "_CONNECT_S", 0.5)
    with pytest.raises(ConfigError, match=r"--dask tcp://127.0.0.1:9: no scheduler answers"):
        search(config_of(), root=project, out=project / "none", trials=1, dask="tcp://127.0.0.1:9")
