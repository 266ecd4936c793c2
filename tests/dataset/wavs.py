"""WAV files by hand, so that every byte of the header can be wrong."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

PCM, FLOAT, EXTENSIBLE = 1, 3, 0xFFFE
GUID_TAIL = bytes.fromhex("000000001000800000aa00389b71")


def chunk(name: bytes, body: bytes, size: int | None = None, pad: bool = True) -> bytes:
    head = struct.pack("<4sI", name, len(body) if size is None else size)
    return head + body + (b"\0" if pad and len(body) % 2 else b"")


def fmt(
    tag: int = PCM, channels: int = 1, rate_hz: int = 8000, bits: int = 16, frame_bytes: int | None = None
) -> bytes:
    frame_bytes = channels * bits // 8 if frame_bytes is None else frame_bytes
    return struct.pack("<HHIIHH", tag, channels, rate_hz, rate_hz * frame_bytes % 2**32, frame_bytes, bits)


def riff(*chunks: bytes, size: int | None = None) -> bytes:
    body = b"WAVE" + b"".join(chunks)
    return struct.pack("<4sI", b"RIFF", len(body) if size is None else size) + body


def wav(samples: ArrayLike = (1, -2, 3), rate_hz: int = 8000) -> bytes:
    """16-bit PCM; `samples` of shape (n,) or (n, channels)."""
    frames = np.atleast_2d(np.asarray(samples, dtype="<i2").T).T
    return riff(chunk(b"fmt ", fmt(channels=frames.shape[1], rate_hz=rate_hz)), chunk(b"data", frames.tobytes()))


def write(folder: Path, path: str, data: bytes | None = None) -> Path:
    """A file below `folder`, by default a good WAV whose samples depend on its path."""
    place = folder / path
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(wav(np.frombuffer(path.encode(), np.uint8).astype(np.int16)) if data is None else data)
    return place
