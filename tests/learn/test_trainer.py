"""The trainer: one hearing, many models, each blind to what lies outside its training part."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from models import RECURRENT, sound
from needs import need_host_compiler

from lsm_edge.config import Config, parse_config
from lsm_edge.dataset import Clip, Recordings
from lsm_edge.learn.trainer import Trainer

LABELS = ("low", "mid", "high")
NOISE = {"copies": 2, "noise": {"kinds": ["white", "babble"], "snr_db": [0, 20]}, "speed": [0.9, 1.1]}


def config_of(**sections: Any) -> Config:
    laid = {
        "frontend": {"window_samples": 128, "n_bands": 8},
        "reservoir": {"n_neurons": 12, "steps_per_frame": 2},
        "readout": {"strengths": [30.0], "folds": 2},
    }
    for name, over in sections.items():
        laid[name] = {**laid.get(name, {}), **over}
    return parse_config({"name": "tones", "seed": 2, "dataset": {"path": "."}, **laid}, "a")


def tones(*, with_groups: bool = True, changed: tuple[int, ...] = ()) -> Recordings:
    """Four people's tones; those whose number is in `changed` are something else."""
    clips = []
    for take in range(24):
        label, person = take % 3, take // 3 % 4
        hz = 300 * 2**label * (1 + 0.05 * person) * (1 + take / 400)
        n = 1600 + 64 * (take % 5)
        samples = np.round(9000 * np.sin(2 * np.pi * hz * np.arange(n) / 8000)).astype(np.int16)
        if take in changed:
            samples = sound(take, 30)
        clips.append(Clip(samples, LABELS[label], f"p{person}" if with_groups else None, f"{take}.wav"))
    return Recordings(tuple(clips), LABELS)


TRAIN, TEST = np.arange(18), np.arange(18, 24)


@pytest.fixture(autouse=True)
def _compiler() -> None:
    need_host_compiler()


@pytest.mark.parametrize("sections", [{}, {"reservoir": RECURRENT}, {"augment": NOISE}])
def test_nothing_outside_the_training_part_is_looked_at(sections: dict[str, Any]) -> None:
    one = Trainer(config_of(**sections), tones())
    other = Trainer(config_of(**sections), tones(changed=tuple(TEST)))
    assert one.fit(TRAIN).model.digest == other.fit(TRAIN).model.digest


def test_a_model_is_judged_whatever_was_fitted_since() -> None:
    """The liquid that all models share takes each of them up again."""
    for sections in ({}, {"reservoir": RECURRENT}):
        trainer = Trainer(config_of(**sections), tones())
        first = trainer.fit(TRAIN)
        classes, rows = trainer.classify(first, TEST), trainer.features(first, TEST)
        second = trainer.fit(TEST)
        assert second.model.digest != first.model.digest
        assert (trainer.classify(first, TEST) == classes).all()
        assert (trainer.features(first, TEST) == rows).all()
        assert trainer.accuracy(first, TEST) == np.mean(classes == trainer.recordings.targets[TEST])
        assert trainer.fit(TRAIN).model.digest == first.model.digest


def test_frames_are_taken_as_they_were_heard() -> None:
    heard = Trainer(config_of(), tones())
    taken = Trainer(config_of(), tones(), frames=heard.frames)
    assert taken.frames is heard.frames
    assert taken.fit(TRAIN).model.digest == heard.fit(TRAIN).model.digest


def test_copies_change_thresholds_and_readout_and_nothing_else() -> None:
    """The liquid is wired as without them; then it is calibrated on, and the readout fitted on, both kinds."""
    plain = Trainer(config_of(), tones()).fit(TRAIN).model
    augmented = Trainer(config_of(augment=NOISE), tones()).fit(TRAIN).model
    assert augmented.manifest == plain.manifest
    different = {name for name, table in plain.tables.items() if (augmented[name] != table).any()}
    assert {"threshold", "readout_weight"} <= different <= {"threshold", "readout_weight", "length_weight", "bias"}


@pytest.mark.parametrize("with_groups", [False, True])
def test_a_recording_and_its_copies_stay_together(with_groups: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """When a strength is judged; rows are the recordings, then their first copies, then their second."""
    seen: list[Any] = []

    def remember(rows: Any, classes: Any, groups: Any, _settings: Any) -> Any:
        seen.append((rows, classes, groups))
        return remembered(rows, classes, groups, _settings)

    from lsm_edge.learn import trainer as module

    remembered = module.fit_linear
    monkeypatch.setattr(module, "fit_linear", remember)
    recordings = tones(with_groups=with_groups)
    trainer = Trainer(config_of(augment=NOISE), recordings)
    trainer.fit(TRAIN)
    ((rows, classes, groups),) = seen
    assert len(rows) == len(classes) == len(groups) == 3 * len(TRAIN)
    assert (classes == np.tile(recordings.targets[TRAIN], 3)).all()
    assert list(groups) == 3 * ([recordings.groups[i] for i in TRAIN] if with_groups else list(TRAIN))
