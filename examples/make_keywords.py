"""Makes examples/keywords: eight spoken words by 28 synthetic voices, 8 kHz, about 3 MB.

    python examples/make_keywords.py [FOLDER]

Each word is spoken by espeak-ng in accents, sexes and timbres that differ as speakers do, twice a voice with another
pitch and pace; then it is trimmed, put between stretches of silence, turned up or down, and given noise. The same
espeak-ng gives the same bytes. Files are `<word>/<voice>_<take>.wav`; audio.yaml tests on voices it never trained on.
"""

from __future__ import annotations

import io
import shutil
import subprocess
import sys
import wave
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lsm_edge.dataset import decode_wav
from lsm_edge.files import write_atomically

SAMPLE_HZ: Final = 8000
SEED: Final = 20
WORDS: Final = ("yes", "no", "stop", "go", "left", "right", "up", "down")
N_TAKES: Final = 2

# Name in the file names -> voice of espeak-ng: an accent ("en" is British), and after the plus sign a speaker. One
# that it does not know, or not with this accent, it leaves out without a word: a test listens for that.
VOICES: Final = {
    "caribbean-f3": "en-029+f3",
    "caribbean-m2": "en-029+m2",
    "gb-alicia": "en+Alicia",
    "gb-andy": "en+Andy",
    "gb-croak": "en+croak",
    "gb-f1": "en+f1",
    "gb-m3": "en+m3",
    "gb-steph": "en+steph",
    "lancaster-annie": "en-gb-x-gbclan+Annie",
    "lancaster-m4": "en-gb-x-gbclan+m4",
    "midlands-f4": "en-gb-x-gbcwmd+f4",
    "midlands-travis": "en-gb-x-gbcwmd+travis",
    "nyc-linda": "en-us-nyc+linda",
    "nyc-m7": "en-us-nyc+m7",
    "rp-aunty": "en-gb-x-rp+aunty",
    "rp-david": "en-gb-x-rp+david",
    "rp-f5": "en-gb-x-rp+f5",
    "rp-m6": "en-gb-x-rp+m6",
    "scotland-f2": "en-gb-scotland+f2",
    "scotland-lee": "en-gb-scotland+Lee",
    "scotland-m5": "en-gb-scotland+m5",
    "us-alex": "en-us+Alex",
    "us-andrea": "en-us+Andrea",
    "us-belinda": "en-us+belinda",
    "us-grandma": "en-us+grandma",
    "us-klatt": "en-us+klatt4",
    "us-m1": "en-us+m1",
    "us-michael": "en-us+Michael",
}


class Take(NamedTuple):
    """One recording to be made, decided before anything sounds."""

    path: str
    word: str
    voice: str
    pitch: int
    words_per_minute: int
    before_ms: float
    after_ms: float
    peak_db: float
    snr_db: float
    noise_seed: int


def plan(seed: int = SEED) -> list[Take]:
    """All takes, in the order of their voices, words and numbers."""
    rng = np.random.default_rng(seed)
    return [
        Take(
            path=f"{word}/{name}_{take}.wav",
            word=word,
            voice=voice,
            pitch=int(rng.integers(30, 71)),
            words_per_minute=int(rng.integers(150, 206)),
            before_ms=float(rng.uniform(20, 70)),
            after_ms=float(rng.uniform(20, 70)),
            peak_db=float(rng.uniform(-20, -2)),
            snr_db=float(rng.uniform(12, 30)),
            noise_seed=int(rng.integers(2**32)),
        )
        for name, voice in VOICES.items()
        for word in WORDS
        for take in range(N_TAKES)
    ]


def speak(take: Take) -> NDArray[np.int16]:
    """The bare word, as espeak-ng says it."""
    command = ["espeak-ng", "-v", take.voice, "-p", str(take.pitch), "-s", str(take.words_per_minute), "--stdout"]
    done = subprocess.run([*command, take.word], capture_output=True, check=True)
    return decode_wav(done.stdout, sample_hz=SAMPLE_HZ)


def stage(take: Take, speech: NDArray[np.int16]) -> NDArray[np.int16]:
    """The word as a microphone in a room would have it."""
    voice = speech / np.abs(speech).max()
    loud = np.flatnonzero(np.abs(voice) > 0.02)
    voice = voice[loud[0] : loud[-1] + 1]
    silence = [round(ms * SAMPLE_HZ / 1000) for ms in (take.before_ms, take.after_ms)]
    noise = _room_noise(voice.size + sum(silence), np.random.default_rng(take.noise_seed))
    level = np.sqrt(np.mean(voice**2)) / 10 ** (take.snr_db / 20)
    mixed = np.pad(voice, silence) + level * noise
    peak = 32768 * 10 ** (take.peak_db / 20)
    scaled: NDArray[np.int16] = np.round(mixed * (peak / np.abs(mixed).max())).astype(np.int16)
    return scaled


def _room_noise(n_samples: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Noise between white and pink, of level 1."""
    spectrum = np.fft.rfft(rng.standard_normal(n_samples))
    rate_hz = np.fft.rfftfreq(n_samples, 1 / SAMPLE_HZ)
    shaped: NDArray[np.float64] = np.fft.irfft(spectrum / np.maximum(rate_hz, 50) ** rng.uniform(0, 0.5), n_samples)
    shaped /= np.sqrt(np.mean(shaped**2))
    return shaped


def as_wav(samples: NDArray[np.int16]) -> bytes:
    """A 16-bit mono WAV file."""
    data = io.BytesIO()
    with wave.open(data, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(SAMPLE_HZ)
        file.writeframes(samples.astype("<i2").tobytes())
    return data.getvalue()


def main(folder: Path) -> None:
    """Make every take first, then write them all, so that a failure leaves the folder as it was."""
    if shutil.which("espeak-ng") is None:
        raise SystemExit("espeak-ng is not installed; on Debian and Ubuntu: apt install espeak-ng")
    takes = plan()
    strangers = set(folder.glob("*/*.wav")) - {folder / take.path for take in takes}
    if strangers:
        raise SystemExit(f"{folder} holds {len(strangers)} other recordings, such as {min(strangers)}; move them away")
    files = {take.path: as_wav(stage(take, speak(take))) for take in takes}
    for path, data in files.items():
        write_atomically(folder / path, data)
    print(f"{len(files)} recordings, {sum(map(len, files.values())) / 1e6:.2f} MB, in {folder}")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "keywords")
