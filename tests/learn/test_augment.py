"""Augmented copies: what is done to them, that nothing else decides it, and whose voices babble."""

from __future__ import annotations

import re
import wave
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from models import sound
from numpy.typing import NDArray

from lsm_edge.config import Config, parse_config
from lsm_edge.dataset import Clip, Recordings
from lsm_edge.errors import DataError
from lsm_edge.learn.augment import Copies, copies_of

Samples = NDArray[np.int16]


class Ear:
    """A front end that hands on samples as they are, so that a test sees them; counts what it was given."""

    n_heard = 0

    def hear(self, clips: Sequence[Samples], _progress: object = None) -> list[Samples]:
        self.n_heard += len(clips)
        return list(clips)


def config_of(**augment: Any) -> Config:
    return parse_config({"name": "a", "seed": 5, "dataset": {"path": "."}, "augment": augment}, "a")


def recordings_of(*names: str) -> Recordings:
    """A recording a name, `label_group`, whose sound depends on its name alone."""
    clips = [
        Clip(sound(sum(name.encode()), 20, rest=5), *name.split("_"), path=f"{name}.wav")  # type: ignore[misc]
        for name in names
    ]
    return Recordings(tuple(clips), ("a", "b"))


NAMES = ("a_ann", "a_bob", "a_cid", "a_dan", "b_ann", "b_bob", "b_cid", "b_dan")


def heard(config: Config, names: Sequence[str] = NAMES, train: Sequence[int] | None = None, root: Path = Path()) -> Any:
    """Copies of the chosen recordings, by name: a list each."""
    chosen = np.arange(len(names)) if train is None else np.array(train)
    copies = copies_of(config, recordings_of(*names), root)
    assert copies is not None
    got = copies.heard(Ear(), chosen)  # type: ignore[arg-type]
    return {names[i]: got[k :: len(chosen)] for k, i in enumerate(chosen)}


def same(one: Sequence[Samples], other: Sequence[Samples]) -> bool:
    return len(one) == len(other) and all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


def test_without_the_section_there_are_none() -> None:
    config = parse_config({"name": "a", "dataset": {"path": "."}}, "a")
    assert copies_of(config, recordings_of(*NAMES), Path()) is None


def test_with_nothing_asked_for_copies_are_copies() -> None:
    got = heard(config_of(copies=2))
    for clip in recordings_of(*NAMES).clips:
        assert same(got[clip.path[:-4]], [clip.samples, clip.samples])


EVERYTHING = {
    "copies": 3,
    "speed": [0.8, 1.25],
    "lead_ms": [0, 50],
    "trail_ms": [10, 20],
    "noise": {"kinds": ["none", "white", "pink"], "snr_db": [0, 20]},
    "gain_db": [-20, 0],
    "clip_share": [0, 0.1],
}


def test_a_copy_depends_on_no_other_recording() -> None:
    """Not on those that were added to the folder, nor on those of the training part."""
    all_of_them = heard(config_of(**EVERYTHING))
    fewer = heard(config_of(**EVERYTHING), NAMES[1::2])
    part = heard(config_of(**EVERYTHING), train=[6, 2])
    assert all(same(all_of_them[name], fewer[name]) for name in fewer)
    assert all(same(all_of_them[name], part[name]) for name in part)
    first, second, third = all_of_them["a_ann"]
    assert len({bytes(copy) for copy in (first, second, third)}) == 3


def test_one_change_leaves_the_draws_of_another_alone() -> None:
    """With the speed unset, the same lead is added as with it."""
    plain = recordings_of(*NAMES).clips[0].samples
    slow = heard(config_of(lead_ms=[0, 50], speed=[0.5, 0.5]))["a_ann"]
    (first, *_) = heard(config_of(lead_ms=[0, 50]))["a_ann"]
    assert len(slow[0]) - 2 * len(plain) == len(first) - len(plain)


def test_another_seed_another_draw() -> None:
    config = config_of(**EVERYTHING)
    other = heard(config.model_copy(update={"seed": 6}))
    assert not any(same(copies, other[name]) for name, copies in heard(config).items())


def test_what_each_change_does() -> None:
    plain = recordings_of(*NAMES).clips[0].samples
    wide = plain.astype(int)
    (fast,) = heard(config_of(copies=1, speed=[1.25, 1.25]))["a_ann"]
    assert len(fast) == -(-len(plain) * 100 // 125)
    (quiet,) = heard(config_of(copies=1, gain_db=[-20, -20]))["a_ann"]
    assert np.abs(quiet - wide / 10).max() <= 0.5
    (loud,) = heard(config_of(copies=1, gain_db=[40, 40]))["a_ann"]
    assert {loud.min(), loud.max()} == {-32768, 32767}
    (clipped,) = heard(config_of(copies=1, clip_share=[0.1, 0.1]))["a_ann"]
    assert ((clipped != plain).mean()) == pytest.approx(0.1, abs=0.01)
    assert (np.abs(clipped) <= np.abs(wide)).all()
    (late,) = heard(config_of(copies=1, lead_ms=[30, 30], trail_ms=[10, 10]))["a_ann"]
    assert (late[240:-80] == plain).all()
    power = [float((part.astype(float) ** 2).mean()) for part in (late[:240], late[-80:], plain)]
    assert 0 < power[0] < 1e-4 * power[2]
    assert 0 < power[1] < 1e-4 * power[2]
    (noisy,) = heard(config_of(copies=1, noise={"kinds": ["white"], "snr_db": [10, 10]}))["a_ann"]
    assert ((noisy - wide) ** 2).mean() == pytest.approx((wide**2).mean() / 10, rel=0.15)


def test_the_loudest_sample_there_is_can_be_clipped() -> None:
    recordings = Recordings((Clip(np.array([-32768] * 70 + [5] * 70, np.int16), "a", None, "a.wav"),), ("a", "b"))
    copies = copies_of(config_of(copies=1, clip_share=[0, 0]), recordings, Path())
    assert copies is not None
    (copy,) = copies.heard(Ear(), np.array([0]))  # type: ignore[arg-type]
    assert (copy == recordings.clips[0].samples).all()


def test_a_copy_is_never_shorter_than_a_hop() -> None:
    recordings = Recordings((Clip(sound(1, 1, rest=3), "a", None, "a.wav"),), ("a", "b"))
    copies = copies_of(config_of(copies=1, speed=[2.0, 2.0]), recordings, Path())
    assert copies is not None
    (copy,) = copies.heard(Ear(), np.array([0]))  # type: ignore[arg-type]
    assert len(copy) == 64


def test_kinds_of_noise_come_in_turn() -> None:
    """Every second copy is left as it was, of some recordings the first, of others the second."""
    got = heard(config_of(copies=2, noise={"kinds": ["none", "white"]}))
    plain = {clip.path[:-4]: clip.samples for clip in recordings_of(*NAMES).clips}
    untouched = {name: [np.array_equal(copy, plain[name]) for copy in copies] for name, copies in got.items()}
    assert all(sum(copies) == 1 for copies in untouched.values())
    assert len({copies[0] for copies in untouched.values()}) == 2


BABBLE = {"copies": 2, "noise": {"kinds": ["babble"], "snr_db": [0, 10]}}


def voices(copies: Copies, train: Sequence[int]) -> dict[tuple[int, int], tuple[int, ...]]:
    copies.heard(Ear(), np.array(train))  # type: ignore[arg-type]
    return {(i, copy): voices for i, copy, voices in copies._frames}


def test_babble_is_of_others_in_the_training_part() -> None:
    copies = copies_of(config_of(**BABBLE), recordings_of(*NAMES), Path())
    assert copies is not None
    train = [0, 1, 2, 4, 5]
    for (i, _), heard_there in voices(copies, train).items():
        assert sorted(heard_there) == [k for k in train if k != i]  # fewer than babble takes: all of them


def test_babble_changes_only_where_a_voice_does() -> None:
    """A recording more in the training part: most babble is made of the voices that it was made of before."""
    names = [f"{'ab'[k % 2]}_{k:03}" for k in range(200)]
    everybody = range(len(names))
    one = copies_of(config_of(**BABBLE), recordings_of(*names), Path())
    other = copies_of(config_of(**BABBLE), recordings_of(*names), Path())
    assert one is not None
    assert other is not None
    whole, without = voices(one, everybody), voices(other, [i for i in everybody if i != 17])
    assert all(len(picked) == 6 and 17 not in picked for picked in without.values())
    changed = [key for key in without if whole[key] != without[key]]
    assert changed
    assert all(17 in whole[key] for key in changed)


def test_with_nobody_to_babble_it_says_so() -> None:
    with pytest.raises(DataError, match=r"a_ann.wav: augment.noise.kinds: babble needs another recording"):
        heard(config_of(**BABBLE), ["a_ann", "b_ann"], [0])


def test_what_was_heard_is_not_heard_again() -> None:
    """Of another training part only the babble is new."""
    recordings, ear = recordings_of(*NAMES), Ear()
    copies = copies_of(config_of(copies=2, noise={"kinds": ["white", "babble"]}), recordings, Path())
    assert copies is not None
    copies.heard(ear, np.arange(8))  # type: ignore[arg-type]
    assert ear.n_heard == 16
    copies.heard(ear, np.arange(8))  # type: ignore[arg-type]
    assert ear.n_heard == 16
    copies.heard(ear, np.arange(4))  # type: ignore[arg-type]
    assert ear.n_heard == 20


def write_wav(path: Path, samples: Samples) -> None:
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, 8000, 0, "NONE", ""))
        file.writeframes(samples.tobytes())


OWN = {"copies": 1, "noise": {"kinds": ["folder"], "folder": "hum", "snr_db": [20, 20]}}


def test_noise_of_the_users_own(tmp_path: Path) -> None:
    """A short hum is repeated, from anywhere."""
    (tmp_path / "hum").mkdir()
    hum = np.tile(np.array([1000, 300, -1000, -300], np.int16), 25)
    write_wav(tmp_path / "hum" / "hum.wav", hum)
    got = heard(config_of(**OWN), root=tmp_path)
    for clip in recordings_of(*NAMES).clips:
        added = got[clip.path[:-4]][0].astype(float) - clip.samples
        assert (np.abs(added[4:] - added[:-4]) <= 1).mean() > 0.9  # but where the sum is clipped
        assert np.abs(added).max() > 10


def test_noise_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    for expected in ("hum: no such folder, or no WAV file", r"a.wav: .* \(augment.noise.folder\)", "b.wav: is silent"):
        with pytest.raises(DataError, match=expected):
            heard(config_of(**OWN), root=tmp_path)
        (tmp_path / "hum").mkdir(exist_ok=True)
        if "hum" in expected:
            (tmp_path / "hum" / "a.wav").write_bytes(b"RIFF")
        else:
            (tmp_path / "hum" / "a.wav").unlink(missing_ok=True)
            write_wav(tmp_path / "hum" / "b.wav", np.zeros(100, np.int16))


def test_the_section_that_the_guide_shows(root: Path) -> None:
    guide = (root / "docs" / "training.md").read_text(encoding="utf-8")
    shown = re.search(r"```yaml\n(augment:\n.*?)```", guide, re.DOTALL)
    assert shown is not None
    config = parse_config({"name": "a", "dataset": {"path": "."}, **yaml.safe_load(shown[1])}, "docs/training.md")
    assert config.augment is not None
    assert config.augment.model_fields_set == set(type(config.augment).model_fields)
