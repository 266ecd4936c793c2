"""Training: the same recordings make the same model, and it knows words from voices it has never heard."""

from __future__ import annotations

import shutil
import wave
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from models import LIVE, RECURRENT, sound
from needs import need_host_compiler

from lsm_edge import golden
from lsm_edge.config import Config, parse_config
from lsm_edge.errors import DataError
from lsm_edge.learn import ablate, train, trainer
from lsm_edge.learn.liquid import GoldenLiquid
from lsm_edge.model import load_model, save_model

WORDS = ("go", "no", "stop")
SETTINGS: dict[str, Any] = {
    "name": "words",
    "seed": 3,
    "dataset": {
        "path": "words",
        "pattern": r"/(?P<group>[a-z0-9-]+)_\d+\.wav$",
        "split": {"kind": "pattern", "test": r"/(us-m1|gb-f1|rp-david)_"},
    },
    "frontend": {"n_bands": 12},
    "reservoir": {"n_neurons": 48, "steps_per_frame": 2},
    "readout": {"strengths": [300.0]},
}


@pytest.fixture(scope="module")
def words(tmp_path_factory: pytest.TempPathFactory, root: Path) -> Path:
    """Three of the shipped words by twelve voices, in a folder `words`; returns the folder above."""
    folder = tmp_path_factory.mktemp("train")
    for word in WORDS:
        voices = sorted(
            {path.stem.rpartition("_")[0] for path in (root / "examples" / "keywords" / word).glob("*.wav")}
        )
        chosen = {
            "us-m1",
            "gb-f1",
            "rp-david",
            *[voice for voice in voices if voice.startswith(("gb", "us", "rp", "n"))][:9],
        }
        (folder / "words" / word).mkdir(parents=True)
        for voice in chosen:
            for path in (root / "examples" / "keywords" / word).glob(f"{voice}_*.wav"):
                shutil.copy(path, folder / "words" / word)
    return folder


def config_of(**sections: Any) -> Config:
    return parse_config(
        {**SETTINGS, **{name: {**SETTINGS.get(name, {}), **over} for name, over in sections.items()}}, "a"
    )


@pytest.fixture(scope="module")
def trained(words: Path) -> train.Training:
    need_host_compiler()
    return train.train(config_of(), root=words)


def test_it_knows_words_from_voices_it_has_not_heard(trained: train.Training) -> None:
    """Chance is a third; a few neurons do for three words."""
    assert trained.implementation == "native"
    assert trained.accuracy_float > 0.8
    assert abs(trained.accuracy_quantised - trained.accuracy_float) <= 0.1
    (fold,) = trained.folds
    assert fold.n_train + fold.n_test == len(trained.recordings)
    assert fold.n_test == len(trained.test) == 18
    assert set(fold.ablations) == {ablate.BANDS, ablate.DELTAS} == set(trained.ablations)
    assert all(0.4 < accuracy <= 1 for accuracy in fold.ablations.values())


def test_the_score_is_that_of_the_model(trained: train.Training) -> None:
    """Heard again by the golden model, the test part is recognised as often as training said."""
    clips = [trained.recordings.clips[i].samples for i in trained.test]
    labels = [clip.label for clip in golden.run_clips(trained.model, clips)]
    assert np.mean(labels == trained.recordings.targets[trained.test]) == trained.accuracy_quantised


def test_training_again_makes_the_same_model(trained: train.Training, words: Path, tmp_path: Path) -> None:
    again = train.train(config_of(), root=tmp_path, data=words / "words")
    assert again.model.digest == trained.model.digest
    assert again.accuracy_quantised == trained.accuracy_quantised


def test_another_seed_makes_another_model(trained: train.Training, words: Path) -> None:
    other = train.train(config_of().model_copy(update={"seed": 4}), root=words)
    assert other.model.digest != trained.model.digest


def test_a_readout_of_four_bits_that_rejects_and_a_liquid_of_the_best(trained: train.Training, words: Path) -> None:
    """As many neurons as asked for, chosen from more; and of what is accepted, few answers are wrong."""
    need_host_compiler()
    n = trained.model.manifest.reservoir.n_neurons
    sections = {"readout": {"weight_bits": 4, "choose_by": "squared_error"}, "decision": {"reject_error": 0.02}}
    small = train.train(config_of(**sections, reservoir={"n_candidates": 2 * n}), root=words)
    assert small.model.manifest.reservoir.n_neurons == n
    saved = trained.model["readout_weight"].nbytes - small.model["readout_weight"].nbytes
    assert saved == trained.model["readout_weight"].nbytes // 2
    assert small.model.table_bytes == trained.model.table_bytes - saved + 4
    assert abs(small.accuracy_quantised - small.accuracy_float) <= 0.1
    assert trained.rejection is None
    assert small.rejection is not None
    classes = small.folds[0].rejected, small.folds[0].recognised
    assert small.rejection["rejected"] == classes[0].mean() < 0.9
    assert small.rejection["error_of_accepted"] <= 1 - small.accuracy_quantised


def test_a_model_that_says_how_sure_it_is(trained: train.Training, words: Path) -> None:
    need_host_compiler()
    sure = train.train(config_of(decision={"confidence": True}), root=words)
    assert sure.model.table_bytes == trained.model.table_bytes + 3
    assert (sure.accuracy_quantised, trained.calibration) == (trained.accuracy_quantised, None)
    assert sure.calibration is not None
    assert sure.calibration["mean"] == sure.folds[0].confidence.mean()
    assert sure.calibration["error"] < 0.25
    assert ((sure.folds[0].confidence > 0.2) & (sure.folds[0].confidence <= 1)).all()


@pytest.mark.parametrize("sections", [{}, {"reservoir": RECURRENT}, LIVE])
def test_without_a_compiler_the_same_model_comes_out(
    sections: dict[str, Any], words: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    need_host_compiler()
    config = config_of(**{**sections, "reservoir": {"n_neurons": 12, **sections.get("reservoir", {})}})
    native = train.train(config, root=words)
    monkeypatch.setattr(trainer, "liquid_for", lambda model: (GoldenLiquid(model), "golden"))
    python = train.train(config, root=words)
    assert (native.implementation, python.implementation) == ("native", "golden")
    assert python.model.digest == native.model.digest
    assert python.accuracy_quantised == native.accuracy_quantised


def test_without_a_compiler_it_says_so(words: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lsm_edge.learn.liquid.host_compiler", lambda: None)
    config = config_of(reservoir={"n_neurons": 4}, frontend={"n_bands": 8, "window_samples": 128})
    assert train.train(config, root=words).implementation == "golden"


def test_recurrence_is_scaled_by_the_thresholds(words: Path) -> None:
    need_host_compiler()
    trained = train.train(config_of(reservoir=RECURRENT), root=words)
    assert trained.model.manifest.reservoir.n_synapses > 100
    assert trained.accuracy_quantised > 0.7


def test_what_recurrence_adds_is_told(trained: train.Training, words: Path) -> None:
    """Without it, the same seed is the model that `topology: {kind: none}` trains."""
    need_host_compiler()
    recurrent = train.train(config_of(reservoir=RECURRENT), root=words)
    worth = recurrent.recurrence
    assert worth is not None
    assert worth.accuracy_without == pytest.approx(trained.accuracy_quantised)
    gained = recurrent.accuracy_quantised - trained.accuracy_quantised
    assert worth.added_points == pytest.approx(100 * gained, abs=1e-9)
    assert worth.table_bytes == recurrent.model.table_bytes - trained.model.table_bytes
    assert trained.recurrence is None


def test_leave_one_group_out(words: Path) -> None:
    """A model a group judges; the one that is returned has heard everybody."""
    need_host_compiler()
    config = config_of(dataset={"split": {"kind": "leave-one-group-out"}}, reservoir={"n_neurons": 16})
    trained = train.train(config, root=words)
    groups = sorted({str(group) for group in trained.recordings.groups})
    assert sorted(fold.name for fold in trained.folds) == groups
    assert len({fold.model.digest for fold in trained.folds} | {trained.model.digest}) == len(groups) + 1
    assert trained.accuracy_quantised == pytest.approx(np.mean([fold.accuracy_quantised for fold in trained.folds]))
    assert len(trained.test) == len(trained.recordings)
    assert trained.accuracy_quantised > 0.6


def test_how_far_it_is_is_told(words: Path) -> None:
    need_host_compiler()
    told: list[str] = []

    @contextmanager
    def stage(title: str, _total: int | None) -> Iterator[Callable[[int, int], None]]:
        told.append(title)
        yield lambda done, of: told.append(f"{title} {done}/{of}")

    trained = train.train(config_of(reservoir={"n_neurons": 16}), root=words, stage=stage)
    n = len(trained.recordings)
    assert {"read recordings", "frontend", "train and test"} <= set(told)
    assert {f"read recordings {n}/{n}", f"frontend {n}/{n}", "train and test 1/1"} <= set(told)


def test_the_model_knows_where_it_comes_from(trained: train.Training, words: Path, tmp_path: Path) -> None:
    save_model(trained.model, tmp_path / "a.lsm")
    provenance = load_model(tmp_path / "a.lsm").provenance
    assert parse_config(dict(provenance["config"]), "a") == config_of()
    assert not Path(provenance["data"]).is_absolute()
    assert Path(provenance["data"]).resolve() == (words / "words").resolve()


def test_a_recording_shorter_than_a_hop_is_named(tmp_path: Path) -> None:
    for word in WORDS:
        (tmp_path / "words" / word).mkdir(parents=True)
        for take in range(4):
            with wave.open(str(tmp_path / "words" / word / f"us-m1_{take}.wav"), "wb") as file:
                file.setparams((1, 2, 8000, 0, "NONE", ""))
                n_hops = 0 if (word, take) == ("no", 2) else 30
                file.writeframes(sound(take, n_hops, rest=5).tobytes())
    with pytest.raises(DataError, match=r"no/us-m1_2.wav: is shorter than one hop \(8.0 ms\); 1 such"):
        train.train(config_of(dataset={"split": {"kind": "random"}}), root=tmp_path)
