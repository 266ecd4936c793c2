"""Changed copies of training recordings: faster, later, noisier, quieter, clipped.

What happens to a copy is decided by the seed, the recording's path and the copy's number, and by nothing else: another
recording in the folder changes no copy but those in whose babble its voice is heard.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lsm_edge.config import Augment, Config
from lsm_edge.dataset import Recordings, decode_wav
from lsm_edge.dataset.folder import find_files
from lsm_edge.dataset.resample import resampled, rounded_int16
from lsm_edge.errors import DataError
from lsm_edge.learn.draw import Draw
from lsm_edge.learn.liquid import Liquid
from lsm_edge.learn.noise import BABBLE_VOICES, babble, mix, pink, white

Samples = NDArray[np.int16]
Key = tuple[int, int, tuple[int, ...]]  # recording, copy, recordings in its babble

NEAR_SILENCE_DB = 50.0  # what leads and trails lies that far below the recording


class Copies:
    """The augmented copies of recordings as frames; each is made and heard once, with babble once a choice of voices.

    `noises` are the user's recordings of noise, for `noise.kinds: folder`.
    """

    def __init__(self, config: Config, settings: Augment, recordings: Recordings, noises: Sequence[Samples]) -> None:
        self._settings = settings
        self._seed = config.seed
        self._hz = config.frontend.sample_hz
        self._shortest = config.frontend.hop_samples
        self._clips = recordings.clips
        self._noises = noises
        self._place = [_hash(clip.path) for clip in self._clips]
        self._frames: dict[Key, NDArray[np.uint8]] = {}

    def heard(self, liquid: Liquid, train: NDArray[np.intp]) -> list[NDArray[np.uint8]]:
        """First copies of all recordings of `train`, then second ones ...; babble is made of these recordings alone.

        Raises:
            DataError: babble is asked for, but there is nobody to babble.
        """
        ring = _Ring({int(i): self._place[i] for i in train if self._clips[i].samples.any()})
        keys = [(int(i), copy, self._voices(ring, i, copy)) for copy in range(self._settings.copies) for i in train]
        new = [key for key in keys if key not in self._frames]
        self._frames.update(zip(new, liquid.hear([self._made(*key) for key in new]), strict=True))
        return [self._frames[key] for key in keys]

    def _kind(self, i: int, copy: int) -> str:
        """The recording's kinds of noise come in turn, beginning with any."""
        if self._settings.noise is None:
            return "none"
        kinds = self._settings.noise.kinds
        return kinds[(copy + _hash(self._clips[i].path, "kind")) % len(kinds)]

    def _voices(self, ring: _Ring, i: int, copy: int) -> tuple[int, ...]:
        if self._kind(i, copy) != "babble":
            return ()
        path = self._clips[i].path
        voices = ring.pick([_hash(self._seed, path, copy, "voice", v) for v in range(BABBLE_VOICES)], i)
        if not voices:
            raise DataError(f"{path}: augment.noise.kinds: babble needs another recording in the training part")
        return voices

    def _made(self, i: int, copy: int, voices: tuple[int, ...]) -> Samples:
        clip, settings = self._clips[i], self._settings
        draws = {
            what: Draw(self._seed, _hash(clip.path, copy, what))
            for what in ("speed", "lead", "trail", "snr", "noise", "gain", "clip")
        }
        samples = clip.samples
        if settings.speed is not None:
            samples = resampled(samples, round(100 * _within(draws["speed"], settings.speed)), 100)
        for what, ms in (("lead", settings.lead_ms), ("trail", settings.trail_ms)):
            if ms is not None:
                n = round(_within(draws[what], ms) * self._hz / 1000)
                samples = _extended(draws[what], samples, n, first=what == "lead")
        kind = self._kind(i, copy)
        if settings.noise is not None and kind != "none":
            noise = self._noise(kind, draws["noise"], voices, len(samples))
            samples = mix(samples, noise, _within(draws["snr"], settings.noise.snr_db))
        if settings.gain_db is not None:
            gain = 10 ** (_within(draws["gain"], settings.gain_db) / 20)
            samples = rounded_int16(samples.astype(np.float64) * gain)
        if settings.clip_share is not None:
            samples = _clipped(samples, _within(draws["clip"], settings.clip_share))
        return np.pad(samples, (0, max(self._shortest - len(samples), 0)))

    def _noise(self, kind: str, draw: Draw, voices: tuple[int, ...], n: int) -> NDArray[np.float64]:
        if kind == "white":
            return white(draw, n)
        if kind == "pink":
            return pink(draw, n)
        if kind == "babble":
            return babble(draw, [self._clips[v].samples for v in voices], n)
        noise = self._noises[int(draw.integers(0, len(self._noises), 1)[0])]
        return np.resize(np.roll(noise, -int(draw.integers(0, len(noise), 1)[0])), n).astype(np.float64)


class _Ring:
    """Recordings at fixed places on a ring: who comes or goes changes only the picks in front of his place."""

    def __init__(self, places: dict[int, int]) -> None:
        self._members = sorted(places, key=lambda i: (places[i], i))
        self._places = np.array([places[i] for i in self._members], np.uint64)

    def pick(self, points: Sequence[int], without: int) -> tuple[int, ...]:
        """For each point the next member that is not picked yet and is not `without`, as far as there are so many."""
        picked: list[int] = []
        for point in points:
            first = int(np.searchsorted(self._places, np.uint64(point)))
            for step in range(len(self._members)):
                member = self._members[(first + step) % len(self._members)]
                if member != without and member not in picked:
                    picked.append(member)
                    break
        return tuple(picked)


def copies_of(config: Config, recordings: Recordings, root: Path) -> Copies | None:
    """The copies that the config asks for; `root` is its folder.

    Raises:
        DataError: the folder of noises has none, or one that cannot be used.
    """
    if config.augment is None:
        return None
    noise = config.augment.noise
    noises = _noises(root / noise.folder, config.frontend.sample_hz) if noise is not None and noise.folder else []
    return Copies(config, config.augment, recordings, noises)


def _noises(folder: Path, sample_hz: int) -> list[Samples]:
    try:
        paths = find_files(folder, "**/*.wav")
    except DataError:
        raise DataError(f"{folder}: no such folder, or no WAV file in it (augment.noise.folder)") from None
    noises = []
    for path in paths:
        try:
            noises.append(decode_wav((folder / path).read_bytes(), sample_hz=sample_hz))
        except (OSError, DataError) as error:
            reason = error.strerror if isinstance(error, OSError) else error
            raise DataError(f"{folder / path}: {reason} (augment.noise.folder)") from None
        if not noises[-1].any():
            raise DataError(f"{folder / path}: is silent; leave it out (augment.noise.folder)")
    return noises


def _hash(*parts: str | int) -> int:
    """64 bits that depend on every part."""
    return int.from_bytes(hashlib.sha256(repr(parts).encode()).digest()[:8], "little")


def _within(draw: Draw, ends: Sequence[float]) -> float:
    return ends[0] + float(draw.uniform(1)[0]) * (ends[1] - ends[0])


def _extended(draw: Draw, samples: Samples, n: int, *, first: bool) -> Samples:
    """With `n` samples of near-silence before or after it."""
    signal = samples.astype(np.float64)
    level = np.sqrt((signal * signal).mean()) * 10 ** (-NEAR_SILENCE_DB / 20)
    silence = rounded_int16(level * draw.normal(n))
    return np.concatenate([silence, samples] if first else [samples, silence])


def _clipped(samples: Samples, share: float) -> Samples:
    """The loudest `share` of samples is cut down to the loudest of the others."""
    wide = samples.astype(np.int32)
    most = np.sort(np.abs(wide))[len(wide) - 1 - int(share * len(wide))]
    return np.clip(wide, -most, most).astype(np.int16)
