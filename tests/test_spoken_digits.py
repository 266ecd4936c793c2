"""The main job on real speech: the Free Spoken Digit Dataset (see `shared_data`), from WAV files to proven firmware."""

from __future__ import annotations

from pathlib import Path

import interpreter
import numpy as np
import pytest
from shared_data import shared_data

from lsm_edge import golden
from lsm_edge.board import load_board
from lsm_edge.config import load_config
from lsm_edge.learn.train import Training, train
from lsm_edge.model import load_model, save_model
from lsm_edge.target.build import build_project
from lsm_edge.target.codegen import generate_project, write_files
from lsm_edge.target.native import Native
from lsm_edge.target.verify import verify

EXAMPLE = Path(__file__).parents[1] / "examples" / "fsdd.yaml"


@pytest.fixture(scope="module")
def digits() -> Training:
    return train(load_config(EXAMPLE), root=EXAMPLE.parent, data=shared_data("fsdd/recordings"))


def test_official_split(digits: Training) -> None:
    assert [fold.n_test for fold in digits.folds] == [300]
    assert digits.accuracy_quantised >= 0.99
    assert digits.accuracy_float - digits.accuracy_quantised <= 0.005
    assert digits.model.table_bytes <= 32 * 1024
    assert digits.context_bytes <= 12 * 1024
    assert digits.accuracy_quantised > max(digits.ablations.values())


def test_speech_40_db_below_full_scale_is_still_heard(digits: Training) -> None:
    native = Native(digits.model)
    truth = digits.recordings.targets[digits.test]

    def accuracy(peak: float) -> float:
        clips = []
        for i in digits.test:
            samples = digits.recordings.clips[i].samples.astype(np.float64)
            clips.append(np.round(samples * peak / np.abs(samples).max()).astype(np.int16))
        return float((native.stir(native.hear(clips)).classes == truth).mean())

    assert accuracy(32767 * 10 ** (-40 / 20)) >= accuracy(32767) - 0.02


@pytest.mark.parametrize("board_id", ["nucleo_f446re", "nucleo_l476rg", "nucleo_g071rb"])
def test_firmware_is_what_was_trained(digits: Training, board_id: str, tmp_path: Path) -> None:
    """All 300 recordings on the host, 30 on the emulated core, in the ELF that PlatformIO built: no difference."""
    board = load_board(board_id)
    write_files(tmp_path / board_id, generate_project(digits.model, board))
    built = build_project(tmp_path / board_id, board, offline=True)
    clips = [digits.recordings.clips[i] for i in digits.test]
    result = verify(digits.model, clips, elf=built.elf, board=board, n_emulated=30)
    assert [target.recordings for target in result.targets] == [300, 30]
    assert result.differences == 0
    assert result.integers > 40_000_000


def test_interpreter_of_the_documentation_agrees(digits: Training, tmp_path: Path) -> None:
    """On 20 recordings, all taps and their digest (see `interpreter`)."""
    save_model(digits.model, tmp_path / "digits.lsm")
    clips = [digits.recordings.clips[i].samples for i in digits.test[::15]]
    assert len(clips) == 20
    expected = golden.run_clips(load_model(tmp_path / "digits.lsm"), clips)
    model = interpreter.load((tmp_path / "digits.lsm").read_bytes())
    found = [interpreter.run(model, samples.tolist()) for samples in clips]
    assert interpreter.tap_digest(found) == golden.tap_digest(clip.taps for clip in expected)
