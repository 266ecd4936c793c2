"""Random models and recordings, drawn from one `random.Random`: every option, and the ends of every range.

Models are built from a manifest and tables, not from a config, because training never draws the extremes. Hypothesis
drives the same functions through `st.randoms()`.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from itertools import pairwise
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from lsm_edge.model import Decision, Encoder, Endpointer, Frontend, Manifest, Model, Readout, Reservoir, Table
from lsm_edge.stages.readout import pack_weights

Rng = np.random.Generator
Samples = NDArray[np.int16]

# Never multiples of four only: words of 32 spikes, unrolled loops and vectors have their edges here.
N_NEURONS: Final = (1, 2, 3, 5, 7, 16, 21, 31, 32, 33, 37, 63, 64, 65, 90, 127, 129, 160, 200, 255, 256, 257, 301, 600)
LABELS: Final = ("yes", "no", "é", '"quoted"', "*/", "a b", "\\", "??/", "%d", "ja'")
INT16: Final = (-32768, 32767)


def seeded(seed: int) -> random.Random:
    """What both functions below draw from; the same seed gives the same models on any machine."""
    return random.Random(seed)


def random_model(random_: random.Random, largest: int = N_NEURONS[-1]) -> Model:
    """A valid model of at most `largest` neurons.

    How many there are is drawn after all other settings, so that the same seed with a smaller `largest` keeps these.
    """
    live = random_.random() < 0.25
    lively = random_.random() < 0.5  # where all is extreme, little stirs
    frontend = _frontend(random_, live)
    encoder = _encoder(random_)
    reservoir = _reservoir(random_, lively)
    readout = _readout(random_, live, reservoir["steps_per_frame"])
    decision = _decision(random_, frontend["level"], live, lively)
    labels = [f"{LABELS[i % len(LABELS)]} {i}" for i in range(random_.choice((1, 2, 2, 3, 5, 10, 12, 40)))]
    rng = np.random.default_rng(random_.getrandbits(63))
    reservoir["n_neurons"] = n = random_.choice([size for size in N_NEURONS if size <= largest])

    tables = _frontend_tables(rng, frontend)
    tables |= _encoder_tables(rng, encoder, frontend["n_bands"], n)
    tables |= _reservoir_tables(rng, reservoir, _typical_threshold(rng, encoder, n) if lively else None)
    tables |= _readout_tables(rng, readout, len(labels), n, lively)
    tables |= _decision_tables(rng, decision)
    (own,) = rng.spawn(1)  # what it draws leaves the rest of the model as it was
    if "tap_weight" in tables and own.random() < 0.5:
        tables["tap_weight"] = _light(tables["tap_weight"])
    manifest = Manifest(
        name="random",
        labels=tuple(labels),
        frontend=Frontend(**frontend),
        encoder=Encoder(**encoder),
        reservoir=Reservoir(**reservoir),
        readout=Readout(**readout),
        decision=Decision(**decision),
    )
    return Model(manifest, tables)


def _frontend(random_: random.Random, live: bool) -> dict[str, Any]:
    sample_hz = random_.choice((8000, 16000))
    window = random_.choice((128, 256, 512, 1024))
    hop = random_.choice((*(sample_hz * ms // 1000 for ms in (5, 8, 10, 13, 16)), 1, 37, 101, 255, 1024))
    level = "running_peak" if live else random_.choice(("segment_peak", "segment_peak", "running_peak"))
    return {
        "sample_hz": sample_hz,
        "hop_samples": min(hop, window),
        "window_samples": window,
        "n_bands": random_.choice((1, 2, 3, 7, 8, 12, 17, 20, 24, 31, 32)),
        "level": level,
        "range_gain": random_.choice((1, 2, 4)),
        "release_q8": random_.choice((1, 7, 60, 256, 1000, 9000, 65280)),
        "equalise_q8": random_.choice((0, 1, 37, 128, 256)) if level == "segment_peak" else 0,
    }


def _frontend_tables(rng: Rng, frontend: dict[str, Any]) -> dict[str, Table]:
    """Twiddles are what the format says they are; windows and bands are any."""
    n, bands = frontend["window_samples"], frontend["n_bands"]
    angle = 2 * np.pi * np.arange(n // 2) / n
    tables = {
        "window_q15": _one_of(
            rng,
            lambda: 32767 * (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(n) / n)),
            lambda: 32767 * (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(n) / n)),
            lambda: np.full(n, 32767),
            lambda: rng.integers(0, 32768, n),
            lambda: rng.choice((0, 32767), n),
        ),
        "twiddle_q15": 32767 * np.stack([np.cos(angle), -np.sin(angle)], axis=1),
    }
    first, last = 1, n // 2
    if rng.random() < 0.6:  # neighbours, as in a filter bank
        edges = np.sort(rng.choice(np.arange(first, last), bands + 1, replace=False))
        start, end = edges[:-1], np.minimum(edges[1:] + rng.integers(0, 4, bands), last)
    else:  # anywhere, each overlapping others, the first one as wide as can be
        start = rng.integers(first, last, bands)
        end = np.minimum(start + rng.integers(1, 40, bands), last)
        start[0], end[0] = first, last
    tables |= {"mel_start": start, "mel_end": end}
    n_weights = int((end - start).sum())
    tables["mel_weight_q8"] = _one_of(
        rng,
        lambda: rng.integers(0, 256, n_weights),
        lambda: np.full(n_weights, 255),
        lambda: rng.choice((0, 1, 255), n_weights),
    )
    return _typed(tables, window_q15="<i2", twiddle_q15="<i2", mel_start="<u2", mel_end="<u2", mel_weight_q8="u1")


def _encoder(random_: random.Random) -> dict[str, Any]:
    by_taps = random_.random() < 0.6
    return {
        "kind": "current" if by_taps else "delta",
        "shift": random_.randint(0, 8),
        "n_taps": random_.choice((1, 2, 3, 8, 16, 31, 32)) if by_taps else 0,
        "max_delay_frames": random_.choice((0, 0, 1, 2, 5, 17, 64, 1023)) if by_taps else 0,
        "delta": 0 if by_taps else random_.choice((1, 2, 5, 12, 40, 127)),
        "n_synapses": 0,
    }


def _encoder_tables(rng: Rng, encoder: dict[str, Any], bands: int, n: int) -> dict[str, Table]:
    if encoder["kind"] == "current":
        span = (encoder["max_delay_frames"] + 1) * bands
        offsets = rng.integers(0, span, (n, encoder["n_taps"]))
        offsets[0, 0], offsets[-1, -1] = 0, span - 1
        weights = _weights(rng, offsets.size).reshape(offsets.shape)
        if rng.random() < 0.5 and encoder["n_taps"] > 7 and weights.min() < weights.max():  # as training draws them
            weights = np.clip(weights - np.round(weights.mean(axis=1, keepdims=True)), -127, 127)
        return _typed({"tap_offset": offsets, "tap_weight": weights}, tap_offset="<u2", tap_weight="i1")
    most = _one_of(rng, lambda: 3 * n, lambda: 9 * n, lambda: 20 * n, lambda: 258, lambda: rng.integers(0, 4))
    target, weight = _synapses(rng, min(most, 20_000), n)
    encoder["n_synapses"] = len(target)
    start = _row_starts(rng, 2 * bands, len(target))
    tables = {"input_start": start, "input_target": target, "input_weight": weight}
    return _typed(tables, input_start="<u2", input_target="<u2", input_weight="i1")


def _light(weights: Table) -> Table:
    """As large as can be so that no neuron's sum leaves int16: neither sign's weights sum to more than 128."""
    sums = np.stack([np.maximum(sign * weights.astype(np.int64), 0).sum(axis=1) for sign in (1, -1)])
    return np.trunc(weights * np.minimum(128 / np.maximum(sums.max(axis=0), 1), 1)[:, None]).astype(np.int8)


def _reservoir(random_: random.Random, lively: bool) -> dict[str, Any]:
    recurrent = random_.random() < 0.7
    return {
        "steps_per_frame": random_.choice((1, 2, 3, 5, 8, 16)),
        "reset": random_.choice(("subtract", "zero")),
        "refractory_steps": random_.choice((0, 0, 1, 3) if lively else (0, 1, 2, 9, 254, 255)),
        "n_synapses": int(recurrent),
        "weight_shift": random_.randint(0, 8) if recurrent else 0,
        "max_delay_steps": random_.choice((1, 1, 2, 3, 7, 16, 31, 127, 128)) if recurrent else 0,
    }


def _typical_threshold(rng: Rng, encoder: dict[str, Any], n: int) -> Table:
    """Thresholds about as high as input currents."""
    drive = 5000 * encoder["n_taps"] ** 0.5 / 2 ** encoder["shift"] or 90 * 2 ** encoder["shift"]
    return np.clip(drive * np.exp(rng.uniform(-3, 1, n)), 1, 32767)


def _reservoir_tables(rng: Rng, reservoir: dict[str, Any], threshold: Table | None) -> dict[str, Table]:
    n = reservoir["n_neurons"]
    if threshold is None:
        threshold = _one_of(
            rng,
            lambda: np.exp(rng.uniform(0, np.log(32767), n)),
            lambda: rng.integers(1, 3, n),
            lambda: rng.choice((1, 1000, 32767), n),
        )
    tables = {
        "leak_q15": _one_of(
            rng,
            lambda: rng.integers(0, 32768, n),
            lambda: 32768 - (1 << rng.integers(1, 15, n)),
            lambda: np.full(n, rng.choice((0, 16384, 24576, 28672, 31744, 32767))),
            lambda: rng.choice((0, 16384, 32767), n),
        ),
        "threshold": threshold,
    }
    if reservoir["n_synapses"]:
        most = _one_of(rng, lambda: 2 * n, lambda: 10 * n, lambda: n * min(n, 120), lambda: 258, lambda: 1)
        target, weight = _synapses(rng, most, n)
        slots = reservoir["max_delay_steps"]
        delays = _one_of(rng, lambda: rng.integers(1, slots + 1, n), lambda: np.full(n, slots), lambda: np.full(n, 1))
        delays[-1] = slots
        start = _row_starts(rng, n, len(target))
        (own,) = rng.spawn(1)  # what it draws leaves the rest of the model as it was
        if n >= 4 and len(target) >= 4 and own.random() < 0.25:
            start, target = _blocks(own, n, len(target) // 4)
            weight = weight[: len(target)]
        reservoir["n_synapses"] = len(target)
        tables |= {"delay_steps": delays, "recurrent_start": start}
        tables |= {"recurrent_target": target, "recurrent_weight": weight}
    types = {"leak_q15": "<u2", "threshold": "<i2", "delay_steps": "u1"}
    return _typed(tables, **types, recurrent_start="<u4", recurrent_target="<u2", recurrent_weight="i1")


def _blocks(rng: Rng, n: int, n_blocks: int) -> tuple[Table, Table]:
    """Where rows start, and targets in aligned blocks of four; rows of any length or all of the same."""
    start = _row_starts(rng, n, n_blocks)
    if n_blocks >= n and rng.random() < 0.5:
        start = np.arange(n + 1) * (n_blocks // n)
    first = 4 * rng.integers(0, n // 4, start[-1])
    return 4 * start, (first[:, None] + np.arange(4)).ravel()


def _readout(random_: random.Random, live: bool, steps: int) -> dict[str, Any]:
    trace = live or random_.random() < 0.4
    leak = random_.choice((0, 1, 20000, 31000, 32000, 32700, 32767)) if trace else 0
    most = (65536 * (32768 - leak) - 1) // (32768 * steps)  # the trace then stays below 2^16
    return {
        "state": "trace" if trace else "counts",
        "transform": random_.choice(("sqrt", "linear")),
        "n_windows": 1 if live else random_.choice((1, 2, 3, 5, 8)),
        "window_by": random_.choice(("energy", "length")),
        "length_feature": not live and random_.random() < 0.5,
        "trace_leak_q15": leak,
        "trace_gain": random_.choice((most, most, most // 2, most // 7)) if trace else 0,
    }


def _readout_tables(rng: Rng, readout: dict[str, Any], n_classes: int, n: int, lively: bool) -> dict[str, Table]:
    shape = (readout["n_windows"], n_classes, n)
    weights, bias = rng.integers(-127, 128, shape), rng.integers(-300, 300, n_classes)
    if not lively:
        weights = _one_of(
            rng,
            lambda: _weights(rng, int(np.prod(shape))).reshape(shape),
            lambda: np.repeat(
                _weights(rng, shape[0] * n).reshape(shape[0], 1, n), n_classes, axis=1
            ),  # all classes tie
        )
        bias = _one_of(
            rng,
            lambda: np.zeros(n_classes),
            lambda: rng.integers(-2, 3, n_classes),
            lambda: rng.integers(-(10**5), 10**5, n_classes),
            lambda: rng.choice((-(2**30), 2**30), n_classes),
        )
    tables = {"readout_weight": weights, "bias": bias}
    if readout["length_feature"]:
        tables["length_weight"] = rng.choice((-32767, 32767, 0, 1000), n_classes)
    readout["weight_bits"] = int(rng.choice((8, 8, 4)))
    if readout["weight_bits"] == 4:
        tables["readout_weight"] = pack_weights(np.round(weights).astype(np.int64) // 16)
        return _typed(tables, readout_weight="u1", length_weight="<i2", bias="<i4")
    return _typed(tables, readout_weight="i1", length_weight="<i2", bias="<i4")


def _decision_tables(rng: Rng, decision: dict[str, Any]) -> dict[str, Table]:
    decision["reject"] = bool(rng.random() < 0.3)
    margin = rng.choice((0, 1, 400, 9000, 200_000, 2**32 - 1))
    gate = int(rng.choice((0, 0, 1, 3, 16, 40, 255)))
    if decision["endpointer"]:
        decision["endpointer"] = decision["endpointer"].model_copy(update={"gate": gate})
    tables = {"reject_margin": np.array([margin])} if decision["reject"] else {}
    decision["confidence"] = bool(rng.random() < 0.4)
    if decision["confidence"]:
        tables["confidence_gain_q16"] = np.array([rng.choice((0, 1, 300, 40_000, 65_535))])
        tables["confidence_shift"] = np.array([rng.choice((0, 3, 8, 12, 31))])
    return _typed(tables, reject_margin="<u4", confidence_gain_q16="<u2", confidence_shift="u1")


def _decision(random_: random.Random, level: str, live: bool, lively: bool) -> dict[str, Any]:
    max_frames = random_.choice((16, 30, 60, 300) if lively else (1, 3, 9, 120))
    pointer = None
    if level == "segment_peak" and max_frames > 1 and random_.random() < 0.8:
        onset_frames = random_.randint(1, min(4, max_frames - 1))
        pointer = Endpointer(
            onset=random_.choice((1, 3, 12, 16, 40, 120)),
            onset_frames=onset_frames,
            hang_frames=random_.choice((1, 1, 2, 3, 8)),
            preroll_frames=random_.randint(0, min(10, max_frames - 1 - onset_frames)),
            floor_rise_q8=random_.choice((1, 1, 20, 20, 256, 256, 2000, 65280)),
        )
    return {
        "mode": "live" if live else "segment",
        "every_frames": random_.choice((1, 2, 3, 7, 10, 50)),
        "max_frames": max_frames,
        "endpointer": pointer,
    }


def _weights(rng: Rng, count: int) -> Table:
    return _one_of(
        rng,
        lambda: rng.integers(-127, 128, count),
        lambda: np.clip(np.round(rng.normal(0, 25, count)), -127, 127),
        lambda: rng.choice((-127, 127), count),
        lambda: np.full(count, rng.choice((-127, 127, 1))),
        lambda: rng.choice((-127, -1, 0, 1, 127), count),
    )


def _synapses(rng: Rng, most: int, n: int) -> tuple[Table, Table]:
    """Targets and weights, anywhere or all onto one neuron; those that could sum to beyond int16 are left out."""
    anywhere = rng.integers(0, n, most)
    target = _one_of(rng, lambda: anywhere, lambda: anywhere, lambda: np.full(most, n - 1))
    weight = _weights(rng, most)
    order = np.argsort(target, kind="stable")
    fits = np.ones(most, bool)
    for sign in (1, -1):
        part = np.maximum(sign * weight[order], 0)
        running = np.cumsum(part)
        first = np.searchsorted(target[order], target[order])
        fits[order] &= running - (running - part)[first] <= 32767
    return target[fits], weight[fits]


def _row_starts(rng: Rng, rows: int, n_synapses: int) -> Table:
    return np.concatenate([[0], np.sort(rng.integers(0, n_synapses + 1, rows - 1)), [n_synapses]])


def _one_of(rng: Rng, *makers: Callable[[], Any]) -> Any:
    return makers[int(rng.integers(len(makers)))]()


def _typed(tables: dict[str, Table], **types: str) -> dict[str, Table]:
    return {name: np.ascontiguousarray(np.round(table).astype(types[name])) for name, table in tables.items()}


def random_recordings(random_: random.Random, model: Model, most: int = 6, longest_frames: int = 40) -> list[Samples]:
    """Up to `most` recordings of at most `longest_frames` hops; first, for an end-pointer, one with pauses in it.

    And for a model that weighs the length, one that is longer than it counts.
    """
    lengths = (0, 1, longest_frames // 4, longest_frames // 2, longest_frames, longest_frames)
    n_frames = [random_.choice(lengths) for _ in range(random_.randint(1, most))]
    if model.manifest.readout.length_feature and model.manifest.decision.max_frames > 255:
        n_frames[0] = random_.randint(254, 258)
    recordings = [random_recording(random_, model, n) for n in n_frames]
    if model.manifest.decision.endpointer:
        recordings.insert(0, _with_pauses(random_, model, 2 * longest_frames))
    return recordings


def random_recording(random_: random.Random, model: Model, n_frames: int) -> Samples:
    """That many hops, and a part of one: a few stretches, each of one sort of sound."""
    hop = model.manifest.frontend.hop_samples
    n_samples = n_frames * hop + random_.choice((0, 0, 1, hop // 2, hop - 1))
    kinds = [random_.choice((*SOUNDS, *["babble"] * len(SOUNDS))) for _ in range(random_.choice((1, 3, 6, 12)))]
    rng = np.random.default_rng(random_.getrandbits(63))
    edges = [0, *np.sort(rng.integers(0, n_samples + 1, len(kinds) - 1)).tolist(), n_samples]
    parts = [SOUND[kind](rng, end - start) for kind, (start, end) in zip(kinds, pairwise(edges), strict=True)]
    return np.clip(np.concatenate(parts), *INT16).astype(np.int16)


def _with_pauses(random_: random.Random, model: Model, n_frames: int) -> Samples:
    """Sounds of a few hops each, with silence or nearly so in between: what an end-pointer is for."""
    hop, quiet = model.manifest.frontend.hop_samples, ("silence", "whisper")
    kinds = [random_.choice(SOUNDS if i % 2 else quiet) for i in range(max(n_frames // 4, 2))]
    rng = np.random.default_rng(random_.getrandbits(63))
    parts = [SOUND[kind](rng, int(rng.integers(1, 8) * hop + rng.integers(hop))) for kind in kinds]
    return np.clip(np.concatenate(parts)[: n_frames * hop], *INT16).astype(np.int16)


def _noise(rng: Rng, n: int) -> Table:
    return rng.uniform(-1, 1, n) * rng.choice((2, 20, 300, 5000, 32768))


def _babble(rng: Rng, n: int) -> Table:
    """Tones and noise whose pitch and loudness change every few hundred samples: what a liquid stirs under."""
    lengths = rng.integers(60, 900, n // 60 + 1)
    pitch, loudness = rng.uniform(0.02, 3, len(lengths)), rng.choice((0, 40, 900, 8000, 32767), len(lengths))
    phase = np.cumsum(np.repeat(pitch, lengths)[:n])
    return np.repeat(loudness, lengths)[:n] * (0.7 * np.sin(phase) + rng.uniform(-0.3, 0.3, n))


def _sweep(rng: Rng, n: int) -> Table:
    low, high = np.sort(rng.uniform(0.001, 0.5, 2))
    return rng.choice((40, 3000, 32767)) * np.sin(2 * np.pi * np.cumsum(np.linspace(low, high, n)))


def _square(rng: Rng, n: int) -> Table:
    return np.where(np.arange(n) // rng.choice((1, 2, 3, 8, 31)) % 2, 32767, -32768)


def _impulses(rng: Rng, n: int) -> Table:
    return np.where(rng.random(n) < 0.01, rng.choice(INT16, n), 0)


SOUND: Final[dict[str, Callable[[Rng, int], Table]]] = {
    "babble": _babble,
    "silence": lambda rng, n: np.zeros(n),
    "noise": _noise,
    "tone": lambda rng, n: rng.choice((9, 900, 32767)) * np.sin(rng.uniform(0.01, 3.1) * np.arange(n)),
    "sweep": _sweep,
    "square": _square,
    "extremes": lambda rng, n: rng.choice((-32768, 32767, 0, -1), n),
    "impulses": _impulses,
    "constant": lambda rng, n: np.full(n, rng.choice((*INT16, -1, 1000))),
    "whisper": lambda rng, n: rng.integers(-1, 2, n),
}
SOUNDS: Final = tuple(SOUND)
