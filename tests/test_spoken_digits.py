"""The main job on real speech: the Free Spoken Digit Dataset (see `shared_data`), from WAV files to proven firmware."""

from __future__ import annotations

from pathlib import Path

import interpreter
import numpy as np
import pytest
from numpy.typing import NDArray
from shared_data import shared_data

from lsm_edge import golden
from lsm_edge.board import load_board
from lsm_edge.config import load_config
from lsm_edge.learn.train import Training, train
from lsm_edge.model import Endpointer, Model, load_model, save_model
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


# Words 0.5 to 1 s apart, all equally loud: the background's kind, and how far it lies below them.
BACKGROUNDS = {"digital silence": ("none", 0), "hiss": ("white", -40), "a fan": ("pink", -20), "hum": ("hum", -40)}


def stream_of(words: list[NDArray[np.int16]], kind: str, below_db: float) -> tuple[NDArray[np.int16], list[range]]:
    """The words as one stream, and where each is."""
    rng, loudness = np.random.default_rng(1), 1500
    parts, places, at = [], [], 0
    for word in words:
        gap = int(rng.uniform(4000, 8000))
        parts += [np.zeros(gap), word * (loudness / np.sqrt(np.mean(np.square(word, dtype=np.float64))))]
        places.append(range(at + gap, at + gap + len(word)))
        at += gap + len(word)
    clean = np.concatenate([*parts, np.zeros(8000)])
    spectrum = np.fft.rfft(rng.normal(size=len(clean)))
    if kind == "pink":
        spectrum /= np.sqrt(np.arange(len(spectrum)) + 1)
    noise = np.fft.irfft(spectrum, len(clean))
    if kind == "hum":
        noise += 3000 + 20 * np.sin(2 * np.pi * 50 / 8000 * np.arange(len(clean)))
    gain = 0 if kind == "none" else loudness / np.std(noise) * 10 ** (below_db / 20)
    return np.clip(np.round(clean + gain * noise), -32768, 32767).astype(np.int16), places


def words_found(model: Model, samples: NDArray[np.int16], places: list[range]) -> tuple[dict[int, int], float]:
    """Each word that a segment lies on, with the class of the last one; and the share of frames that were not made."""
    frames, segments = golden.listen(model, samples)
    made, classes = Native(model).listen(samples)
    assert np.array_equal(made, frames)
    hop = model.manifest.frontend.hop_samples
    found = {}
    for (first, end), label in zip(segments, classes, strict=True):
        overlaps = [min(end * hop, place.stop) - max(first * hop, place.start) for place in places]
        assert max(overlaps) > 0
        found[int(np.argmax(overlaps))] = label
    return found, float((~made.any(axis=1)).mean())


@pytest.mark.parametrize("background", BACKGROUNDS)
def test_the_gate_costs_no_word(digits: Training, background: str) -> None:
    """Of 100 words every one that is found without a gate is found behind one, and classes are as often right."""
    some = digits.test[::3]
    words = [digits.recordings.clips[i].samples for i in some]
    samples, places = stream_of(words, *BACKGROUNDS[background])
    found = {}
    for gate in (0, 16):
        pointer = Endpointer(onset=32, onset_frames=3, hang_frames=25, preroll_frames=8, floor_rise_q8=33, gate=gate)
        manifest = digits.model.manifest
        settings = manifest.decision.model_copy(update={"endpointer": pointer})
        model = Model(manifest.model_copy(update={"decision": settings}), digits.model.tables)
        found[gate], idle = words_found(model, samples, places)
    assert found[16].keys() == found[0].keys() == set(range(len(words)))
    assert idle > 0.25
    truth = digits.recordings.targets[some]
    right = {gate: sum(truth[i] == label for i, label in of.items()) for gate, of in found.items()}
    assert right[16] >= right[0] - 2


def test_interpreter_of_the_documentation_agrees(digits: Training, tmp_path: Path) -> None:
    """On 20 recordings, all taps and their digest (see `interpreter`)."""
    save_model(digits.model, tmp_path / "digits.lsm")
    clips = [digits.recordings.clips[i].samples for i in digits.test[::15]]
    assert len(clips) == 20
    expected = golden.run_clips(load_model(tmp_path / "digits.lsm"), clips)
    model = interpreter.load((tmp_path / "digits.lsm").read_bytes())
    found = [interpreter.run(model, samples.tolist()) for samples in clips]
    assert interpreter.tap_digest(found) == golden.tap_digest(clip.taps for clip in expected)
