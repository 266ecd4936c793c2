"""Wiring: drawn tables keep what their docstrings promise, and each is drawn by itself."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from models import LABELS, RECURRENT, small_config, small_model, sound
from numpy.typing import NDArray

from lsm_edge.config import Frontend
from lsm_edge.errors import ConfigError
from lsm_edge.golden import TAPS, run_clips
from lsm_edge.learn import wire
from lsm_edge.learn.draw import Draw
from lsm_edge.stages.encoder import input_matrix
from lsm_edge.stages.reservoir import recurrent_matrix


def drawn_weights(seed: int = 1, **reservoir: Any) -> NDArray[np.float64]:
    return wire.wire_recurrent(small_config(reservoir=reservoir), Draw(seed, 0))


# Delta lines.


@pytest.mark.parametrize(("fan_in", "heard"), [(1, 1), (5, 5), (64, 16)])
def test_delta_neurons_hear_so_many_lines(fan_in: int, heard: int) -> None:
    """Of 16 lines, no more than there are; a weight that rounds to nothing is no synapse."""
    model = small_model(encoder={"kind": "delta", "fan_in": fan_in, "norm": 127}, reservoir={"n_neurons": 300})
    matrix = input_matrix(model)
    per_neuron = (matrix != 0).sum(axis=0)
    assert per_neuron.max() == heard
    assert per_neuron.mean() > 0.9 * heard
    assert np.abs(np.linalg.norm(matrix, axis=0) - 127).max() < 4
    assert model.manifest.encoder.n_synapses == np.count_nonzero(matrix)


def test_more_delta_synapses_than_a_start_can_count_are_refused() -> None:
    many = {"frontend": {"window_samples": 512, "n_bands": 32}, "reservoir": {"n_neurons": 2048}}
    with pytest.raises(
        ConfigError, match=r"encoder.fan_in: 40 lines to each of 2048 .* at most 65535 .* fan_in of 31\)"
    ):
        small_model(encoder={"kind": "delta", "fan_in": 40}, **many)


# Recurrence.


@pytest.mark.parametrize("topology", [{"kind": "random"}, {"kind": "maass", "reach": 8.0}])
@pytest.mark.parametrize("fan_in", [1, 7, 256])
def test_every_neuron_hears_so_many_others(topology: dict[str, Any], fan_in: int) -> None:
    weights = drawn_weights(n_neurons=60, topology={**topology, "fan_in": fan_in})
    assert ((weights != 0).sum(axis=0) == min(fan_in, 59)).all()
    assert not weights.diagonal().any()


@pytest.mark.parametrize("share", [0.0, 0.3, 0.8, 1.0])
def test_a_neuron_is_excitatory_or_inhibitory(share: float) -> None:
    """All its synapses have one sign; about `share` of neurons are excitatory."""
    weights = drawn_weights(
        n_neurons=600, excitatory_share=share, inhibition=4.0, topology={"kind": "random", "fan_in": 8}
    )
    positive, negative = (weights > 0).any(axis=1), (weights < 0).any(axis=1)
    assert not (positive & negative).any()
    assert abs(positive.mean() - share) < 0.06
    if 0 < share < 1:
        assert -weights[weights < 0].mean() / weights[weights > 0].mean() == pytest.approx(4, rel=0.1)


def test_near_neurons_are_connected_more_often() -> None:
    """Maass et al.: C exp(-(d / reach)^2) on a grid four neurons wide and deep."""
    weights = drawn_weights(n_neurons=400, topology={"kind": "maass", "columns": 4, "reach": 2.0, "fan_in": 6})
    place = np.arange(400)
    grid = np.stack([place % 4, place // 4 % 4, place // 16], axis=1)
    distance = np.sqrt(((grid[:, None] - grid[None]) ** 2).sum(axis=-1))
    chance = [
        (weights[(distance > low) & (distance <= high)] != 0).mean() for low, high in [(0, 1), (1, 2), (2, 4), (4, 8)]
    ]
    assert chance == sorted(chance, reverse=True)
    assert chance[0] > 3 * chance[2] > 0
    assert chance[3] < 0.001


def test_who_connects_to_whom() -> None:
    """At one distance, pairs are connected by kind: 0.3 from E to E, 0.4 from I to E, 0.2 from E to I, 0.1 I to I."""
    weights = np.stack(
        [
            drawn_weights(
                seed, n_neurons=64, excitatory_share=0.5, topology={"kind": "maass", "reach": 16.0, "fan_in": 8}
            )
            for seed in range(30)
        ]
    )
    counts = np.zeros((2, 2))
    pairs = np.zeros((2, 2))
    for one in weights:
        excitatory = (one > 0).any(axis=1).astype(int)
        for source in (0, 1):
            for target in (0, 1):
                block = one[np.ix_(excitatory == source, excitatory == target)]
                counts[source, target] += np.count_nonzero(block)
                pairs[source, target] += block.size
    chance = counts / pairs
    assert chance[0, 1] / chance[1, 1] == pytest.approx(0.4 / 0.3, rel=0.15)  # onto excitatory ones
    assert chance[1, 0] / chance[0, 0] == pytest.approx(0.2 / 0.1, rel=0.25)  # onto inhibitory ones


@pytest.mark.parametrize(("n_neurons", "fan_in"), [(8, 4), (64, 16), (100, 24), (256, 4)])
def test_blocks_of_four(n_neurons: int, fan_in: int) -> None:
    """Everybody hears and reaches `fan_in` others; four neighbours hear the same ones; nobody hears its own four."""
    weights = drawn_weights(n_neurons=n_neurons, topology={"kind": "blocks", "fan_in": fan_in})
    synapses = weights != 0
    assert (synapses.sum(axis=0) == fan_in).all()
    assert (synapses.sum(axis=1) == fan_in).all()
    blocks = synapses.reshape(n_neurons, -1, 4)
    assert (blocks.all(axis=2) == blocks.any(axis=2)).all()
    assert not blocks[np.arange(n_neurons), np.arange(n_neurons) // 4].any()
    if n_neurons > 50:
        assert (weights[synapses] > 0).mean() == pytest.approx(0.8, abs=0.05)


@pytest.mark.parametrize("unit", [0.5, 300.0])
def test_blocks_stay_whole_when_quantised(unit: float) -> None:
    """A weight of zero is kept: the generator packs only rows of whole blocks."""
    config = small_config(reservoir={"n_neurons": 66, "topology": {"kind": "blocks", "fan_in": 8}})
    model = wire.draft(config, LABELS, recurrent_unit=unit)
    targets = model["recurrent_target"].reshape(-1, 4)
    assert not (model["recurrent_start"] % 4).any()
    assert (targets == targets[:, :1] // 4 * 4 + np.arange(4)).all()
    assert targets.max() < 64
    assert model.manifest.reservoir.n_synapses == targets.size


def test_a_neuron_out_of_everybodys_reach_is_left_alone() -> None:
    weights = drawn_weights(n_neurons=40, topology={"kind": "maass", "columns": 4, "reach": 0.03, "fan_in": 4})
    assert not weights.any()


@pytest.mark.parametrize("n_neurons", [1, 2])
def test_the_smallest_liquids(n_neurons: int) -> None:
    assert np.count_nonzero(drawn_weights(n_neurons=n_neurons, topology={"kind": "random"})) == 2 * (n_neurons - 1)


@pytest.mark.parametrize(
    "reservoir",
    [
        {"topology": {"kind": "maass", "reach": 0.03}},
        {"topology": {"kind": "random"}, "excitatory_share": 0.0, "inhibition": 0.0},
        {"n_neurons": 1, "topology": {"kind": "random"}},
        {"n_neurons": 7, "topology": {"kind": "blocks"}},
    ],
)
def test_a_topology_without_a_synapse_is_refused(reservoir: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"reservoir.topology: .* without a synapse"):
        small_model(reservoir=reservoir)


@pytest.mark.parametrize("unit", [1.0, 30.0, 300.0, 5000.0])
def test_quantised_weights_are_near_the_drawn_ones(unit: float) -> None:
    """int8 and one shift; only what lies beyond 127 * 2**8 is cut."""
    config = small_config(reservoir={**RECURRENT, "n_neurons": 60})
    model = wire.draft(config, LABELS, recurrent_unit=unit)
    wanted = wire.wire_recurrent(config, Draw(config.seed, 2)) * unit
    shift = model.manifest.reservoir.weight_shift
    got = recurrent_matrix(model) * 2**shift
    assert np.abs(got - np.clip(wanted, -127 * 256, 127 * 256)).max() <= 2**shift / 2
    assert shift == 0 or np.abs(wanted).max() > 127 * 2 ** (shift - 1)


def test_delays_are_drawn_from_all_that_are_allowed() -> None:
    model = small_model(reservoir={**RECURRENT, "n_neurons": 100, "max_delay_steps": 5})
    assert set(model["delay_steps"].tolist()) == {1, 2, 3, 4, 5}


# Together.


def test_adding_recurrence_leaves_the_rest_as_it_was() -> None:
    plain = wire.draft(small_config(), LABELS)
    recurrent = wire.draft(small_config(reservoir=RECURRENT), LABELS, recurrent_unit=300.0)
    assert set(recurrent.tables) - set(plain.tables) == {
        "delay_steps", "recurrent_start", "recurrent_target", "recurrent_weight",
    }  # fmt: skip
    assert all(np.array_equal(plain[name], recurrent[name]) for name in plain.tables)


def test_another_encoder_leaves_leaks_and_recurrence_as_they_were() -> None:
    one = wire.draft(small_config(reservoir=RECURRENT), LABELS, recurrent_unit=300.0)
    other = wire.draft(small_config(encoder={"kind": "delta"}, reservoir=RECURRENT), LABELS, recurrent_unit=300.0)
    for name in ("leak_q15", "delay_steps", "recurrent_start", "recurrent_target", "recurrent_weight"):
        assert np.array_equal(one[name], other[name])


def test_the_seed_decides_everything() -> None:
    one, same, other = (small_model(seed=seed, reservoir=RECURRENT) for seed in (1, 1, 2))
    assert one.digest == same.digest
    for name in ("tap_offset", "tap_weight", "leak_q15", "recurrent_target"):
        assert not np.array_equal(one[name], other[name])


def test_a_draft_is_undecided() -> None:
    (clip,) = run_clips(wire.draft(small_config(), LABELS), [sound(1, 20)])
    assert not clip.taps["readout.scores"].any()
    assert set(clip.taps) == set(TAPS)


def test_without_a_unit_there_is_no_recurrence() -> None:
    assert wire.draft(small_config(reservoir=RECURRENT), LABELS).manifest.reservoir.n_synapses == 0


# The front end's tables.


@pytest.mark.parametrize("window", [128, 256, 512, 1024])
def test_window_and_twiddles(window: int) -> None:
    tables = wire.logmel_tables(Frontend(window_samples=window, n_bands=8))
    hann, twiddle = tables["window_q15"].astype(int), tables["twiddle_q15"].astype(int)
    assert hann[0] == 0
    assert hann[window // 2] == 32766
    assert (hann[1:] == hann[1:][::-1]).all()
    assert twiddle[0].tolist() == [32767, 0]
    assert twiddle[window // 4].tolist() == [0, -32767]
    assert np.abs((twiddle**2).sum(axis=1) - 32767**2).max() < 2 * 32768


@pytest.mark.parametrize(("low", "high"), [(0.0, 4000.0), (80.0, 3900.0), (300.0, 3000.0)])
@pytest.mark.parametrize("n_bands", [8, 16])
def test_bands_are_triangles_that_overlap(low: float, high: float, n_bands: int) -> None:
    """Rising in frequency, wider towards the top, and between their centres every bin counts about once."""
    tables = wire.logmel_tables(Frontend(low_hz=low, high_hz=high, n_bands=n_bands))
    start, end = tables["mel_start"].astype(int), tables["mel_end"].astype(int)
    assert start.min() >= 1
    assert end.max() <= 128
    assert (np.diff(start) >= 0).all()
    assert (np.diff(end) >= 0).all()
    assert end[-1] - start[-1] > end[0] - start[0]
    total, used, centres = np.zeros(128), 0, []
    for a, b in zip(start, end, strict=True):
        weights = tables["mel_weight_q8"][used : used + b - a].astype(int)
        peak = int(weights.argmax())
        assert (np.diff(weights[: peak + 1]) >= 0).all()
        assert (np.diff(weights[peak:]) <= 0).all()
        total[a:b] += weights
        centres.append(a + peak)
        used += b - a
    inside = total[centres[2] : centres[-1]]
    assert np.abs(inside - 255).max() <= 2


def test_bands_closer_than_bins_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"frontend.n_bands: 32 bands .* closer than the bins of 128 samples"):
        small_model(frontend={"window_samples": 128, "n_bands": 32, "high_hz": 900})


# Milliseconds and decibels.


def test_units_become_integers() -> None:
    config = small_config(
        frontend={"range_db": 24, "level": "segment_peak", "release_db_per_s": 12.0},
        readout={"state": "trace", "trace_ms": 100.0},
        decision={"max_segment_ms": 1000.0, "every_ms": 100.0, "endpointer": {}},
    )
    manifest = wire.draft(config, LABELS).manifest
    assert (manifest.frontend.hop_samples, manifest.frontend.range_gain) == (64, 4)
    assert manifest.frontend.release_q8 == round(256 * 12 * 0.008 / 0.3762874945799765)
    assert (manifest.decision.max_frames, manifest.decision.every_frames) == (125, 12)
    pointer = manifest.decision.endpointer
    assert pointer is not None
    assert (pointer.onset, pointer.onset_frames, pointer.hang_frames, pointer.preroll_frames) == (32, 3, 25, 8)
    assert pointer.gate == 0
    gated = wire.draft(small_config(decision={"endpointer": {"gate_db": 6.0}}), LABELS).manifest.decision.endpointer
    assert gated is not None
    assert gated.gate == 16
    assert manifest.readout.trace_leak_q15 == round(32768 * np.exp(-0.08))


def test_a_segment_shorter_than_its_beginning_is_refused() -> None:
    """In C it would be written beyond the context."""
    pointer = {"onset_ms": 24.0, "preroll_ms": 64.0}  # 3 and 8 frames of 8 ms
    with pytest.raises(
        ConfigError, match=r"decision.max_segment_ms: 88.0 ms are 11 frames, but a segment begins with 11"
    ):
        small_model(decision={"max_segment_ms": 88.0, "endpointer": pointer})
    small_model(decision={"max_segment_ms": 96.0, "endpointer": pointer})
