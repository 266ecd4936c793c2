"""The library's interface as a user calls it: a script of calls, and what each call must answer.

Taps show one segment from a fresh context. Here segments follow one another in the same context, opened by hand or by
the end-pointer, broken off, ended twice, under pushes of any size: what one segment leaves behind, the next one meets.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np

from differential.models import Samples
from lsm_edge import golden
from lsm_edge.fixed import Ints
from lsm_edge.model import Model
from lsm_edge.stages import decision, frontend, readout
from lsm_edge.target.emulate import Emulator
from lsm_edge.target.native import Native

READY: Final = 1
MORE: Final = 0
ERR_COUNT: Final = -2
ERR_STATE: Final = -3

_INTERFACE: Final = """
void lsm_init(void *); int lsm_begin(void *); int lsm_push(void *, const int16_t *, size_t); int lsm_end(void *);
int lsm_class(const void *); const int32_t *lsm_scores(const void *); int lsm_selftest(void *);
"""

# For each call: its status, then the class; and after READY also all scores.
Answers = list[int]


@dataclass(frozen=True)
class Call:
    """One call; `push` takes the next `count` samples of the script."""

    function: Literal["begin", "push", "end"]
    count: int = 0


@dataclass(frozen=True)
class Script:
    """Samples, and calls in order; `lsm_init` comes before the first."""

    samples: Samples
    calls: tuple[Call, ...]


def random_script(random_: random.Random, model: Model, samples: Samples) -> Script:
    """All of `samples` in pushes of any size, some beyond what is allowed, with segments begun and ended anywhere."""
    hop = model.manifest.frontend.hop_samples
    usual = random_.choice((hop, hop, max(hop - 1, 1), 1 + hop // 2, 1 + hop // 5))
    interruptions = random_.choice((0, 0.03, 0.1))
    calls: list[Call] = []
    at = 0
    while at < len(samples):
        if random_.random() < interruptions:
            calls.append(Call(random_.choice(("begin", "begin", "end"))))
        if random_.random() < 0.01:
            calls.append(Call("push", hop + 1))
        count = usual if random_.random() < 0.8 else random_.randint(0, hop)
        count = min(count, len(samples) - at)
        calls.append(Call("push", count))
        at += count
    return Script(samples, (*calls, Call("end"), Call("end"), Call("begin"), Call("end")))


def expected_answers(model: Model, script: Script) -> Answers:
    """What docs/numerics.md, section 6, says of each call, with the golden model's stages doing the arithmetic."""
    frames = golden.hear(model, script.samples)
    hops = frontend.hop_loudness(model, script.samples.astype(np.int64))
    live = model.manifest.decision.mode == "live"
    stream = _LiveStream(model, frames) if live else _SegmentStream(model, frames, hops)
    hop = model.manifest.frontend.hop_samples
    answers, at, label = [], 0, -1
    for call in script.calls:
        heard: tuple[int, Ints] | None = None
        status = MORE
        if call.function == "push" and call.count > hop:
            status = ERR_COUNT
        elif call.function == "push":
            before, at = at // hop, at + call.count
            if at // hop > before:
                heard = stream.hear(before)
        elif call.function == "begin":
            stream.begin()
        else:
            heard = stream.end()
            status = MORE if heard else ERR_STATE
        if heard:
            label, scores = heard
            answers += [READY, label, *map(int, scores)]
        else:
            answers += [status, label]
    return answers


class _SegmentStream:
    """Segments by hand, and by the end-pointer if there is one."""

    def __init__(self, model: Model, frames: Ints, hops: Ints) -> None:
        self._model, self._frames, self._hops = model, frames, hops
        self._by_hand = False
        self._first = 0  # of the open segment
        self._now = 0  # frames heard
        self._pointer = _EndPointer(model) if model.manifest.decision.endpointer else None

    def begin(self) -> None:
        self._by_hand, self._first = True, self._now

    def end(self) -> tuple[int, Ints] | None:
        if not self._by_hand:
            if self._pointer is None or self._pointer.first is None:
                return None
            self._first = self._pointer.first
        if self._pointer:
            self._pointer.close(self._now)
        self._by_hand = False
        return self._answer(self._first, self._now)

    def hear(self, frame: int) -> tuple[int, Ints] | None:
        self._now = frame + 1
        if self._by_hand or self._pointer is None:
            return None
        found = self._pointer.hear(frame, int(self._frames[frame].max()), int(self._hops[frame]))
        return self._answer(*found) if found else None

    def _answer(self, first: int, end: int) -> tuple[int, Ints]:
        (clip,) = golden.run_frames(self._model, [self._frames[first:end]])
        return clip.label, clip.taps["readout.scores"][-1]


class _EndPointer:
    """As `decision.listen`, but frame by frame, so that segments given by hand can come between."""

    def __init__(self, model: Model) -> None:
        pointer = model.manifest.decision.endpointer
        assert pointer is not None
        self._settings, self._max_frames = pointer, model.manifest.decision.max_frames
        self._floor_q8, self._gate_floor_q8, self._quiet_hops = 65280, 102400, 0
        self.close(0)

    def close(self, now: int) -> None:
        """No segment is open, and the next one cannot begin before frame `now`."""
        self._loud_run = self._quiet_run = 0
        self._earliest = now
        self.first: int | None = None

    def _gate_is_closed(self, hop: int) -> bool:
        settings, before_q8 = self._settings, self._gate_floor_q8
        self._gate_floor_q8 = min(before_q8 + settings.floor_rise_q8, 256 * hop)
        self._quiet_hops += 1
        if hop >= (self._gate_floor_q8 >> 8) + settings.gate:
            self._quiet_hops = 0
        if self._quiet_hops <= settings.hang_frames:
            return False
        self._floor_q8 = max(min(self._floor_q8 + self._gate_floor_q8 - before_q8, 65280), 0)
        return True

    def hear(self, frame: int, loudness: int, hop: int) -> tuple[int, int] | None:
        """The segment that closes at this frame, if one does."""
        settings = self._settings
        if self.first is None and settings.gate and self._gate_is_closed(hop):
            self.close(frame + 1)
            return None
        if self.first is None:
            self._floor_q8 = min(self._floor_q8 + settings.floor_rise_q8, 256 * loudness)
        loud = loudness >= (self._floor_q8 >> 8) + settings.onset
        if self.first is None:
            self._loud_run = self._loud_run + 1 if loud else 0
            if self._loud_run == settings.onset_frames:
                self.first = max(frame - settings.onset_frames - settings.preroll_frames + 1, self._earliest)
                self._quiet_run = 0
            return None
        self._quiet_run = 0 if loud else self._quiet_run + 1
        found = (self.first, frame + 1 - self._quiet_run)
        if self._quiet_run == settings.hang_frames:
            self.close(frame + 1)
            return found
        if frame + 1 - self.first == self._max_frames:
            self._floor_q8 = 256 * loudness
            self.close(frame + 1)
            return found
        return None


class _LiveStream:
    """A liquid that never rests but at `begin`."""

    def __init__(self, model: Model, frames: Ints) -> None:
        self._model, self._frames = model, frames
        self._now = 0
        self.begin()

    def begin(self) -> None:
        self._count = 0
        self._traces = _traces(self._model, self._frames[self._now :])
        self._trace = next(self._traces)

    def hear(self, frame: int) -> tuple[int, Ints] | None:
        self._now = frame + 1
        self._trace = next(self._traces)
        self._count += 1
        return self.end() if self._count == self._model.manifest.decision.every_frames else None

    def end(self) -> tuple[int, Ints]:
        self._count = 0
        features = readout.features_of(self._model, self._trace)
        scores = readout.scores_of(self._model, features[None, None], np.zeros(1, np.int64))[0, 0]
        return int(decision.classify(self._model, scores)), scores


def _traces(model: Model, frames: Ints) -> Iterator[Ints]:
    """The traces at rest, and after each frame."""
    (clip,) = golden.run_frames(model, [frames])
    trace = np.zeros(model.manifest.reservoir.n_neurons, np.int64)
    yield trace
    steps = model.manifest.reservoir.steps_per_frame
    words = clip.taps["reservoir.spikes"]
    spikes = np.unpackbits(words.view("u1"), axis=1, bitorder="little", count=len(trace)).astype(np.int64)
    for t in range(len(frames)):
        trace = readout.trace_step(model, trace, spikes[t * steps : (t + 1) * steps].sum(axis=0))
        yield trace


def host_answers(native: Native, script: Script) -> Answers:
    """The script on this machine."""
    ffi, library = native._ffi, native._library
    ffi.cdef(_INTERFACE, override=True)
    context = ffi.new("uint64_t[]", native.context_bytes // 8 + 1)
    samples = ffi.new("int16_t[]", [*script.samples.tolist(), 0])
    library.lsm_init(context)
    answers, at = [], 0
    for call in script.calls:
        arguments = (samples + at, call.count) if call.function == "push" else ()
        status = getattr(library, f"lsm_{call.function}")(context, *arguments)
        answers += [status, library.lsm_class(context)]
        if status == READY:
            answers += list(ffi.unpack(library.lsm_scores(context), native.model.manifest.n_classes))
        at += call.count if status >= MORE else 0
    return answers


def core_answers(emulator: Emulator, script: Script) -> Answers:
    """The script on an emulated core, its samples in the middle of the RAM."""
    context, ram = emulator.context, emulator.board.ram
    samples = ram.address + ram.bytes // 2
    emulator.write(samples, script.samples.astype("<i2").tobytes())
    emulator.call("lsm_init", context)
    answers, at = [], 0
    for call in script.calls:
        arguments = (samples + 2 * at, call.count) if call.function == "push" else ()
        status = _status(emulator.call(f"lsm_{call.function}", context, *arguments))
        answers += [status, _signed(emulator.call("lsm_class", context), 32)]
        if status == READY:
            scores = emulator.read(emulator.call("lsm_scores", context), 4 * emulator.model.manifest.n_classes)
            answers += np.frombuffer(scores, "<i4").tolist()
        at += call.count if status >= MORE else 0
    return answers


def selftest(target: Native | Emulator) -> int:
    """The status of `lsm_selftest`."""
    if isinstance(target, Emulator):
        return _status(target.call("lsm_selftest", target.context))
    ffi, library = target._ffi, target._library
    ffi.cdef(_INTERFACE, override=True)
    return int(library.lsm_selftest(ffi.new("uint64_t[]", target.context_bytes // 8 + 1)))


def _status(register: int) -> int:
    return _signed(register & 0xFF, 8)  # some compilers give an enum a single byte


def _signed(value: int, bits: int) -> int:
    return value - (1 << bits) if value >> (bits - 1) else value


def stream_decisions(model: Model, samples: Samples) -> list[int]:
    """What a stream is decided to be, with nobody to begin or end a segment."""
    frames, segments = golden.listen(model, samples)
    if model.manifest.decision.mode == "live":
        (clip,) = golden.run_frames(model, [frames])
        labels: list[int] = clip.taps["decision.class"][:-1].tolist()  # the last one is that of lsm_end
        return labels
    if not segments:
        return []
    return [clip.label for clip in golden.run_frames(model, [frames[first:end] for first, end in segments])]
