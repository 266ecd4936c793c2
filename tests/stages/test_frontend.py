"""Samples -> frames: the transform is a Fourier transform, levels are decibels, and C says the same integers."""

from __future__ import annotations

import functools
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from kernels import Kernels, packed, unpacked
from models import HOP, extremes, small_model, sound, with_tables
from needs import need_host_compiler
from numpy.typing import NDArray

from lsm_edge.fixed import Ints, log2_q8
from lsm_edge.model import Model
from lsm_edge.ranges import ranges_of
from lsm_edge.stages import frontend
from lsm_edge.target.codegen import generate_library
from lsm_edge.target.context import context_fields

WINDOWS = [128, 256, 512, 1024]
TWINS = ["", "_dsp"]
STEP_DB = 10 * np.log10(2) / 8
MODELS = {n: small_model(frontend={"window_samples": n, "n_bands": 8}) for n in WINDOWS}
INT16 = st.integers(-32768, 32767)


def points_at_the_ends(n: int) -> Ints:
    """Complex points (cases, n, 2) that make a transform as large as it can get: |part| <= 2**14, like the window's."""
    rng, j = np.random.default_rng(1), np.arange(n)
    impulse = np.zeros((n, n, 2), np.int64)
    impulse[j, j] = 16384
    turning = [
        16384 * np.sqrt(2) * np.exp(2j * np.pi * (j * k / n + turn)) for k in range(n) for turn in (0, 0.125, 0.3)
    ]
    parts = np.stack([np.real(turning), np.imag(turning)], axis=-1)
    return np.concatenate(
        [
            np.clip(np.round(parts), -16384, 16384).astype(np.int64),
            rng.choice([-16384, 16384], (100, n, 2)),
            rng.integers(-16384, 16385, (100, n, 2)),
            impulse,
            -impulse,
            np.full((1, n, 2), 16384),
            np.full((1, n, 2), -16384),
            np.full((1, n, 2), -1),
            np.zeros((1, n, 2), np.int64),
        ]
    )


@pytest.mark.parametrize("window", WINDOWS)
def test_the_transform_is_one(window: int) -> None:
    """Within 1.5 units for each halving, of 16384; and never out of int16, at any stage."""
    n = window // 2
    points = points_at_the_ends(n)
    got = frontend.transform(MODELS[window], points)
    want = np.fft.fft(points[..., 0] + 1j * points[..., 1]) / n
    assert np.abs(got[..., 0] + 1j * got[..., 1] - want).max() <= 1.5 * np.log2(n)
    assert np.abs(got).max() <= 2**14.5 + 12


@pytest.mark.parametrize("window", WINDOWS)
def test_the_transform_in_c(window: int, kernels: Kernels) -> None:
    """C keeps every stage's points in 16 bits, so equality says that no stage leaves them."""
    model = MODELS[window]
    points = points_at_the_ends(window // 2)[:: window // 64]
    twiddle = packed(model["twiddle_q15"].astype(np.int64))
    reverse = np.argsort([int(f"{i:0{window.bit_length() - 2}b}"[::-1], 2) for i in range(window // 2)])
    spectrum = frontend.transform(model, points)
    power = frontend.bin_power(model, spectrum)
    for i in range(len(points)):
        words = packed(points[i])[reverse]
        kernels.transform(words, twiddle, window // 2)
        assert (unpacked(words) == spectrum[i]).all()
        kernels.bin_power(words, twiddle, window // 2)
        assert (words[1:] == power[i, 1:]).all()


@pytest.mark.parametrize("window", WINDOWS)
def test_the_transform_in_dsp(window: int, kernels: Kernels) -> None:
    """Its twin begins with the window: one that is flat leaves p of 2 p + 1."""
    model = MODELS[window]
    points = np.minimum(points_at_the_ends(window // 2)[:: window // 64], 16383)
    twiddle = packed(model["twiddle_q15"].astype(np.int64))
    flat = np.full(window, 32767, np.int16)
    spectrum = frontend.transform(model, points)
    power = frontend.bin_power(model, spectrum)
    for i in range(len(points)):
        samples = (2 * points[i] + 1).astype(np.int16).ravel()
        words = np.zeros(window // 2, np.uint32)
        kernels.transform_dsp(words, samples, flat, twiddle, window // 2, 0)
        assert (unpacked(words) == spectrum[i]).all()
        kernels.bin_power_dsp(words, twiddle, window // 2)
        assert (words[1:] == power[i, 1:]).all()


@given(st.integers(0, 14), st.data())
def test_any_window_in_dsp(kernels: Kernels, headroom: int, data: st.DataObject) -> None:
    """Whatever the samples, at every headroom."""
    model, bound = MODELS[128], 2 ** (15 - headroom)
    samples = data.draw(arrays(np.int64, 128, elements=st.integers(-bound, bound - 1)))
    samples[data.draw(st.integers(0, 127))] = -bound
    found, points = frontend.normalise(model, samples[None])
    narrow, words = samples.astype(np.int16), np.zeros(64, np.uint32)
    assert kernels.headroom_of_dsp(narrow, 128) == found[0] == headroom
    twiddle = packed(model["twiddle_q15"].astype(np.int64))
    kernels.transform_dsp(words, narrow, model["window_q15"], twiddle, 64, headroom)
    spectrum = frontend.transform(model, points)
    assert (unpacked(words) == spectrum[0]).all()
    kernels.bin_power_dsp(words, twiddle, 64)
    assert (words[1:] == frontend.bin_power(model, spectrum)[0, 1:]).all()


@pytest.mark.parametrize("recurrent", [False, True])
def test_samples_are_at_words(recurrent: bool) -> None:
    """Kernels load them two by two."""
    topology = {"kind": "random", "fan_in": 3} if recurrent else {"kind": "none"}
    model = small_model(reservoir={"n_neurons": 21, "topology": topology})
    fields = context_fields(model, dsp=False)
    before = fields[: [field.name for field in fields].index("samples")]
    assert sum(field.n_bytes for field in before) % 4 == 0


def test_points_that_do_not_fit_halves_have_no_twin() -> None:
    """Twiddles longer than 1 may take a point out of int16 on its way through a butterfly; generation looks."""
    model = MODELS[128]
    longer = with_tables(model, {"twiddle_q15": 32767, "window_q15": 20000})
    assert ranges_of(longer)["frontend.twiddled"].high >> 15 > 2**15
    usual, unusual = (generate_library(model, form="dsp")["lsm.c"] for model in (model, longer))
    for kernel in ("transform", "bin_power"):
        assert f"{kernel}_dsp(" in usual
        assert f"{kernel}_dsp(" not in unusual
    assert "headroom_of_dsp(" in unusual


@pytest.mark.parametrize("window", WINDOWS)
def test_power_is_that_of_the_real_signal(window: int) -> None:
    """The amplitude of every bin, within half a unit for each halving and one, of 8192."""
    rng, t = np.random.default_rng(2), np.arange(window)
    samples = np.concatenate(
        [
            rng.integers(-16384, 16385, (50, window)),
            rng.choice([-16384, 16384], (50, window)),
            np.round(16384 * np.cos(2 * np.pi * np.outer(np.arange(window // 2), t) / window)).astype(np.int64),
            np.full((1, window), 16384),
        ]
    )
    model = MODELS[window]
    power = frontend.bin_power(model, frontend.transform(model, samples.reshape(len(samples), -1, 2)))
    want = np.abs(np.fft.rfft(samples)[:, : window // 2]) / window
    assert np.abs(np.sqrt(power) - want)[:, 1:].max() <= 1 + 0.5 * np.log2(window)
    assert power.max() <= 2**30
    assert not power[:, 0].any()


@given(arrays(np.int64, 128, elements=INT16))
def test_headroom_and_window_in_c(kernels: Kernels, samples: Ints) -> None:
    model = MODELS[128]
    headroom, points = frontend.normalise(model, samples[None])
    assert (np.abs(samples << headroom[0]) <= 32768).all()
    assert np.abs(points).max() <= 2**14
    narrow = samples.astype(np.int16)
    assert kernels.headroom_of(narrow, 128) == kernels.headroom_of_dsp(narrow, 128) == headroom[0]
    words = np.zeros(64, np.uint32)
    kernels.normalise(words, narrow, model["window_q15"], 128, headroom[0])
    order = [int(f"{i:06b}"[::-1], 2) for i in range(64)]
    assert (unpacked(words) == points[0][order]).all()


@pytest.mark.parametrize(
    ("largest", "headroom"),
    [(0, 0), (-1, 0), (1, 14), (-2, 14), (2, 13), (16383, 1), (16384, 0), (-16384, 1), (-32768, 0)],
)
def test_headroom(kernels: Kernels, largest: int, headroom: int) -> None:
    """As far as the largest sample can be shifted; nothing and minus one, which no shift makes larger, not at all."""
    for at, others in [(70, 0), (71, 0), (70, -1), (71, -1)]:
        samples = np.full((1, 128), others, np.int64)
        samples[0, at] = largest
        assert frontend.normalise(MODELS[128], samples)[0] == [headroom]
        narrow = samples[0].astype(np.int16)
        assert kernels.headroom_of(narrow, 128) == kernels.headroom_of_dsp(narrow, 128) == headroom


@given(INT16, INT16)
def test_emphasis(kernels: Kernels, before: int, x: int) -> None:
    want = min(max(x - before + (before >> 5), -32768), 32767)
    assert frontend.emphasise(np.array([before, x]))[1] == want
    assert kernels.emphasise(x, before) == want


@pytest.mark.parametrize("twin", TWINS)
@given(arrays(np.int16, st.integers(0, 9), elements=INT16 | st.sampled_from([-32768, 32767])), INT16)
def test_emphasis_of_a_run(kernels: Kernels, twin: str, samples: NDArray[np.int16], before: int) -> None:
    """Of any length, also at odd places; it gives back the last sample, or the one before if there is none."""
    both = [before, *samples.tolist()]
    want = frontend.emphasise(np.array(both))[1:].tolist()
    for at in (0, 1):
        source, got = np.concatenate([np.zeros(at, np.int16), samples]), np.zeros(at + len(samples), np.int16)
        assert getattr(kernels, f"emphasise_run{twin}")(got[at:], source[at:], len(samples), before) == both[-1]
        assert got[at:].tolist() == want


def test_emphasis_starts_from_silence() -> None:
    assert frontend.emphasise(np.array([1000, 1000])).tolist() == [1000, 1000 - 1000 + 31]


def tone(hz: float, amplitude: float, n: int = 4096, sample_hz: int = 8000) -> NDArray[np.int16]:
    return np.round(amplitude * np.sin(2 * np.pi * hz * np.arange(n) / sample_hz)).astype(np.int16)


def centres_hz(n_bands: int, low: float = 80.0, high: float = 3900.0) -> NDArray[np.float64]:
    mel = np.linspace(*(2595 * np.log10(1 + np.array([low, high]) / 700)), n_bands + 2)[1:-1]
    return np.asarray(700 * (10 ** (mel / 2595) - 1))


@pytest.fixture(scope="module")
def speech() -> Model:
    """A front end as it is used: 20 bands of 256 samples at 8 kHz."""
    return small_model(frontend={"window_samples": 256, "n_bands": 20})


@pytest.mark.parametrize("band", range(20))
def test_a_tone_is_loudest_in_its_band(speech: Model, band: int) -> None:
    frames = frontend.frames_of(speech, tone(centres_hz(20)[band], 2000))[8:]
    assert (frames.argmax(axis=1) == band).all()


@pytest.mark.parametrize("band", [3, 10, 19])
@pytest.mark.parametrize("fall_db", [6.02, 20, 40])
def test_levels_are_decibels(speech: Model, band: int, fall_db: float) -> None:
    """A tone that is 40 dB softer reads 40 / 0.376 = 106 steps lower: block floating point loses nothing on the way."""
    loud = frontend.frames_of(speech, tone(centres_hz(20)[band], 2000))[8:, band]
    soft = frontend.frames_of(speech, tone(centres_hz(20)[band], 2000 * 10 ** (-fall_db / 20)))[8:, band]
    assert loud.max() < 255
    assert np.abs(loud - soft - fall_db / STEP_DB).max() <= 2


@pytest.mark.parametrize("band", range(20))
def test_full_scale_stays_below_the_ceiling(speech: Model, band: int) -> None:
    """Nothing is lost at the loud end, and little of the range is left unused there."""
    loudest = frontend.frames_of(speech, tone(centres_hz(20)[band], 32767))[8:].max(axis=1)
    assert (loudest < 255).all()
    assert (loudest > 255 - 160).all()
    assert band < 19 or (loudest > 225).all()


def test_silence_is_level(speech: Model) -> None:
    """Digital silence reads zero in every band."""
    assert (frontend.frames_of(speech, np.zeros(1000, np.int64)) == 0).all()


def test_a_frame_is_due_after_each_whole_hop(speech: Model) -> None:
    for n, frames in [(0, 0), (HOP - 1, 0), (HOP, 1), (2 * HOP - 1, 1), (10 * HOP + 5, 10)]:
        assert frontend.frames_of(speech, np.ones(n, np.int64)).shape == (frames, 20)


def test_a_window_is_the_last_samples_and_zero_before_the_start() -> None:
    """The first frame of a sound is that of the same sound after silence; later samples change no earlier frame."""
    model, samples = MODELS[256], sound(5, 20).astype(np.int64)
    frames = frontend.frames_of(model, samples)
    after_silence = frontend.frames_of(model, np.concatenate([np.zeros(6 * HOP, np.int64), samples]))
    assert (after_silence[6:] == frames).all()
    assert (frontend.frames_of(model, samples[: 7 * HOP + 3]) == frames[:7]).all()
    # Nothing older than the window is heard, and the one sample before it that pre-emphasis looks back at.
    assert (frontend.frames_of(model, samples[5 * HOP :])[4:] == frames[9:]).all()


@pytest.mark.parametrize("twin", TWINS)
@pytest.mark.parametrize("window", WINDOWS)
def test_levels_in_c(window: int, twin: str, kernels: Kernels) -> None:
    model = MODELS[window]
    twiddle = packed(model["twiddle_q15"].astype(np.int64))
    for samples in [*extremes(window + 11).values(), sound(9, 40)[-window:], sound(10, 40)[-window:]]:
        narrow = np.ascontiguousarray(samples[-window:])
        headroom = kernels.headroom_of(narrow, window)
        words, got = np.zeros(window // 2, np.uint32), np.zeros(8, np.uint8)
        if twin:
            kernels.transform_dsp(words, narrow, model["window_q15"], twiddle, window // 2, headroom)
            kernels.bin_power_dsp(words, twiddle, window // 2)
        else:
            kernels.normalise(words, narrow, model["window_q15"], window, headroom)
            kernels.transform(words, twiddle, window // 2)
            kernels.bin_power(words, twiddle, window // 2)
        tables = (model["mel_start"], model["mel_end"], model["mel_weight_q8"])
        kernels.band_levels(got, words, *tables, 8, headroom)
        assert (got == frontend.levels(model, narrow.astype(np.int64)[None])[0]).all()


def test_bands_sum_their_own_bins(speech: Model) -> None:
    power = np.zeros((1, 128), np.int64)
    power[0, 5], power[0, 40] = 1000, 2**30
    weights = dict.fromkeys(range(20), 0)
    used = 0
    for band, (start, end) in enumerate(zip(speech["mel_start"].tolist(), speech["mel_end"].tolist(), strict=True)):
        for i in range(start, end):
            weights[band] += int(power[0, i]) * int(speech["mel_weight_q8"][used])
            used += 1
    assert frontend.band_power(speech, power)[0].tolist() == list(weights.values())
    everything = frontend.band_power(speech, np.full((1, 128), 2**30))
    assert everything.max() < 2**47


def test_bands_on_a_core_without_long_products(tmp_path: Path, kernels: Kernels) -> None:
    """As for Armv6-M, with the largest powers and weights there are, in bands on both sides of 256 bins."""
    small = Kernels([*need_host_compiler(), "-DLSM_HAS_CLZ=0"], tmp_path)
    rng = np.random.default_rng(4)
    largest, weights = np.full(512, 2**32 - 1, np.uint32), np.full(512, 255, np.uint8)
    drawn = rng.integers(0, 2**32, 512, dtype=np.uint32), rng.integers(0, 256, 512).astype(np.uint8)
    for power, weight in [(largest, weights), drawn]:
        for n_bins in (1, 2, 3, 255, 256, 257, 511):
            want = int((power[:n_bins].astype(object) * weight[:n_bins].astype(object)).sum())
            assert kernels.band_power(power, weight, n_bins) == small.band_power(power, weight, n_bins) == want


@functools.cache
def equalised(n_bands: int, share: int, range_db: int) -> Model:
    return small_model(frontend={"n_bands": n_bands, "equalise": share / 256, "range_db": range_db})


@pytest.mark.parametrize(("gain", "db"), [(1, 96), (2, 48), (4, 24)])
@given(frames=arrays(np.int64, (3, 11), elements=st.integers(0, 255)), lower=st.integers(0, 255))
def test_levelling_by_the_segments_peak(kernels: Kernels, gain: int, db: int, frames: Ints, lower: int) -> None:
    model = equalised(11, 0, db)
    frames = np.maximum(frames - lower, 0)
    peak = int(frames.max())
    want = [[max(255 - gain * (peak - b), 0) for b in frame] for frame in frames.tolist()]
    assert frontend.level_by_segment_peak(model, frames).tolist() == want
    for twin in TWINS:
        got = frames.astype(np.uint8)
        assert getattr(kernels, f"loudest_of{twin}")(got, got.size) == peak
        getattr(kernels, f"level_by_peak{twin}")(got, got.size, peak, gain)
        assert got.tolist() == want


@given(frame=arrays(np.uint8, st.integers(1, 24)))
def test_activity_in_c(kernels: Kernels, frame: NDArray[np.uint8]) -> None:
    n = len(frame)
    want = max(int(frame.sum()) - frontend.ACTIVITY_FLOOR * n, 0) + frontend.ACTIVITY_BASE * n
    assert kernels.activity_of(frame, n) == kernels.activity_of_dsp(frame, n) == want


@given(
    frames=st.integers(8, 11).flatmap(
        lambda n: arrays(np.int64, st.tuples(st.integers(0, 9), st.just(n)), elements=st.integers(0, 255))
    ),
    share=st.sampled_from([1, 128, 256]),
    range_db=st.sampled_from([96, 48, 24]),
)
def test_every_band_has_a_peak_of_its_own(kernels: Kernels, frames: Ints, share: int, range_db: int) -> None:
    n = frames.shape[1]
    model = equalised(n, share, range_db)
    peaks = frontend.band_peaks(model, frames)
    assert (peaks >= frames.max(axis=0, initial=0)).all()
    levelled = frontend.level_by_segment_peak(model, frames)
    assert not frames.size or levelled.max() == 255
    gain = model.manifest.frontend.range_gain
    for twin in TWINS:
        got, got_peaks, sums = frames.astype(np.uint8), np.zeros(n, np.int16), np.zeros(n, np.uint32)
        getattr(kernels, f"band_peaks{twin}")(got_peaks, sums, got, len(frames), n, gain, share)
        assert got_peaks.tolist() == peaks.tolist()
        getattr(kernels, f"level_by_band{twin}")(got, len(frames), got_peaks, n, gain)
        assert got.tolist() == levelled.tolist()


@pytest.mark.parametrize("gain", [1, 2, 4])
def test_peaks_as_high_as_they_get(kernels: Kernels, gain: int) -> None:
    """511 is 256 above all bytes; 255 above already leaves nothing."""
    peaks = np.array([0, 1, 254, 255, 256, 400, 509, 510, 511, 511], np.int16)
    frames = np.minimum([np.zeros(10), np.full(10, 128), np.full(10, 254), np.full(10, 255)], peaks).astype(np.uint8)
    want = np.maximum(255 - gain * (peaks.astype(int) - frames), 0)
    for twin in TWINS:
        got = frames.copy()
        getattr(kernels, f"level_by_band{twin}")(got, 4, peaks, 10, gain)
        assert got.tolist() == want.tolist()


def test_equalising_takes_a_constant_colour_away() -> None:
    """Whole: a filter that lifts some bands and lowers others leaves the same levels behind."""
    model = small_model(frontend={"equalise": 1.0})
    frames = np.random.default_rng(1).integers(110, 150, (50, 8))
    colour = np.array([24, -24, 8, -8, 16, -16, 0, 0])
    plain, coloured = (frontend.level_by_segment_peak(model, x) for x in (frames, frames + colour))
    assert abs(plain - coloured).max() <= 8
    other = small_model(frontend={"equalise": 0.0})
    plain, coloured = (frontend.level_by_segment_peak(other, x) for x in (frames, frames + colour))
    assert abs(plain - coloured).max() >= 40


@given(frames=arrays(np.int64, (40, 8), elements=st.integers(0, 255)), quiet=st.integers(0, 39))
def test_levelling_by_a_running_peak(kernels: Kernels, frames: Ints, quiet: int) -> None:
    """It rises at once, falls by `release_q8` a frame, and never stands below `PEAK_FLOOR`."""
    model = small_model(frontend={"level": "running_peak", "release_db_per_s": 300.0})
    release = model.manifest.frontend.release_q8
    frames[quiet:] >>= 5
    got, peak_q8, c_peak = frontend.level_by_running_peak(model, frames), 0, 0
    for t, frame in enumerate(frames.tolist()):
        peak_q8 = max(max(peak_q8 - release, 0), 256 * max(*frame, frontend.PEAK_FLOOR))
        want = [max(255 - 2 * ((peak_q8 >> 8) - b), 0) for b in frame]
        assert got[t].tolist() == want
        levels = frames[t].astype(np.uint8)
        c_peak = kernels.running_peak(c_peak, kernels.loudest_of(levels, 8), release)
        assert c_peak == peak_q8
        kernels.level_by_peak(levels, 8, c_peak >> 8, 2)
        assert levels.tolist() == want


def test_levelling_nothing(kernels: Kernels) -> None:
    nothing = np.zeros((0, 8), np.int64)
    assert frontend.level_by_segment_peak(MODELS[128], nothing).shape == (0, 8)
    assert frontend.level_by_running_peak(MODELS[128], nothing).shape == (0, 8)
    assert kernels.loudest_of(nothing.astype(np.uint8), 0) == 0
    assert kernels.loudest_of_dsp(nothing.astype(np.uint8), 0) == 0


@given(arrays(np.int16, st.integers(1, 80), elements=INT16 | st.sampled_from([-32768, 32767])), st.integers(1, 13))
def test_the_loudness_of_a_hop_in_c(kernels: Kernels, some: NDArray[np.int16], times: int) -> None:
    hop = np.resize(some, min(len(some) * times, 1024))
    y, n = hop.astype(np.int64), len(hop)
    loudness = kernels.hop_loudness(hop, n)
    assert loudness == log2_q8(n * np.square(y).sum() - y.sum() ** 2) >> 5
    assert loudness < 400


def test_the_loudest_hop_there_is(kernels: Kernels) -> None:
    """Half of it at either end of the range."""
    assert kernels.hop_loudness(np.repeat([-32768, 32767], 512).astype(np.int16), 1024) == 399


def test_hops_are_louder_by_decibels_and_not_by_an_offset(kernels: Kernels) -> None:
    model, noise = MODELS[128], sound(1, 20).astype(np.int64)
    loudness = frontend.hop_loudness(model, noise // 4)
    assert np.abs(frontend.hop_loudness(model, noise // 4 + 9000)[1:] - loudness[1:]).max() <= 1
    heard = loudness > 150  # where cutting off counts for nothing
    assert heard.sum() > 9
    assert np.abs(frontend.hop_loudness(model, noise // 4 * 2) - loudness - 16)[heard].max() <= 1
    hops = frontend.emphasise(noise).astype(np.int16)[: 20 * HOP].reshape(-1, HOP)
    assert [kernels.hop_loudness(hop, HOP) for hop in hops] == frontend.hop_loudness(model, noise).tolist()
