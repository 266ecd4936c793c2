"""The context `lsm_t`, field by field: what the header declares, what RAM it takes, and where taps are read."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from lsm_edge.fixed import INT16_MAX, INT16_MIN
from lsm_edge.model import Manifest, Model
from lsm_edge.ranges import input_sums

_BYTES: Final = {"uint32_t": 4, "int32_t": 4, "uint16_t": 2, "int16_t": 2, "uint8_t": 1}


@dataclass(frozen=True)
class Field:
    """One field: `count` integers of `type`; 0 for a scalar. `extent` says the count in C."""

    type: str
    name: str
    count: int
    extent: str
    comment: str

    @property
    def n_bytes(self) -> int:
        """Size in memory."""
        return _BYTES[self.type] * max(self.count, 1)


def context_fields(model: Model, *, dsp: bool) -> list[Field]:
    """In order of falling alignment, so that no padding is needed between them; `dsp`: of a library with twins."""
    manifest, kept = model.manifest, kept_frames(model, dsp=dsp)
    frontend, reservoir, readout, decision = manifest.frontend, manifest.reservoir, manifest.readout, manifest.decision
    n, words = reservoir.n_neurons, (reservoir.n_neurons + 31) // 32
    history, frames = history_frames(manifest), max_frames(manifest)
    segment, recurrent, trace = decision.mode == "segment", reservoir.n_synapses > 0, readout.state == "trace"
    fields: list[Field] = []

    def add(type_: str, name: str, count: int, extent: str, comment: str = "", when: bool = True) -> None:
        if when:
            fields.append(Field(type_, name, count, extent, comment))

    add("uint32_t", "guard", 0, "", "says that lsm_init() was here, for this model")
    add("uint32_t", "points", frontend.window_samples // 2, "LSM_WINDOW_SAMPLES / 2", "FFT: points, then powers")
    add("uint32_t", "gate_floor_q8", 0, "", "the noise floor of hops", has_gate(manifest))
    add("uint32_t", "spikes", words, "(LSM_N_NEURONS + 31) / 32", "of the last step")
    slots = f"{reservoir.max_delay_steps} * ((LSM_N_NEURONS + 31) / 32)"
    add("uint32_t", "pending", reservoir.max_delay_steps * words, slots, "spikes under way, by slot", recurrent)
    extent = f"LSM_N_BANDS * {kept // 2}"
    add("uint32_t", "by_band", frontend.n_bands * kept // 2, extent, "what taps reach, each band twice", kept > 0)
    add("int32_t", "scores", manifest.n_classes, "LSM_N_CLASSES")
    add("int32_t", "decision", 0, "", "-1 before any")
    add("int16_t", "samples", frontend.window_samples, "LSM_WINDOW_SAMPLES", "emphasised")
    rows = current_rows(manifest)
    add("int16_t", "current", n * rows, f"{rows} * LSM_N_NEURONS" if rows > 1 else "LSM_N_NEURONS", "input")
    meaning = f"recurrent current before its shift{'' if dsp else ', plus 2^15'}"
    add("int16_t" if dsp else "uint16_t", "recurrent", n, "LSM_N_NEURONS", meaning, recurrent)
    add("int16_t", "v", n, "LSM_N_NEURONS", "membrane potentials")
    add("uint16_t", "counts", n, "LSM_N_NEURONS", f"spikes in this {'frame' if trace else 'window'}")
    add("uint16_t", "trace", n, "LSM_N_NEURONS", "leaky spike traces", trace)
    add("int16_t", "previous", 0, "", "sample")
    add("uint16_t", "fill", 0, "", "samples of the present hop")
    add("uint16_t", "n_frames", 0, "", "frames held" if segment else "frames since the last decision")
    add("uint16_t", "at", 0, "", "the frame that the liquid hears")
    add("uint16_t", "confidence_q15", 0, "", "of the last decision", decision.confidence)
    add("int16_t", "peaks", frontend.n_bands, "LSM_N_BANDS", "of each band", frontend.equalise_q8 > 0)
    add("uint16_t", "peak_q8", 0, "", "the running peak", frontend.level == "running_peak")
    add("uint16_t", "window_frames", 0, "", "frames in this window so far", segment)
    add("uint16_t", "floor_q8", 0, "", "the end-pointer's noise floor", decision.endpointer is not None)
    add("uint16_t", "run", 0, "", "frames in a row that speak for a change", decision.endpointer is not None)
    add("uint16_t", "awake_frames", 0, "", "until the gate closes", has_gate(manifest))
    add("uint8_t", "refractory", n, "LSM_N_NEURONS", "steps of rest left")  # read by halves of words
    add("uint8_t", "by_hand", 0, "", "the open segment was opened by lsm_begin()", decision.endpointer is not None)
    add("uint8_t", "is_awake", 0, "", "the gate is open", has_gate(manifest))
    add("uint8_t", "is_open", 0, "", "a segment is being recorded", segment)
    add("uint8_t", "window", 0, "", "windows closed so far", segment)
    add("uint8_t", "slot", 0, "", "of pending[], due at the next step", recurrent)
    add("uint8_t", "row", 0, "", "of current[], that of the frame at `at`", rows > 1)
    add("uint8_t", "features", n, "LSM_N_NEURONS", "of the last window")
    add("uint8_t", "frame", frontend.n_bands, "LSM_N_BANDS", "of the last hop")
    add("uint8_t", "reference", frontend.n_bands, "LSM_N_BANDS", "levels last sent", manifest.encoder.kind == "delta")
    extent = "(LSM_HISTORY_FRAMES + LSM_MAX_FRAMES) * LSM_N_BANDS"
    add("uint8_t", "frames", (history + frames) * frontend.n_bands, extent, "what the liquid hears, oldest first")
    return fields


def has_gate(manifest: Manifest) -> bool:
    """Whether the front end sleeps while nothing is heard."""
    return manifest.decision.endpointer is not None and manifest.decision.endpointer.gate > 0


def current_rows(manifest: Manifest) -> int:
    """Frames that the encoder takes at once, where a whole segment is there when it begins."""
    return 4 if manifest.encoder.kind == "current" and manifest.decision.mode == "segment" else 1


def kept_frames(model: Model, *, dsp: bool) -> int:
    """Frames that the encoder's twin keeps of every band beside those of the segment; 0: it is not taken.

    It is where each neuron's sum fits the half of a word, and where what it keeps, twice, takes no more room than the
    longest segment, and an offset into it no more than 16 bits.
    """
    manifest = model.manifest
    sums = input_sums(model) if dsp and current_rows(manifest) > 1 else None
    if sums is None or sums.min() < INT16_MIN or sums.max() > INT16_MAX:
        return 0
    kept = (manifest.encoder.max_delay_frames + 4 + 3) // 4 * 4
    return kept if 2 * kept <= min(manifest.decision.max_frames, 65536 // manifest.frontend.n_bands) else 0


def history_frames(manifest: Manifest) -> int:
    """Frames that the context holds before those heard.

    Live, taps look back at them. Before a segment there was nothing; three frames of it let the first four be taken
    at once, whatever part of them lies before the segment.
    """
    return manifest.encoder.max_delay_frames if manifest.decision.mode == "live" else current_rows(manifest) - 1


def max_frames(manifest: Manifest) -> int:
    """Frames that the context holds beside those: a whole segment's, or the present one."""
    return manifest.decision.max_frames if manifest.decision.mode == "segment" else 1


def context_bytes(model: Model, *, dsp: bool) -> int:
    """sizeof(lsm_t) where 32-bit integers are aligned to four bytes."""
    return padded_bytes(context_fields(model, dsp=dsp))


def padded_bytes(fields: Iterable[Field]) -> int:
    """Of a structure of these fields."""
    return (sum(field.n_bytes for field in fields) + 3) // 4 * 4
