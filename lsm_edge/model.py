"""The trained model: integers and a manifest, frozen; saved, loaded and named by its digest.

A model file (`*.lsm`) is a safetensors container: a JSON header, then the tables as raw little-endian integers. Reading
one runs no code. The header's metadata holds `manifest` (the stages' parameters, below), `digest` and `provenance`
(how the model came to be; not part of the digest). `docs/model-format.md` is normative.

The digest is SHA-256 over the canonical manifest and every table: it names what the firmware computes and nothing else.
"""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self

import numpy as np
import safetensors
import safetensors.numpy
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator

from lsm_edge.config import Name
from lsm_edge.errors import ModelError
from lsm_edge.files import write_atomically
from lsm_edge.fixed import INT16_MAX

FORMAT: Final = 1

Table = NDArray[Any]
Label = Annotated[str, Field(min_length=1, pattern=r"^[^\x00-\x1f\x7f]*$")]


class _Stage(BaseModel):
    """Integers that a stage is parametrised by; the manifest's key is the stage's name."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Frontend(_Stage):
    """`logmel`: see docs/numerics.md, section 2."""

    sample_hz: int = Field(ge=1, le=10**6)
    hop_samples: int = Field(ge=1, le=1024)
    window_samples: Literal[128, 256, 512, 1024]
    n_bands: int = Field(ge=1, le=32)
    level: Literal["segment_peak", "running_peak"]
    range_gain: Literal[1, 2, 4]
    release_q8: int = Field(ge=1, le=65280)
    equalise_q8: int = Field(default=0, ge=0, le=256)

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.hop_samples > self.window_samples:
            raise ValueError(f"frontend.hop_samples: {self.hop_samples} is more than window_samples")
        if self.equalise_q8 and self.level != "segment_peak":
            raise ValueError("frontend.equalise_q8: needs level segment_peak")
        return self


class Encoder(_Stage):
    """`current` or `delta`: section 3. What the other kind needs is zero."""

    kind: Literal["current", "delta"]
    shift: int = Field(ge=0, le=8)
    n_taps: int = Field(ge=0, le=32)
    max_delay_frames: int = Field(ge=0, le=1023)
    delta: int = Field(ge=0, le=127)
    n_synapses: int = Field(ge=0, le=65535)

    @model_validator(mode="after")
    def _kind_has_its_own(self) -> Self:
        if self.kind == "current" and (not self.n_taps or self.delta or self.n_synapses):
            raise ValueError("encoder: current has taps, and neither delta nor synapses")
        if self.kind == "delta" and (not self.delta or self.n_taps or self.max_delay_frames):
            raise ValueError("encoder: delta has a delta, and neither taps nor a delay")
        return self


class Reservoir(_Stage):
    """Section 4. Without recurrence `n_synapses` and `max_delay_steps` are zero."""

    n_neurons: int = Field(ge=1, le=4096)
    steps_per_frame: int = Field(ge=1, le=16)
    reset: Literal["subtract", "zero"]
    refractory_steps: int = Field(ge=0, le=255)
    n_synapses: int = Field(ge=0)
    weight_shift: int = Field(ge=0, le=8)
    max_delay_steps: int = Field(ge=0, le=128)


class Readout(_Stage):
    """Section 5."""

    state: Literal["counts", "trace"]
    transform: Literal["sqrt", "linear"]
    n_windows: int = Field(ge=1, le=8)
    window_by: Literal["energy", "length"]
    length_feature: bool
    trace_leak_q15: int = Field(ge=0, le=32767)
    trace_gain: int = Field(ge=0, le=65535)
    weight_bits: Literal[8, 4] = 8


class Endpointer(_Stage):
    """Section 6."""

    onset: int = Field(ge=1, le=255)
    onset_frames: int = Field(ge=1)
    hang_frames: int = Field(ge=1, le=65535)
    preroll_frames: int = Field(ge=0)
    floor_rise_q8: int = Field(ge=1, le=65280)
    gate: int = Field(default=0, ge=0, le=255)


class Decision(_Stage):
    """Section 6."""

    mode: Literal["segment", "live"]
    every_frames: int = Field(ge=1, le=65535)
    max_frames: int = Field(ge=1, le=4095)
    endpointer: Endpointer | None
    reject: bool = False
    confidence: bool = False

    @model_validator(mode="after")
    def _segment_outlasts_its_onset(self) -> Self:
        pointer = self.endpointer
        if pointer is not None and pointer.onset_frames + pointer.preroll_frames >= self.max_frames:
            raise ValueError("decision.endpointer: onset_frames + preroll_frames must be less than max_frames")
        return self


class Manifest(_Stage):
    """Everything about a model that is not a table."""

    format: Literal[1] = FORMAT
    name: Name
    labels: tuple[Label, ...] = Field(min_length=1)
    frontend: Frontend
    encoder: Encoder
    reservoir: Reservoir
    readout: Readout
    decision: Decision

    @model_validator(mode="after")
    def _live_has_no_segments(self) -> Self:
        if self.decision.mode == "live" and (
            self.frontend.level != "running_peak"
            or self.readout.state != "trace"
            or self.readout.n_windows != 1
            or self.readout.length_feature
            or self.decision.endpointer is not None
        ):
            raise ValueError("decision.mode: live needs running_peak, trace, one window, no length and no endpointer")
        if self.decision.endpointer is not None and self.frontend.level != "segment_peak":
            raise ValueError("decision.endpointer: needs frontend.level segment_peak, whose frames are absolute")
        return self

    @property
    def n_classes(self) -> int:
        """How many labels there are."""
        return len(self.labels)

    def canonical(self) -> bytes:
        """The same manifest is the same bytes everywhere: sorted keys, no spaces, ASCII.

        What a stage holds at its default is left out, so that an option which a later version adds renames no model.
        """
        plain = self.model_dump(mode="json") | {
            stage: getattr(self, stage).model_dump(mode="json", exclude_defaults=True)
            for stage in ("frontend", "encoder", "reservoir", "readout", "decision")
        }
        return json.dumps(plain, sort_keys=True, separators=(",", ":")).encode("ascii")


@dataclass(frozen=True)
class TableSpec:
    """What a table must look like: its type, its shape, and the range of its values."""

    dtype: str
    shape: tuple[int, ...]
    low: int
    high: int


def table_specs(manifest: Manifest) -> dict[str, TableSpec]:
    """Every table a model with this manifest has, in the order of the stages."""
    frontend, encoder, reservoir, readout = manifest.frontend, manifest.encoder, manifest.reservoir, manifest.readout
    window, bands, neurons = frontend.window_samples, frontend.n_bands, reservoir.n_neurons
    specs = {
        "window_q15": TableSpec("<i2", (window,), 0, INT16_MAX),
        "twiddle_q15": TableSpec("<i2", (window // 2, 2), -INT16_MAX, INT16_MAX),
        "mel_start": TableSpec("<u2", (bands,), 1, window // 2 - 1),
        "mel_end": TableSpec("<u2", (bands,), 2, window // 2),
        "mel_weight_q8": TableSpec("<u1", (-1,), 0, 255),
    }
    if encoder.kind == "current":
        span = (encoder.max_delay_frames + 1) * bands
        specs["tap_offset"] = TableSpec("<u2", (neurons, encoder.n_taps), 0, span - 1)
        specs["tap_weight"] = TableSpec("<i1", (neurons, encoder.n_taps), -127, 127)
    else:
        specs["input_start"] = TableSpec("<u2", (2 * bands + 1,), 0, encoder.n_synapses)
        specs["input_target"] = TableSpec("<u2", (encoder.n_synapses,), 0, neurons - 1)
        specs["input_weight"] = TableSpec("<i1", (encoder.n_synapses,), -127, 127)
    specs["leak_q15"] = TableSpec("<u2", (neurons,), 0, INT16_MAX)
    specs["threshold"] = TableSpec("<i2", (neurons,), 1, INT16_MAX)
    if reservoir.n_synapses:
        specs["delay_steps"] = TableSpec("<u1", (neurons,), 1, reservoir.max_delay_steps)
        specs["recurrent_start"] = TableSpec("<u4", (neurons + 1,), 0, reservoir.n_synapses)
        specs["recurrent_target"] = TableSpec("<u2", (reservoir.n_synapses,), 0, neurons - 1)
        specs["recurrent_weight"] = TableSpec("<i1", (reservoir.n_synapses,), -127, 127)
    shape = (readout.n_windows, manifest.n_classes)
    if readout.weight_bits == 8:
        specs["readout_weight"] = TableSpec("<i1", (*shape, neurons), -127, 127)
    else:
        specs["readout_weight"] = TableSpec("<u1", (*shape, (neurons + 1) // 2), 0, 255)
    if readout.length_feature:
        specs["length_weight"] = TableSpec("<i2", (manifest.n_classes,), -INT16_MAX, INT16_MAX)
    specs["bias"] = TableSpec("<i4", (manifest.n_classes,), -(2**30), 2**30)
    if manifest.decision.reject:
        specs["reject_margin"] = TableSpec("<u4", (1,), 0, 2**32 - 1)
    if manifest.decision.confidence:
        specs["confidence_gain_q16"] = TableSpec("<u2", (1,), 0, 65535)
        specs["confidence_shift"] = TableSpec("<u1", (1,), 0, 31)
    return specs


@dataclass(frozen=True)
class Model:
    """A manifest and its tables, checked against each other on construction.

    Raises:
        ModelError: a table is missing, has another type or shape, or holds a value that could lead out of bounds.
    """

    manifest: Manifest
    tables: Mapping[str, Table]
    provenance: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        specs = table_specs(self.manifest)
        if set(specs) != set(self.tables):
            odd = sorted(set(specs) ^ set(self.tables))
            raise ModelError(f"tables do not fit the manifest: {', '.join(odd)}")
        for name, spec in specs.items():
            _check_table(name, self.tables[name], spec)
            self.tables[name].setflags(write=False)
        self._check_rows("input_start", "n_synapses of encoder", self.manifest.encoder.n_synapses)
        self._check_rows("recurrent_start", "n_synapses of reservoir", self.manifest.reservoir.n_synapses)
        bins = self["mel_end"].astype(int) - self["mel_start"]
        if (bins < 1).any() or bins.sum() != len(self["mel_weight_q8"]):
            raise ModelError("tables mel_start, mel_end and mel_weight_q8 do not fit together")

    def _check_rows(self, name: str, of: str, n_synapses: int) -> None:
        if name in self.tables:
            start = self[name].astype(int)
            if start[0] != 0 or start[-1] != n_synapses or (np.diff(start) < 0).any():
                raise ModelError(f"table {name} does not rise from 0 to {of} ({n_synapses})")

    def __getitem__(self, name: str) -> Table:
        return self.tables[name]

    @cached_property
    def digest(self) -> str:
        """64 hex digits that name what this model computes."""
        sha = hashlib.sha256(self.manifest.canonical())
        for name in sorted(self.tables):
            table = self.tables[name]
            sha.update(f"\n{name} {table.dtype.str} {table.shape}\n".encode("ascii"))
            sha.update(np.ascontiguousarray(table).tobytes())
        return sha.hexdigest()

    @property
    def table_bytes(self) -> int:
        """Bytes of flash that the tables take."""
        return sum(table.nbytes for table in self.tables.values())

    def replace(self, **tables: Table) -> Model:
        """The same model with other values in some tables."""
        return Model(self.manifest, {**self.tables, **tables}, self.provenance)


def _check_table(name: str, table: Table, spec: TableSpec) -> None:
    shape_fits = table.ndim == len(spec.shape) and all(
        want in (-1, got) for want, got in zip(spec.shape, table.shape, strict=True)
    )
    if np.dtype(spec.dtype) != table.dtype or not shape_fits:
        raise ModelError(f"table {name} is {table.dtype.str}{table.shape}, must be {spec.dtype}{spec.shape}")
    if table.size and (int(table.min()) < spec.low or int(table.max()) > spec.high):
        raise ModelError(f"table {name} holds {table.min()} to {table.max()}, allowed: {spec.low} to {spec.high}")


def save_model(model: Model, path: Path) -> None:
    """Write a model file: to a temporary name first, then renamed.

    Raises:
        ConfigError: the folder cannot be written to.
    """
    metadata = {
        "lsm_edge_format": str(FORMAT),
        "manifest": model.manifest.canonical().decode("ascii"),
        "digest": model.digest,
        "provenance": json.dumps(dict(model.provenance), sort_keys=True),
    }
    tables = {name: np.ascontiguousarray(table) for name, table in model.tables.items()}
    write_atomically(path, _canonical(safetensors.numpy.save(tables, metadata)))


def _canonical(data: bytes) -> bytes:
    """The same container with its header's keys sorted: safetensors writes metadata in another order every time."""
    (header_bytes,) = struct.unpack("<Q", data[:8])
    header = json.dumps(json.loads(data[8 : 8 + header_bytes]), sort_keys=True, separators=(",", ":")).encode("ascii")
    header += b" " * (-len(header) % 8)
    return struct.pack("<Q", len(header)) + header + data[8 + header_bytes :]


def load_model(path: Path) -> Model:
    """Read a model file and check every integer of it.

    Raises:
        ModelError: the file is missing, cut short, damaged, not a model, or from a newer format.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ModelError(f"{path}: cannot be read: {error.strerror}") from None
    try:
        (header_bytes,) = struct.unpack("<Q", data[:8])
        if header_bytes > len(data):
            raise ValueError("its header is cut short")
        metadata = json.loads(data[8 : 8 + header_bytes])["__metadata__"]
        found = int(metadata["lsm_edge_format"])
    except (struct.error, ValueError, KeyError, TypeError, RecursionError):
        raise ModelError(f"{path}: is not a model file, or was cut short; train it again") from None
    if found != FORMAT:
        raise ModelError(f"{path}: is in model format {found}; this lsm-edge reads {FORMAT}: install another one")
    try:
        tables = safetensors.numpy.load(data)
        manifest = Manifest.model_validate_json(metadata["manifest"])
        model = Model(manifest, tables, dict(json.loads(metadata["provenance"])))
        digest = metadata["digest"]
    except (safetensors.SafetensorError, ValueError, KeyError, TypeError, RecursionError) as error:
        reason = " ".join(str(error).split())[:200]
        raise ModelError(f"{path}: is damaged or was cut short ({reason}); train it again") from None
    except ModelError as error:
        raise ModelError(f"{path}: {error}") from None
    if model.digest != digest:
        raise ModelError(f"{path}: its content does not match its digest; it was altered after training")
    return model
