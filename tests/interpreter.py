"""A third implementation of a model, beside the golden model and the C kernels: plain Python, one integer at a time.

It was written from docs/numerics.md and docs/model-format.md alone, to prove that those two pages are complete. So it
must never import the package, nor copy from it. Section numbers are those of numerics.md.
"""

from __future__ import annotations

import hashlib
import json
import math
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

Row = list[int]
Taps = dict[str, list[Row]]

# Section 7: the taps in order, and for each the struct module's letter of its type.
TAPS = {
    "frontend.frame": "B",
    "frontend.level": "B",
    "encoder.current": "h",
    "reservoir.v": "h",
    "reservoir.refractory": "B",
    "reservoir.spikes": "I",
    "readout.features": "B",
    "readout.scores": "i",
    "decision.class": "i",
    "decision.confidence": "H",
}

# ---- model-format.md ----

# safetensors' name of a type: the struct module's letter, NumPy's name (for the digest).
TYPES = {"I8": "b|i1", "U8": "B|u1", "I16": "h<i2", "U16": "H<u2", "I32": "i<i4", "U32": "I<u4"}


@dataclass(frozen=True)
class Model:
    """The manifest, and every table as a flat list, last index fastest."""

    manifest: dict[str, Any]
    tables: dict[str, Row]

    def __getitem__(self, stage: str) -> dict[str, Any]:
        entries: dict[str, Any] = self.manifest[stage]
        return entries


def expected_tables(model: dict[str, Any], mel_weights: int) -> dict[str, tuple[str, list[int]]]:
    """Type and shape of every table that a manifest asks for."""
    frontend, encoder, reservoir, readout = (model[s] for s in ("frontend", "encoder", "reservoir", "readout"))
    window, bands, neurons = frontend["window_samples"], frontend["n_bands"], reservoir["n_neurons"]
    classes, inputs, synapses = len(model["labels"]), encoder["n_synapses"], reservoir["n_synapses"]
    tables = {"window_q15": ("I16", [window]), "twiddle_q15": ("I16", [window // 2, 2])}
    tables |= {"mel_start": ("U16", [bands]), "mel_end": ("U16", [bands]), "mel_weight_q8": ("U8", [mel_weights])}
    if encoder["kind"] == "current":
        tables |= {
            "tap_offset": ("U16", [neurons, encoder["n_taps"]]),
            "tap_weight": ("I8", [neurons, encoder["n_taps"]]),
        }
    else:
        tables |= {"input_start": ("U16", [2 * bands + 1])}
        tables |= {"input_target": ("U16", [inputs]), "input_weight": ("I8", [inputs])}
    tables |= {"leak_q15": ("U16", [neurons]), "threshold": ("I16", [neurons])}
    if synapses > 0:
        tables |= {"delay_steps": ("U8", [neurons]), "recurrent_start": ("U32", [neurons + 1])}
        tables |= {"recurrent_target": ("U16", [synapses]), "recurrent_weight": ("I8", [synapses])}
    packed, by_class = readout.get("weight_bits", 8) == 4, [readout["n_windows"], classes]
    weights = ("U8", [*by_class, (neurons + 1) // 2]) if packed else ("I8", [*by_class, neurons])
    tables |= {"readout_weight": weights, "bias": ("I32", [classes])}
    tables |= {"reject_margin": ("U32", [1])} if model["decision"].get("reject", False) else {}
    if model["decision"].get("confidence", False):
        tables |= {"confidence_gain_q16": ("U16", [1]), "confidence_shift": ("U8", [1])}
    return tables | ({"length_weight": ("I16", [classes])} if readout["length_feature"] else {})


def load(data: bytes) -> Model:
    """Read a model file and check its types, its shapes and its digest."""
    (n,) = struct.unpack_from("<Q", data)
    header = json.loads(data[8 : 8 + n])
    metadata, body = header.pop("__metadata__"), data[8 + n :]
    if metadata["lsm_edge_format"] != "1":
        raise ValueError("another format")
    manifest = json.loads(metadata["manifest"])
    canonical = json.dumps(manifest, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    digest = hashlib.sha256(canonical.encode())
    tables: dict[str, Row] = {}
    for name, entry in sorted(header.items()):
        code, shape = TYPES[entry["dtype"]], tuple(entry["shape"])
        content = body[slice(*entry["data_offsets"])]
        tables[name] = list(struct.unpack(f"<{math.prod(shape)}{code[0]}", content))
        digest.update(f"\n{name} {code[1:]} {shape}\n".encode() + content)
    expected = expected_tables(manifest, sum(tables["mel_end"]) - sum(tables["mel_start"]))
    if {name: (entry["dtype"], entry["shape"]) for name, entry in header.items()} != expected:
        raise ValueError("the tables do not fit the manifest")
    if digest.hexdigest() != metadata["digest"]:
        raise ValueError("wrong digest")
    return Model(manifest, tables)


# ---- 1. Words ----


def sat16(x: int) -> int:
    return max(-32768, min(32767, x))


def decay(x: int, a: int) -> int:
    return ((x * a) >> 15) + (1 if x < 0 else 0)


def log2_q8(x: int) -> int:
    if x == 0:
        return 0
    e = x.bit_length() - 1
    m = ((x >> (e - 8)) if e >= 8 else (x << (8 - e))) & 255
    return 256 * e + m + ((m * (256 - m) * 88) >> 16)


# ---- 2. frontend ----


def transform(z: Row, twiddle: Row) -> tuple[Row, Row]:
    """1/M of the transform of the M complex points z[2j] + i z[2j+1], as real and imaginary parts."""
    points = len(z) // 2
    digits = points.bit_length() - 1
    order = [int(f"{j:0{digits}b}"[::-1], 2) for j in range(points)]
    re, im = [z[2 * j] for j in order], [z[2 * j + 1] for j in order]
    h = 1
    while h < points:
        for block in range(0, points, 2 * h):
            for k, a in enumerate(range(block, block + h)):
                b = a + h
                if h == 1 or (h == 2 and k == 0):
                    t_re, t_im = re[b], im[b]
                elif h == 2:
                    t_re, t_im = im[b], -re[b]
                else:
                    w = 2 * k * (points // h)
                    t_re = (re[b] * twiddle[w] - im[b] * twiddle[w + 1]) >> 15
                    t_im = (re[b] * twiddle[w + 1] + im[b] * twiddle[w]) >> 15
                re[a], re[b] = (re[a] + t_re) >> 1, (re[a] - t_re) >> 1
                im[a], im[b] = (im[a] + t_im) >> 1, (im[a] - t_im) >> 1
        h *= 2
    return re, im


def power(re: Row, im: Row, twiddle: Row) -> Row:
    """P[k], for k = 1 .. M-1."""
    points = len(re)
    p = [0] * points
    for k in range(1, points // 2 + 1):
        j = points - k
        s_re, s_im, d_re, d_im = (re[k] + re[j]) >> 1, (im[k] + im[j]) >> 1, (re[k] - re[j]) >> 1, (im[k] - im[j]) >> 1
        w_re, w_im = twiddle[2 * k], twiddle[2 * k + 1]
        t_re = (w_re * s_im + w_im * d_re) >> 15
        t_im = (w_im * s_im - w_re * d_re) >> 15
        p[j] = ((s_re - t_re) >> 1) ** 2 + ((d_im - t_im) >> 1) ** 2
        p[k] = ((s_re + t_re) >> 1) ** 2 + ((d_im + t_im) >> 1) ** 2
    return p


def band_levels(model: Model, y: Row) -> Row:
    """One window of pre-emphasised samples to one byte a band, before levelling."""
    tables = model.tables
    u = 0
    for value in y:
        u |= value if value >= 0 else -1 - value
    s = 15 - u.bit_length() if u else 0
    z = [(value * (w << s)) >> 16 for value, w in zip(y, tables["window_q15"], strict=True)]
    p = power(*transform(z, tables["twiddle_q15"]), tables["twiddle_q15"])
    levels, weights = [], iter(tables["mel_weight_q8"])
    for start, end in zip(tables["mel_start"], tables["mel_end"], strict=True):
        energy = sum(next(weights) * p[k] for k in range(start, end))
        levels.append(max(0, min(255, (log2_q8(energy) - 512 * s - 320) >> 5)))
    return levels


def frontend(model: Model, samples: Row) -> Iterator[Row]:
    """The rows of the tap `frontend.frame`."""
    entries = model["frontend"]
    hop, window = entries["hop_samples"], entries["window_samples"]
    before = [0, *samples]
    y = [0] * window + [sat16(x - b + (b >> 5)) for x, b in zip(samples, before, strict=False)]
    p_q8 = 0
    for end in range(hop, len(samples) + 1, hop):
        frame = band_levels(model, y[end : end + window])
        if entries["level"] == "running_peak":
            p_q8 = max(max(p_q8 - entries["release_q8"], 0), 256 * max(*frame, 80))
            frame = levelled(frame, [p_q8 >> 8] * len(frame), entries["range_gain"])
        yield frame


def levelled(frame: Row, peaks: Row, gain: int) -> Row:
    return [max(255 - gain * (peak - b), 0) for b, peak in zip(frame, peaks, strict=True)]


def level_segment(entries: dict[str, Any], frames: list[Row]) -> list[Row]:
    bands, gain, share = entries["n_bands"], entries["range_gain"], entries.get("equalise_q8", 0)
    peak = max((max(frame) for frame in frames), default=0)
    peaks = [peak] * bands
    if share and frames:
        flat = [sum(levelled(frame, peaks, gain)) for frame in frames]
        weights = [(max(total - 60 * bands, 0) + 20 * bands) >> 5 for total in flat]
        columns = list(zip(*frames, strict=True))
        sums = [sum(w * b for w, b in zip(weights, column, strict=True)) for column in columns]
        mean = [16 * total // max(sum(weights), 1) for total in sums]
        excess = [(share * (m - sum(mean) // bands)) >> 12 for m in mean]
        top = max(max(column) - x for column, x in zip(columns, excess, strict=True))
        peaks = [top + x for x in excess]
    return [levelled(frame, peaks, gain) for frame in frames]


# ---- 3. encoder: for each frame, the currents of its steps ----


def encode_current(model: Model, frames: list[Row]) -> Iterator[list[Row]]:
    entries, weights, offsets = model["encoder"], model.tables["tap_weight"], model.tables["tap_offset"]
    history = [0] * ((entries["max_delay_frames"] + 1) * model["frontend"]["n_bands"])
    for frame in frames:
        history = (history + frame)[len(frame) :]
        products = [weight * history[offset] for weight, offset in zip(weights, offsets, strict=True)]
        sums = [sum(products[k : k + entries["n_taps"]]) for k in range(0, len(products), entries["n_taps"])]
        current = [sat16(total >> entries["shift"]) for total in sums]
        yield [current] * model["reservoir"]["steps_per_frame"]


def encode_delta(model: Model, frames: list[Row]) -> Iterator[list[Row]]:
    entries, tables = model["encoder"], model.tables
    delta, starts = entries["delta"], tables["input_start"]
    reference = [0] * model["frontend"]["n_bands"]
    for frame in frames:
        steps = []
        for _ in range(model["reservoir"]["steps_per_frame"]):
            sums = [0] * model["reservoir"]["n_neurons"]
            for band, f in enumerate(frame):
                if f - reference[band] >= delta:
                    line, change = 2 * band, delta
                elif reference[band] - f >= delta:
                    line, change = 2 * band + 1, -delta
                else:
                    continue
                reference[band] += change
                for i in range(starts[line], starts[line + 1]):
                    sums[tables["input_target"][i]] += tables["input_weight"][i]
            steps.append([sat16(total * 2 ** entries["shift"]) for total in sums])
        yield steps


# ---- 4. reservoir ----


def reservoir(model: Model, frames: list[list[Row]], taps: Taps) -> Iterator[Row]:
    """Run the steps of every frame; for each frame, how often each neuron fired."""
    entries, tables = model["reservoir"], model.tables
    neurons = range(entries["n_neurons"])
    leak, threshold = tables["leak_q15"], tables["threshold"]
    v, refractory = [0 for _ in neurons], [0 for _ in neurons]
    # What arrives 1, 2, ... steps after the present one.
    under_way = [[0 for _ in neurons] for _ in range(max(tables.get("delay_steps", [1])))]
    for steps in frames:
        counts = [0 for _ in neurons]
        for current in steps:
            delivered = under_way.pop(0)
            under_way.append([0 for _ in neurons])
            words = [0] * ((len(neurons) + 31) // 32)
            for n in neurons:
                v[n] = decay(v[n], leak[n])
                v[n] = sat16(v[n] + current[n] + delivered[n] * 2 ** entries["weight_shift"])
                if refractory[n] > 0:
                    refractory[n] -= 1
                elif v[n] >= threshold[n]:
                    v[n] = v[n] - threshold[n] if entries["reset"] == "subtract" else 0
                    refractory[n] = entries["refractory_steps"]
                    counts[n] += 1
                    words[n // 32] |= 1 << n % 32
                    if entries["n_synapses"] > 0:
                        arrival = under_way[tables["delay_steps"][n] - 1]
                        for i in range(tables["recurrent_start"][n], tables["recurrent_start"][n + 1]):
                            arrival[tables["recurrent_target"][i]] += tables["recurrent_weight"][i]
            taps["reservoir.v"].append(list(v))
            taps["reservoir.refractory"].append(list(refractory))
            taps["reservoir.spikes"].append(words)
        yield counts


# ---- 5. readout ----


def windows(model: Model, frames: list[Row]) -> list[int]:
    """For each levelled frame of a segment, the window it is in."""
    bands, n_windows = model["frontend"]["n_bands"], model["readout"]["n_windows"]
    if model["readout"]["window_by"] == "energy":
        weights = [max(sum(frame) - 60 * bands, 0) + 20 * bands for frame in frames]
    else:
        weights = [1 for _ in frames]
    return [n_windows * sum(weights[:t]) // sum(weights) for t in range(len(frames))]


def close_window(model: Model, window: int, state: Row, scores: Row, taps: Taps) -> Row:
    """The scores, with those of one window's state added."""
    feature = [math.isqrt(x) if model["readout"]["transform"] == "sqrt" else x >> 8 for x in state]
    packed, added = model["readout"].get("weight_bits", 8) == 4, []
    width = (len(state) + 1) // 2 if packed else len(state)
    for c, score in enumerate(scores):
        first = (window * len(scores) + c) * width
        weights = model.tables["readout_weight"][first : first + width]
        if packed:
            weights = [half - 8 for byte in weights for half in (byte % 16, byte // 16)][: len(state)]
        added.append(score + sum(w * x for w, x in zip(weights, feature, strict=True)))
    taps["readout.features"].append(feature)
    taps["readout.scores"].append(added)
    return added


def decide(model: Model, scores: Row, taps: Taps) -> None:
    taps["readout.scores"].append(scores)
    best, *others = sorted(scores, reverse=True)
    rejected = model["decision"].get("reject", False) and others and best - others[0] < model.tables["reject_margin"][0]
    taps["decision.class"].append([-2 if rejected else scores.index(best)])
    if model["decision"].get("confidence", False):
        gain, shift = model.tables["confidence_gain_q16"][0], model.tables["confidence_shift"][0]
        octaves = [(min((best - score) >> shift, 65535) * gain) >> 16 for score in scores]
        taps["decision.confidence"].append([2**30 // sum(map(half_to_the_q15, octaves))])


def half_to_the_q15(x: int) -> int:
    f = x & 255
    return (32768 - ((f * (5633792 - 5623 * f)) >> 16)) >> (x >> 8)


def traces(model: Model, spikes: list[Row]) -> list[Row]:
    """The trace at the start, and after each frame."""
    leak, gain = model["readout"]["trace_leak_q15"], model["readout"]["trace_gain"]
    found = [[0] * model["reservoir"]["n_neurons"]]
    for row in spikes:
        found.append([((x * leak) >> 15) + n * gain for x, n in zip(found[-1], row, strict=True)])
    return found


def read_segment(model: Model, frames: list[Row], spikes: list[Row], taps: Taps) -> None:
    window_of, scores, trace = windows(model, frames), model.tables["bias"], traces(model, spikes)
    for window in range(model["readout"]["n_windows"]):
        if model["readout"]["state"] == "counts":
            inside = [row for row, w in zip(spikes, window_of, strict=True) if w == window]
            scale = 65536 // max(len(inside) * model["reservoir"]["steps_per_frame"], 1)
            state = [min(sum(row[n] for row in inside) * scale, 65535) for n in range(len(trace[0]))]
        else:
            state = trace[sum(w <= window for w in window_of)]
        scores = close_window(model, window, state, scores, taps)
    if model["readout"]["length_feature"]:
        length = min(len(frames), 255)
        scores = [x + length * w for x, w in zip(scores, model.tables["length_weight"], strict=True)]
    decide(model, scores, taps)


def read_live(model: Model, spikes: list[Row], taps: Taps) -> None:
    trace, every = traces(model, spikes), model["decision"]["every_frames"]
    for state in [*trace[every::every], trace[-1]]:  # the last one is that of lsm_end
        decide(model, close_window(model, 0, state, model.tables["bias"], taps), taps)


# ---- 6. decision ----


def run(model: Model, samples: Row) -> Taps:
    """All taps of one clip: one segment given by hand, or in live mode a stream from lsm_init to one lsm_end."""
    live = model["decision"]["mode"] == "live"
    taps: Taps = {name: [] for name in TAPS}
    taps["frontend.frame"] = list(frontend(model, samples))
    frames = taps["frontend.frame"] if live else taps["frontend.frame"][: model["decision"]["max_frames"]]
    if model["frontend"]["level"] == "segment_peak":
        frames = level_segment(model["frontend"], frames)
    taps["frontend.level"] = frames
    currents = list((encode_current if model["encoder"]["kind"] == "current" else encode_delta)(model, frames))
    taps["encoder.current"] = [row for steps in currents for row in steps]
    spikes = list(reservoir(model, currents, taps))
    if live:
        read_live(model, spikes, taps)
    else:
        read_segment(model, frames, spikes, taps)
    return taps


def hop_loudness(model: Model, samples: Row) -> Row:
    """G of every whole hop."""
    n = model["frontend"]["hop_samples"]
    y = [sat16(x - b + (b >> 5)) for x, b in zip(samples, [0, *samples], strict=False)]
    hops = [y[i : i + n] for i in range(0, len(y) - n + 1, n)]
    return [log2_q8(n * sum(v * v for v in hop) - sum(hop) ** 2) >> 5 for hop in hops]


def segments(model: Model, frames: list[Row], hops: Row) -> tuple[list[tuple[int, int]], list[int]]:
    """The segments the end-pointer finds in a stream: first frame, one past the last; and the frames not made.

    `frames` are all rows as the frontend makes them, `hops` their G.
    """
    entries, max_frames = model["decision"]["endpointer"], model["decision"]["max_frames"]
    gate = entries.get("gate", 0)
    found: list[tuple[int, int]] = []
    not_made: list[int] = []
    floor_q8, loud_run, quiet_run, earliest = 65280, 0, 0, 0
    gate_floor_q8, quiet_hops = 102400, 0
    start: int | None = None
    for t, frame in enumerate(frames):
        loudness = max(frame)
        if start is None and gate > 0:
            last = gate_floor_q8
            gate_floor_q8 = min(last + entries["floor_rise_q8"], 256 * hops[t])
            quiet_hops = 0 if hops[t] >= (gate_floor_q8 >> 8) + gate else quiet_hops + 1
            if quiet_hops > entries["hang_frames"]:
                floor_q8 = max(0, min(65280, floor_q8 + gate_floor_q8 - last))
                not_made.append(t)
                loud_run, earliest = 0, t + 1
                continue
        if start is None:
            floor_q8 = min(floor_q8 + entries["floor_rise_q8"], 256 * loudness)
        loud = loudness >= (floor_q8 >> 8) + entries["onset"]
        if start is None:
            loud_run = loud_run + 1 if loud else 0
            if loud_run < entries["onset_frames"]:
                continue
            start = max(t - (entries["onset_frames"] + entries["preroll_frames"] - 1), earliest)
            quiet_run = 0
        else:
            quiet_run = 0 if loud else quiet_run + 1
        hung_up, full = quiet_run >= entries["hang_frames"], t + 1 - start >= max_frames
        if hung_up or full:
            earliest = t + 1
            found.append((start, t + 1 - quiet_run))
            start, loud_run = None, 0
            if not hung_up:
                floor_q8 = 256 * loudness
    return found, not_made


# ---- 7. The digest of taps ----


def tap_digest(clips: list[Taps]) -> str:
    digest = hashlib.sha256()
    for taps in clips:
        for name, letter in TAPS.items():
            for row in taps[name]:
                digest.update(struct.pack(f"<{len(row)}{letter}", *row))
    return digest.hexdigest()
