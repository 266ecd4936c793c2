"""Measures of the liquid itself: how long it remembers, what it tells apart, what a spike sets off, who works.

Each function names the paper that its measure comes from, and says what was chosen where the paper leaves a choice.
Random inputs are levelled frames (bytes), fed to the golden model past the front end; recordings go to `Liquid.stir`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import RidgeClassifierCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from lsm_edge import golden
from lsm_edge.fixed import Ints
from lsm_edge.learn.ablate import BANDS, band_features
from lsm_edge.learn.draw import Draw
from lsm_edge.learn.liquid import Liquid
from lsm_edge.model import Model
from lsm_edge.stages import reservoir

Floats = NDArray[np.float64]
Frames = Sequence[NDArray[np.uint8]]

_STRENGTHS = 10.0 ** np.arange(1, 5.01, 0.5)
_MEMORY, _FADING, _BRANCHING = (1 << 41 | kind << 32 for kind in range(3))  # streams of random numbers


@dataclass(frozen=True)
class Firing:
    """How often neurons fire, in spikes a step."""

    quantiles: tuple[float, float, float, float, float]  # of neurons: 5, 25, 50, 75, 95 %
    silent: float  # share of neurons that never fired
    saturated: float  # share that fired at 9 of 10 steps at which they could
    step_ms: float


def firing(liquid: Liquid, segments: Frames) -> Firing:
    """Firing rates over `segments` (frames, bands) each.

    A neuron can fire at one in 1 + `refractory_steps` steps.
    """
    manifest = liquid.model.manifest
    settings = manifest.reservoir
    heard = [len(segment) for segment in segments]
    if manifest.decision.mode == "segment":
        heard = [min(n, manifest.decision.max_frames) for n in heard]
    spikes = liquid.stir(segments, count_spikes=True).spikes
    rates = spikes / max(sum(heard) * settings.steps_per_frame, 1)
    low, quarter, middle, three_quarters, high = np.quantile(rates, [0.05, 0.25, 0.5, 0.75, 0.95]).tolist()
    return Firing(
        (low, quarter, middle, three_quarters, high),
        silent=float((spikes == 0).mean()),
        saturated=float((rates >= 0.9 / (1 + settings.refractory_steps)).mean()),
        step_ms=frame_ms(liquid.model) / settings.steps_per_frame,
    )


@dataclass(frozen=True)
class Memory:
    """How well the input of k frames ago can be read from the liquid now: r2 of k = 1, 2, ..."""

    by_delay: tuple[float, ...]
    frame_ms: float

    @property
    def capacity(self) -> float:
        """In frames: the sum over all delays."""
        return sum(self.by_delay)

    @property
    def reach_ms(self) -> float:
        """The longest delay at which at least half is still there; 0 if there is none."""
        return self.frame_ms * max((k for k, r2 in enumerate(self.by_delay, start=1) if r2 >= 0.5), default=0)


def memory(model: Model, seed: int, *, sequences: int = 8, n_frames: int = 500, longest: int = 128) -> Memory:
    """Memory capacity (H. Jaeger, GMD Report 152 (2001)).

    Input: see `uniform_input`. State: each neuron's spikes in the last frame (0 to `steps_per_frame`), and nothing of a
    readout's own memory.
    """
    u, frames = uniform_input(seed, model.manifest.frontend.n_bands, sequences, n_frames)
    return recalled(u, spike_counts(model, frames), longest, frame_ms(model))


def uniform_input(seed: int, n_bands: int, sequences: int, n_frames: int) -> tuple[Floats, Ints]:
    """Random numbers u (sequences, frames), uniform in 0 to 1, and the levelled frames that say them.

    Half of the bands, drawn, hold 255 u and the others 255 (1 - u).
    """
    draw = Draw(seed, _MEMORY)
    rising = _half(draw, n_bands)
    u = draw.uniform(sequences, n_frames)
    mixed = np.where(rising, u[..., None], 1 - u[..., None])
    return u, np.floor(256 * mixed).astype(np.int64)


def recalled(u: Floats, state: NDArray[Any], longest: int, frame_ms: float) -> Memory:
    """How well u(t - k) can be read from `state` (sequences, frames, features) at frame t, for k = 1 to `longest`.

    A ridge reconstruction is fitted on three quarters of the sequences, and its squared correlation with the truth
    taken on the others, which it has not seen; below 0.01, what chance gives there, it counts as 0.
    """
    sequences, n_frames = u.shape
    longest = min(longest, n_frames // 2)
    later = np.arange(longest, n_frames)
    past = np.stack([u[:, later - k] for k in range(1, longest + 1)], axis=-1)  # (sequences, later frames, delays)
    state = state[:, later].astype(np.float64)
    n_train = max(3 * sequences // 4, 1)
    x, mean, scale = _standard(state[:n_train].reshape(-1, state.shape[-1]))
    y = past[:n_train].reshape(-1, longest)
    weights = np.linalg.solve(x.T @ x + np.eye(x.shape[1]), x.T @ (y - y.mean(axis=0)))
    found = ((state[n_train:].reshape(-1, state.shape[-1]) - mean) / scale) @ weights
    r2 = _squared_correlation(found, past[n_train:].reshape(-1, longest))
    return Memory(tuple(np.where(r2 < 0.01, 0.0, r2).tolist()), frame_ms)


@dataclass(frozen=True)
class Fading:
    """Whether two liquids with another past become the same under the same present."""

    left_over: tuple[float, ...]  # difference after 1, 2, ... common frames, as a share of that of different inputs
    frame_ms: float

    @property
    def forgotten_ms(self) -> float | None:
        """From when on the difference stays below 1 %; None if it never does."""
        above = [k for k, left in enumerate(self.left_over, start=1) if left >= 0.01]
        last = max(above, default=0)
        return None if last == len(self.left_over) else last * self.frame_ms


def fading(model: Model, seed: int, *, pairs: int = 8, n_before: int = 32, n_common: int = 128) -> Fading:
    """Fading memory, the echo state property (H. Jaeger, GMD Report 148 (2001)).

    Both of a pair get `n_before` different random frames (bytes, uniform), then the same ones. Difference: mean
    absolute difference of spikes a neuron and frame, over all pairs, relative to its mean over the second half of the
    different frames. An encoder with delay taps cannot forget sooner than its longest delay.
    """
    draw = Draw(seed, _FADING)
    bands = model.manifest.frontend.n_bands
    n_common = max(n_common, model.manifest.encoder.max_delay_frames + 64)
    before = draw.integers(0, 256, 2, pairs, n_before, bands)
    common = draw.integers(0, 256, pairs, n_common, bands)
    frames = np.concatenate([before, np.broadcast_to(common, (2, *common.shape))], axis=2)
    counts = spike_counts(model, frames.reshape(2 * pairs, n_before + n_common, bands))
    difference = np.abs(counts[:pairs] - counts[pairs:]).mean(axis=(0, 2))
    usual = float(difference[n_before // 2 : n_before].mean())
    return Fading(tuple((difference[n_before:] / max(usual, 1e-12)).tolist()), frame_ms(model))


@dataclass(frozen=True)
class Branching:
    """What one more spike sets off."""

    ratio: float  # spikes that it causes directly, less those that it prevents
    error: float  # standard error of `ratio`
    trials: int


def branching(model: Model, segments: Frames, seed: int, *, recordings: int = 6, trials: int = 64) -> Branching:
    """The branching parameter, by perturbation (M. London et al., Nature 466 (2010) 123).

    While a recording plays, one neuron gets its threshold added to its current at one step, so that it fires once more
    and keeps its potential (with `reset: zero` it loses that). Counted are the spikes more, and less, of the neurons
    that hear it, until the longest delay and two of the slowest membrane time constants are over. Comparing the numbers
    of spikes in one step and the next (J. Beggs, D. Plenz, J. Neurosci. 23 (2003) 11167) would take what the input
    drives for what spikes cause. Without recurrence the ratio is 0; `trials` are those in which the spike came about.
    """
    settings = model.manifest.reservoir
    if not settings.n_synapses:
        return Branching(0.0, 0.0, 0)
    slowest = 1 / (1 - float(model["leak_q15"].max()) / 32768)
    horizon = settings.max_delay_steps + min(round(2 * slowest), 64)
    draw = Draw(seed, _BRANCHING)
    found: list[int] = []
    longest = sorted(range(len(segments)), key=lambda i: -len(segments[i]))[:recordings]
    for clip in golden.run_frames(model, [segments[i].astype(np.int64) for i in longest]):
        found += _children(model, clip.taps["encoder.current"].astype(np.int64), draw, trials, horizon)
    if not found:
        return Branching(0.0, 0.0, 0)
    return Branching(float(np.mean(found)), float(np.std(found) / np.sqrt(len(found))), len(found))


def _children(model: Model, current: Ints, draw: Draw, trials: int, horizon: int) -> list[int]:
    """Spikes more or less of the neurons that hear one that was made to fire, for each trial in which it did.

    All trials are at one step, a third into the recording, at neurons whose threshold is within reach.
    """
    n, when = model.manifest.reservoir.n_neurons, len(current) // 3
    liquid = reservoir.Liquid.at_rest(model, 1)
    for t in range(when):
        reservoir.step(model, liquid, current[None, t])
    able = (liquid.v[0] + current[when] >= 0) & (liquid.refractory[0] == 0)
    neuron = draw.subset(n, min(trials, int(able.sum())), able.astype(np.float64))
    start, target = model["recurrent_start"].astype(np.int64), model["recurrent_target"]
    hears = np.zeros((len(neuron), n), np.int64)
    for trial, source in enumerate(neuron.tolist()):
        hears[trial, target[start[source] : start[source + 1]]] = 1
    liquid = _copies(liquid, len(neuron) + 1)  # the last one is left alone
    forced, extra = np.zeros(len(neuron), bool), np.zeros(len(neuron), np.int64)
    for t in range(when, min(when + 1 + horizon, len(current))):
        driven = np.repeat(current[None, t], len(neuron) + 1, axis=0)
        if t == when:
            driven[np.arange(len(neuron)), neuron] += model["threshold"][neuron].astype(np.int64)
        fired = reservoir.step(model, liquid, driven)
        more = fired[:-1].astype(np.int64) - fired[-1]
        if t == when:
            forced = more[np.arange(len(neuron)), neuron] > 0
        else:
            extra += (more * hears).sum(axis=1)
    found: list[int] = extra[forced].tolist()
    return found


def _copies(liquid: reservoir.Liquid, n: int) -> reservoir.Liquid:
    """`n` times the one liquid; its arrays lead with the clip axis."""
    state: dict[str, Any] = {field.name: getattr(liquid, field.name) for field in fields(liquid)}
    arrays = {name: np.repeat(part, n, axis=0) for name, part in state.items() if isinstance(part, np.ndarray)}
    return reservoir.Liquid(**(state | arrays))


@dataclass(frozen=True)
class Ranks:
    """Directions in which states differ: among different recordings, and among noisy copies of one."""

    kernel: int
    generalisation: int
    inputs: int


def ranks(liquid: Liquid, different: Frames, noisy: Sequence[Frames]) -> Ranks:
    """Kernel quality and generalisation rank (R. Legenstein, W. Maass, Neural Networks 20 (2007) 323).

    `different` are different recordings, each of `noisy` as many noisy copies of one. State: all that the readout sees.
    The rank of a matrix (inputs, features), less its mean input, counts the singular values above a twentieth of the
    largest one of `different`, the same for all matrices: integers nearly always have full rank in the strict sense.
    """
    states = [_centred(liquid.stir(inputs).features) for inputs in (different, *noisy)]
    values = [np.linalg.svd(state, compute_uv=False) for state in states]
    tolerance = max(0.05 * float(values[0].max(initial=0.0)), 1e-9)
    rank = [int((value > tolerance).sum()) for value in values]
    return Ranks(rank[0], round(float(np.mean(rank[1:]))) if noisy else 0, len(different))


@dataclass(frozen=True)
class Separation:
    """How far apart inputs and states are; 1 is the mean of recordings of different classes."""

    name: str
    input: float
    state: float


def separation(
    liquid: Liquid, segments: Frames, classes: NDArray[np.int64], noisy: Mapping[str, Frames]
) -> list[Separation]:
    """Distance of states against distance of inputs (W. Maass et al., Neural Computation 14 (2002) 2531).

    `noisy` holds noisy copies of `segments` by name. Distances are Euclidean: of inputs, between the mean levels of
    each band in each of the readout's windows; of states, between all that the readout sees.
    """
    pairs = np.triu_indices(len(segments), 1)
    same = (classes[:, None] == classes)[pairs]
    model = liquid.model
    inputs, states = _bands(model, segments), _rows(liquid, segments)
    between_inputs, between_states = _distances(inputs)[pairs], _distances(states)[pairs]
    if same.all():
        return []
    unit_input, unit_state = (max(float(d[~same].mean()), 1e-12) for d in (between_inputs, between_states))
    found = []
    for name, copies in noisy.items():
        d_input = np.sqrt(((_bands(model, copies) - inputs) ** 2).sum(axis=1)).mean()
        d_state = np.sqrt(((_rows(liquid, copies) - states) ** 2).sum(axis=1)).mean()
        found.append(Separation(name, float(d_input) / unit_input, float(d_state) / unit_state))
    if same.any():
        within = float(between_inputs[same].mean()) / unit_input, float(between_states[same].mean()) / unit_state
        found.append(Separation("another recording of the class", *within))
    return [*found, Separation("a recording of another class", 1.0, 1.0)]


@dataclass(frozen=True)
class Worth:
    """Accuracy of a float readout that was fitted on all windows, and with one window left out at a time."""

    everything: float
    without: tuple[float, ...]


def window_worth(
    features: Sequence[NDArray[np.uint8]],
    n_frames: Sequence[NDArray[np.int64]],
    classes: Sequence[NDArray[np.int64]],
    *,
    length_feature: bool,
) -> Worth:
    """What each window tells that the others do not: the readout is fitted again without it.

    Each of the three is a pair, of the training and the test part; features are (segments, windows, neurons). With
    `length_feature` the readout knows how many frames a segment has. It is ridge with leave-one-out strength, for all
    alike.
    """

    def rows(part: int, kept: list[int]) -> Floats:
        state = features[part][:, kept].reshape(len(features[part]), -1).astype(np.float64)
        return np.column_stack([state, n_frames[part]]) if length_feature else state

    def accuracy(kept: list[int]) -> float:
        readout = make_pipeline(StandardScaler(), RidgeClassifierCV(_STRENGTHS))
        readout.fit(rows(0, kept), classes[0])
        return float((readout.predict(rows(1, kept)) == classes[1]).mean())

    windows = list(range(features[0].shape[1]))
    without = [accuracy([kept for kept in windows if kept != left_out]) for left_out in windows]
    return Worth(accuracy(windows), tuple(without))


def frame_ms(model: Model) -> float:
    """Time from one frame to the next."""
    return 1000 * model.manifest.frontend.hop_samples / model.manifest.frontend.sample_hz


def spike_counts(model: Model, levelled: Ints) -> Ints:
    """Levelled frames (sequences, frames, bands) -> spikes of each neuron and frame, (sequences, frames, neurons)."""
    sequences, n_frames, _ = levelled.shape
    settings = model.manifest.reservoir
    clips = golden.run_frames(_open_ended(model, n_frames), list(levelled))
    packed = np.stack([clip.taps["reservoir.spikes"] for clip in clips])
    bits = np.unpackbits(packed.view(np.uint8), axis=-1, bitorder="little")[..., : settings.n_neurons]
    shape = (sequences, n_frames, settings.steps_per_frame, settings.n_neurons)
    return np.asarray(bits.reshape(shape).sum(axis=2), np.int64)


def _open_ended(model: Model, n_frames: int) -> Model:
    """The same liquid; frames are taken as levelled already, and a segment may last `n_frames`."""
    manifest = model.manifest
    changed: dict[str, Any] = {
        "frontend": manifest.frontend.model_copy(update={"level": "running_peak"}),
        "decision": manifest.decision.model_copy(update={"max_frames": n_frames, "endpointer": None}),
    }
    return Model(manifest.model_copy(update=changed), model.tables)


def _half(draw: Draw, n: int) -> NDArray[np.bool_]:
    chosen = np.zeros(n, bool)
    chosen[draw.subset(n, n // 2)] = True
    return chosen


def _standard(x: Floats) -> tuple[Floats, Floats, Floats]:
    """Mean 0 and deviation 1 a column, and what to do to others; a constant column becomes 0."""
    mean, scale = x.mean(axis=0), x.std(axis=0)
    scale = np.where(scale > 0, scale, 1.0)
    return (x - mean) / scale, mean, scale


def _squared_correlation(found: Floats, truth: Floats) -> Floats:
    """Of each column; 0 where `found` does not vary."""
    a, b = found - found.mean(axis=0), truth - truth.mean(axis=0)
    power = (a**2).sum(axis=0) * (b**2).sum(axis=0)
    return np.asarray((a * b).sum(axis=0) ** 2 / np.where(power > 0, power, 1.0))


def _centred(features: NDArray[np.uint8]) -> Floats:
    rows = features.reshape(len(features), -1).astype(np.float64)
    return np.asarray(rows - rows.mean(axis=0))


def _rows(liquid: Liquid, segments: Frames) -> Floats:
    return liquid.stir(segments).features.reshape(len(segments), -1).astype(np.float64)


def _bands(model: Model, segments: Frames) -> Floats:
    """Mean levels of each band and window; the length, which follows them, is left out."""
    return band_features(model, segments)[BANDS][:, :-1]


def _distances(rows: Floats) -> Floats:
    squared = (rows**2).sum(axis=1)
    return np.asarray(np.sqrt(np.maximum(squared[:, None] + squared - 2 * rows @ rows.T, 0)))
