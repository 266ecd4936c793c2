"""The ranges, proven by an SMT solver: the arithmetic for all integers, the stages of small models for all inputs.

What is proven here is written from docs/numerics.md, not from the code that computes the ranges. Integers of the solver
have no width; that they fit a type is what the ranges then say.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterator
from itertools import accumulate, product
from typing import Any

import numpy as np
import pytest
from models import LIVE, RECURRENT, small_model, with_tables

from lsm_edge.model import Model
from lsm_edge.ranges import membrane_of, ranges_of

z3: Any = importlib.import_module("z3") if os.environ.get("CI") else pytest.importorskip("z3")

MOST_MS = 60_000  # for one proof; each takes a fraction of it
LEAKS = [0, 1, 16384, 28672, 30720, 32767]


def prove(claim: Any, *given: Any) -> None:
    """`claim` holds whenever all of `given` do, and there is such a case."""
    possible(*given)
    found, solver = check(*given, z3.Not(claim))
    assert found == z3.unsat, solver.model() if found == z3.sat else solver.reason_unknown()


def possible(*claims: Any) -> None:
    """There is an input for which all of them hold."""
    found, _ = check(*claims)
    assert found == z3.sat


def check(*claims: Any) -> tuple[Any, Any]:
    """A solver of its own for every question: with a history it is slower, and gives up on what is not linear."""
    solver = z3.Solver()
    solver.set("timeout", MOST_MS)
    solver.add(*claims)
    return solver.check(), solver


def integer(name: str, low: int, high: int) -> tuple[Any, Any]:
    """An unknown integer, and what is known of it."""
    x = z3.Int(name)
    return x, within(x, low, high)


def integers(name: str, n: int, low: int, high: int) -> tuple[list[Any], list[Any]]:
    pairs = [integer(f"{name}{i}", int(low), int(high)) for i in range(n)]
    return [x for x, _ in pairs], [known for _, known in pairs]


def within(x: Any, low: Any, high: Any) -> Any:
    return z3.And(int(low) <= x, x <= int(high))


def shifted(x: Any, by: int) -> Any:
    """x >> by: the solver's division by a positive integer is floor."""
    return x / 2**by


def magnitude(x: Any) -> Any:
    return z3.If(x < 0, -x, x)


def saturated(x: Any) -> Any:
    return z3.If(x > 32767, 32767, z3.If(x < -32768, -32768, x))


def decayed(x: Any, factor: Any) -> Any:
    return shifted(x * factor, 15) + z3.If(x < 0, 1, 0)


# The arithmetic.


def test_a_decay_never_grows_and_ends_at_zero() -> None:
    """It gets nearer to zero with every step; but for a factor of 0, which takes -1 to 1 and that to 0."""
    x, is_int16 = integer("x", -32768, 32767)
    factor, is_q15 = integer("factor", 0, 32767)
    after = decayed(x, factor)
    prove(magnitude(after) <= magnitude(x), is_int16, is_q15)
    prove(magnitude(after) < magnitude(x), is_int16, is_q15, x != 0, z3.Or(factor > 0, x != -1))
    prove(decayed(after, factor) == 0, is_int16, factor == 0)
    prove(after * x >= 0, is_int16, is_q15, factor > 0)
    prove(decayed(0, factor) == 0, is_q15)


def test_a_decay_keeps_order_and_distance() -> None:
    """What the search for a membrane's bounds needs: a higher potential stays as high, and gets no further away."""
    low, is_low = integer("low", -32768, 32767)
    high, is_high = integer("high", -32768, 32767)
    known = [is_low, is_high, low <= high]
    for factor in [*LEAKS[1:], 2, 3, 4096, 31129, 32766]:
        prove(decayed(low, factor) <= decayed(high, factor), *known)
        prove(decayed(high, factor) - decayed(low, factor) <= high - low, *known)


def test_a_product_of_16_bits_fits_32() -> None:
    x, is_int16 = integer("x", -32768, 32767)
    factor, is_factor = integer("factor", -32767, 32767)
    prove(within(x * factor, -(2**31), 2**31 - 1), is_int16, is_factor)


def test_saturation_is_the_nearest_int16() -> None:
    x, any_int16 = z3.Int("x"), integer("y", -32768, 32767)
    prove(within(saturated(x), -32768, 32767))
    prove(magnitude(x - saturated(x)) <= magnitude(x - any_int16[0]), any_int16[1])


def test_emphasis() -> None:
    (x, before), known = integers("x", 2, -32768, 32767)
    found = ranges_of(small_model())["frontend.emphasised"]
    emphasised = x - before + shifted(before, 5)
    prove(within(emphasised, found.low, found.high), *known)
    for end in (found.low, found.high):
        possible(emphasised == end, *known)


def test_levels_under_a_peak() -> None:
    for range_db, gain in {96: 1, 48: 2, 24: 4}.items():
        found = ranges_of(small_model(frontend={"range_db": range_db}))["frontend.levelled"]
        (peak, level), known = integers("b", 2, 0, 255)
        prove(within(255 - gain * (peak - level), found.low, found.high), *known, level <= peak)


# The transform: lemmas about lengths, over the reals, from which the bound of each stage follows.


def test_the_lengths_of_sums_and_products() -> None:
    """|a + b| <= |a| + |b|; |w b| <= |w| |b|; half sum and half difference hold half of the squares together; and
    cutting less than one off both parts moves by less than sqrt(2).
    """
    a_re, a_im, b_re, b_im, a, b, root_two = z3.Reals("a_re a_im b_re b_im a b root_two")
    known = [a >= 0, b >= 0, a_re**2 + a_im**2 <= a**2, b_re**2 + b_im**2 <= b**2]
    prove((a_re + b_re) ** 2 + (a_im + b_im) ** 2 <= (a + b) ** 2, *known)
    prove((a_re * b_re - a_im * b_im) ** 2 + (a_re * b_im + a_im * b_re) ** 2 <= (a * b) ** 2, *known)
    squares = (a_re + b_re) ** 2 + (a_im + b_im) ** 2 + (a_re - b_re) ** 2 + (a_im - b_im) ** 2
    prove(squares / 4 <= (a**2 + b**2) / 2, *known)
    cut = [a_re >= 0, a_re < 1, a_im >= 0, a_im < 1, root_two >= 0, root_two**2 == 2]
    prove(a_re**2 + a_im**2 < root_two**2, *cut)


def test_the_lengths_of_half_sum_and_half_difference() -> None:
    """E = (a + conj b) / 2 and O = (a - conj b) / 2 of points no longer than r: |E| + |O| <= sqrt(2) r."""
    a_re, a_im, b_re, b_im, r, even, odd = z3.Reals("a_re a_im b_re b_im r even odd")
    known = [r >= 0, a_re**2 + a_im**2 <= r**2, b_re**2 + b_im**2 <= r**2]
    squares = (a_re + b_re) ** 2 + (a_im - b_im) ** 2 + (a_re - b_re) ** 2 + (a_im + b_im) ** 2
    prove(squares / 4 <= r**2, *known)
    prove((even + odd) ** 2 <= 2 * r**2, even >= 0, odd >= 0, even**2 + odd**2 <= r**2)


# The stages of small models.


def by_taps(**sections: Any) -> Model:
    """Three neurons with five taps each, anywhere on two frames of eight bands."""
    model = small_model(
        frontend={"n_bands": 8}, encoder={"n_taps": 5, "max_delay_frames": 1, "shift": 3},
        reservoir={"n_neurons": 3, **sections.pop("reservoir", {})}, **sections,
    )  # fmt: skip
    rng = np.random.default_rng(4)
    offsets = [rng.choice(16, 5, replace=False) for _ in range(3)]
    return with_tables(model, {"tap_offset": offsets, "tap_weight": rng.integers(-127, 128, (3, 5))})


def by_lines(shift: int = 4) -> Model:
    return small_model(
        frontend={"n_bands": 8}, encoder={"kind": "delta", "fan_in": 9, "delta": 12, "shift": shift},
        reservoir={"n_neurons": 3},
    )  # fmt: skip


def tap_sums(model: Model, places: list[Any]) -> Iterator[list[Any]]:
    """Each neuron's sum as it grows, tap after tap."""
    for offsets, weights in zip(model["tap_offset"].tolist(), model["tap_weight"].tolist(), strict=True):
        yield list(accumulate(weight * places[offset] for offset, weight in zip(offsets, weights, strict=True)))


def test_tap_sums_and_currents() -> None:
    for weights in (None, 127, -127):
        model = by_taps() if weights is None else with_tables(by_taps(), {"tap_weight": weights})
        found = ranges_of(model)
        places, known = integers("byte", 16, 0, 255)
        sums = list(tap_sums(model, places))
        for grown in sums:
            for part in grown:
                prove(within(part, found["encoder.tap_sum"].low, found["encoder.tap_sum"].high), *known)
            current = shifted(grown[-1], model.manifest.encoder.shift)
            prove(within(current, found["encoder.current"].low, found["encoder.current"].high), *known)
        for end in (found["encoder.tap_sum"].low, found["encoder.tap_sum"].high):
            possible(z3.Or([grown[-1] == end for grown in sums]), *known)


def line_sums(model: Model, frame: list[Any], reference: list[Any]) -> tuple[list[list[Any]], list[Any]]:
    """Each neuron's sum as it grows, synapse after synapse, and the references after the step."""
    delta, n = model.manifest.encoder.delta, model.manifest.reservoir.n_neurons
    sums: list[list[Any]] = [[z3.IntVal(0)] for _ in range(n)]
    start, target, weight = (model[f"input_{name}"].tolist() for name in ("start", "target", "weight"))
    after = []
    for band, (f, r) in enumerate(zip(frame, reference, strict=True)):
        up, down = f - r >= delta, r - f >= delta
        for line, sends in ((2 * band, up), (2 * band + 1, down)):
            for i in range(start[line], start[line + 1]):
                sums[target[i]].append(sums[target[i]][-1] + z3.If(sends, weight[i], 0))
        after.append(z3.If(up, r + delta, z3.If(down, r - delta, r)))
    return sums, after


def test_line_sums_references_and_currents() -> None:
    """A reference is a multiple of delta: with that it cannot leave its range, whatever the frames."""
    model = by_lines()
    found, delta = ranges_of(model), model.manifest.encoder.delta
    frame, known = integers("frame", 8, 0, 255)
    highest = found["encoder.reference"].high
    reference, known_too = integers("reference", 8, 0, highest)
    before = [*known, *known_too, *(r % delta == 0 for r in reference)]
    sums, after = line_sums(model, frame, reference)
    for r in after:
        prove(z3.And(within(r, 0, highest), r % delta == 0), *before)
    low, high = found["encoder.line_sum"].low, found["encoder.line_sum"].high
    for grown in sums:
        for part in grown[1:]:
            prove(within(part, low, high), *before)
    for end in (low, high):
        possible(z3.Or([grown[-1] == end for grown in sums]), *before)
    assert (found["encoder.current"].low, found["encoder.current"].high) == (16 * low, 16 * high)


def test_recurrent_sums() -> None:
    model = small_model(reservoir={**RECURRENT, "n_neurons": 7})
    found = ranges_of(model)["reservoir.recurrent"]
    due = z3.Bools(" ".join(f"due{i}" for i in range(7)))
    start, target, weight = (model[f"recurrent_{name}"].tolist() for name in ("start", "target", "weight"))
    sums: list[list[Any]] = [[z3.IntVal(0)] for _ in range(7)]
    for source in range(7):
        for i in range(start[source], start[source + 1]):
            sums[target[i]].append(sums[target[i]][-1] + z3.If(due[source], weight[i], 0))
    for grown in sums:
        for part in grown[1:]:
            prove(within(part, found.low, found.high))
    for end in (found.low, found.high):
        possible(z3.Or([grown[-1] == end for grown in sums]))


def lif(model: Model, n: int, v: Any, counter: Any, drive: Any) -> tuple[Any, Any, Any, Any]:
    """One step of neuron n: potential before saturation, potential, counter, and whether it fired."""
    settings, threshold = model.manifest.reservoir, int(model["threshold"][n])
    integrated = decayed(v, int(model["leak_q15"][n])) + drive
    v = saturated(integrated)
    fired = z3.And(counter == 0, v >= threshold)
    after = z3.If(fired, v - threshold if settings.reset == "subtract" else 0, v)
    counter = z3.If(fired, settings.refractory_steps, z3.If(counter > 0, counter - 1, 0))
    return integrated, after, counter, fired


LIQUIDS = [
    {"reset": reset, "refractory_steps": refractory, **wiring}
    for reset in ("subtract", "zero")
    for refractory in (0, 1, 3)
    for wiring in ({}, RECURRENT)
]


@pytest.mark.parametrize("settings", LIQUIDS, ids=str)
def test_a_membrane_never_leaves_its_bounds(settings: dict[str, Any]) -> None:
    """By induction: they hold at rest, and if they hold before a step, then after it, whatever comes in.

    Nor are they wider than that asks for: both ends follow from what lies between them.
    """
    model = small_model(encoder={"shift": 2}, reservoir={"n_neurons": 12, **settings})
    rng = np.random.default_rng(5)
    model = with_tables(model, {"leak_q15": np.resize(LEAKS, 12)})
    threshold = rng.choice([1, 40, 900, 4000, 20_000, 32767], 12)
    # A leak of 0 leaves at most 1: the first of these neurons can just fire, the other just not.
    threshold[[0, 6]] = membrane_of(model).drive[1, [0, 6]] + [1, 2]
    model = with_tables(model, {"threshold": threshold})
    assert membrane_of(model).fires[[0, 6]].tolist() == [True, False]
    membrane, found = membrane_of(model), ranges_of(model)
    for n in range(12):
        low, highest = int(membrane.low[n]), membrane.high[:, n].tolist()
        assert low <= 0 <= min(highest)
        v, drive = z3.Ints("v drive")
        counter, known = integer("counter", 0, settings["refractory_steps"])

        def held(v: Any, counter: Any, low: int = low, highest: list[int] = highest) -> Any:
            return z3.And([z3.Implies(counter == c, within(v, low, high)) for c, high in enumerate(highest)])

        before = [known, held(v, counter), within(drive, membrane.drive[0, n], membrane.drive[1, n])]
        if not membrane.fires[n]:
            before.append(counter == 0)
        integrated, after, counter_after, fired = lif(model, n, v, counter, drive)
        prove(held(after, counter_after), *before)
        prove(within(integrated, membrane.integrated[0, n], membrane.integrated[1, n]), *before)
        prove(within(after, found["reservoir.v"].low, found["reservoir.v"].high), *before)
        prove(within(counter_after, 0, found["reservoir.refractory"].high), *before)
        for end in (low, max(highest)):
            possible(after == end, *before)
        if not membrane.fires[n]:
            prove(z3.Not(fired), *before)


@pytest.mark.parametrize("refractory", [0, 1, 2])
def test_a_whole_liquid_over_a_few_steps(refractory: int) -> None:
    """Three neurons that drive each other with delays, from rest, under any frames: all that they leave is in range."""
    topology = {"kind": "random", "fan_in": 2}
    recurrent = {"topology": topology, "max_delay_steps": 2, "refractory_steps": refractory, "steps_per_frame": 2}
    model = by_taps(reservoir=recurrent, readout={"n_windows": 1}, decision={"max_segment_ms": 50})
    tables = {"threshold": [700, 1500, 300], "leak_q15": [16384, 28672, 32767], "delay_steps": [1, 2, 1]}
    model = with_tables(model, tables)
    found, settings, n_steps = ranges_of(model), model.manifest.reservoir, 4
    assert settings.n_synapses
    start, target, weight = (model[f"recurrent_{name}"].tolist() for name in ("start", "target", "weight"))
    delays = model["delay_steps"].tolist()
    claims: list[Any] = []

    def claim(name: str, x: Any) -> None:
        claims.append(within(x, found[name].low, found[name].high))

    known, frames = [], [[z3.IntVal(0)] * 8]
    for t in range(n_steps // settings.steps_per_frame):
        frame, bytes_ = integers(f"frame{t}_", 8, 0, 255)
        frames.append(frame)
        known += bytes_
    v, counter, spikes = [z3.IntVal(0)] * 3, [z3.IntVal(0)] * 3, []
    for step in range(n_steps):
        t = step // settings.steps_per_frame
        currents = [shifted(grown[-1], 3) for grown in tap_sums(model, frames[t] + frames[t + 1])]
        inflow = [z3.IntVal(0)] * 3
        for source in range(3):
            if step >= delays[source]:
                for i in range(start[source], start[source + 1]):
                    inflow[target[i]] += z3.If(spikes[step - delays[source]][source], weight[i], 0)
        fired = []
        for n in range(3):
            claim("encoder.current", currents[n])
            claim("reservoir.recurrent", inflow[n])
            drive = saturated(currents[n]) + inflow[n] * 2**settings.weight_shift
            claim("reservoir.drive", drive)
            integrated, v[n], counter[n], spike = lif(model, n, v[n], counter[n], drive)
            claim("reservoir.integrated", integrated)
            claim("reservoir.v", v[n])
            fired.append(spike)
        spikes.append(fired)
    for n in range(3):
        claim("readout.counts", sum(z3.If(fired[n], 1, 0) for fired in spikes))
    prove(z3.And(claims), *known)


@pytest.mark.parametrize("refractory", [0, 1, 2, 5])
def test_how_often_a_neuron_can_fire(refractory: int) -> None:
    """Whatever its potential is at each step, and however long it has to rest when the counting begins."""
    model = small_model(reservoir={"refractory_steps": refractory})
    counter, bounded = integer("counter", 0, refractory)
    known, count = [bounded], z3.IntVal(0)
    for step in range(7):
        v, is_int16 = integer(f"v{step}", -32768, 32767)
        _, _, counter, fired = lif(model, 0, v, counter, z3.IntVal(0))
        known.append(is_int16)
        count += z3.If(fired, 1, 0)
        most = -(-(step + 1) // (refractory + 1))
        prove(count <= most, *known)
        possible(count == most, *known)


def test_a_trace_never_leaves_its_bounds() -> None:
    for trace_ms, refractory in product((5.0, 50.0, 5000.0), (0, 1, 3)):
        traces = {"state": "trace", "trace_ms": trace_ms}
        model = small_model(reservoir={"refractory_steps": refractory}, readout=traces)
        readout, found = model.manifest.readout, ranges_of(model)
        trace, known = integer("trace", 0, found["readout.trace"].high)
        count, counted = integer("count", 0, found["readout.counts"].high)
        leaked = trace * readout.trace_leak_q15
        after = shifted(leaked, 15) + count * readout.trace_gain
        prove(within(after, 0, found["readout.trace"].high), known, counted)
        prove(within(leaked, 0, found["readout.trace_leaked"].high), known, counted)


def test_rates() -> None:
    """No window has more spikes than steps, and none more of these than the longest segment."""
    model = small_model(reservoir={"refractory_steps": 0}, decision={"max_segment_ms": 10_000})
    found = ranges_of(model)["readout.rate_q16"]
    steps, known = integer("steps", 1, 65520)
    count = z3.Int("count")
    prove(within(count * (65536 / steps), 0, found.high), known, count >= 0, count <= steps)


@pytest.mark.parametrize("sections", [{"readout": {"n_windows": 2}}, LIVE], ids=["segment", "live"])
def test_scores(sections: dict[str, Any]) -> None:
    """At every point of their making: neuron after neuron, window after window, and with the length."""
    model = small_model(reservoir={"n_neurons": 4}, **sections)
    found, readout = ranges_of(model), model.manifest.readout
    features, known = integers("feature", 4 * readout.n_windows, 0, found["readout.features"].high)
    n_frames, counted = integer("n_frames", 0, model.manifest.decision.max_frames)
    length = z3.If(n_frames > 255, 255, n_frames)
    ends = []
    for c in range(model.manifest.n_classes):
        score = z3.IntVal(int(model["bias"][c]))
        for w in range(readout.n_windows):
            weights = model["readout_weight"][w, c].tolist()
            terms = (weight * feature for weight, feature in zip(weights, features[4 * w :], strict=False))
            for part in accumulate(terms):
                prove(within(part, found["readout.window_sum"].low, found["readout.window_sum"].high), *known)
            score += part
            prove(within(score, found["readout.scores"].low, found["readout.scores"].high), *known)
        if readout.length_feature:
            score += length * int(model["length_weight"][c])
            prove(within(score, found["readout.scores"].low, found["readout.scores"].high), *known, counted)
        ends.append(score)
    for end in (found["readout.scores"].low, found["readout.scores"].high):
        possible(z3.Or([score == end for score in ends]), *known, counted)
