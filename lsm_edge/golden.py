"""The golden model: the stages composed as a stream, with taps. What the C must equal, integer by integer.

Every integer that a stage leaves is a *tap*, named `stage.quantity`. Taps are kept as the C keeps them (type, order),
so that two implementations can be compared, and digested, as bytes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from lsm_edge.fixed import Ints
from lsm_edge.model import Model
from lsm_edge.stages import decision, encoder, frontend, readout, reservoir

# Tap -> the type of one integer of it, in the order in which the stages leave them.
TAPS: Final[Mapping[str, str]] = {
    "frontend.frame": "<u1",  # (frames, bands): each hop's levels; already levelled when the peak is a running one
    "frontend.level": "<u1",  # (frames, bands): the segment's frames as the encoder hears them
    "encoder.current": "<i2",  # (steps, neurons)
    "reservoir.v": "<i2",  # (steps, neurons)
    "reservoir.refractory": "<u1",  # (steps, neurons)
    "reservoir.spikes": "<u4",  # (steps, words): neuron n is bit n % 32 of word n / 32
    "readout.features": "<u1",  # (windows, neurons)
    "readout.scores": "<i4",  # (windows + 1, classes): after each window, and with the length
    "decision.class": "<i4",  # (1,)
    "decision.confidence": "<u2",  # (1,), or nothing of a model that has none
}

Taps = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class Clip:
    """What became of one clip."""

    taps: Taps

    @property
    def frames(self) -> NDArray[Any]:
        """Levels of each hop, shape (frames, bands)."""
        return self.taps["frontend.frame"]

    @property
    def features(self) -> NDArray[Any]:
        """Shape (windows, neurons)."""
        return self.taps["readout.features"]

    @property
    def label(self) -> int:
        """Index of the class it was taken for; of a live stream, at its end."""
        return int(self.taps["decision.class"][-1])


def run_clips(model: Model, clips: Sequence[NDArray[np.int16]]) -> list[Clip]:
    """Run whole clips, each as one segment whose ends are given; at most `max_frames` frames of each are heard."""
    frames = [hear(model, samples) for samples in clips]
    return run_frames(model, frames)


def hear(model: Model, samples: NDArray[np.int16]) -> Ints:
    """A stream's samples as frames (frames, bands), before any segment is known."""
    frames = frontend.frames_of(model, samples.astype(np.int64))
    if model.manifest.frontend.level == "running_peak":
        return frontend.level_by_running_peak(model, frames)
    return frames


def listen(model: Model, samples: NDArray[np.int16]) -> tuple[Ints, list[tuple[int, int]]]:
    """A stream without anybody to begin or end segments: its frames, zero where the gate is closed, and the segments.

    Each is (first, end), in frames; one still open at the end of the stream is left out.
    """
    frames = hear(model, samples)
    segments, gated = decision.listen(model, frames, frontend.hop_loudness(model, samples.astype(np.int64)))
    return np.where(gated[:, None], 0, frames), segments


def run_frames(model: Model, frames: Sequence[Ints]) -> list[Clip]:
    """Run segments given as frames; the batch is padded to the longest and each segment stops at its own end."""
    manifest = model.manifest
    longest = manifest.decision.max_frames if manifest.decision.mode == "segment" else None
    heard = [segment[:longest] for segment in frames]
    levelled = [
        frontend.level_by_segment_peak(model, segment) if manifest.frontend.level == "segment_peak" else segment
        for segment in heard
    ]
    n_frames = np.array([len(segment) for segment in levelled], np.int64)
    batch = np.zeros((len(frames), max(n_frames, default=0), manifest.frontend.n_bands), np.int64)
    for i, segment in enumerate(levelled):
        batch[i, : len(segment)] = segment
    history, by_frame = _stir(model, batch), manifest.decision.mode == "live"
    steps = manifest.reservoir.steps_per_frame
    found = []
    for i, n in enumerate(n_frames.tolist()):
        fired = history["spikes"][i, : n * steps]
        features, scores = _read(model, levelled[i], fired)
        decided = scores[::2] if by_frame else scores[-1:]
        speaks = model.manifest.decision.confidence
        taps = {
            "frontend.frame": frames[i],
            "frontend.level": levelled[i],
            "encoder.current": history["current"][i, : n * steps],
            "reservoir.v": history["v"][i, : n * steps],
            "reservoir.refractory": history["refractory"][i, : n * steps],
            "reservoir.spikes": pack_spikes(fired),
            "readout.features": features,
            "readout.scores": scores,
            "decision.class": decision.classify(model, decided),
            "decision.confidence": decision.confidence_q15(model, decided) if speaks else np.zeros(0),
        }
        found.append(Clip({name: taps[name].astype(kind) for name, kind in TAPS.items()}))
    return found


def _stir(model: Model, frames: Ints) -> Taps:
    """Every step of the liquid under a batch of levelled frames (clips, frames, bands)."""
    reservoir_ = model.manifest.reservoir
    clips, n_frames, bands = frames.shape
    n_steps = n_frames * reservoir_.steps_per_frame
    shape = (clips, n_steps, reservoir_.n_neurons)
    taps: Taps = {"current": np.zeros(shape, np.int16), "v": np.zeros(shape, np.int16)}
    taps |= {"refractory": np.zeros(shape, np.uint8), "spikes": np.zeros(shape, bool)}
    by_taps = model.manifest.encoder.kind == "current"
    held = encoder.encode_current(model, frames) if by_taps else None
    reference = np.zeros((clips, bands), np.int64)
    liquid = reservoir.Liquid.at_rest(model, clips)
    for t in range(n_steps):
        frame = t // reservoir_.steps_per_frame
        if held is not None:
            current = held[:, frame]
        else:
            current, reference = encoder.encode_delta(model, frames[:, frame], reference)
        taps["current"][:, t] = current
        taps["spikes"][:, t] = reservoir.step(model, liquid, current)
        taps["v"][:, t] = liquid.v
        taps["refractory"][:, t] = liquid.refractory
    return taps


def _read(model: Model, frames: Ints, spikes: NDArray[np.bool_]) -> tuple[Ints, Ints]:
    """Features and scores of one segment, or of every decision of a live stream.

    Levelled frames (frames, bands), spikes (steps, neurons).
    """
    reservoir_ = model.manifest.reservoir
    by_frame = spikes.reshape(len(frames), reservoir_.steps_per_frame, reservoir_.n_neurons)
    per_frame = by_frame.sum(axis=1, dtype=np.int64)
    if model.manifest.decision.mode == "live":
        every = model.manifest.decision.every_frames
        ends = [*range(every, len(frames) + 1, every), len(frames)]
        features = readout.features_of(model, _traces(model, per_frame)[ends])
        scores = readout.scores_of(model, features[:, None], np.zeros(len(ends), np.int64))
        return features, np.repeat(scores[:, 0], 2, axis=0)
    settings, steps = model.manifest.readout, reservoir_.steps_per_frame
    n_windows = settings.n_windows
    if settings.state == "trace":
        closed_before = np.searchsorted(readout.window_of(model, frames), np.arange(1, n_windows + 1))
        state = _traces(model, per_frame)[closed_before]
    else:
        inside = readout.window_of(model, frames)[:, None] == np.arange(n_windows)
        state = readout.rate_q16(inside.T.astype(np.int64) @ per_frame, inside.sum(axis=0)[:, None] * steps)
    features = readout.features_of(model, state)
    return features, readout.scores_of(model, features[None], np.array([len(frames)]))[0]


def _traces(model: Model, per_frame: Ints) -> Ints:
    """The spike traces after each frame, and at rest before the first: shape (frames + 1, neurons)."""
    traces = [np.zeros(per_frame.shape[1], np.int64)]
    for counts in per_frame:
        traces.append(readout.trace_step(model, traces[-1], counts))
    return np.array(traces)


def pack_spikes(spikes: NDArray[np.bool_]) -> NDArray[np.uint32]:
    """Spikes (steps, neurons) as words (steps, words), neuron n at bit n % 32 of word n / 32."""
    n_words = (spikes.shape[1] + 31) // 32
    padded = np.zeros((len(spikes), n_words * 32), bool)
    padded[:, : spikes.shape[1]] = spikes
    return np.packbits(padded, axis=1, bitorder="little").view("<u4")


def tap_digest(clips: Iterable[Taps]) -> str:
    """SHA-256 over all taps of all clips, little-endian, in the order of `TAPS`."""
    sha = hashlib.sha256()
    for taps in clips:
        for name, kind in TAPS.items():
            sha.update(np.ascontiguousarray(taps[name], kind).tobytes())
    return sha.hexdigest()
