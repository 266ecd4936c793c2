"""Worst cases of every integer that is computed, from the tables and over all possible inputs: proven, not observed.

Intervals are carried through the stages in the order in which samples pass them; all arithmetic is exact. Each `Range`
becomes a comment over a table, an `LSM_ASSERT` in the generated C and a row of the certificate; an integer that could
leave its type without being meant to refuses the model. `docs/numerics.md` section 9 says how each bound is derived.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import isqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lsm_edge.errors import RangeError
from lsm_edge.fixed import INT16_MAX, INT16_MIN, Q15_ONE, Ints, decay_q15, log2_q8, saturate_int16, sqrt_floor
from lsm_edge.model import Model
from lsm_edge.stages.decision import LOUDEST_HOP_Q8, LOUDEST_Q8
from lsm_edge.stages.frontend import ACTIVITY_BASE, ACTIVITY_FLOOR, LEVEL_OFFSET_Q8, LEVEL_SHIFT
from lsm_edge.stages.readout import weights_of

_ROOT_TWO_Q16 = 92682  # above 2^16 * sqrt(2), as is half of it above 2^16 * sqrt(1 / 2)


@dataclass(frozen=True)
class Range:
    """Where `quantity` of `stage` can go, and the C type that holds it.

    One with an `accumulator` is computed in that wider type and saturates, by design, when it is narrowed to `type`.
    `table` is the one whose comment says all this.
    """

    stage: str
    quantity: str
    meaning: str
    low: int
    high: int
    type: str
    accumulator: str = ""
    table: str = ""

    @property
    def fits(self) -> bool:
        """Whether no value leaves the type in which it is computed."""
        return self._within(self.accumulator or self.type)

    @property
    def verdict(self) -> str:
        """`cannot overflow`; `saturates, by design`; or `OVERFLOWS`, which no generated model has."""
        if self._within(self.type):
            return "cannot overflow"
        return "saturates, by design" if self.fits and self.accumulator else "OVERFLOWS"

    @property
    def kept(self) -> tuple[int, int]:
        """Lowest and highest value after saturation."""
        lowest, highest = _ends(self.type)
        return max(self.low, lowest), min(self.high, highest)

    def as_row(self) -> dict[str, Any]:
        """For the certificate: plain JSON values."""
        keys = ("stage", "quantity", "meaning", "low", "high", "type")
        return {**{key: getattr(self, key) for key in keys}, "verdict": self.verdict}

    def __str__(self) -> str:
        return f"{self.meaning} in [{self.low}, {self.high}]: {self.type} {self.verdict}"

    def _within(self, type_: str) -> bool:
        lowest, highest = _ends(type_)
        return lowest <= self.low and self.high <= highest


def _ends(type_: str) -> tuple[int, int]:
    """Lowest and highest value of an integer type of C."""
    bits = int(type_.removeprefix("u").removeprefix("int").removesuffix("_t"))
    return (0, (1 << bits) - 1) if type_.startswith("u") else (-(1 << bits - 1), (1 << bits - 1) - 1)


def ranges_of(model: Model) -> dict[str, Range]:
    """`stage.quantity` -> its range, in the order of the stages.

    Raises:
        RangeError: an integer that must not overflow could.
    """
    membrane = membrane_of(model)
    found = [
        *_frontend(model),
        *_encoder(model),
        *_reservoir(model, membrane),
        *_readout(model, membrane.fires),
        *_decision(model),
    ]
    for item in found:
        if not item.fits:
            lowest, highest = _ends(item.accumulator or item.type)
            table = f" (table {item.table})" if item.table else ""
            raise RangeError(f"{item.stage}: {item}{table}; allowed: {lowest} to {highest}")
    return {f"{item.stage}.{item.quantity}": item for item in found}


def _frontend(model: Model) -> Iterator[Range]:
    manifest = model.manifest.frontend

    def said(quantity: str, meaning: str, low: int, high: int, type_: str, **more: str) -> Range:
        return Range("frontend", quantity, meaning, low, high, type_, **more)

    # x - x' + (x' >> 5) rises with x and falls with x'.
    low, high = INT16_MIN - INT16_MAX + (INT16_MAX >> 5), INT16_MAX - INT16_MIN + (INT16_MIN >> 5)
    yield said("emphasised", "an emphasised sample", low, high, "int16_t", accumulator="int32_t")

    heaviest = int(model["window_q15"].max())
    low, high = INT16_MIN * heaviest, INT16_MAX * heaviest
    yield said("shifted_window", "a shifted window weight", 0, heaviest << 14, "int32_t")
    yield said("windowed", "a windowed sample times 2^16", low, high, "int32_t", table="window_q15")
    yield said("point", "a part of a point before the transform", low >> 16, high >> 16, "int16_t")

    lengths = _lengths_q16(model)
    longest, product = lengths.longest >> 16, lengths.product
    yield said("twiddled", "a part of a point times a twiddle", -product, product, "int32_t", table="twiddle_q15")
    yield said("spectrum", "a part of a point in the transform", -longest, longest, "int16_t", table="twiddle_q15")

    # Of half sum E and half difference O of two points, |E| + |O| <= sqrt(2) * longest, and of all pairs the squares
    # add up to half of all points'. Each part may be cut by 1/2, so each of the two by sqrt(1/2); then w * O is cut by
    # sqrt(2) and halved, and the sum cut by sqrt(1/2): 3 * sqrt(1/2) in all. The middle point is a pair by itself.
    gain, cut = max(lengths.gain_q15, Q15_ONE), 3 * _ROOT_TWO_Q16 // 2
    length = (((lengths.last * _ROOT_TWO_Q16 >> 16) + 1) * gain >> 16) + 1 + (cut * gain >> 15) + 1
    product = (lengths.last + _ROOT_TWO_Q16 // 2) * lengths.gain_q15 >> 16
    power = length * length >> 32
    yield said("unmixed", "a part of a half difference times a twiddle", -product, product, "int32_t")
    yield said("bin_square", "the square of a part of a bin", 0, power, "int32_t")
    yield said("bin_power", "a bin's power", 0, power, "uint32_t")

    together = (isqrt(lengths.together**2 + lengths.last**2) + 1) * gain >> 16
    together += (cut * gain >> 15) * (isqrt(manifest.window_samples // 2) + 1) + 2
    total = together * together >> 32
    starts = np.cumsum(model["mel_end"].astype(np.int64) - model["mel_start"])[:-1]
    bands = np.split(model["mel_weight_q8"], starts)
    band = max(min(power * int(weights.sum(dtype=np.int64)), total * int(weights.max())) for weights in bands)
    yield said("band_power", "a band's power", 0, band, "uint64_t", table="mel_weight_q8")
    low = LEVEL_OFFSET_Q8 - 512 * 14 >> LEVEL_SHIFT
    high = int(log2_q8(np.array(band))) + LEVEL_OFFSET_Q8 >> LEVEL_SHIFT
    yield said("level", "a band's level", low, high, "uint8_t", accumulator="int32_t")
    spread = (255 * manifest.equalise_q8 >> 8) + 1 if manifest.equalise_q8 else 0  # of the bands' excesses
    low = 255 - (255 + spread) * manifest.range_gain
    yield said("levelled", "a level under its peak", low, 255, "uint8_t", accumulator="int32_t")
    if manifest.equalise_q8:
        heaviest = (255 - ACTIVITY_FLOOR + ACTIVITY_BASE) * manifest.n_bands >> 5
        weight = heaviest * model.manifest.decision.max_frames
        yield said("band_sum", "16 times a band's weighted levels", 0, 16 * 255 * weight, "uint32_t")
        yield said("band_peak", "the level of a band that becomes 255", 0, 255 + spread, "int16_t")
    if (pointer := model.manifest.decision.endpointer) is not None and pointer.gate:
        n = manifest.hop_samples
        power = (n // 2) * (n - n // 2) * (INT16_MAX - INT16_MIN) ** 2  # half of the samples at either end
        yield said("hop_sum", "a hop's sum", n * INT16_MIN, n * INT16_MAX, "int32_t")
        yield said("hop_squares", "a hop's squares, n times", 0, n * n * INT16_MIN**2, "uint64_t")
        yield said("hop_loudness", "a hop's loudness", 0, int(log2_q8(np.array(power))) >> LEVEL_SHIFT, "uint32_t")
    if manifest.level == "running_peak":
        yield said("peak_q8", "the running peak", 0, 255 << 8, "uint16_t")


@dataclass(frozen=True)
class _Lengths:
    """How long a complex point can get in the transform, at any stage of it and at its end, in 1/65536."""

    longest: int
    last: int
    together: int  # root of the sum of the squares of all points, at the end
    product: int  # of a part of a point and a twiddle, in ones
    gain_q15: int  # the longest twiddle


def _lengths_q16(model: Model) -> _Lengths:
    """Carry the longest that each point can be through the butterflies: (a + w b) / 2 is at most (|a| + |w| |b|) / 2.

    In bit-reversed order neighbours are half of the points apart, so every stage folds the bounds once. Cutting off
    adds less than sqrt(1/2) to a halved point, and as much again, after halving, to a product with a twiddle. The
    squares of the two points that a butterfly leaves add up to half of what those that it took did.
    """
    parts = (model["window_q15"].astype(np.int64).reshape(-1, 2) + 1) >> 1  # floor(-2^15 * window / 2^16)
    squares: list[int] = (parts**2).sum(axis=1).tolist()
    lengths, together = np.array([isqrt(square << 32) + 1 for square in squares]), isqrt(sum(squares) << 32) + 1
    gain = isqrt(int((model["twiddle_q15"].astype(np.int64) ** 2).sum(axis=1).max())) + 1
    cut = isqrt(2 * len(squares) << 32) + 1
    span, longest, product = 1, 0, 0
    while len(lengths) > 1:
        a, b = np.split(lengths, 2)
        if span >= 4:
            product = max(product, int(b.max()) * gain >> 16)
            b = (b * gain >> 15) + 1 + _ROOT_TWO_Q16
        lengths = (a + b + 1 + _ROOT_TWO_Q16) >> 1
        together = (together * _ROOT_TWO_Q16 * max(gain, Q15_ONE) >> 32) + 1 + cut
        longest = max(longest, int(lengths.max()))
        span *= 2
    return _Lengths(longest, int(lengths[0]), together, product, gain)


def input_sums(model: Model) -> Ints:
    """Lowest and highest sum of each neuron's input, over any frames: shape (2, neurons).

    Of a `delta` encoder's two lines a band at most one sends in a step; each sum holds for any order of its synapses.
    """
    if model.manifest.encoder.kind == "current":
        weights = model["tap_weight"].astype(np.int64)
        return 255 * np.stack([np.minimum(weights, 0).sum(axis=1), np.maximum(weights, 0).sum(axis=1)])
    start = model["input_start"].astype(np.int64)
    line = np.repeat(np.arange(len(start) - 1), np.diff(start))
    n = model.manifest.reservoir.n_neurons
    by_line = _signed_sums(model["input_weight"], line * n + model["input_target"], (len(start) - 1) * n)
    up, down = by_line.reshape(2, -1, 2, n).transpose(2, 0, 1, 3)
    return np.stack([np.minimum(up[0], down[0]).sum(axis=0), np.maximum(up[1], down[1]).sum(axis=0)])


def _currents(model: Model) -> Ints:
    """Each neuron's lowest and highest input current before saturation, shape (2, neurons)."""
    encoder, sums = model.manifest.encoder, input_sums(model)
    return np.asarray(sums >> encoder.shift if encoder.kind == "current" else sums << encoder.shift)


def _encoder(model: Model) -> Iterator[Range]:
    encoder, sums, current = model.manifest.encoder, input_sums(model), _currents(model)
    low, high = int(sums[0].min()), int(sums[1].max())
    if encoder.kind == "current":
        table = "tap_weight"
        yield Range("encoder", "tap_sum", "a neuron's tap sum", low, high, "int32_t", table=table)
    else:
        table, highest = "input_weight", 255 // encoder.delta * encoder.delta
        yield Range("encoder", "line_sum", "a neuron's summed input weights", low, high, "int16_t", table=table)
        yield Range("encoder", "reference", "the level last sent", 0, highest, "uint8_t")
    low, high = int(current[0].min()), int(current[1].max())
    yield Range("encoder", "current", "its input current", low, high, "int16_t", "int32_t", table)


def recurrent_sums(model: Model) -> Ints:
    """Lowest and highest sum of each neuron's recurrent weights, in any order, whoever fires: shape (2, neurons)."""
    n = model.manifest.reservoir.n_neurons
    if not model.manifest.reservoir.n_synapses:
        return np.zeros((2, n), np.int64)
    return _signed_sums(model["recurrent_weight"], model["recurrent_target"].astype(np.int64), n)


def _signed_sums(weight: Ints, at: Ints, n: int) -> Ints:
    """The negative and the positive weights at each of `n` places, summed: shape (2, n)."""
    sums = np.zeros((2, n), np.int64)
    np.add.at(sums[0], at, np.minimum(weight, 0))
    np.add.at(sums[1], at, np.maximum(weight, 0))
    return sums


@dataclass(frozen=True)
class Membrane:
    """An invariant of the liquid: what holds for its potentials before a step holds after it."""

    drive: Ints  # lowest and highest input and recurrent current together, (2, neurons)
    low: Ints  # (neurons,)
    high: Ints  # by the refractory counter: (refractory_steps + 1, neurons)
    integrated: Ints  # before saturation and reset, (2, neurons)
    fires: NDArray[np.bool_]  # whether a neuron can fire at all, (neurons,)


def membrane_of(model: Model) -> Membrane:
    """The least invariant that starts at rest and holds whatever the drive does within its bounds."""
    reservoir = model.manifest.reservoir
    leak, threshold = model["leak_q15"].astype(np.int64), model["threshold"].astype(np.int64)
    drive = saturate_int16(_currents(model)) + (recurrent_sums(model) << reservoir.weight_shift)

    # A leak of 0 leaves 1 of what is below zero, so it alone does not keep order.
    def fallen(v: Ints) -> Ints:
        return np.asarray(np.minimum(decay_q15(v, leak), 0) + drive[0])

    def risen(v: Ints) -> Ints:
        return np.asarray(np.maximum(decay_q15(v, leak), leak == 0) + drive[1])

    def pushed(v: Ints) -> Ints:
        return saturate_int16(risen(v))

    def after_reset(v: Ints) -> Ints:
        """From the highest before a step in which a neuron fires to the highest after it."""
        return np.maximum(pushed(v) - threshold, 0) if reservoir.reset == "subtract" else np.zeros_like(v)

    def after_rest(v: Ints) -> Ints:
        """The same, and then through the refractory steps; or, if it does not fire, just below the threshold."""
        v = after_reset(v)
        for _ in range(reservoir.refractory_steps):
            before, v = v, pushed(v)
            if (v == before).all():
                break
        return np.maximum(v, threshold - 1)

    low = -_settled(lambda v: -saturate_int16(fallen(-v)), len(leak))
    without_reset = _settled(pushed, len(leak))
    fires = without_reset >= threshold
    high = np.zeros((reservoir.refractory_steps + 1, len(leak)), np.int64)
    high[0] = np.where(fires, _settled(after_rest, len(leak)), without_reset)
    resting = np.where(fires, after_reset(high[0]), 0)
    for counter in range(reservoir.refractory_steps, 0, -1):
        high[counter], resting = resting, pushed(resting)
    integrated = np.stack([fallen(low), risen(high.max(axis=0))])
    return Membrane(drive, low, high, integrated, fires)


def _settled(step: Callable[[Ints], Ints], n: int) -> Ints:
    """Where x = step(x) comes to rest from 0: the least x >= 0 for which step(x) <= x, found bit by bit.

    `step` never falls, never rises faster than x, and stays below 2^16.
    """
    below = np.full(n, -1, np.int64)
    for bit in range(15, -1, -1):
        trial = below + (1 << bit)
        below = np.where(step(trial) > trial, trial, below)
    return below + 1


def _reservoir(model: Model, membrane: Membrane) -> Iterator[Range]:
    def said(quantity: str, meaning: str, ends: Ints, type_: str, **more: str) -> Range:
        return Range("reservoir", quantity, meaning, int(ends[0].min()), int(ends[1].max()), type_, **more)

    if model.manifest.reservoir.n_synapses:
        meaning = "a neuron's summed recurrent weights"
        yield said("recurrent", meaning, recurrent_sums(model), "int16_t", table="recurrent_weight")
    kept = np.stack([membrane.low, membrane.high.max(axis=0)])
    leaked = kept * model["leak_q15"].astype(np.int64)
    yield said("leaked", "a membrane potential times its leak", leaked, "int32_t", table="leak_q15")
    yield said("drive", "a neuron's input and recurrent current together", membrane.drive, "int32_t")
    meaning = "a membrane potential before its reset"
    yield said("integrated", meaning, membrane.integrated, "int16_t", accumulator="int32_t", table="threshold")
    yield said("v", "a membrane potential after a step", kept, "int16_t", table="threshold")
    longest = model.manifest.reservoir.refractory_steps * int(membrane.fires.any())
    yield Range("reservoir", "refractory", "a refractory counter", 0, longest, "uint8_t")


def _readout(model: Model, fires: NDArray[np.bool_]) -> Iterator[Range]:
    readout, decision, reservoir = model.manifest.readout, model.manifest.decision, model.manifest.reservoir

    def said(quantity: str, meaning: str, low: int, high: int, type_: str, **more: str) -> Range:
        return Range("readout", quantity, meaning, low, high, type_, **more)

    def spikes_in(steps: Ints) -> Ints:
        """Most spikes of a neuron in so many steps: after each it rests."""
        return -(-steps // (reservoir.refractory_steps + 1)) * fires.any()

    frames = np.arange(1, decision.max_frames + 1 if readout.state == "counts" else 2)
    steps = frames * reservoir.steps_per_frame
    count = int(spikes_in(steps)[-1])
    yield said("counts", "a neuron's spikes", 0, count, "uint16_t")
    if readout.state == "counts":
        state = int((spikes_in(steps) * (65536 // steps)).max())
        yield said("rate_q16", "a neuron's rate", 0, state, "uint16_t", accumulator="uint32_t")
    else:
        # Where x = floor(x * leak / 2^15) + gained comes to rest from 0.
        gained = count * readout.trace_gain
        state = ((gained - 1 << 15) // (Q15_ONE - readout.trace_leak_q15) + 1) * bool(gained)
        yield said("trace", "a spike trace", 0, state, "uint16_t")
        yield said("trace_leaked", "a spike trace times its leak", 0, state * readout.trace_leak_q15, "uint32_t")
    state = min(state, 65535)
    feature = int(sqrt_floor(np.array(state))) if readout.transform == "sqrt" else state >> 8
    yield said("features", "a feature", 0, feature, "uint8_t")

    weights = weights_of(model) * fires * feature
    sums = np.stack([np.minimum(weights, 0).sum(axis=2), np.maximum(weights, 0).sum(axis=2)])
    low, high = int(sums[0].min()), int(sums[1].max())
    yield said("window_sum", "what a window adds to a score", low, high, "int32_t", table="readout_weight")
    # Windows and the length add up; what is left out on the way, or at the end, lies between.
    scores = sums.sum(axis=1) + model["bias"].astype(np.int64)
    if readout.length_feature:
        length = model["length_weight"].astype(np.int64) * min(decision.max_frames, 255)
        scores += np.stack([np.minimum(length, 0), np.maximum(length, 0)])
        low, high = min(int(length.min()), 0), max(int(length.max()), 0)
        yield said("length_score", "what the length adds to a score", low, high, "int32_t", table="length_weight")
    yield said("scores", "a score", int(scores[0].min()), int(scores[1].max()), "int32_t", table="bias")
    if decision.mode == "segment":
        bands = model.manifest.frontend.n_bands
        frame = (255 - ACTIVITY_FLOOR + ACTIVITY_BASE) * bands if readout.window_by == "energy" else 1
        total = readout.n_windows * decision.max_frames * frame
        yield said("activity", "n_windows times a segment's activity", 0, total, "uint32_t")
    if decision.reject:  # the only class there is leads by all that fits
        lead = int(scores[1].max() - scores[0].min()) if len(model.manifest.labels) > 1 else 2**32 - 1
        yield Range("decision", "lead", "the best score's lead", 0, lead, "uint32_t", table="reject_margin")


def _decision(model: Model) -> Iterator[Range]:
    decision = model.manifest.decision
    frames = decision.max_frames if decision.mode == "segment" else decision.every_frames
    yield Range("decision", "n_frames", "the frames counted", 0, frames, "uint16_t")
    if decision.confidence:
        most, table = 32768 * model.manifest.n_classes, "confidence_gain_q16"
        yield Range("decision", "odds_q15", "the odds of all classes, summed,", 32768, most, "uint32_t", table=table)
        yield Range("decision", "confidence_q15", "a decision's confidence", 2**30 // most, 32768, "uint16_t")
    pointer = decision.endpointer
    if pointer is not None and pointer.gate:
        risen = LOUDEST_HOP_Q8 + pointer.floor_rise_q8
        yield Range("decision", "gate_floor_risen_q8", "the noise floor of hops after its rise", 0, risen, "uint32_t")
        yield Range("decision", "gate_floor_q8", "the noise floor of hops", 0, LOUDEST_HOP_Q8, "uint32_t")
        fallen, risen = -LOUDEST_HOP_Q8, LOUDEST_Q8 + pointer.floor_rise_q8
        yield Range("decision", "floor_moved_q8", "the noise floor moved as that of hops", fallen, risen, "int32_t")
        yield Range("decision", "awake_frames", "frames until the gate closes", 0, pointer.hang_frames, "uint16_t")
    if pointer is not None:
        risen = LOUDEST_Q8 + pointer.floor_rise_q8
        yield Range("decision", "floor_risen_q8", "the noise floor after its rise", 0, risen, "uint32_t")
        yield Range("decision", "floor_q8", "the noise floor", 0, LOUDEST_Q8, "uint16_t")
        yield Range("decision", "run", "frames in a row that speak for a change", 0, frames, "uint16_t")
