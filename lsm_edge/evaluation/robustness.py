"""What becomes of the accuracy when the world is worse than the recordings: noise, level, time, and flipped bits.

Everything is drawn from the model's seed: the same model and recordings give the same curves. A recording meets the
same noise at every level of it, so that a curve shows the level and not the draw.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from lsm_edge.dataset import Recordings
from lsm_edge.errors import ModelError
from lsm_edge.learn import noise
from lsm_edge.learn.draw import Draw
from lsm_edge.model import Model

WHITE, BABBLE, GAIN = "white noise", "babble", "gain"
BEFORE, AFTER = "near-silence before", "near-silence after"
SNR_DB: Final = (20, 15, 10, 5, 0)
GAIN_DB: Final = (-10, -20, -30, -40)
SHIFT_MS: Final = (40, 80, 120, 160)
NEAR_SILENCE_DB: Final = 60  # what a time shift puts before or after a recording is white noise so far below it
MOST_FLIPS: Final = 200

# Streams of random numbers; those of training are small.
_WHITE, _BABBLE, _SHIFT, _FLIP = (1 << 40 | kind << 32 for kind in range(4))

Samples = NDArray[np.int16]
Spoil = Callable[[int], Samples]  # index of a recording -> what is played of it
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Curve:
    """Accuracy against one quantity; `values` are in `unit`."""

    name: str
    unit: str
    values: tuple[int, ...]
    accuracies: tuple[float, ...]

    def at(self, value: int) -> float | None:
        """The accuracy at `value`, if it was measured."""
        return self.accuracies[self.values.index(value)] if value in self.values else None


@dataclass(frozen=True)
class Flips:
    """Single flipped bits of tables, one at a time, drawn evenly over all bits."""

    flipped: int
    harmless: int  # no decision changed
    out_of_range: int  # leave a table that no model may hold, such as an index out of bounds: not run
    accuracies: tuple[float, ...]  # of those that were run
    worst_table: str | None

    @property
    def mean(self) -> float:
        """Accuracy over all flips that were run."""
        return float(np.mean(self.accuracies)) if self.accuracies else 0.0

    @property
    def worst(self) -> float:
        """The lowest accuracy."""
        return min(self.accuracies, default=0.0)


@dataclass(frozen=True)
class Plan:
    """A curve to be measured."""

    name: str
    unit: str
    spoils: dict[int, Spoil]  # by value


def plan(recordings: Recordings, seed: int, sample_hz: int, *, quick: bool) -> list[Plan]:
    """The curves: white noise, babble, gain, near-silence before and after; two points or one of each with `quick`.

    Babble is made of other recordings of the data set, none of the same group; it is left out if there are too few.
    """
    clips = recordings.clips
    loud = np.array([bool(clip.samples.any()) for clip in clips])
    group = _own_groups(recordings)

    def white(snr_db: int) -> Spoil:
        return lambda i: noise.mix(clips[i].samples, noise.white(Draw(seed, _WHITE + i), len(clips[i].samples)), snr_db)

    def babble(snr_db: int) -> Spoil:
        def spoil(i: int) -> Samples:
            samples = clips[i].samples
            voices = [clips[j].samples for j in np.flatnonzero(loud & (group != group[i]))]
            return noise.mix(samples, noise.babble(Draw(seed, _BABBLE + i), voices, len(samples)), snr_db)

        return spoil

    def gain(gain_db: int) -> Spoil:
        return lambda i: np.rint(clips[i].samples * 10 ** (gain_db / 20)).astype(np.int16)

    def quiet(i: int, shift_ms: int) -> Samples:
        samples = clips[i].samples.astype(np.float64)
        level = np.sqrt(np.mean(samples**2)) * 10 ** (-NEAR_SILENCE_DB / 20) if len(samples) else 0.0
        drawn = Draw(seed, _SHIFT + i).normal(shift_ms * sample_hz // 1000)
        return np.clip(np.rint(drawn * level), -32768, 32767).astype(np.int16)

    def before(shift_ms: int) -> Spoil:
        return lambda i: np.concatenate([quiet(i, shift_ms), clips[i].samples])

    def after(shift_ms: int) -> Spoil:
        return lambda i: np.concatenate([clips[i].samples, quiet(i, shift_ms)])

    babbling = loud.sum() - np.bincount(group, loud).max() >= noise.BABBLE_VOICES
    kinds: list[tuple[str, str, Callable[[int], Spoil], Sequence[int], Sequence[int]]] = [
        (WHITE, "dB SNR", white, SNR_DB, (10, 0)),
        *([(BABBLE, "dB SNR", babble, SNR_DB, (10, 0))] if babbling else []),
        (GAIN, "dB", gain, GAIN_DB, (-20, -40)),
        (BEFORE, "ms", before, SHIFT_MS, (160,)),
        (AFTER, "ms", after, SHIFT_MS, (160,)),
    ]
    return [
        Plan(name, unit, {value: make(value) for value in (few if quick else values)})
        for name, unit, make, values, few in kinds
    ]


def _own_groups(recordings: Recordings) -> NDArray[np.intp]:
    """A number for each recording's group; one that has none is a group of its own."""
    names = [f"{i}" if group is None else f"group {group}" for i, group in enumerate(recordings.groups)]
    return np.unique(names, return_inverse=True)[1]


def curves(
    plans: Sequence[Plan],
    judge: Callable[[Spoil], float],
    progress: Progress | None = None,
) -> tuple[Curve, ...]:
    """Each planned curve, with the accuracy that `judge` finds on spoiled recordings."""
    of, done, found = sum(len(one.spoils) for one in plans), 0, []
    for one in plans:
        accuracies = []
        for spoil in one.spoils.values():
            accuracies.append(judge(spoil))
            done += 1
            if progress is not None:
                progress(done, of)
        found.append(Curve(one.name, one.unit, tuple(one.spoils), tuple(accuracies)))
    return tuple(found)


def flip_bits(
    model: Model,
    classify: Callable[[Model, str], NDArray[np.int64]],
    said: NDArray[np.int64],
    seed: int,
    *,
    most: int = MOST_FLIPS,
    progress: Progress | None = None,
) -> Flips:
    """Flip one bit of a table, classify, turn it back; `most` times.

    `classify` gets the altered model and the name of the table, and returns a class for each recording of `said`.
    """
    names = sorted(model.tables)  # a model's own order is that of its file, which may be any
    sizes = [8 * model[name].nbytes for name in names]
    ends = np.cumsum(sizes)
    unflipped = classify(model, names[-1])
    harmless = out_of_range = 0
    accuracies: list[float] = []
    worst_table = None
    bits = np.sort(Draw(seed, _FLIP).integers(0, int(ends[-1]), most))
    for done, bit in enumerate(bits.tolist(), start=1):
        which = int(np.searchsorted(ends, bit, side="right"))
        name = names[which]
        try:
            altered = model.replace(**{name: _flipped(model[name], bit - int(ends[which] - sizes[which]))})
        except ModelError:
            out_of_range += 1
        else:
            heard = classify(altered, name)
            accuracy = float((heard == said).mean())
            if not accuracies or accuracy < min(accuracies):
                worst_table = name
            accuracies.append(accuracy)
            harmless += bool((heard == unflipped).all())
        if progress is not None:
            progress(done, most)
    classify(model, names[-1])
    return Flips(most, harmless, out_of_range, tuple(accuracies), worst_table)


def _flipped(table: NDArray[Any], bit: int) -> NDArray[Any]:
    data = bytearray(table.tobytes())
    data[bit // 8] ^= 1 << bit % 8
    return np.frombuffer(bytes(data), table.dtype).reshape(table.shape).copy()
