"""The known answer of `lsm_selftest`: a sound that needs no table, and the checksum of what the model makes of it.

Twin of `firmware/kernels/selftest.h` and of `lsm_selftest` in `templates/lsm.c.j2`; `docs/numerics.md` section 8.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from lsm_edge.golden import Clip, run_clips
from lsm_edge.model import Model, table_specs

MOST_HOPS = 64
MOST_SOUNDS = 4
SEEDS = 16  # sounds to choose from


@dataclass(frozen=True)
class KnownAnswer:
    """What the firmware's self-test plays and expects; its time is proportional to len(seeds) * n_hops."""

    seeds: tuple[int, ...]
    n_hops: int
    table_crc: int
    answer_crc: int
    neurons_reached: int  # how many fire at least once


def sound(seed: int, n_hops: int, hop_samples: int) -> NDArray[np.int16]:
    """A square wave under noise whose pitch and loudness change every hop; shape (n_hops * hop_samples,)."""
    random, left, sign = seed, 0, 1
    samples = []
    for _ in range(n_hops):
        random = _next(random)
        half_period, softness = 2 + (random >> 26), random >> 20 & 7
        for _ in range(hop_samples):
            if left == 0:
                left, sign = half_period, -sign
            left -= 1
            random = _next(random)
            noise = (random >> 16) - 32768
            samples.append(sign * (16384 >> softness) + (noise >> (softness + 3)))
    return np.array(samples, np.int16)


def _next(random: int) -> int:
    return (random * 1664525 + 1013904223) & 0xFFFFFFFF


def table_crc(model: Model) -> int:
    """CRC-32 over all tables, little-endian, in the order of `table_specs`."""
    crc = 0
    for name, spec in table_specs(model.manifest).items():
        crc = zlib.crc32(np.ascontiguousarray(model[name], spec.dtype).tobytes(), crc)
    return crc


def answer_crc(model: Model, clip: Clip, crc: int) -> int:
    """CRC-32, carried on, over every hop's frame, the liquid after each, and what readout and decision left at last."""
    taps, steps = clip.taps, model.manifest.reservoir.steps_per_frame
    if model.manifest.decision.mode == "segment":
        crc = zlib.crc32(taps["frontend.frame"].tobytes(), crc)
    for t in range(len(taps["frontend.level"])):
        crc = zlib.crc32(taps["frontend.level"][t].tobytes(), crc)
        for name in ("encoder.current", "reservoir.v", "reservoir.refractory", "reservoir.spikes"):
            crc = zlib.crc32(taps[name][(t + 1) * steps - 1].tobytes(), crc)
    for name in ("readout.features", "readout.scores", "decision.class", "decision.confidence"):
        crc = zlib.crc32(taps[name][-1:].tobytes(), crc)
    return crc


def known_answer(model: Model) -> KnownAnswer:
    """Up to `MOST_SOUNDS` of `SEEDS` sounds, each chosen because it makes most of the neurons fire that did not yet."""
    return _known_answer(_Key(model))


class _Key:
    """A model as its digest, so that answers can be cached."""

    def __init__(self, model: Model) -> None:
        self.model = model

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Key) and other.model.digest == self.model.digest

    def __hash__(self) -> int:
        return hash(self.model.digest)


@lru_cache(maxsize=64)
def _known_answer(key: _Key) -> KnownAnswer:
    model = key.model
    decision, hop = model.manifest.decision, model.manifest.frontend.hop_samples
    n_hops = min(MOST_HOPS, decision.max_frames) if decision.mode == "segment" else MOST_HOPS
    clips = run_clips(model, [sound(seed, n_hops, hop) for seed in range(1, SEEDS + 1)])
    fired = np.array([np.bitwise_or.reduce(clip.taps["reservoir.spikes"], axis=0) for clip in clips])
    reached = np.zeros_like(fired[0])
    chosen: list[int] = []
    while len(chosen) < MOST_SOUNDS:
        best = int(np.argmax(_count(fired | reached)))
        if chosen and _count(fired[best] | reached) == _count(reached):
            break
        chosen.append(best)
        reached |= fired[best]
    crc = 0
    for i in chosen:
        crc = answer_crc(model, clips[i], crc)
    return KnownAnswer(tuple(i + 1 for i in chosen), n_hops, table_crc(model), crc, int(_count(reached)))


def _count(words: NDArray[np.uint32]) -> NDArray[np.intp]:
    """Bits set in the last axis."""
    return np.asarray(np.unpackbits(words.view(np.uint8), axis=-1).sum(axis=-1, dtype=np.intp))
