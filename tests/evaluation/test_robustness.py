"""Spoiled recordings and flipped bits: what is done to them is what is said, and always the same."""

from __future__ import annotations

import numpy as np
import pytest
from models import small_model, sound

from lsm_edge.dataset import Clip, Recordings
from lsm_edge.evaluation import robustness
from lsm_edge.evaluation.robustness import AFTER, BABBLE, BEFORE, GAIN, WHITE, Plan
from lsm_edge.learn.liquid import GoldenLiquid
from lsm_edge.model import Model

HZ = 8000


def recordings(n: int = 12, groups: int = 3) -> Recordings:
    clips = [
        Clip(sound(i, 30), "yes" if i % 2 else "no", f"voice {i % groups}" if groups else None, f"{i}.wav")
        for i in range(n)
    ]
    return Recordings(tuple(clips), ("no", "yes"))


def planned(of: Recordings, *, seed: int = 1, quick: bool = False) -> dict[str, Plan]:
    return {one.name: one for one in robustness.plan(of, seed, HZ, quick=quick)}


def test_the_curves_and_their_points() -> None:
    plans = planned(recordings())
    assert [list(one.spoils) for one in plans.values()] == [
        [20, 15, 10, 5, 0],
        [20, 15, 10, 5, 0],
        [-10, -20, -30, -40],
        [40, 80, 120, 160],
        [40, 80, 120, 160],
    ]
    assert list(plans) == [WHITE, BABBLE, GAIN, BEFORE, AFTER]
    for name, quick in planned(recordings(), quick=True).items():
        assert set(quick.spoils) < set(plans[name].spoils)


def test_the_same_seed_spoils_the_same_way() -> None:
    first, again, other = planned(recordings()), planned(recordings()), planned(recordings(), seed=2)
    for name in (WHITE, BABBLE, BEFORE, AFTER):
        value = next(iter(first[name].spoils))
        spoiled = first[name].spoils[value](4)
        assert np.array_equal(spoiled, again[name].spoils[value](4))
        assert not np.array_equal(spoiled, other[name].spoils[value](4))


@pytest.mark.parametrize("name", [WHITE, BABBLE])
def test_noise_is_as_loud_as_it_says(name: str) -> None:
    quiet = Recordings(tuple(_scaled(clip, 0.05) for clip in recordings().clips), ("no", "yes"))
    for snr_db, spoil in planned(quiet)[name].spoils.items():
        clean = quiet.clips[4].samples.astype(float)
        added = spoil(4) - clean
        assert 10 * np.log10((clean**2).mean() / (added**2).mean()) == pytest.approx(snr_db, abs=0.2)


def _scaled(clip: Clip, factor: float) -> Clip:
    return Clip((clip.samples * factor).astype(np.int16), clip.label, clip.group, clip.path)


def test_babble_holds_no_voice_of_the_speaker(monkeypatch: pytest.MonkeyPatch) -> None:
    of = recordings()
    heard: list[int] = []

    def listen(_draw: object, voices: list[np.ndarray], n: int) -> np.ndarray:  # type: ignore[type-arg]
        heard.extend(next(i for i, clip in enumerate(of.clips) if clip.samples is voice) for voice in voices)
        return np.ones(n)

    monkeypatch.setattr(robustness.noise, "babble", listen)
    planned(of)[BABBLE].spoils[10](4)
    assert heard
    assert {of.groups[i] for i in heard} == {"voice 0", "voice 2"}


@pytest.mark.parametrize("groups", [1, 2])
def test_too_few_other_voices_make_no_babble(groups: int) -> None:
    assert BABBLE not in planned(recordings(6, groups))


def test_without_groups_all_other_recordings_babble() -> None:
    assert BABBLE in planned(recordings(7, 0))
    assert BABBLE not in planned(recordings(6, 0))


def test_gain_and_shift() -> None:
    plans = planned(recordings())
    samples = recordings().clips[4].samples
    assert np.abs(plans[GAIN].spoils[-20](4) - samples / 10).max() <= 0.5
    before, after = plans[BEFORE].spoils[80](4), plans[AFTER].spoils[80](4)
    assert np.array_equal(before[640:], samples)
    assert np.array_equal(after[:-640], samples)
    rms = np.sqrt((samples.astype(float) ** 2).mean())
    assert 0 < np.abs(before[:640]).max() < rms / 100


def test_curves_hold_what_the_judge_found_and_report_progress() -> None:
    said: list[tuple[int, int]] = []
    plans = [Plan("a", "dB", {3: lambda i: np.full(1, 3, np.int16), 5: lambda i: np.full(1, 5, np.int16)})]
    (curve,) = robustness.curves(plans, lambda spoil: spoil(0)[0] / 10, lambda done, of: said.append((done, of)))
    assert (curve.at(3), curve.at(5), curve.at(4)) == (0.3, 0.5, None)
    assert said == [(1, 2), (2, 2)]


def test_flips_are_single_bits_and_the_rest_is_counted() -> None:
    """The judge sees a model that differs in one bit; what no model may hold is not run."""
    model = small_model()
    said = np.zeros(4, np.int64)
    differences = []

    def classify(altered: Model, table: str) -> np.ndarray:  # type: ignore[type-arg]
        bits = {
            name: int(np.unpackbits(altered[name].view(np.uint8).ravel() ^ model[name].view(np.uint8).ravel()).sum())
            for name in model.tables
        }
        differences.append(sum(bits.values()))
        if differences[-1]:
            assert bits[table] == 1
        return np.array([0, 0, 0, 1 if table == "bias" and differences[-1] else 0])

    flips = robustness.flip_bits(model, classify, said, 1, most=300)
    assert flips.flipped == 300 == len(flips.accuracies) + flips.out_of_range
    assert differences == [0, *[1] * len(flips.accuracies), 0]
    assert flips.out_of_range > 0
    assert flips.worst_table == "bias"
    assert flips.worst == 0.75
    assert flips.harmless == flips.accuracies.count(1.0) > flips.accuracies.count(0.75) > 0
    assert flips.mean == pytest.approx(np.mean(flips.accuracies))


def test_flips_do_not_depend_on_the_order_of_tables() -> None:
    model = small_model()
    turned = Model(model.manifest, dict(reversed(list(model.tables.items()))))
    liquid = GoldenLiquid(model)
    frames = liquid.hear([sound(i, 10) for i in range(3)])

    def classify(altered: Model, _table: str) -> np.ndarray:  # type: ignore[type-arg]
        liquid.load(altered)
        return liquid.stir(frames).classes

    said = np.zeros(3, np.int64)
    assert robustness.flip_bits(model, classify, said, 1, most=30) == robustness.flip_bits(
        turned, classify, said, 1, most=30
    )
