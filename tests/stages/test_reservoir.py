"""The liquid's step: its order, by hand; delays, to the step; and C says the same integers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kernels import Kernels
from models import RECURRENT, small_model
from numpy.typing import ArrayLike, NDArray

from lsm_edge.model import Model
from lsm_edge.ranges import ranges_of
from lsm_edge.stages import reservoir
from lsm_edge.stages.reservoir import Liquid
from lsm_edge.target.codegen import choices_of

SEVEN_EIGHTHS = 28672


def neuron(threshold: int = 1000, leak_q15: int = SEVEN_EIGHTHS, **settings: Any) -> Model:
    """A liquid of one neuron."""
    return small_model(
        reservoir={"n_neurons": 1, **settings}, tables={"threshold": [threshold], "leak_q15": [leak_q15]}
    )


def run(model: Model, currents: ArrayLike) -> list[tuple[int, int, bool]]:
    """Membrane potential, refractory counter and spike of a single neuron after each step."""
    liquid, seen = Liquid.at_rest(model, 1), []
    for current in np.asarray(currents):
        fired = reservoir.step(model, liquid, np.array([[current]]))
        seen.append((int(liquid.v[0, 0]), int(liquid.refractory[0, 0]), bool(fired[0, 0])))
    return seen


def test_soft_reset() -> None:
    """decay, integrate, refractory, fire, reset: a neuron that rests still leaks and integrates."""
    assert run(neuron(), [400] * 6) == [
        (400, 0, False),
        (350 + 400, 0, False),
        (656 + 400 - 1000, 1, True),  # floor(656.25)
        (49 + 400, 0, False),
        (392 + 400, 0, False),  # floor(392.875)
        (693 + 400 - 1000, 1, True),
    ]


def test_hard_reset() -> None:
    assert run(neuron(reset="zero"), [400] * 6) == [
        (400, 0, False),
        (750, 0, False),
        (0, 1, True),
        (400, 0, False),
        (750, 0, False),
        (0, 1, True),
    ]


def test_below_zero() -> None:
    """Floor, plus one: -350 exactly becomes -349, -655.4 becomes -655, and rest is reached from below too."""
    assert [v for v, _, _ in run(neuron(), [-400] * 3)] == [-400, -349 - 400, -655 - 400]
    assert run(neuron(), [-400] + [0] * 100)[-1] == (0, 0, False)
    assert run(neuron(), [400] + [0] * 100)[-1] == (0, 0, False)


def test_a_potential_that_equals_the_threshold_fires() -> None:
    assert run(neuron(), [999])[0] == (999, 0, False)
    assert run(neuron(), [1000])[0] == (0, 1, True)


@pytest.mark.parametrize("refractory", [0, 1, 3, 255])
def test_a_neuron_rests_for_so_many_steps(refractory: int) -> None:
    seen = run(neuron(threshold=1, leak_q15=0, refractory_steps=refractory), [100] * 600)
    assert [t for t, (_, _, fired) in enumerate(seen) if fired] == list(range(0, 600, refractory + 1))
    assert [rest for _, rest, _ in seen[: refractory + 1]] == list(range(refractory, -1, -1))


def test_what_gathers_while_resting_is_not_lost() -> None:
    seen = run(neuron(threshold=100, leak_q15=32767, refractory_steps=2), [150, 150, 150, 0])
    assert [fired for _, _, fired in seen] == [True, False, False, True]


def test_potentials_saturate() -> None:
    model = neuron(threshold=32767, leak_q15=32767, refractory_steps=255)
    assert [v for v, _, _ in run(model, [32767, 32767, 32767])] == [0, 32767, 32767]
    assert [v for v, _, _ in run(model, [-32768, -32768])] == [-32768, -32768]


def wired(synapses: list[tuple[int, int, int]], delays: list[int], *, max_delay: int, weight_shift: int = 0) -> Model:
    """A liquid with just these synapses, (source, target, weight); neurons forget from step to step."""
    n = len(delays)
    plain = small_model(reservoir={"n_neurons": n, "refractory_steps": 0}, tables={"leak_q15": 0, "threshold": 10_000})
    counts = {"n_synapses": len(synapses), "max_delay_steps": max_delay, "weight_shift": weight_shift}
    manifest = plain.manifest.model_copy(update={"reservoir": plain.manifest.reservoir.model_copy(update=counts)})
    sources, targets, weights = (np.array(column) for column in zip(*sorted(synapses), strict=True))
    tables = {
        "delay_steps": np.array(delays, np.uint8),
        "recurrent_start": np.searchsorted(sources, np.arange(n + 1)).astype(np.uint32),
        "recurrent_target": targets.astype(np.uint16),
        "recurrent_weight": weights.astype(np.int8),
    }
    return Model(manifest, {**plain.tables, **tables})


def potentials(model: Model, kicks: dict[int, list[int]], n_steps: int) -> list[list[int]]:
    """Each neuron's potential step by step, when the neurons listed for a step are made to fire in it."""
    liquid, seen = Liquid.at_rest(model, 1), []
    for t in range(n_steps):
        current = np.zeros((1, model.manifest.reservoir.n_neurons), np.int64)
        current[0, kicks.get(t, [])] = 10_000
        reservoir.step(model, liquid, current)
        seen.append(liquid.v[0].tolist())
    return np.transpose(seen).tolist()


@pytest.mark.parametrize("max_delay", [1, 2, 3, 128])
@pytest.mark.parametrize("delay", [1, 2, 3, 128])
def test_a_spike_arrives_after_its_delay(delay: int, max_delay: int) -> None:
    """1 is the next step; whatever else the ring of slots is long enough for."""
    if delay > max_delay:
        return
    model = wired([(0, 1, 100)], [delay, 1], max_delay=max_delay)
    for start in (0, 1, 5, 130):
        seen = potentials(model, {start: [0]}, start + delay + 130)
        assert [t for t, v in enumerate(seen[1]) if v] == [start + delay]
        assert max(seen[1]) == 100


def test_spikes_under_way_do_not_disturb_each_other() -> None:
    """Sources of different delays reach one target at once and add up; a source may fire again meanwhile."""
    model = wired([(0, 2, 100), (1, 2, -30)], [4, 2, 1], max_delay=4, weight_shift=3)
    seen = potentials(model, {0: [0], 1: [0], 2: [1], 6: [1]}, 12)
    want = {4: 8 * (100 - 30), 5: 8 * 100, 8: 8 * -30}
    # A potential below zero leaves one behind for a step, as every decay does.
    assert seen[2] == [want.get(t, 1 if want.get(t - 1, 0) < 0 else 0) for t in range(12)]


def test_a_neuron_can_reach_itself_and_a_pair_can_have_two_synapses() -> None:
    model = wired([(0, 0, 5), (0, 1, 7), (0, 1, 8)], [2, 1], max_delay=2)
    assert potentials(model, {0: [0]}, 4) == [[0, 0, 5, 0], [0, 0, 15, 0]]


def test_nothing_happens_without_input() -> None:
    model = small_model(reservoir=RECURRENT)
    liquid = Liquid.at_rest(model, 2)
    for _ in range(20):
        assert not reservoir.step(model, liquid, np.zeros((2, 20), np.int64)).any()
    assert not liquid.v.any()


@given(
    v=st.integers(-32768, 32767),
    resting=st.integers(0, 255),
    leak=st.integers(0, 32767),
    current=st.integers(-32768, 32767),
    threshold=st.integers(1, 32767) | st.integers(1, 40),
    to_zero=st.booleans(),
    refractory=st.integers(0, 255),
)
def test_one_neuron_in_c(
    kernels: Kernels, v: int, resting: int, leak: int, current: int, threshold: int, to_zero: bool, refractory: int
) -> None:
    model = neuron(threshold, leak, reset="zero" if to_zero else "subtract", refractory_steps=refractory)
    liquid, resting = Liquid.at_rest(model, 1), min(resting, refractory)
    liquid.v[:], liquid.refractory[:] = v, resting
    fired = reservoir.step(model, liquid, np.array([[current]]))
    c_v, c_resting = np.array([v], np.int16), np.array([resting], np.uint8)
    assert kernels.lif_step(c_v, c_resting, leak, current, threshold, to_zero, refractory) == fired[0, 0]
    assert (c_v[0], c_resting[0]) == (liquid.v[0, 0], liquid.refractory[0, 0])


def leak_shift_of(model: Model, most: int) -> int:
    """As the generator finds it: 0 for leaks that differ, or that no shift makes."""
    leaks = set(model["leak_q15"].tolist())
    return next((shift for shift in range(1, most + 1) if leaks == {32768 - (32768 >> shift)}), 0)


class Step:
    """The kernels of a step in their order, as the generated code calls them: portable or twins, for blocks or not."""

    def __init__(self, kernels: Kernels, model: Model, form: str, is_wide: bool = True) -> None:
        self.kernels, self.model, self.form, self.is_wide = kernels, model, form, is_wide
        self.in_rows = form == "wide" and choices_of(model, ranges_of(model), "wide")["rows"]
        settings = model.manifest.reservoir
        self.n, words = settings.n_neurons, (settings.n_neurons + 31) // 32
        self.v, self.inflow = np.zeros(self.n, np.int16), np.zeros(self.n, np.int16 if "dsp" in form else np.uint16)
        self.resting, self.counts = np.zeros(self.n, np.uint8), np.zeros(self.n, np.uint16)
        self.spikes = np.zeros(words, np.uint32)
        self.pending, self.slot = np.zeros((max(settings.max_delay_steps, 1), words), np.uint32), 0

    def __call__(self, current: NDArray[np.int16]) -> None:
        model, settings, n = self.model, self.model.manifest.reservoir, self.n
        dsp = "_dsp" * ("dsp" in self.form)
        is_aligned = dsp != "" or n % 2 == 0
        inflow = None
        if settings.n_synapses:
            inflow, start = self.inflow, model["recurrent_start"]
            targets, weights = model["recurrent_target"], model["recurrent_weight"]
            more, to = [is_aligned], "spikes"
            if "blocks" in self.form:
                targets = targets[::4] * np.uint16(2)
                weights = np.ascontiguousarray(weights.reshape(-1, 4)[:, [0, 2, 1, 3]])
                weights = weights if dsp else weights.view(np.uint8) ^ np.uint8(128)
                rows = np.unique(np.diff(start.astype(int)))
                more, to = [rows[0] // 4 if len(rows) == 1 else 0, *[1] * bool(dsp)], "blocks"
            if self.in_rows:
                self._deliver_rows(self.pending[self.slot])
            else:
                deliver = getattr(self.kernels, f"deliver_{to}{dsp}")
                deliver(inflow, self.pending[self.slot], start, targets, weights, n, *more)
        twin = "_wide" if self.form == "wide" else dsp
        fire = getattr(self.kernels, f"fire_neurons{twin}")
        fire(
            self.v, self.resting, self.counts, self.spikes, current, inflow, model["leak_q15"], model["threshold"], n,
            settings.weight_shift, settings.reset == "zero", settings.refractory_steps,
            leak_shift_of(model, 14 if dsp else 13), self.is_wide, *[is_aligned] * (twin != "_wide"),
        )  # fmt: skip
        if settings.n_synapses:
            n_slots = settings.max_delay_steps
            self.kernels.emit_spikes(self.pending, self.spikes, model["delay_steps"], n, self.slot, n_slots)
            self.slot = (self.slot + 1) % n_slots


    def _deliver_rows(self, due: NDArray[np.uint32]) -> None:
        model, rows = self.model, np.zeros((self.n, self.n), np.int8)
        start = model["recurrent_start"]
        for row, first, end in zip(rows, start, start[1:], strict=False):
            self.kernels.spread_row(row, model["recurrent_target"], model["recurrent_weight"], first, end, self.n)
        self.kernels.deliver_spikes_wide(self.inflow, due, rows, np.zeros(self.n + 6, np.uint16), self.n)


def assert_same(step: Step, liquid: Liquid, current: NDArray[np.int16]) -> NDArray[np.bool_]:
    """Advance both by one step; who fired."""
    fired = reservoir.step(step.model, liquid, current[None].astype(np.int64))[0]
    step(current)
    bits = np.unpackbits(step.spikes.view(np.uint8), bitorder="little")
    assert (bits[: step.n] == fired).all()
    assert not bits[step.n :].any()
    assert (step.v == liquid.v[0]).all()
    assert (step.resting == liquid.refractory[0]).all()
    return fired


@pytest.mark.parametrize("form", ["portable", "portable blocks", "dsp", "dsp blocks", "wide"])
@pytest.mark.parametrize("n_neurons", [1, 31, 32, 33, 64, 70, 97, 300])
@pytest.mark.parametrize("max_delay", [1, 3, 128])
def test_a_recurrent_liquid_in_c(kernels: Kernels, form: str, n_neurons: int, max_delay: int) -> None:
    recurrent = {**RECURRENT, "n_neurons": n_neurons, "max_delay_steps": max_delay, "refractory_steps": 2}
    if "blocks" in form:
        recurrent["topology"] = {"kind": "blocks", "fan_in": 8}
        if n_neurons < 8 or (form == "portable blocks" and n_neurons % 2):
            return
    model = small_model(reservoir=recurrent if n_neurons > 1 else {"n_neurons": 1})
    if n_neurons == 1:
        model = wired([(0, 0, 90)], [max_delay], max_delay=max_delay)
    rng, step, liquid = np.random.default_rng(1), Step(kernels, model, form), Liquid.at_rest(model, 1)
    fired_in_all = np.zeros(n_neurons, int)
    for _ in range(300):
        current = (rng.normal(300, 900, n_neurons) * (12 if n_neurons == 1 else 1)).astype(np.int16)
        fired_in_all += assert_same(step, liquid, current)
    assert (step.counts == fired_in_all).all()
    assert step.counts.sum() > 10


@pytest.mark.parametrize("form", ["portable", "dsp", "wide"])
@settings(max_examples=60)
@given(
    n=st.integers(1, 70),
    leaks=st.integers(1, 14).map(lambda shift: [32768 - (32768 >> shift)])
    | st.lists(st.integers(0, 32767), min_size=2),
    to_zero=st.booleans(),
    refractory=st.sampled_from([0, 1, 2, 3, 255]),
    recurrent=st.sampled_from([None, 0, 3, 8]),
    scale=st.sampled_from([40, 900, 16383, 33000]),
    seed=st.integers(0, 999),
)
def test_any_liquid_in_c(
    kernels: Kernels, form: str, n: int, leaks: list[int], to_zero: bool, refractory: int, recurrent: int | None,
    scale: int, seed: int,
) -> None:  # fmt: skip
    """Any leak, reset, rest and drive, to the ends of their ranges; two at once where the drive is small enough."""
    rng = np.random.default_rng(seed)
    model = small_model(
        reservoir={"n_neurons": n, "reset": "zero" if to_zero else "subtract", "refractory_steps": refractory},
        tables={"leak_q15": np.resize(leaks, n), "threshold": rng.integers(1, min(scale, 32767), n)},
    )
    if recurrent is not None:
        synapses = [(source, (5 * source + k) % n, int(rng.integers(-127, 128))) for source in range(n) for k in (1, 3)]
        other = wired(synapses, [1] * n, max_delay=1, weight_shift=recurrent)
        tables = {name: model[name] for name in ("leak_q15", "threshold")}
        kept = model.manifest.reservoir.model_copy(
            update={"n_synapses": len(synapses), "max_delay_steps": 1, "weight_shift": recurrent}
        )
        manifest = other.manifest.model_copy(update={"reservoir": kept})
        model = Model(manifest, {**other.tables, **tables})
    most = (16383 if form == "portable" else 32767) - (0 if recurrent is None else 1270 << recurrent)
    is_wide = scale > most
    step, liquid = Step(kernels, model, form, is_wide), Liquid.at_rest(model, 1)
    for _ in range(12):
        current = rng.integers(-scale, scale, n, endpoint=True).clip(-32768, 32767).astype(np.int16)
        if not is_wide:
            current = current.clip(-most, most)
        assert_same(step, liquid, current)


def test_lowest_bit_in_c(kernels: Kernels) -> None:
    for bit in range(32):
        assert kernels.lowest_bit((0xFFFFFFFF << bit) & 0xFFFFFFFF) == bit
        assert kernels.lowest_bit(1 << bit) == bit


@given(st.lists(st.integers(0, 2**32 - 1) | st.sampled_from([0, 1, 2**31, 2**32 - 1]), max_size=9))
def test_bits_are_listed_in_their_order(kernels: Kernels, words: list[int]) -> None:
    listed = np.full(32 * len(words) + 6, 9999, np.uint16)
    n = kernels.list_bits(listed, np.array(words, np.uint32), len(words))
    assert listed[:n].tolist() == [32 * i + bit for i, word in enumerate(words) for bit in range(32) if word >> bit & 1]


@given(st.integers(0, 300), st.integers(0, 5), st.integers(0, 999))
def test_rows_are_added_in_c(kernels: Kernels, n: int, n_listed: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    rows, sums = rng.integers(-128, 128, (8, n), dtype=np.int8), np.full(n, 77, np.uint16)
    listed = rng.integers(0, 8, n_listed).astype(np.uint16)
    for start in (0, 1 << 15):
        kernels.add_rows(sums, start, rows, listed, n_listed, n)
        assert (sums == (rows[listed].sum(axis=0, dtype=np.int64) + start) % (1 << 16)).all()
