"""A config and a seed -> an untrained model: every fixed table is drawn, thresholds and readout are blank.

The grid follows W. Maass, T. Natschläger, H. Markram, Neural Computation 14 (2002) 2531.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from lsm_edge.config import Config, Frontend
from lsm_edge.config import Reservoir as ReservoirSettings
from lsm_edge.errors import ConfigError
from lsm_edge.fixed import INT16_MAX
from lsm_edge.learn.draw import Draw
from lsm_edge.learn.kernels import draw_kernels
from lsm_edge.model import Decision, Encoder, Endpointer, Manifest, Model, Readout, Reservoir, Table
from lsm_edge.model import Frontend as FrontendIntegers
from lsm_edge.stages.readout import pack_weights

Floats = NDArray[np.float64]

_MOST_SWAPS = 10_000  # a round of the densest wiring may stay without some of its synapses
LEVEL_DB = 10 * np.log10(2) / 8  # one step of a frame's bytes: an eighth of an octave of power


def draft(config: Config, labels: Sequence[str], *, recurrent_unit: float = 0.0) -> Model:
    """An untrained model: thresholds at their largest, readout all zero.

    `recurrent_unit` is what a typical excitatory synapse adds to a membrane potential; 0 leaves recurrence out.
    Encoder, leaks and recurrence are drawn from streams of their own: changing one leaves the others as they were.

    Raises:
        ConfigError: the settings do not fit together once they are integers.
    """
    encoder_draw, leak_draw, recurrent_draw = (Draw(config.seed, part) for part in range(3))
    n = config.reservoir.n_neurons
    tables: dict[str, Table] = logmel_tables(config.frontend)
    encoder, input_tables = _wire_encoder(config, encoder_draw)
    tables |= input_tables
    leaks = np.array(config.reservoir.leaks_q15, np.uint16)
    tables["leak_q15"] = leaks[leak_draw.integers(0, len(leaks), n)]
    tables["threshold"] = np.full(n, INT16_MAX, np.int16)
    wanted = wire_recurrent(config, recurrent_draw) * recurrent_unit
    shift, weights = _quantise_recurrent(wanted)
    synapses = wanted != 0 if config.reservoir.topology.kind == "blocks" else weights != 0  # whole blocks stay whole
    n_synapses = int(np.count_nonzero(synapses)) if weights.any() else 0
    if recurrent_unit and config.reservoir.topology.kind != "none" and not n_synapses:
        raise ConfigError(
            f"reservoir.topology: {config.reservoir.topology.kind} leaves these {n} neurons without a synapse; "
            "raise reservoir.recurrent_gain, topology.reach or n_neurons, or take kind: none"
        )
    if n_synapses:
        tables["delay_steps"] = recurrent_draw.integers(1, config.reservoir.max_delay_steps + 1, n).astype(np.uint8)
        tables |= _compressed("recurrent", weights, synapses, np.uint32)
    reservoir = Reservoir(
        n_neurons=n,
        steps_per_frame=config.reservoir.steps_per_frame,
        reset=config.reservoir.reset,
        refractory_steps=config.reservoir.refractory_steps,
        n_synapses=n_synapses,
        weight_shift=shift,
        max_delay_steps=config.reservoir.max_delay_steps if n_synapses else 0,
    )
    readout = _readout(config)
    weightless = np.zeros((readout.n_windows, len(labels), n), np.int8)
    tables["readout_weight"] = weightless if readout.weight_bits == 8 else pack_weights(weightless)
    if readout.length_feature:
        tables["length_weight"] = np.zeros(len(labels), np.int16)
    tables["bias"] = np.zeros(len(labels), np.int32)
    if config.decision.reject_error is not None:
        tables["reject_margin"] = np.zeros(1, np.uint32)
    if config.decision.confidence:
        tables["confidence_gain_q16"], tables["confidence_shift"] = np.zeros(1, np.uint16), np.zeros(1, np.uint8)
    manifest = Manifest(
        name=config.name,
        labels=tuple(labels),
        frontend=_frontend(config),
        encoder=encoder,
        reservoir=reservoir,
        readout=readout,
        decision=_decision(config),
    )
    return Model(manifest, tables)


def _quantise_recurrent(weights: Floats) -> tuple[int, NDArray[np.int8]]:
    """int8 weights and the common left shift that brings them near `weights`, using as many bits as fit."""
    largest = float(np.abs(weights).max(initial=0))
    shift = next((s for s in range(9) if largest <= 127 * 2**s), 8)
    return shift, np.clip(np.round(weights / 2**shift), -127, 127).astype(np.int8)


def logmel_tables(frontend: Frontend) -> dict[str, Table]:
    """Window, twiddles and mel bands (triangles on the mel scale of O'Shaughnessy, 2595 log10(1 + f / 700)).

    Raises:
        ConfigError: a band lies between two bins.
    """
    n = frontend.window_samples
    t = np.arange(n)
    window = np.round(32766 * (0.5 - 0.5 * np.cos(2 * np.pi * t / n))).astype(np.int16)
    angle = 2 * np.pi * np.arange(n // 2) / n
    twiddle = np.round(32767 * np.stack([np.cos(angle), -np.sin(angle)], axis=1)).astype(np.int16)

    edges = np.linspace(_mel(frontend.low_hz), _mel(frontend.high_hz), frontend.n_bands + 2)
    bins = _mel(np.arange(n // 2) * frontend.sample_hz / n)
    start, end, weights = [], [], []
    for low, centre, high in zip(edges[:-2], edges[1:-1], edges[2:], strict=True):
        triangle = np.minimum((bins - low) / (centre - low), (high - bins) / (high - centre))
        weight = np.round(255 * np.clip(triangle, 0, 1)).astype(int)
        weight[0] = 0
        if not weight.any():
            weight[max(int(np.abs(bins - centre).argmin()), 1)] = 255
        used = np.flatnonzero(weight)
        start.append(used[0])
        end.append(used[-1] + 1)
        weights.extend(weight[used[0] : used[-1] + 1])
    if len(set(zip(start, end, strict=True))) < frontend.n_bands:
        raise ConfigError(
            f"frontend.n_bands: {frontend.n_bands} bands from {frontend.low_hz} to {frontend.high_hz} Hz are closer "
            f"than the bins of {n} samples at {frontend.sample_hz} Hz; take fewer bands or a longer window_samples"
        )
    return {
        "window_q15": window,
        "twiddle_q15": twiddle,
        "mel_start": np.array(start, np.uint16),
        "mel_end": np.array(end, np.uint16),
        "mel_weight_q8": np.array(weights, np.uint8),
    }


def _mel(hz: Floats | float) -> Floats:
    return np.asarray(2595 * np.log10(1 + np.asarray(hz, float) / 700))


def _wire_encoder(config: Config, draw: Draw) -> tuple[Encoder, dict[str, Table]]:
    n, bands, encoder = config.reservoir.n_neurons, config.frontend.n_bands, config.encoder
    if encoder.kind == "current":
        offsets, weights = draw_kernels(encoder, bands, n, draw)
        integers = Encoder(
            kind="current", shift=encoder.shift, n_taps=encoder.n_taps, max_delay_frames=encoder.max_delay_frames,
            delta=0, n_synapses=0,
        )  # fmt: skip
        return integers, {"tap_offset": offsets.astype(np.uint16), "tap_weight": weights.astype(np.int8)}
    fan_in = min(encoder.fan_in, 2 * bands)
    matrix = np.zeros((2 * bands, n), np.int8)
    for neuron in range(n):
        lines = draw.subset(2 * bands, fan_in)
        drawn = draw.normal(fan_in)
        matrix[lines, neuron] = np.clip(np.round(drawn * encoder.norm / np.sqrt((drawn**2).sum())), -127, 127)
    n_synapses = int(np.count_nonzero(matrix))
    if n_synapses > 65535:
        raise ConfigError(
            f"encoder.fan_in: {fan_in} lines to each of {n} neurons make {n_synapses} synapses; at most 65535 fit "
            f"(at {n} neurons a fan_in of {65535 // n})"
        )
    tables = _compressed("input", matrix, matrix != 0, np.uint16)
    integers = Encoder(
        kind="delta", shift=encoder.shift, n_taps=0, max_delay_frames=0,
        delta=encoder.delta, n_synapses=n_synapses,
    )  # fmt: skip
    return integers, tables


def wire_recurrent(config: Config, draw: Draw) -> Floats:
    """Recurrent weights in units of a typical excitatory one, (sources, targets); 0 is no synapse."""
    settings, topology = config.reservoir, config.reservoir.topology
    n = settings.n_neurons
    excitatory = draw.uniform(n) < settings.excitatory_share
    if topology.kind == "none" or n == 1:
        return np.zeros((n, n))
    if topology.kind == "blocks":
        return _wire_blocks(n, topology.fan_in, settings, draw)
    if topology.kind == "random":
        chance = np.full((n, n), 1.0)
    else:
        place = np.arange(n)
        side = topology.columns
        grid = np.stack([place % side, place // side % side, place // side**2], axis=1).astype(float)
        squared = ((grid[:, None] - grid[None]) ** 2).sum(axis=-1)
        constants = np.array([[0.1, 0.4], [0.2, 0.3]])  # II IE / EI EE: from row to column, Maass et al. (2002)
        kind = excitatory.astype(int)
        chance = constants[kind[:, None], kind] * np.exp(-squared / topology.reach**2)
    np.fill_diagonal(chance, 0)
    fan_in = min(topology.fan_in, n - 1)
    weights = np.zeros((n, n))
    for target in range(n):
        p = chance[:, target]
        if not p.any():  # nobody within reach
            continue
        usable = min(fan_in, int(np.count_nonzero(p)))
        sources = draw.subset(n, usable, p)
        strength = draw.gamma2(usable)
        weights[sources, target] = np.where(excitatory[sources], strength, -settings.inhibition * strength)
    return weights


def _wire_blocks(n: int, fan_in: int, settings: ReservoirSettings, draw: Draw) -> Floats:
    """Every neuron reaches fan_in / 4 whole blocks of four others, and every block hears fan_in neurons.

    In each round every block is given four sources; one that it has, or that lies in it, changes places with another.
    The four hear the same neurons, so each synapse is excitatory or not by itself, and not by its source.
    A last block of fewer than four hears nobody.
    """
    n_blocks = n // 4
    block = np.arange(4 * n_blocks) // 4
    reached = np.zeros((n, n_blocks), bool)
    own = np.arange(4 * n_blocks), block
    reached[own] = True
    for _ in range(min(fan_in // 4, n_blocks - 1)):
        source = draw.subset(n, 4 * n_blocks)
        for _ in range(_MOST_SWAPS):
            taken = np.flatnonzero(reached[source, block])
            if not len(taken):
                break
            a, b = int(taken[0]), int(draw.integers(0, 4 * n_blocks, 1)[0])
            if not reached[source[b], block[a]] and (not reached[source[a], block[b]] or reached[source[b], block[b]]):
                source[a], source[b] = source[b], source[a]
        free = ~reached[source, block]
        reached[source[free], block[free]] = True
    reached[own] = False
    synapses = np.zeros((n, n), bool)
    synapses[:, : 4 * n_blocks] = reached.repeat(4, axis=1)
    weights, n_synapses = np.zeros((n, n)), int(np.count_nonzero(synapses))
    excitatory = draw.uniform(n_synapses) < settings.excitatory_share
    weights[synapses] = draw.gamma2(n_synapses) * np.where(excitatory, 1.0, -settings.inhibition)
    return weights


def _compressed(
    name: str, matrix: NDArray[np.int8], synapses: NDArray[np.bool_], start_type: type[np.unsignedinteger]
) -> dict[str, Table]:
    """A dense matrix (sources, targets), where there are synapses, as rows of them, by source."""
    source, target = np.nonzero(synapses)
    start = np.searchsorted(source, np.arange(len(matrix) + 1))
    return {
        f"{name}_start": start.astype(start_type),
        f"{name}_target": target.astype(np.uint16),
        f"{name}_weight": matrix[source, target].astype(np.int8),
    }


def _frontend(config: Config) -> FrontendIntegers:
    frontend = config.frontend
    frame_s = frontend.hop_samples / frontend.sample_hz
    return FrontendIntegers(
        sample_hz=frontend.sample_hz,
        hop_samples=frontend.hop_samples,
        window_samples=frontend.window_samples,
        n_bands=frontend.n_bands,
        level=frontend.level,
        range_gain={96: 1, 48: 2, 24: 4}[frontend.range_db],  # type: ignore[arg-type]
        release_q8=max(round(256 * frontend.release_db_per_s * frame_s / LEVEL_DB), 1),
        equalise_q8=round(256 * frontend.equalise),
    )


def _readout(config: Config) -> Readout:
    readout, steps = config.readout, config.reservoir.steps_per_frame
    leak = min(round(32768 * np.exp(-config.frontend.hop_ms / readout.trace_ms)), 32767)
    is_trace = readout.state == "trace"
    return Readout(
        state=readout.state,
        transform=readout.transform,
        n_windows=readout.n_windows,
        window_by=readout.window_by,
        length_feature=readout.length_feature,
        trace_leak_q15=leak if is_trace else 0,
        trace_gain=(65535 * (32768 - leak)) // (32768 * steps) if is_trace else 0,
        weight_bits=readout.weight_bits,
    )


def _decision(config: Config) -> Decision:
    hop_ms, pointer = config.frontend.hop_ms, config.decision.endpointer
    max_frames = int(config.decision.max_segment_ms / hop_ms)
    endpointer = None
    if pointer is not None:
        endpointer = Endpointer(
            onset=round(pointer.onset_db / LEVEL_DB),
            onset_frames=max(round(pointer.onset_ms / hop_ms), 1),
            hang_frames=max(round(pointer.hang_ms / hop_ms), 1),
            preroll_frames=round(pointer.preroll_ms / hop_ms),
            floor_rise_q8=max(round(256 * pointer.floor_db_per_s * hop_ms / 1000 / LEVEL_DB), 1),
            gate=round((pointer.gate_db or 0) / LEVEL_DB),
        )
        begins = endpointer.onset_frames + endpointer.preroll_frames
        if begins >= max_frames:
            raise ConfigError(
                f"decision.max_segment_ms: {config.decision.max_segment_ms} ms are {max_frames} frames, but a segment "
                f"begins with {begins} (decision.endpointer.onset_ms and preroll_ms); take a longer segment"
            )
    return Decision(
        mode=config.decision.mode,
        every_frames=max(round(config.decision.every_ms / hop_ms), 1),
        max_frames=max_frames,
        endpointer=endpointer,
        reject=config.decision.reject_error is not None,
        confidence=config.decision.confidence,
    )
