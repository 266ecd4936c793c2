"""examples/keywords and the script that made it."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import shutil
from collections import Counter
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from lsm_edge.config import Config, load_config
from lsm_edge.dataset import Recordings, decode_wav, load_recordings, split_recordings

EXAMPLES = Path(__file__).parents[2] / "examples"
KEYWORDS = EXAMPLES / "keywords"


@pytest.fixture(scope="module")
def config() -> Config:
    return load_config(EXAMPLES / "audio.yaml")


@pytest.fixture(scope="module")
def keywords(config: Config) -> Recordings:
    return load_recordings(config.dataset, root=EXAMPLES, sample_hz=config.frontend.sample_hz)


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_keywords", EXAMPLES / "make_keywords.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def espeak() -> None:
    if shutil.which("espeak-ng") is None:
        pytest.fail("espeak-ng is missing") if os.environ.get("CI") else pytest.skip("espeak-ng is missing")


def test_it_is_small_enough_to_ship() -> None:
    assert sum(path.stat().st_size for path in KEYWORDS.rglob("*")) < 4_000_000


def test_words_voices_and_takes_are_balanced(keywords: Recordings, script: ModuleType) -> None:
    assert {clip.path for clip in keywords.clips} == {take.path for take in script.plan()}
    assert keywords.labels == tuple(sorted(script.WORDS))
    assert set(Counter((clip.label, clip.group) for clip in keywords.clips).values()) == {script.N_TAKES}
    assert len({clip.samples.tobytes() for clip in keywords.clips}) == len(keywords)


def test_files_are_8_khz_16_bit_mono(keywords: Recordings) -> None:
    for clip in keywords.clips:
        data = (KEYWORDS / clip.path).read_bytes()
        assert data[20:36] == bytes.fromhex("0100 0100 401f0000 803e0000 0200 1000")
        assert data[44:] == clip.samples.tobytes()
        assert 0.2 < clip.samples.size / 8000 < 0.8
        assert 3000 < np.abs(clip.samples.astype(int)).max() < 32767


def test_a_quarter_of_the_voices_of_both_sexes_is_new_in_the_test(keywords: Recordings, config: Config) -> None:
    (fold,) = split_recordings(keywords, config.dataset, config.seed)
    trained, tested = ({keywords.groups[i] for i in part} for part in (fold.train, fold.test))
    assert not trained & tested
    assert (len(trained), len(tested)) == (21, 7)
    assert {"nyc-linda", "rp-david"} <= tested


def test_the_plan_is_drawn_by_its_seed(script: ModuleType) -> None:
    assert script.plan() == script.plan()
    assert script.plan(1) != script.plan(2)
    assert len({take.noise_seed for take in script.plan()}) == len(script.plan())


def test_staging_is_deterministic_and_sets_the_peak(script: ModuleType) -> None:
    take = script.plan()[0]
    tone = (9000 * np.sin(np.arange(3000) / 4)).astype(np.int16)
    samples = script.stage(take, np.pad(tone, 1000))
    assert np.array_equal(samples, script.stage(take, np.pad(tone, 5000)))
    assert np.abs(samples.astype(int)).max() == round(32768 * 10 ** (take.peak_db / 20))
    assert np.array_equal(decode_wav(script.as_wav(samples), sample_hz=8000), samples)


@pytest.mark.usefixtures("espeak")
def test_every_voice_sounds_like_no_other(script: ModuleType) -> None:
    """espeak-ng leaves out a speaker that it does not know and says nothing."""
    take = script.plan()[0]._replace(word="stop", pitch=50, words_per_minute=170)
    voices = {*script.VOICES.values(), *(voice.split("+")[0] for voice in script.VOICES.values())}
    heard = {voice: hashlib.sha256(script.speak(take._replace(voice=voice)).tobytes()).digest() for voice in voices}
    assert len(set(heard.values())) == len(voices)


@pytest.mark.usefixtures("espeak")
def test_a_take_can_be_made_again(script: ModuleType) -> None:
    """Another release of espeak-ng may speak a little differently; the word is the same length to a tenth."""
    take = script.plan()[0]
    samples = script.stage(take, script.speak(take))
    assert np.array_equal(samples, script.stage(take, script.speak(take)))
    shipped = decode_wav((KEYWORDS / take.path).read_bytes(), sample_hz=8000)
    assert abs(samples.size / shipped.size - 1) < 0.1


@pytest.mark.usefixtures("espeak")
def test_other_recordings_in_the_way_are_left_alone(script: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "yes").mkdir()
    (tmp_path / "yes" / "mine.wav").write_bytes(b"precious")
    with pytest.raises(SystemExit, match="holds 1 other recordings"):
        script.main(tmp_path)
    assert [path.name for path in tmp_path.rglob("*.wav")] == ["mine.wav"]
