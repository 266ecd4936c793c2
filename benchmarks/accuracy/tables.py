"""Which tables there are, which rows they have, and what they must show.

A row's model is made by the YAML file that it names, with `changes` to it; drop in another file and the row is
measured anew. Peers take front end, windows and augmentation from the file and nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from benchmarks.accuracy.scene import BABBLE, CLEAN, CONFIGS, WHITE
from benchmarks.settings import changed
from lsm_edge.config import Config

LIQUIDS: Final = ("liquid", "nested")  # kinds of the project's own models
SEEDS: Final = (1001, 1002, 1003, 1004, 1005)  # fresh: no configuration was chosen with them
NOISY: Final = tuple(f"{noise} {snr_db}" for noise in (WHITE, BABBLE) for snr_db in (20, 10, 5, 0))


@dataclass(frozen=True)
class Row:
    """One model; `minutes` is about how long a seed takes on one core.

    `kind` is "liquid", a module of `peers`, or "nested": a liquid whose settings are those of the `candidates`, by name
    the changes to the file, that each fold chooses by its training part.
    """

    name: str
    kind: str
    config: str
    n_seeds: int = 3
    minutes: float = 1.0
    changes: Mapping[str, Any] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    candidates: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    @property
    def seeds(self) -> tuple[int, ...]:
        """The first of `SEEDS`."""
        return SEEDS[: self.n_seeds]

    def config_for(self, seed: int) -> Config:
        """The file's config with the row's changes.

        Raises:
            ConfigError: the file is not there or not allowed.
        """
        return changed(CONFIGS / self.config, {**self.changes, "seed": seed})

    def configs_for(self, seed: int) -> list[Config]:
        """Those of all candidates; of a row without any, its own."""
        if not self.candidates:
            return [self.config_for(seed)]
        return [changed(CONFIGS / self.config, {**changes, "seed": seed}) for changes in self.candidates.values()]


@dataclass(frozen=True)
class Contrast:
    """Two rows of a table, and what the difference between them is the worth of."""

    what: str
    of: str
    without: str


@dataclass(frozen=True)
class Table:
    """One task; every row is judged on the same recordings, in all `conditions`."""

    key: str
    title: str
    task: str
    about: str
    rows: tuple[Row, ...]
    contrasts: tuple[Contrast, ...] = ()
    conditions: tuple[str, ...] = (CLEAN,)


@dataclass(frozen=True)
class Claim:
    """At least `percent` in a row of a table; or so many points more than row `over`."""

    text: str
    table: str
    row: str
    percent: float
    condition: str = CLEAN
    over: str | None = None
    most_kib: float | None = None
    most_neurons: int | None = None


OFF: Final = {"reservoir": {"topology": {"kind": "none"}}}
ON: Final = {
    "reservoir": {
        "topology": {"kind": "random", "fan_in": 4},
        "recurrent_gain": 0.5,
        "max_delay_steps": 128,
        "n_candidates": None,
    }
}


def _sources(kind: str, fan_in: int, gain: float) -> dict[str, Any]:
    """Each neuron hears so many; in `blocks` they cost cores least."""
    return {"reservoir": {"topology": {"kind": kind, "fan_in": fan_in}, "recurrent_gain": gain}}


# For peers that did not come with augmentation: what usually helps them.
SPEED_AND_NOISE: Final = {
    "augment": {
        "copies": 3,
        "speed": [0.85, 1.18],
        "noise": {"kinds": ["none", "white", "pink", "babble"], "snr_db": [10.0, 40.0]},
    }
}


# What a fold may choose from: settings that stand for what is done here, for what a prototype did, and between them.
_AS_PROTOTYPED: Final = {"leak_shift": [3, 4], "refractory_steps": 1}


def _digits(n_many_taps: int) -> dict[str, dict[str, Any]]:
    """Of about the same bytes: a neuron with six taps takes more of them than one with three."""
    fixed = {"n_taps": 6, "max_delay_frames": 12, "spans": "fixed", "bands": "any"}
    return {
        "as in the file": {},
        "bands not equalised": {"frontend": {"equalise": 0.0}},
        "six taps, to 60 frames": {
            "encoder": {"n_taps": 6, "max_delay_frames": 60},
            "reservoir": {"n_neurons": n_many_taps},
        },
        "as prototyped": {
            "frontend": {"equalise": 0.0},
            "encoder": fixed,
            "reservoir": {"n_neurons": n_many_taps, **_AS_PROTOTYPED},
        },
        "slow neurons": {"reservoir": _AS_PROTOTYPED},
    }


_WORDS: Final = {
    "as in the file": {},
    "three windows": {"readout": {"n_windows": 3, "window_by": "energy", "length_feature": True}},
    "three taps, to 60 frames": {"encoder": {"n_taps": 3, "max_delay_frames": 60}},
    "as prototyped": {"encoder": {"spans": "fixed", "bands": "any"}, "reservoir": _AS_PROTOTYPED},
    "bands equalised": {"frontend": {"equalise": 0.5}},
}
_SOUNDS: Final = {
    "as in the file": {},
    "three windows": {"readout": {"n_windows": 3, "window_by": "energy"}},
    "16 bands, 48 dB": {"frontend": {"n_bands": 16, "range_db": 48}, "reservoir": {"leak_shift": [2]}},
    "as prototyped": {"encoder": {"spans": "fixed", "bands": "any"}, "reservoir": _AS_PROTOTYPED},
    "bands equalised": {"frontend": {"equalise": 0.5}},
}
_CHOSEN: Final = "settings chosen without the test part"


def _ablations(config: str, liquid: str, minutes: float, n_seeds: int = 3) -> tuple[Row, ...]:
    return (
        Row(f"{liquid}, recurrence off", "liquid", config, n_seeds, minutes, OFF),
        Row(f"{liquid}, recurrence on", "liquid", config, 1, 4 * minutes, ON),
        Row("the same taps, ReLU instead of spikes", "relu_taps", config, n_seeds, minutes),
        Row("linear on bands", "linear", config, 1, minutes / 5, options={"deltas": False}),
        Row("linear on bands and their changes", "linear", config, 1, minutes / 5, options={"deltas": True}),
    )


def _peers(config: str, *, epochs: int, minutes: float, n_seeds: int) -> tuple[Row, ...]:
    """`minutes` for the DS-CNN; networks have one seed, and copies, without which they were mostly worse."""
    return (
        Row("random forest, 200 trees", "forest", config, n_seeds, minutes / 8),
        Row("perceptron, 128 hidden", "perceptron", config, n_seeds, minutes / 16),
        Row("echo state network, 256", "echo_state", config, n_seeds, minutes / 4),
        Row("MiniRocket, 9,996 features", "minirocket", config, n_seeds, minutes / 4),
        Row("GRU-64, augmented", "gru", config, 1, 0.7 * minutes, SPEED_AND_NOISE, {"epochs": epochs}),
        Row("DS-CNN-64, augmented", "ds_cnn", config, 1, minutes, SPEED_AND_NOISE, {"epochs": epochs}),
    )


def _contrasts(liquid: str) -> tuple[Contrast, ...]:
    return (
        Contrast("recurrence", liquid, f"{liquid}, recurrence off"),
        Contrast("recurrence", f"{liquid}, recurrence on", liquid),
        Contrast("spikes instead of ReLU", liquid, "the same taps, ReLU instead of spikes"),
    )


_NO_TAPS = "256 neurons without input taps"
_IN_BLOCKS = "having synapses in aligned blocks of four"
_LOSO = "3,000 recordings of six speakers; each speaker is tested by a model that has never heard that speaker."

TABLES: Final = (
    Table(
        "fsdd-loso",
        "Spoken digits, speakers never heard",
        "fsdd-loso",
        _LOSO,
        (
            Row("liquid, at most 32 KiB", "liquid", "fsdd_32k.yaml", 3, 1),
            Row("liquid, at most 12 KiB", "liquid", "fsdd_12k.yaml", 3, 0.5),
            Row(f"at most 32 KiB, {_CHOSEN}", "nested", "fsdd_32k.yaml", 3, 4, candidates=_digits(580)),
            Row(f"at most 12 KiB, {_CHOSEN}", "nested", "fsdd_12k.yaml", 3, 1, candidates=_digits(205)),
            *_ablations("fsdd_32k.yaml", "liquid, at most 32 KiB", 1, 1),
            *_peers("fsdd_32k.yaml", epochs=6, minutes=4.4, n_seeds=1),
        ),
        _contrasts("liquid, at most 32 KiB"),
    ),
    Table(
        "fsdd-official",
        "Spoken digits, official split",
        "fsdd-official",
        "Recordings 0 to 4 of each speaker and digit are the test (300), the others train: all speakers are known.",
        (
            Row("liquid, at most 32 KiB", "liquid", "fsdd_32k.yaml", 3, 0.2),
            Row("liquid, at most 12 KiB", "liquid", "fsdd_12k.yaml", 3, 0.1),
            *_ablations("fsdd_32k.yaml", "liquid, at most 32 KiB", 0.2),
            *_peers("fsdd_32k.yaml", epochs=6, minutes=0.8, n_seeds=2),
        ),
        _contrasts("liquid, at most 32 KiB"),
    ),
    Table(
        "fsdd-noise",
        "Spoken digits in noise, speakers never heard, all models trained for noise",
        "fsdd-loso",
        f"{_LOSO} Noise is mixed to test recordings at 20, 10, 5 and 0 dB of mean power; babble is six voices, none of "
        "them the test speaker's. All models are trained on the same copies of their training recordings.",
        (
            Row("liquid, trained for noise", "liquid", "fsdd_noise.yaml", 3, 3),
            Row("linear on bands and their changes", "linear", "fsdd_noise.yaml", 1, 1, options={"deltas": True}),
            Row("the same taps, ReLU instead of spikes", "relu_taps", "fsdd_noise.yaml", 1, 3),
            Row("GRU-64", "gru", "fsdd_noise.yaml", 1, 4, options={"epochs": 5}),
            Row("DS-CNN-64", "ds_cnn", "fsdd_noise.yaml", 1, 6, options={"epochs": 5}),
        ),
        conditions=(CLEAN, *NOISY),
    ),
    Table(
        "speech_commands3",
        "Three words, speakers never heard",
        "speech_commands3",
        "Bed, cat and happy of Speech Commands at 8 kHz, its own split: 330 recordings train, 120 by others test.",
        (
            Row("liquid", "liquid", "speech_commands3.yaml", 3, 0.2),
            Row(_CHOSEN, "nested", "speech_commands3.yaml", 3, 1, candidates=_WORDS),
            *_ablations("speech_commands3.yaml", "liquid", 0.2),
            *_peers("speech_commands3.yaml", epochs=20, minutes=0.8, n_seeds=3),
        ),
        _contrasts("liquid"),
    ),
    Table(
        "esc10",
        "Environmental sounds",
        "esc10",
        "ESC-10 cut to its loudest 2 s at 8 kHz, the official five folds: 400 recordings.",
        (
            Row("liquid", "liquid", "esc10.yaml", 3, 0.5),
            Row(_CHOSEN, "nested", "esc10.yaml", 3, 1, candidates=_SOUNDS),
            *_ablations("esc10.yaml", "liquid", 0.5),
            *_peers("esc10.yaml", epochs=8, minutes=3, n_seeds=1),
        ),
        _contrasts("liquid"),
    ),
    Table(
        "keywords",
        "The keywords in examples/, voices never heard",
        "keywords",
        "Eight synthetic words; 21 voices train, seven other ones test.",
        (
            Row("liquid", "liquid", "../../examples/audio.yaml", 3, 0.2),
            *_ablations("../../examples/audio.yaml", "liquid", 0.2),
            *_peers("../../examples/audio.yaml", epochs=20, minutes=0.6, n_seeds=3),
        ),
        _contrasts("liquid"),
    ),
    Table(
        "live-digits",
        "Live: spoken digits without windows, speakers never heard",
        "fsdd-loso",
        f"{_LOSO} The readout sees nothing but the liquid's present state at the end.",
        (
            Row("256 neurons", "liquid", "live_256.yaml", 3, 1),
            Row("256 neurons, recurrence off", "liquid", "live_256.yaml", 3, 1, OFF),
            Row("256 neurons, recurrence on", "liquid", "live_256.yaml", 1, 1.5, ON),
            Row("512 neurons", "liquid", "live_512.yaml", 3, 2),
            Row("512 neurons, recurrence off", "liquid", "live_512.yaml", 3, 2, OFF),
            Row("512 neurons, recurrence on", "liquid", "live_512.yaml", 1, 2.5, ON),
            Row(_NO_TAPS, "liquid", "live_no_taps.yaml", 5, 1.5),
            Row(f"{_NO_TAPS}, recurrence off", "liquid", "live_no_taps.yaml", 5, 1, OFF),
            Row(f"{_NO_TAPS}, in blocks", "liquid", "live_no_taps.yaml", 5, 0.2, _sources("blocks", 4, 0.5)),
            Row(f"{_NO_TAPS}, 8 sources", "liquid", "live_no_taps.yaml", 5, 0.2, _sources("random", 8, 0.35)),
            Row(f"{_NO_TAPS}, 8 sources in blocks", "liquid", "live_no_taps.yaml", 5, 0.2, _sources("blocks", 8, 0.35)),
        ),
        (
            Contrast("recurrence", "256 neurons", "256 neurons, recurrence off"),
            Contrast("recurrence", "256 neurons, recurrence on", "256 neurons"),
            Contrast(_IN_BLOCKS, f"{_NO_TAPS}, in blocks", _NO_TAPS),
            Contrast(_IN_BLOCKS, f"{_NO_TAPS}, 8 sources in blocks", f"{_NO_TAPS}, 8 sources"),
            Contrast("recurrence", "512 neurons", "512 neurons, recurrence off"),
            Contrast("recurrence", "512 neurons, recurrence on", "512 neurons"),
            Contrast("recurrence", _NO_TAPS, f"{_NO_TAPS}, recurrence off"),
        ),
    ),
    Table(
        "live-pairs",
        "Live: two digits in a row, in either order, speakers never heard",
        "fsdd-pairs",
        'Joined recordings of one speaker, 20 classes: "one two" and "two one" are different ones.',
        (
            Row("256 neurons", "liquid", "live_256.yaml", 1, 1),
            Row("256 neurons, recurrence off", "liquid", "live_256.yaml", 1, 1, OFF),
            Row("256 neurons, recurrence on", "liquid", "live_256.yaml", 1, 1.5, ON),
            Row(_NO_TAPS, "liquid", "live_no_taps.yaml", 1, 2),
            Row(f"{_NO_TAPS}, recurrence off", "liquid", "live_no_taps.yaml", 1, 1, OFF),
        ),
        (
            Contrast("recurrence", "256 neurons", "256 neurons, recurrence off"),
            Contrast("recurrence", "256 neurons, recurrence on", "256 neurons"),
            Contrast("recurrence", _NO_TAPS, f"{_NO_TAPS}, recurrence off"),
        ),
    ),
)

_NOISE_ROW = "liquid, trained for noise"
CLAIMS: Final = (
    Claim("unheard speakers, 32 KiB", "fsdd-loso", "liquid, at most 32 KiB", 90, most_kib=32),
    Claim("unheard speakers, 12 KiB", "fsdd-loso", "liquid, at most 12 KiB", 87.5, most_kib=12),
    Claim(f"32 KiB, {_CHOSEN}", "fsdd-loso", f"at most 32 KiB, {_CHOSEN}", 90, most_kib=32),
    Claim(f"12 KiB, {_CHOSEN}", "fsdd-loso", f"at most 12 KiB, {_CHOSEN}", 87.5, most_kib=12),
    Claim("official split", "fsdd-official", "liquid, at most 32 KiB", 99.5, most_kib=32),
    Claim("white noise at 10 dB", "fsdd-noise", _NOISE_ROW, 79, "white noise 10"),
    Claim("babble at 10 dB", "fsdd-noise", _NOISE_ROW, 78, "babble 10"),
    Claim("trained for noise, clean", "fsdd-noise", _NOISE_ROW, 89),
    Claim("three words", "speech_commands3", "liquid", 94, most_kib=64, most_neurons=512),
    Claim("environmental sounds", "esc10", "liquid", 84, most_kib=64, most_neurons=512),
    Claim(f"three words, {_CHOSEN}", "speech_commands3", _CHOSEN, 94, most_kib=64, most_neurons=512),
    Claim(f"environmental sounds, {_CHOSEN}", "esc10", _CHOSEN, 84, most_kib=64, most_neurons=512),
    Claim("live digits, 256 neurons", "live-digits", "256 neurons", 83, most_neurons=256),
    Claim("live digits, 512 neurons", "live-digits", "512 neurons", 86, most_neurons=512),
    Claim("live digits: recurrence adds", "live-digits", _NO_TAPS, 3, over=f"{_NO_TAPS}, recurrence off"),
)
