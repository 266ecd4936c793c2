"""The YAML file as validated, frozen objects; nothing else in the package parses settings.

Enters: a YAML file. Leaves: a `Config`, every value of which has the right type and lies in its range.
Sections are named after the stages (`frontend`, `encoder`, `reservoir`, `readout`, `decision`), after `dataset`,
and after nothing else. Quantities here are in the user's units (Hz, ms, dB); `lsm_edge.learn.train` turns them
into the integers of a `Model`.
"""

from __future__ import annotations

import difflib
import re
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self

import pydantic
import yaml
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from lsm_edge.budget import Section as BudgetSection
from lsm_edge.errors import ConfigError


class _Section(BaseModel):
    """A frozen section in which an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


def _compiled(pattern: str) -> str:
    try:
        re.compile(pattern)
    except re.error as error:
        raise ValueError(f"is not a regular expression: {error}") from None
    return pattern


Pattern = Annotated[str, Field(min_length=1), pydantic.AfterValidator(_compiled)]


Name = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_-]{0,31}$")]


class IndexFile(_Section):
    """A CSV beside the recordings, one row a file, that holds what file names do not say."""

    file: str = "index.csv"
    path_column: str = "file"
    label_column: str | None = None
    group_column: str | None = None
    split_column: str | None = None


class PatternSplit(_Section):
    """Recordings whose path matches `test` are the test part."""

    kind: Literal["pattern"]
    test: Pattern


class ColumnSplit(_Section):
    """What `dataset.index.split_column` holds says a recording's part: one of `test`, or one of `train`."""

    kind: Literal["column"]
    test: list[str] = Field(default=["test"], min_length=1)
    train: list[str] | None = Field(default=None, min_length=1)


class GroupSplit(_Section):
    """One fold a group: that group is the test part, all others the training part."""

    kind: Literal["leave-one-group-out"]


class RandomSplit(_Section):
    """A share of each class, drawn by the config's seed; whole groups are not kept together."""

    kind: Literal["random"]
    test_share: float = Field(default=0.2, gt=0, lt=1)


Split = Annotated[PatternSplit | ColumnSplit | GroupSplit | RandomSplit, Field(discriminator="kind")]


class Dataset(_Section):
    """Where the recordings are, what they are called, and which of them are held back for the test."""

    path: str = Field(min_length=1)
    files: str = Field(default="**/*.wav", min_length=1)
    label_from: Literal["folder", "pattern", "index"] = "folder"
    pattern: Pattern | None = None
    index: IndexFile | None = None
    channel: Literal["mix"] | Annotated[int, Field(ge=0, le=63)] = "mix"
    resample: bool = True
    on_bad_file: Literal["error", "skip"] = "error"
    split: Split = RandomSplit(kind="random")

    @model_validator(mode="after")
    def _sources_exist(self) -> Self:
        named = re.compile(self.pattern or "").groupindex
        if self.label_from == "pattern" and "label" not in named:
            raise ValueError("label_from: pattern needs `pattern`, a regular expression with a group named label")
        if self.label_from == "index" and (self.index is None or self.index.label_column is None):
            raise ValueError("label_from: index needs `index` with its label_column")
        if self.split.kind == "column" and (self.index is None or self.index.split_column is None):
            raise ValueError("split: column needs `index` with its split_column")
        return self


class Frontend(_Section):
    """Samples -> frames of log mel band levels, one byte a band."""

    kind: Literal["logmel"] = "logmel"
    sample_hz: int = Field(default=8000, ge=4000, le=48000)
    hop_ms: float = Field(default=8.0, ge=5, le=16)
    window_samples: Literal[128, 256, 512, 1024] = 256
    n_bands: int = Field(default=20, ge=8, le=32)
    low_hz: float = Field(default=80.0, ge=0)
    high_hz: float = Field(default=3900.0, gt=0)
    level: Literal["segment_peak", "running_peak"] = "segment_peak"
    range_db: Literal[24, 48, 96] = 48
    release_db_per_s: float = Field(default=12.0, ge=1, le=300)
    equalise: float = Field(default=0.0, ge=0, le=1)

    @property
    def hop_samples(self) -> int:
        """Samples from one frame to the next."""
        return round(self.hop_ms * self.sample_hz / 1000)

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if abs(self.hop_ms * self.sample_hz / 1000 - self.hop_samples) > 1e-9:
            raise ValueError(f"hop_ms: {self.hop_ms} ms is not a whole number of samples at {self.sample_hz} Hz")
        if self.hop_samples > self.window_samples:
            raise ValueError(f"hop_ms: {self.hop_samples} samples a hop do not fit a window of {self.window_samples}")
        if self.low_hz >= self.high_hz:
            raise ValueError(f"low_hz: {self.low_hz} must be below high_hz ({self.high_hz})")
        if self.high_hz > self.sample_hz / 2:
            raise ValueError(f"high_hz: {self.high_hz} must be at most half of sample_hz ({self.sample_hz / 2})")
        if self.equalise and self.level != "segment_peak":
            raise ValueError("equalise takes the mean of a whole segment; set level: segment_peak, or equalise: 0")
        return self


class CurrentEncoder(_Section):
    """Each neuron is driven by a weighted sum of a few bands at a few delays (a random kernel of zero sum)."""

    kind: Literal["current"]
    n_taps: int = Field(default=3, ge=2, le=32)
    max_delay_frames: int = Field(default=24, ge=0, le=1023)
    spans: Literal["fixed", "log_uniform"] = "log_uniform"
    bands: Literal["any", "few"] = "few"
    norm: int = Field(default=64, ge=8, le=127)
    shift: int = Field(default=2, ge=0, le=7)


class DeltaEncoder(_Section):
    """Send on delta: a band that has moved by `delta` since its last event sends an up or a down spike."""

    kind: Literal["delta"]
    delta: int = Field(default=12, ge=1, le=127)
    fan_in: int = Field(default=6, ge=1, le=64)
    norm: int = Field(default=64, ge=8, le=127)
    shift: int = Field(default=4, ge=0, le=8)


Encoder = Annotated[CurrentEncoder | DeltaEncoder, Field(discriminator="kind")]


class NoTopology(_Section):
    """No recurrent synapses."""

    kind: Literal["none"]


class RandomTopology(_Section):
    """Every neuron hears `fan_in` others, drawn uniformly."""

    kind: Literal["random"]
    fan_in: int = Field(default=16, ge=1, le=256)


class BlocksTopology(_Section):
    """Every neuron hears and reaches `fan_in` others, in aligned blocks of four: what cores with DSP do fastest."""

    kind: Literal["blocks"]
    fan_in: int = Field(default=16, ge=4, le=256, multiple_of=4)


class MaassTopology(_Section):
    """A 3-D grid; the chance of a synapse is C * exp(-(distance / reach)**2), C by the kind of both ends."""

    kind: Literal["maass"]
    columns: int = Field(default=4, ge=1, le=16)
    reach: float = Field(default=2.0, gt=0, le=16)
    fan_in: int = Field(default=16, ge=1, le=256)


Topology = Annotated[NoTopology | RandomTopology | BlocksTopology | MaassTopology, Field(discriminator="kind")]


DEFAULT_LEAK_SHIFT: Final = [2]  # where neither leak_shift nor leak_q15 is given


class Reservoir(_Section):
    """The liquid: leaky integrate-and-fire neurons, fixed once wired and calibrated."""

    n_neurons: int = Field(default=256, ge=1, le=4096)
    steps_per_frame: int = Field(default=4, ge=1, le=16)
    leak_shift: list[Annotated[int, Field(ge=1, le=12)]] | None = Field(default=None, min_length=1)
    leak_q15: list[Annotated[int, Field(ge=0, le=32767)]] | None = Field(default=None, min_length=1)
    reset: Literal["subtract", "zero"] = "subtract"
    refractory_steps: int = Field(default=0, ge=0, le=255)
    target_rate: float = Field(default=0.12, gt=0, lt=1)
    rate_spread: float = Field(default=0.5, ge=0, le=2)
    topology: Topology = NoTopology(kind="none")
    excitatory_share: float = Field(default=0.8, ge=0, le=1)
    recurrent_gain: float = Field(default=0.25, gt=0, le=4)
    inhibition: float = Field(default=4.0, ge=0, le=16)
    max_delay_steps: int = Field(default=1, ge=1, le=128)
    n_candidates: int | None = Field(default=None, ge=1, le=4096)

    @model_validator(mode="after")
    def _one_leak(self) -> Self:
        if self.leak_shift is not None and self.leak_q15 is not None:
            raise ValueError("leak_shift and leak_q15 say the same thing in two ways: give one of them")
        return self

    @model_validator(mode="after")
    def _candidates_can_be_dropped(self) -> Self:
        if self.n_candidates is not None and self.n_candidates < self.n_neurons:
            raise ValueError(f"n_candidates: {self.n_neurons} neurons cannot be kept of {self.n_candidates}")
        if self.n_candidates is not None and self.topology.kind != "none":
            raise ValueError("n_candidates: others listen to a recurrent neuron; set topology: {kind: none}")
        return self

    @property
    def leaks_q15(self) -> list[int]:
        """The decay factors to draw from: what is left of a membrane potential after a step, in Q15."""
        if self.leak_q15 is not None:
            return self.leak_q15
        return [32768 - (32768 >> shift) for shift in self.leak_shift or DEFAULT_LEAK_SHIFT]


class Readout(_Section):
    """The liquid's state -> one score a class; the only part that is trained with labels."""

    state: Literal["counts", "trace"] = "counts"
    transform: Literal["sqrt", "linear"] = "sqrt"
    n_windows: int = Field(default=3, ge=1, le=8)
    window_by: Literal["energy", "length"] = "energy"
    length_feature: bool = True
    trace_ms: float = Field(default=100.0, ge=5, le=5000)
    solver: Literal["ridge", "logistic", "svm", "lda", "perceptron"] = "ridge"
    strengths: list[Annotated[float, Field(gt=0)]] | None = Field(default=None, min_length=1)
    choose_by: Literal["accuracy", "squared_error", "log_loss"] = "squared_error"
    class_weight: Literal["none", "balanced"] = "none"
    folds: int = Field(default=5, ge=2, le=20)
    weight_bits: Literal[8, 4] = 8

    @model_validator(mode="after")
    def _shrinkage_is_a_share(self) -> Self:
        if self.solver == "lda" and self.strengths is not None and max(self.strengths) > 1:
            raise ValueError(f"strengths: solver lda shrinks by a share; {max(self.strengths)} is more than 1")
        return self


class Endpointer(_Section):
    """Finds where something happens in a stream: loud for `onset_ms` opens a segment, quiet for `hang_ms` closes it.

    With `gate_db` the front end sleeps while no segment is open and no hop is that much louder than the quiet ones.
    """

    onset_db: float = Field(default=12.0, ge=3, le=60)
    onset_ms: float = Field(default=24.0, gt=0, le=500)
    hang_ms: float = Field(default=200.0, gt=0, le=2000)
    preroll_ms: float = Field(default=64.0, ge=0, le=500)
    floor_db_per_s: float = Field(default=6.0, ge=0.5, le=60)
    gate_db: float | None = Field(default=None, ge=3, le=60)

    @model_validator(mode="after")
    def _gate_opens_first(self) -> Self:
        if self.gate_db is not None and self.gate_db > self.onset_db:
            raise ValueError(
                f"gate_db: {self.gate_db} is more than onset_db ({self.onset_db}), so beginnings would be missed; "
                "half of onset_db is a good choice"
            )
        return self


class Decision(_Section):
    """When the readout speaks."""

    mode: Literal["segment", "live"] = "segment"
    max_segment_ms: float = Field(default=1000.0, ge=50, le=10000)
    every_ms: float = Field(default=100.0, ge=5, le=10000)
    endpointer: Endpointer | None = None
    reject_error: float | None = Field(default=None, gt=0, lt=1)
    confidence: bool = False


def _rising(ends: list[float]) -> list[float]:
    if ends[0] > ends[1]:
        raise ValueError("is a range [low, high]; low must be at most high")
    return ends


def _range(least: float, most: float) -> Any:
    """[low, high]; a value is drawn anew from it, uniformly, for each copy."""
    ends = list[Annotated[float, Field(ge=least, le=most)]]
    return Annotated[ends, Field(min_length=2, max_length=2), pydantic.AfterValidator(_rising)]


class Noise(_Section):
    """What is mixed into copies; they take the `kinds` in turn."""

    kinds: list[Literal["none", "white", "pink", "babble", "folder"]] = Field(min_length=1)
    snr_db: _range(-20, 60) = [0.0, 30.0]  # type: ignore[valid-type]
    folder: str | None = Field(default=None, min_length=1)

    @model_validator(mode="after")
    def _folder_exists(self) -> Self:
        if ("folder" in self.kinds) != (self.folder is not None):
            raise ValueError("kinds: folder and noise.folder (where its WAV files lie) need each other")
        return self


class Augment(_Section):
    """Changed copies of every training recording, which the readout is trained on too; what is absent is left alone."""

    copies: int = Field(default=4, ge=1, le=16)
    speed: _range(0.5, 2) | None = None  # type: ignore[valid-type]
    lead_ms: _range(0, 2000) | None = None  # type: ignore[valid-type]
    trail_ms: _range(0, 2000) | None = None  # type: ignore[valid-type]
    noise: Noise | None = None
    gain_db: _range(-60, 40) | None = None  # type: ignore[valid-type]
    clip_share: _range(0, 0.5) | None = None  # type: ignore[valid-type]


class Search(_Section):
    """What `lsm-edge search` tries instead of its own list: values for a dotted key, such as reservoir.n_neurons."""

    space: dict[str, Annotated[list[Any], Field(min_length=1)]] = Field(min_length=1)


class Config(_Section):
    """One experiment: everything that, with the recordings, decides the model to the last bit."""

    name: Name
    seed: int = Field(default=0, ge=0, le=2**32 - 1)
    dataset: Dataset
    frontend: Frontend = Frontend()
    encoder: Encoder = CurrentEncoder(kind="current")
    reservoir: Reservoir = Reservoir()
    readout: Readout = Readout()
    decision: Decision = Decision()
    augment: Augment | None = None
    search: Search | None = None
    budget: BudgetSection | None = None  # what it may cost; decides nothing

    @model_validator(mode="after")
    def _stages_agree(self) -> Self:
        if self.decision.mode == "live":
            if self.frontend.level != "running_peak":
                raise ValueError("decision.mode: live knows no segment; set frontend.level: running_peak")
            if self.readout.state != "trace" or self.readout.n_windows != 1:
                raise ValueError("decision.mode: live has no windows; set readout: {state: trace, n_windows: 1}")
            if self.readout.length_feature:
                raise ValueError("decision.mode: live has no segment length; set readout.length_feature: false")
            if self.decision.endpointer is not None:
                raise ValueError("decision.endpointer finds segments; decision.mode: live has none")
        pointer = self.decision.endpointer
        if pointer is not None and self.frontend.level != "segment_peak":
            raise ValueError("decision.endpointer listens to absolute levels; set frontend.level: segment_peak")
        window_ms = 1000 * self.frontend.window_samples / self.frontend.sample_hz
        if pointer is not None and pointer.gate_db is not None and pointer.hang_ms < window_ms:
            raise ValueError(
                f"decision.endpointer.hang_ms: {pointer.hang_ms} ms; with gate_db it must be at least {window_ms:g}, "
                "the length of frontend.window_samples, so that a window hears all of a sound that opens the gate"
            )
        return self

    @field_validator("name")
    @classmethod
    def _not_a_device(cls, name: str) -> str:
        if re.fullmatch(r"CON|PRN|AUX|NUL|COM\d|LPT\d", name.upper()):
            raise ValueError("is the name of a Windows device")
        return name


class _Loader(yaml.SafeLoader):
    """YAML in which a key that is given twice is an error, not the last one's win."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and keys.count(key.value) > 1:
                raise yaml.constructor.ConstructorError(None, None, f"{key.value} is given twice", key.start_mark)
        return super().construct_mapping(node, deep)


def load_config(path: Path) -> Config:
    """Read and validate a YAML file.

    Raises:
        ConfigError: the file cannot be read, is not YAML, or holds a key or a value that is not allowed.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise ConfigError(f"{path}: cannot be read: {reason}") from None
    try:
        data = yaml.load(text, _Loader)  # noqa: S506 - a SafeLoader
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: is not valid YAML: {' '.join(str(error).split())}") from None
    except (ValueError, RecursionError) as error:  # a date that is none, a number without end, brackets without end
        raise ConfigError(f"{path}: is not valid YAML: {error}") from None
    if not isinstance(data, dict):
        raise ConfigError(f"{path}: holds no settings; a config is a YAML mapping with at least name and dataset")
    return parse_config(data, str(path))


def parse_config(data: dict[str, Any], source: str) -> Config:
    """Validate a mapping; `source` names it in messages.

    Raises:
        ConfigError: with one line for each key that is wrong.
    """
    try:
        return Config.model_validate(data)
    except pydantic.ValidationError as error:
        lines = [_explain(item) for item in error.errors(include_url=False)]
        raise ConfigError("\n".join(f"{source}: {line}" for line in lines)) from None


_UNIONS = {"split", "encoder", "topology"}  # pydantic puts the chosen `kind` after these keys
_NO_MAPPING = {"model_type", "model_attributes_type", "dict_type"}


def _explain(item: Any) -> str:
    """One pydantic error as `key path: what is wrong (got value)`."""
    loc = item["loc"]
    where = [part for i, part in enumerate(loc) if not (i and loc[i - 1] in _UNIONS)]
    parts = [str(part) for part in where if not str(part).startswith(("function-", "literal[", "constrained-"))]
    key = ".".join(part if part.isprintable() else repr(part) for part in parts)
    kind, message, got = item["type"], item["msg"].removeprefix("Value error, "), item["input"]
    if kind == "extra_forbidden":
        known = _keys_beside(loc)
        close = difflib.get_close_matches(str(where[-1]), known, n=1)
        hint = f"did you mean {close[0]}?" if close else f"allowed: {', '.join(known)}"
        return f"{key}: unknown key; {hint}"
    if kind == "missing":
        return f"{key}: missing"
    if kind == "union_tag_not_found":
        return f"{key}.kind: missing"
    if kind == "union_tag_invalid":
        return f"{key}.kind: must be one of {item['ctx']['expected_tags']} (got {item['ctx']['tag']!r})"
    if kind in _NO_MAPPING:
        return f"{key}: must be a mapping of settings (got {got!r})"
    if isinstance(got, dict):  # from a validator of the whole section, which names the key itself
        joint = "." if re.match(r"[a-z_.]+: ", message) else ": "
        return f"{key}{joint}{message}" if key else message
    return f"{key}: {message[0].lower()}{message[1:]} (got {got!r})"


def _keys_beside(loc: tuple[Any, ...]) -> list[str]:
    """The keys that are allowed where the key at `loc` stands."""
    section: type[BaseModel] = Config
    for part in loc[:-1]:
        candidates = [section] if not isinstance(part, str) else _sections_of(section, part)
        section = candidates[0] if candidates else section
    return sorted(section.model_fields)


def _sections_of(section: type[BaseModel], part: str) -> list[type[BaseModel]]:
    """The section that `part` leads to: a field of `section`, or the member of a union tagged `part`."""
    if part in section.model_fields:
        found: list[type[BaseModel]] = []
        stack: list[Any] = [section.model_fields[part].annotation]
        while stack:
            annotation = stack.pop()
            if isinstance(annotation, type) and issubclass(annotation, BaseModel):
                found.append(annotation)
            stack.extend(getattr(annotation, "__args__", ()))
        return found if len(found) == 1 else [_union_of(found)] if found else []
    members = getattr(section, "__members__by_tag__", {})
    return [members[part]] if part in members else []


def _union_of(members: list[type[BaseModel]]) -> type[BaseModel]:
    """A stand-in that finds a union's member by its `kind`."""
    by_tag = {member.model_fields["kind"].annotation.__args__[0]: member for member in members}  # type: ignore[union-attr]
    return type("_Union", (_Section,), {"__members__by_tag__": by_tag})
