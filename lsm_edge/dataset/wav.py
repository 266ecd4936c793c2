"""The bytes of one WAV file -> mono int16 samples at the wanted rate.

Enters: RIFF/WAVE with PCM of 8, 16, 24 or 32 bits or floats of 32 or 64 bits, plain or extensible, 1 to 64 channels.
Leaves: int16. 16-bit mono at the wanted rate passes bit-exact; all else is rounded to the nearest (halves up) and
saturated. Float full scale is 1.0 = 32768, so 1.0 itself gives 32767. Whatever else the bytes are is a `DataError`
that says what; the caller, who knows the file's name, names it.

Header sizes are checked, because a file cut short by a full disk still looks like sound. Three harmless habits are
let pass: bytes after the end, an odd chunk without its pad byte, and the sizes of recorders that cannot seek back
(0, or at least 0x7FFFF000: the rest of the file is then taken as samples).
"""

from __future__ import annotations

import io
import struct
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
import soundfile
from numpy.typing import NDArray

from lsm_edge.dataset.resample import resampled, rounded_int16
from lsm_edge.errors import DataError

_PCM: Final = 0x0001
_FLOAT: Final = 0x0003
_EXTENSIBLE: Final = 0xFFFE
_EXTENSIBLE_GUID_TAIL: Final = bytes.fromhex("000000001000800000aa00389b71")
_SUBTYPES: Final = {
    (_PCM, 8): "PCM_U8",
    (_PCM, 16): "PCM_16",
    (_PCM, 24): "PCM_24",
    (_PCM, 32): "PCM_32",
    (_FLOAT, 32): "FLOAT",
    (_FLOAT, 64): "DOUBLE",
}
_COMPRESSED: Final = {0x02: "ADPCM", 0x06: "A-law", 0x07: "mu-law", 0x11: "IMA ADPCM", 0x31: "GSM", 0x55: "MP3"}
_FOREIGN: Final = (
    (b"fLaC", "FLAC"),
    (b"OggS", "Ogg"),
    (b"ID3", "MP3"),
    (b"FORM", "AIFF"),
    (b"RF64", "RF64, a WAV beyond 4 GB"),
    (b"RIFX", "RIFX, a big-endian WAV"),
)

_MAX_CHANNELS: Final = 64
_MIN_RATE_HZ, _MAX_RATE_HZ = 1000, 768_000
# What sox and espeak-ng write into a pipe; arecord writes 0x7FFFFFFF, ffmpeg 0xFFFFFFFF.
_UNKNOWN_BYTES: Final = 0x7FFFF000
# A few writers count the eight bytes of the RIFF header itself, or a pad byte they do not write.
_RIFF_SLACK_BYTES: Final = 8
# Louder floats than this (24 dB over full scale) are integers that somebody forgot to scale.
_MAX_FLOAT: Final = 16.0


@dataclass(frozen=True)
class _Format:
    subtype: str
    n_channels: int
    rate_hz: int
    frame_bytes: int


def decode_wav(
    data: bytes, *, sample_hz: int, channel: Literal["mix"] | int = "mix", resample: bool = True
) -> NDArray[np.int16]:
    """The samples of a WAV file, mixed down to (or picked from) one channel, at `sample_hz`; shape (n_samples,).

    Raises:
        DataError: the bytes are no such file; the message is the reason alone, to be put after the file's name.
    """
    form, payload = _parse(data)
    if channel != "mix" and channel >= form.n_channels:
        raise DataError(f"has {form.n_channels} channel(s), counted from 0; dataset.channel is {channel}")
    if form.rate_hz != sample_hz and not resample:
        raise DataError(
            f"is sampled at {form.rate_hz} Hz, frontend.sample_hz is {sample_hz}; dataset.resample: true converts it"
        )
    frames = _frames_in_int16_steps(form, payload)
    mono = rounded_int16(frames.mean(axis=1) if channel == "mix" else frames[:, channel])
    return resampled(mono, form.rate_hz, sample_hz)


def _frames_in_int16_steps(form: _Format, payload: bytes) -> NDArray[np.float64]:
    """Frames as floats in which 1.0 is one step of int16, shape (n_frames, n_channels)."""
    is_float = form.subtype in ("FLOAT", "DOUBLE")
    frames: NDArray[Any]
    frames, _ = soundfile.read(
        io.BytesIO(payload),
        format="RAW",
        subtype=form.subtype,
        endian="LITTLE",
        channels=form.n_channels,
        samplerate=_MIN_RATE_HZ,  # RAW sound has no rate; libsndfile asks for one
        dtype="float64" if is_float else "int32",
        always_2d=True,
    )
    if not is_float:
        return frames / 2.0**16
    peak = float(np.abs(frames).max())
    if not np.isfinite(peak):
        raise DataError("holds samples that are not numbers (NaN) or infinite")
    if peak > _MAX_FLOAT:
        raise DataError(f"holds floats up to {peak:g}; full scale is 1.0, up to {_MAX_FLOAT:g} is taken as overload")
    return frames * 2.0**15


def _parse(data: bytes) -> tuple[_Format, bytes]:
    """The format and the sample bytes, whole frames only."""
    if not data:
        raise DataError("is an empty file")
    if len(data) < 12 or data[:4] != b"RIFF" or data[8:12] != b"WAVE":
        raise DataError(f"is not a WAV file{_foreign(data)}")
    riff_bytes = int.from_bytes(data[4:8], "little")
    riff_known = 0 < riff_bytes < _UNKNOWN_BYTES
    cut_short = riff_known and riff_bytes + 8 > len(data) + _RIFF_SLACK_BYTES
    form = None
    start = 12
    while start + 8 <= len(data):
        name, size_bytes = struct.unpack_from("<4sI", data, start)
        start += 8
        if name == b"data":
            if form is None:
                raise DataError("is damaged: its samples come before their format (no fmt chunk)")
            body = _body(data, start, size_bytes, closed=riff_known and riff_bytes + 8 >= len(data))
            if cut_short:
                raise DataError(f"is cut short: its header promises {riff_bytes + 8} bytes, {len(data)} are there")
            whole_bytes = len(body) - len(body) % form.frame_bytes
            if not whole_bytes:
                raise DataError("holds no samples")
            return form, body[:whole_bytes]
        if name == b"fmt ":
            form = _format(data[start : start + size_bytes])
        start += size_bytes
        # A chunk's name is never NUL, a pad byte always is: so a pad byte that a writer forgot is no trouble.
        start += size_bytes % 2 and data[start : start + 1] == b"\0"
    raise DataError("is cut short: it ends before its samples" if cut_short else "holds no samples (no data chunk)")


def _body(data: bytes, start: int, size_bytes: int, closed: bool) -> bytes:
    """The bytes of the data chunk; `closed` files mean it when they say that there are none."""
    there_bytes = len(data) - start
    if size_bytes >= _UNKNOWN_BYTES or (size_bytes == 0 and not closed):
        return data[start:]
    if size_bytes > there_bytes:
        raise DataError(f"is cut short: its header promises {size_bytes} bytes of samples, {there_bytes} are there")
    return data[start : start + size_bytes]


def _format(chunk: bytes) -> _Format:
    if len(chunk) < 16:
        raise DataError("is damaged: its fmt chunk is too short")
    tag, n_channels, rate_hz, _, frame_bytes, bits = struct.unpack_from("<HHIIHH", chunk)
    if tag == _EXTENSIBLE and chunk[26:40] == _EXTENSIBLE_GUID_TAIL:
        tag = int.from_bytes(chunk[24:26], "little")
    # 12 bits lie in 16, 20 bits in 24, left-justified: they are read as what they lie in.
    container_bits = (bits + 7) // 8 * 8
    subtype = _SUBTYPES.get((tag, container_bits))
    if subtype is None:
        known = {_PCM: f"{bits}-bit PCM", _FLOAT: f"{bits}-bit float", **_COMPRESSED}
        raise DataError(
            f"holds {known.get(tag, f'format {tag:#06x}')} samples; "
            "allowed: PCM of 8, 16, 24 or 32 bits, floats of 32 or 64 bits"
        )
    if not 1 <= n_channels <= _MAX_CHANNELS:
        raise DataError(f"has {n_channels} channels; allowed: 1 to {_MAX_CHANNELS}")
    if not _MIN_RATE_HZ <= rate_hz <= _MAX_RATE_HZ:
        raise DataError(f"is sampled at {rate_hz} Hz; allowed: {_MIN_RATE_HZ} to {_MAX_RATE_HZ}")
    if frame_bytes * 8 != n_channels * container_bits:
        raise DataError(f"is damaged: {n_channels} channel(s) of {bits} bits do not make {frame_bytes} bytes a frame")
    return _Format(subtype, n_channels, rate_hz, frame_bytes)


def _foreign(data: bytes) -> str:
    """What the file seems to be instead, as the end of a sentence."""
    for magic, name in _FOREIGN:
        if data.startswith(magic):
            return f" but {name}, whatever its name says"
    if data[4:8] == b"ftyp":
        return " but MP4, whatever its name says"
    if data[0] == 0xFF and data[1:2] > b"\xdf":  # eleven set bits: the sync word of an MPEG audio frame
        return " but MP3, whatever its name says"
    if data[:4] == b"RIFF":
        return " but cut short or another kind of RIFF"
    return " (it does not begin with RIFF)"
