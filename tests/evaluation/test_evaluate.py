"""Evaluation: the recordings are found again, and what is said of a model is what can be seen otherwise."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from models import LIVE, RECURRENT
from needs import need_host_compiler

from lsm_edge import golden
from lsm_edge.config import parse_config
from lsm_edge.errors import DataError
from lsm_edge.evaluation import evaluate as module
from lsm_edge.evaluation.evaluate import Evaluation, evaluate
from lsm_edge.evaluation.robustness import BABBLE, WHITE, plan
from lsm_edge.evaluation.show import as_json
from lsm_edge.learn import train
from lsm_edge.learn.liquid import GoldenLiquid
from lsm_edge.model import Model, load_model, save_model

WORDS = ("go", "no", "stop")
VOICES = ("us-m1", "gb-f1", "rp-david", "us-klatt", "gb-andy", "gb-m3", "us-alex", "nyc-linda", "scotland-lee")
SETTINGS: dict[str, Any] = {
    "name": "words",
    "seed": 3,
    "dataset": {
        "path": "words",
        "pattern": r"/(?P<group>[a-z0-9-]+)_\d+\.wav$",
        "split": {"kind": "pattern", "test": r"/(us-m1|gb-f1|rp-david)_"},
    },
    "frontend": {"n_bands": 12},
    "reservoir": {"n_neurons": 32, "steps_per_frame": 2},
    "readout": {"strengths": [300.0]},
}


@pytest.fixture(scope="module")
def words(tmp_path_factory: pytest.TempPathFactory, root: Path) -> Path:
    """Three of the shipped words by nine voices."""
    folder = tmp_path_factory.mktemp("evaluate")
    for word in WORDS:
        (folder / "words" / word).mkdir(parents=True)
        for voice in VOICES:
            for path in (root / "examples" / "keywords" / word).glob(f"{voice}_*.wav"):
                shutil.copy(path, folder / "words" / word)
    return folder


def trained_on(words: Path, **dataset: Any) -> train.Training:
    need_host_compiler()
    settings = {**SETTINGS, "dataset": {**SETTINGS["dataset"], **dataset}}
    return train.train(parse_config(settings, "words.yaml"), root=words)


@pytest.fixture(scope="module")
def trained(words: Path) -> train.Training:
    return trained_on(words)


@pytest.fixture(scope="module")
def full(trained: train.Training) -> Evaluation:
    return evaluate(trained.model, "words.lsm")


@pytest.fixture(scope="module")
def quick(trained: train.Training) -> Evaluation:
    return evaluate(trained.model, "words.lsm", quick=True)


def test_it_finds_the_accuracy_that_training_found(trained: train.Training, full: Evaluation) -> None:
    assert full.scores.total.accuracy == full.clean == full.unflipped == trained.accuracy_quantised
    assert full.scores.total.of == len(trained.test) == 18
    assert set(full.scores.groups) == {"us-m1", "gb-f1", "rp-david"}
    assert full.n_folds == 1


def test_the_confusion_is_the_golden_models(trained: train.Training, full: Evaluation) -> None:
    clips = [trained.recordings.clips[i] for i in trained.test]
    heard = [clip.label for clip in golden.run_clips(trained.model, [clip.samples for clip in clips])]
    expected = np.zeros((3, 3), np.int64)
    np.add.at(expected, (trained.recordings.targets[trained.test], heard), 1)
    assert np.array_equal(full.scores.confusion, expected)


def test_a_curve_is_what_the_golden_model_makes_of_the_spoiled_recordings(
    trained: train.Training, quick: Evaluation
) -> None:
    for curve, planned in zip(quick.curves, plan(trained.recordings, 3, 8000, quick=True), strict=True):
        assert curve.name == planned.name
        value = curve.values[-1]
        heard = golden.run_clips(trained.model, [planned.spoils[value](int(i)) for i in trained.test])
        right = [clip.label for clip in heard] == trained.recordings.targets[trained.test]
        assert curve.at(value) == right.mean()


def test_all_of_it_is_measured_and_quick_measures_less(full: Evaluation, quick: Evaluation) -> None:
    liquid = full.liquid
    assert liquid.memory is not None
    assert liquid.memory.capacity > 3
    assert liquid.fading is not None
    assert liquid.branching is not None
    assert liquid.branching.trials == 0
    assert liquid.ranks is not None
    assert liquid.ranks.generalisation < liquid.ranks.kernel
    assert [pair.name for pair in liquid.separation][-1] == "a recording of another class"
    assert liquid.worth is not None
    assert len(liquid.worth.without) == 3
    assert [curve.name for curve in quick.curves] == [curve.name for curve in full.curves]
    assert full.curves[0].name == WHITE
    assert BABBLE in [curve.name for curve in full.curves]
    assert quick.liquid.memory is None
    assert quick.liquid.firing == liquid.firing
    assert quick.flips.flipped < full.flips.flipped
    assert quick.scores.total == full.scores.total


def test_again_and_from_a_file_it_is_the_same(trained: train.Training, quick: Evaluation, tmp_path: Path) -> None:
    save_model(trained.model, tmp_path / "words.lsm")
    again = evaluate(load_model(tmp_path / "words.lsm"), "words.lsm", quick=True)
    assert as_json(again, []) == as_json(quick, [])


def test_without_a_compiler_it_is_the_same(
    trained: train.Training, quick: Evaluation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "liquid_for", lambda model: (GoldenLiquid(model), "golden"))
    slow = as_json(evaluate(trained.model, "words.lsm", quick=True), [])
    assert slow.pop("implementation") == "golden"
    fast = as_json(quick, [])
    fast.pop("implementation")
    assert slow == fast


@pytest.mark.parametrize("kind", ["none", "random"])
def test_leave_one_group_out_judges_each_group_by_a_model_that_has_not_heard_it(
    words: Path, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(
        words, tmp_path, dirs_exist_ok=True, ignore=shutil.ignore_patterns("us-*", "gb-f1*", "gb-a*", "rp-*", "s*-*")
    )
    if kind == "none":  # and a noise that lies beside the config
        (tmp_path / "noises").mkdir()
        shutil.copy(next((tmp_path / "words" / "go").glob("*.wav")), tmp_path / "noises")
        noise = {"kinds": ["folder"], "folder": "noises"}
        monkeypatch.setitem(SETTINGS, "augment", {"copies": 1, "noise": noise})
    monkeypatch.setitem(SETTINGS, "reservoir", {**SETTINGS["reservoir"], "topology": {"kind": kind}})
    training = trained_on(tmp_path, split={"kind": "leave-one-group-out"})
    found = evaluate(training.model, "words.lsm", quick=True)
    assert found.n_folds == len(training.folds) == 2
    assert found.scores.total.of == len(training.recordings)
    assert {name: share.accuracy for name, share in found.scores.groups.items()} == {
        fold.name: fold.accuracy_quantised for fold in training.folds
    }


def test_a_live_recurrent_liquid_that_rejects(words: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for section, live in LIVE.items():
        monkeypatch.setitem(SETTINGS, section, {**SETTINGS.get(section, {}), **live})
    monkeypatch.setitem(SETTINGS, "reservoir", {**SETTINGS["reservoir"], **RECURRENT, "n_neurons": 16})
    monkeypatch.setitem(SETTINGS, "decision", {**SETTINGS["decision"], "reject_error": 0.001})
    training = trained_on(words)
    found = evaluate(training.model, "words.lsm")
    assert found.scores.total.accuracy == training.accuracy_quantised
    assert found.scores.rejected == training.folds[0].rejected.sum() > 0
    assert found.scores.answered.accuracy > found.scores.total.accuracy
    assert found.liquid.branching is not None
    assert found.liquid.branching.trials > 0
    assert found.liquid.worth is None


def test_other_recordings_can_be_named(words: Path, tmp_path: Path, trained: train.Training, quick: Evaluation) -> None:
    shutil.copytree(words / "words", tmp_path / "elsewhere")
    found = evaluate(trained.model, "words.lsm", data=tmp_path / "elsewhere", quick=True)
    assert as_json(found, []) == as_json(quick, [])


@pytest.mark.parametrize("provenance", [{}, {"config": {}}, {"data": "x"}])
def test_a_model_that_does_not_say_where_it_is_from(trained: train.Training, provenance: dict[str, Any]) -> None:
    model = Model(trained.model.manifest, trained.model.tables, provenance)
    with pytest.raises(DataError, match=r"words\.lsm: does not say which recordings"):
        evaluate(model, "words.lsm")


def test_missing_recordings_are_named_with_the_way_out(trained: train.Training, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nowhere.*--data"):
        evaluate(trained.model, "words.lsm", data=tmp_path / "nowhere")


def test_recordings_of_other_words_are_refused(words: Path, trained: train.Training, tmp_path: Path) -> None:
    shutil.copytree(words / "words", tmp_path / "words")
    (tmp_path / "words" / "go").rename(tmp_path / "words" / "come")
    with pytest.raises(DataError, match=r"come, no, stop; words\.lsm knows go, no, stop"):
        evaluate(trained.model, "words.lsm", data=tmp_path / "words")


def test_every_stage_reports_progress(trained: train.Training) -> None:
    seen: dict[str, list[tuple[int, int]]] = {}

    @contextmanager
    def stage(title: str, _total: int | None) -> Iterator[Callable[[int, int], None]]:
        seen[title] = []
        yield lambda done, of: seen[title].append((done, of))

    evaluate(trained.model, "words.lsm", quick=True, stage=stage)
    assert list(seen) == ["read recordings", "frontend", "test", "noise, gain, shift", "flip bits", "liquid"]
    assert seen["flip bits"][-1] == (20, 20)
    assert seen["noise, gain, shift"][-1] == (8, 8)
