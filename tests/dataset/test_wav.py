"""dataset/wav.py and dataset/resample.py: what a WAV file may be, and what it becomes."""

from __future__ import annotations

import io
from math import gcd

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import signal
from wavs import EXTENSIBLE, FLOAT, GUID_TAIL, PCM, chunk, fmt, riff, wav

from lsm_edge.dataset import decode_wav, resample
from lsm_edge.errors import DataError

ALL_INT16 = np.arange(-32768, 32768).astype(np.int16)
THREE = np.array([1, -2, 3], dtype="<i2").tobytes()
THREE_CHUNK = chunk(b"data", THREE)


def reason(data: bytes, **options: object) -> str:
    with pytest.raises(DataError) as caught:
        decode_wav(data, sample_hz=8000, **options)  # type: ignore[arg-type]
    return str(caught.value)


def by_soundfile(samples: np.ndarray, subtype: str, rate_hz: int = 8000, form: str = "WAV") -> bytes:
    file = io.BytesIO()
    soundfile.write(file, samples, rate_hz, format=form, subtype=subtype)
    return file.getvalue()


@pytest.mark.parametrize("form", ["WAV", "WAVEX"])
@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE"])
def test_every_int16_comes_back_bit_exact(subtype: str, form: str) -> None:
    """Whatever holds 16 bits gives them back, plain or WAVE_FORMAT_EXTENSIBLE."""
    samples = decode_wav(by_soundfile(ALL_INT16 / 32768, subtype, form=form), sample_hz=8000)
    assert samples.dtype == np.int16
    assert np.array_equal(samples, ALL_INT16)


def test_8_bits_are_unsigned_and_scaled_to_full_range() -> None:
    data = riff(chunk(b"fmt ", fmt(bits=8)), chunk(b"data", bytes([0, 1, 127, 128, 255])))
    assert decode_wav(data, sample_hz=8000).tolist() == [-32768, -32512, -256, 0, 32512]


@pytest.mark.parametrize(("bits", "extra"), [(24, 8), (32, 16)])
def test_finer_pcm_is_rounded_to_the_nearest_halves_up_and_saturated(bits: int, extra: int) -> None:
    half = 1 << (extra - 1)
    steps = [half - 1, half, -half, -half - 1, (32767 << extra) + half, -32768 << extra]
    body = b"".join(step.to_bytes(bits // 8, "little", signed=True) for step in steps)
    data = riff(chunk(b"fmt ", fmt(bits=bits)), chunk(b"data", body))
    assert decode_wav(data, sample_hz=8000).tolist() == [0, 1, 0, -1, 32767, -32768]


def test_float_full_scale_saturates() -> None:
    floats = np.array([1.0, -1.0, 1.5, -7.0, 0.5, 0.5 / 32768, -0.5 / 32768], dtype="<f4")
    data = riff(chunk(b"fmt ", fmt(FLOAT, bits=32)), chunk(b"data", floats.tobytes()))
    assert decode_wav(data, sample_hz=8000).tolist() == [32767, -32768, 32767, -32768, 16384, 1, 0]


def test_channels_are_mixed_or_picked() -> None:
    data = wav([[1, 2, 4], [-32768, -32768, -32768], [32767, 32767, 0]])
    assert decode_wav(data, sample_hz=8000).tolist() == [2, -32768, 21845]
    assert decode_wav(data, sample_hz=8000, channel=2).tolist() == [4, -32768, 0]
    assert "has 3 channel(s), counted from 0; dataset.channel is 3" in reason(data, channel=3)


def test_odd_bit_depths_are_read_as_what_they_lie_in() -> None:
    """12 bits lie in the upper part of 16."""
    data = riff(chunk(b"fmt ", fmt(bits=12, frame_bytes=2)), THREE_CHUNK)
    assert decode_wav(data, sample_hz=8000).tolist() == [1, -2, 3]


@pytest.mark.parametrize(
    "data",
    [
        riff(chunk(b"LIST", b"odd", pad=True), chunk(b"fmt ", fmt()), THREE_CHUNK),
        riff(chunk(b"LIST", b"odd", pad=False), chunk(b"fmt ", fmt()), THREE_CHUNK),
        riff(chunk(b"fmt ", fmt()), chunk(b"LIST", b"more"), THREE_CHUNK, chunk(b"id3 ", b"x")),
        riff(chunk(b"fmt ", fmt() + b"\0\0"), THREE_CHUNK),
        riff(chunk(b"fmt ", fmt()), THREE_CHUNK) + b"trailing junk",
        riff(chunk(b"fmt ", fmt()), chunk(b"data", THREE + b"\1", pad=False)),
        riff(chunk(b"fmt ", fmt()), THREE_CHUNK, size=50),
        riff(chunk(b"fmt ", fmt(EXTENSIBLE) + b"\x16\0\x10\0" + bytes(4) + b"\1\0" + GUID_TAIL), THREE_CHUNK),
        *(
            riff(chunk(b"fmt ", fmt()), chunk(b"data", THREE, size=size), size=riff_size)
            for size, riff_size in [
                (0, 0),
                (0, 36),
                (0xFFFFFFFF, 0xFFFFFFFF),
                (0x7FFFF000, 0x7FFFF024),
                (0x80000000, 0x80000024),
            ]
        ),
    ],
    ids=[
        "pad",
        "no pad",
        "tags",
        "long fmt",
        "junk",
        "half a frame",
        "RIFF counts itself",
        "extensible",
        "zeros",
        "data 0",
        "ffmpeg",
        "sox",
        "arecord",
    ],
)
def test_harmless_headers_pass(data: bytes) -> None:
    assert decode_wav(data, sample_hz=8000).tolist() == [1, -2, 3]


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "is an empty file"),
        (b"RIFF", "cut short or another kind of RIFF"),
        (b"RIFF\x04\0\0\0AVI ", "another kind of RIFF"),
        (b"ID3\x04" + bytes(100), "is not a WAV file but MP3"),
        (b"\xff\xfb\x90\x44" + bytes(100), "is not a WAV file but MP3"),
        (b"\0\0\0\x20ftypM4A " + bytes(100), "is not a WAV file but MP4"),
        (b"RF64" + bytes(100), "RF64"),
        (b"RIFX" + bytes(100), "RIFX"),
        (b"just some text", "does not begin with RIFF"),
        (riff(), "holds no samples (no data chunk)"),
        (riff(chunk(b"fmt ", fmt())), "holds no samples (no data chunk)"),
        (riff(chunk(b"fmt ", fmt()), chunk(b"data", b"")), "holds no samples"),
        (riff(chunk(b"fmt ", fmt()), chunk(b"data", b""), chunk(b"LIST", b"tail")), "holds no samples"),
        (riff(chunk(b"fmt ", fmt()), chunk(b"data", b"\1", pad=False)), "holds no samples"),
        (riff(THREE_CHUNK, chunk(b"fmt ", fmt())), "no fmt chunk"),
        (riff(chunk(b"fmt ", fmt()[:10]), THREE_CHUNK), "fmt chunk is too short"),
        (riff(chunk(b"fmt ", fmt()), chunk(b"data", THREE, size=100)), "promises 100 bytes of samples, 6"),
        (riff(chunk(b"fmt ", fmt()), THREE_CHUNK, size=4000), "promises 4008 bytes, 50 are there"),
        (riff(chunk(b"fmt ", fmt()), size=4000), "is cut short: it ends before its samples"),
        (riff(chunk(b"fmt ", fmt(7, bits=8)), chunk(b"data", b"1234")), "holds mu-law samples"),
        (riff(chunk(b"fmt ", fmt(0x55, bits=0)), chunk(b"data", b"1234")), "holds MP3 samples"),
        (riff(chunk(b"fmt ", fmt(0x1234)), chunk(b"data", b"1234")), "holds format 0x1234 samples"),
        (riff(chunk(b"fmt ", fmt(EXTENSIBLE)), chunk(b"data", b"1234")), "holds format 0xfffe samples"),
        (riff(chunk(b"fmt ", fmt(FLOAT, bits=16)), chunk(b"data", b"1234")), "holds 16-bit float samples"),
        (riff(chunk(b"fmt ", fmt(bits=64)), chunk(b"data", bytes(8))), "holds 64-bit PCM samples"),
        (riff(chunk(b"fmt ", fmt(channels=0)), chunk(b"data", b"1234")), "has 0 channels; allowed: 1 to 64"),
        (riff(chunk(b"fmt ", fmt(channels=65)), chunk(b"data", bytes(130))), "has 65 channels; allowed: 1 to 64"),
        (riff(chunk(b"fmt ", fmt(rate_hz=0)), chunk(b"data", b"1234")), "sampled at 0 Hz; allowed: 1000 to 768000"),
        (riff(chunk(b"fmt ", fmt(frame_bytes=3)), chunk(b"data", b"123456")), "do not make 3 bytes a frame"),
    ],
)
def test_bad_files_say_why(data: bytes, why: str) -> None:
    assert why in reason(data)


@pytest.mark.parametrize(("form", "name"), [("FLAC", "FLAC"), ("OGG", "Ogg"), ("AIFF", "AIFF")])
def test_another_format_under_a_wrong_name(form: str, name: str) -> None:
    tone = (8000 * np.sin(np.arange(4000) / 5)).astype(np.int16)
    subtype = "VORBIS" if form == "OGG" else "PCM_16"
    assert f"is not a WAV file but {name}" in reason(by_soundfile(tone, subtype, form=form))


@pytest.mark.parametrize("bits", [32, 64])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_floats_that_are_no_numbers(value: float, bits: int) -> None:
    body = np.array([0.1, value], dtype=f"<f{bits // 8}").tobytes()
    assert "not numbers (NaN) or infinite" in reason(riff(chunk(b"fmt ", fmt(FLOAT, bits=bits)), chunk(b"data", body)))


def test_floats_in_integer_units_are_refused() -> None:
    body = np.array([0.0, 20000.0], dtype="<f4").tobytes()
    assert "holds floats up to 20000" in reason(riff(chunk(b"fmt ", fmt(FLOAT, bits=32)), chunk(b"data", body)))


def test_another_rate_is_a_bad_file_unless_it_may_be_resampled() -> None:
    data = wav(np.zeros(160), rate_hz=16000)
    assert "is sampled at 16000 Hz, frontend.sample_hz is 8000" in reason(data, resample=False)
    assert decode_wav(data, sample_hz=8000).size == 80
    assert decode_wav(wav(), sample_hz=8000, resample=False).tolist() == [1, -2, 3]


@pytest.mark.parametrize("rate_hz", [1000, 4000, 11025, 22050, 44100, 48000, 768_000])
def test_resampling_keeps_a_tone(rate_hz: int) -> None:
    """Length, level and pitch survive, away from the ends."""
    tone_hz = 300
    data = wav(10000 * np.sin(2 * np.pi * tone_hz * np.arange(rate_hz) / rate_hz), rate_hz)
    samples = decode_wav(data, sample_hz=8000)
    assert samples.size == 8000
    wanted = 10000 * np.sin(2 * np.pi * tone_hz * np.arange(8000) / 8000)
    assert np.abs(samples - wanted)[400:-400].max() < 40


def test_resampling_overshoot_saturates() -> None:
    square = np.where(np.arange(4000) // 40 % 2, 32767, -32768)
    samples = decode_wav(wav(square, 16000), sample_hz=8000)
    assert samples.min() == -32768
    assert samples.max() == 32767


@given(
    arrays(np.int16, st.integers(1, 60)),
    st.sampled_from([(44100, 8000), (22050, 8000), (8000, 16000), (16000, 8000), (11025, 16000)]),
)
def test_resampling_is_exact(samples: np.ndarray, rates_hz: tuple[int, int]) -> None:
    """Floats give what Python's integers give, so the order of the additions cannot matter; SciPy's filter is meant."""
    from_hz, to_hz = rates_hz
    divisor = gcd(from_hz, to_hz)
    up, down = to_hz // divisor, from_hz // divisor
    half = 10 * max(up, down)
    coefficients = [int(tap * 2**32) * up for tap in resample._low_pass(max(up, down))]
    exact = []
    for k in range(-(-samples.size * up // down)):
        lags = ((int(x), half + k * down - n * up) for n, x in enumerate(samples))
        total = sum(x * coefficients[lag] for x, lag in lags if 0 <= lag <= 2 * half)
        exact.append(max(-32768, min(32767, (total + 2**31) >> 32)))
    resampled = resample.resampled(samples, from_hz, to_hz)
    assert resampled.tolist() == exact
    usual = np.clip(signal.resample_poly(samples.astype(float), up, down), -32768, 32767)
    rounding = 0.5 + np.abs(samples.astype(float)).sum() * up / 2**32  # of the sum, and of each coefficient
    assert np.abs(resampled - usual).max() < rounding + 1e-9


@given(st.binary(max_size=200))
def test_any_bytes_give_samples_or_a_reason(junk: bytes) -> None:
    for data in (junk, b"RIFF" + junk[:4] + b"WAVE" + junk[4:], riff(chunk(b"fmt ", junk[:40]), chunk(b"data", junk))):
        try:
            assert decode_wav(data, sample_hz=8000).size > 0
        except DataError as error:
            assert str(error).startswith(("is ", "has ", "holds "))


@given(st.integers(0, len(wav()) - 1))
def test_a_file_cut_anywhere_is_never_taken_for_whole(n_bytes: int) -> None:
    with pytest.raises(DataError):
        decode_wav(wav()[:n_bytes], sample_hz=8000)


def test_pcm_tag_is_what_the_helpers_write() -> None:
    """The oracle of the hand-made files: libsndfile reads them the same way."""
    data = wav([[1, 2], [3, 4]])
    assert data[20:22] == PCM.to_bytes(2, "little")
    assert soundfile.read(io.BytesIO(data), dtype="int16")[0].tolist() == [[1, 2], [3, 4]]
