"""The model file: what is saved comes back, and what is damaged or hostile is refused."""

from __future__ import annotations

import hashlib
import json
import pickle
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st
from models import LIVE, RECURRENT, small_model

from lsm_edge.errors import ModelError
from lsm_edge.model import Manifest, Model, load_model, save_model, table_specs

OPTIONS: dict[str, dict[str, Any]] = {
    "current": {},
    "delta": {"encoder": {"kind": "delta"}, "readout": {"length_feature": False}},
    "recurrent": {"reservoir": RECURRENT},
    "live": LIVE,
    "endpointer": {"decision": {"endpointer": {}}},
    "four bits": {"readout": {"weight_bits": 4}, "decision": {"reject_error": 0.1, "confidence": True}},
}
# Entries that the manifest in a file is without when they have this value, which they had before they were named.
ABSENT = [("frontend", "equalise_q8", 0), ("readout", "weight_bits", 8), ("decision", "reject", False),
          ("decision", "confidence", False)]
POINTER = {"onset": 9, "onset_frames": 2, "hang_frames": 3, "preroll_frames": 10, "floor_rise_q8": 9}


@pytest.fixture(scope="module")
def model() -> Model:
    return small_model(reservoir=RECURRENT)


@pytest.fixture(scope="module")
def data(model: Model, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("model") / "a.lsm"
    save_model(model, path)
    return path.read_bytes()


def refused(tmp_path: Path, data: bytes) -> str:
    """What is said when a file of these bytes is loaded."""
    path = tmp_path / "a.lsm"
    path.write_bytes(data)
    with pytest.raises(ModelError) as error:
        load_model(path)
    message = str(error.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    return message


def with_header(data: bytes, change: Callable[[dict[str, Any]], object]) -> bytes:
    (n,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + n])
    change(header)
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data[8 + n :]


@pytest.mark.parametrize("name", OPTIONS)
def test_what_is_saved_comes_back(name: str, tmp_path: Path) -> None:
    model = small_model(labels=["ja", "nein", '*/ "\\ ??/ 🦊'], **OPTIONS[name])
    model = Model(model.manifest, model.tables, {"config": {"name": "a"}, "data": "recordings"})
    save_model(model, tmp_path / "a.lsm")
    loaded = load_model(tmp_path / "a.lsm")
    assert (loaded.manifest, loaded.provenance, loaded.digest) == (model.manifest, model.provenance, model.digest)
    assert set(loaded.tables) == set(model.tables)
    for table in model.tables:
        assert loaded[table].dtype == model[table].dtype
        assert (loaded[table] == model[table]).all()


def test_the_same_model_is_the_same_bytes(model: Model, data: bytes, tmp_path: Path, root: Path) -> None:
    """Also from a process that hashes differently, and from a model whose tables come in another order."""
    backwards = Model(model.manifest, dict(reversed(model.tables.items())))
    save_model(backwards, tmp_path / "b.lsm")
    assert (tmp_path / "b.lsm").read_bytes() == data
    (tmp_path / "a.lsm").write_bytes(data)
    script = (
        "from pathlib import Path; from lsm_edge.model import load_model, save_model\n"
        "save_model(load_model(Path('a.lsm')), Path('c.lsm'))"
    )
    for seed in ("0", "1"):
        environment = {"PYTHONHASHSEED": seed, "PYTHONPATH": str(root)}
        subprocess.run([sys.executable, "-c", script], cwd=tmp_path, env=environment, check=True)
        assert (tmp_path / "c.lsm").read_bytes() == data
        (tmp_path / "c.lsm").unlink()


def test_the_file_is_a_safetensors_container(data: bytes) -> None:
    """`docs/model-format.md`: a length, a header in JSON, tables; what is in the metadata."""
    (n,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + n])
    metadata = header.pop("__metadata__")
    assert set(metadata) == {"lsm_edge_format", "manifest", "digest", "provenance"}
    assert metadata["lsm_edge_format"] == "1"
    assert max(entry["data_offsets"][1] for entry in header.values()) == len(data) - 8 - n


def test_the_digest_is_the_documented_one(model: Model) -> None:
    entries = model.manifest.model_dump(mode="json")
    for stage, name, when_absent in ABSENT:
        if entries[stage][name] == when_absent:
            del entries[stage][name]
    manifest = json.dumps(entries, sort_keys=True, separators=(",", ":"))
    sha = hashlib.sha256(manifest.encode("ascii"))
    for name, table in sorted(model.tables.items()):
        sha.update(f"\n{name} {table.dtype.str} {table.shape}\n".encode())
        sha.update(table.tobytes())
    assert model.digest == sha.hexdigest()


def test_a_gate_has_part_in_the_digest_only_if_there_is_one() -> None:
    """Of a stage within a stage too, what is at its default is left out."""
    without, gated = (small_model(decision={"endpointer": {"gate_db": gate}}) for gate in (None, 6.0))
    assert "gate" not in without.manifest.canonical().decode()
    assert '"gate":16' in gated.manifest.canonical().decode()
    assert without.digest != gated.digest


def test_provenance_and_order_leave_the_digest_alone(model: Model) -> None:
    other = Model(model.manifest, dict(reversed(model.tables.items())), {"data": "elsewhere"})
    assert other.digest == model.digest


@given(data=st.data())
def test_every_bit_of_every_table_counts(model: Model, data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(["tap_weight", "readout_weight", "bias", "recurrent_weight", "window_q15"]))
    table = model[name].copy()
    place = data.draw(st.integers(0, table.size - 1))
    # 0 or 1 are in every table's range, whatever was there.
    table.flat[place] = 1 if table.flat[place] != 1 else 0
    assert model.replace(**{name: table}).digest != model.digest


def test_every_word_of_the_manifest_counts(model: Model) -> None:
    manifest = model.manifest
    others = [
        manifest.model_copy(update={"name": "other"}),
        manifest.model_copy(update={"labels": ("yes", "no", "go")}),
        manifest.model_copy(update={"reservoir": manifest.reservoir.model_copy(update={"reset": "zero"})}),
        manifest.model_copy(update={"decision": manifest.decision.model_copy(update={"every_frames": 9})}),
    ]
    digests = {Model(other, model.tables).digest for other in others}
    assert len(digests | {model.digest}) == len(others) + 1


def test_a_model_is_frozen(model: Model) -> None:
    with pytest.raises(AttributeError):
        model.manifest = model.manifest  # type: ignore[misc]
    with pytest.raises(ValueError, match="read-only"):
        model["bias"][0] = 1
    with pytest.raises(pydantic.ValidationError, match="frozen"):
        model.manifest.name = "other"


def test_replacing_a_table_leaves_the_model_as_it_was(model: Model) -> None:
    before = model.digest
    replaced = model.replace(bias=model["bias"] + 1)
    assert (replaced["bias"] == model["bias"] + 1).all()
    assert Model(model.manifest, model.tables).digest == before


@pytest.mark.parametrize("share", [0.0, 0.01, 0.3, 0.5, 0.99])
def test_cut_short(data: bytes, tmp_path: Path, share: float) -> None:
    assert "cut short" in refused(tmp_path, data[: int(share * len(data))])


def test_one_byte_more_or_less(data: bytes, tmp_path: Path) -> None:
    assert "damaged" in refused(tmp_path, data + b"\0")
    assert "damaged" in refused(tmp_path, data[:-1])


@given(place=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_a_flipped_bit(data: bytes, tmp_path_factory: pytest.TempPathFactory, place: float, bit: int) -> None:
    """Anywhere but in the provenance, which says nothing about what is computed."""
    flipped = bytearray(data)
    flipped[int(place * len(data))] ^= 1 << bit
    path = tmp_path_factory.mktemp("flipped") / "a.lsm"
    path.write_bytes(flipped)
    try:
        loaded = load_model(path)
    except ModelError as error:
        assert str(error).startswith(f"{path}: ")
    else:
        assert loaded.tables.keys() == load_bytes(data, path).tables.keys()
        assert loaded.digest == load_bytes(data, path).digest


def load_bytes(data: bytes, path: Path) -> Model:
    path.write_bytes(data)
    return load_model(path)


@pytest.mark.parametrize("name", ["tap_weight", "readout_weight", "recurrent_target", "window_q15"])
def test_a_flipped_bit_in_a_table_is_found_by_the_digest(model: Model, data: bytes, tmp_path: Path, name: str) -> None:
    (n,) = struct.unpack("<Q", data[:8])
    begin, _ = json.loads(data[8 : 8 + n])[name]["data_offsets"]
    flipped = bytearray(data)
    flipped[8 + n + begin] ^= 1
    said = refused(tmp_path, bytes(flipped))
    assert "does not match its digest" in said or name in said


@pytest.mark.parametrize("version", ["2", "0", "99"])
def test_another_format(data: bytes, tmp_path: Path, version: str) -> None:
    changed = with_header(data, lambda header: header["__metadata__"].update(lsm_edge_format=version))
    assert f"is in model format {version}; this lsm-edge reads" in refused(tmp_path, changed)


@pytest.mark.parametrize("key", ["lsm_edge_format", "manifest", "digest", "provenance"])
@pytest.mark.parametrize("value", [None, "", "x", "[]", "null", "9" * 5000, "[" * 5000])
def test_metadata_that_is_not_there_or_not_right(data: bytes, tmp_path: Path, key: str, value: str | None) -> None:
    def change(header: dict[str, Any]) -> None:
        if value is None:
            del header["__metadata__"][key]
        else:
            header["__metadata__"][key] = value

    if (key, value) == ("provenance", "[]"):  # an empty mapping by another name
        return
    refused(tmp_path, with_header(data, change))


@pytest.mark.parametrize(
    "foreign",
    [
        b"",
        b"\0" * 8,
        b"\0" * 4096,
        b"\xff" * 100,
        b"RIFF$\x00\x00\x00WAVEfmt ",
        b"\x7fELF" + bytes(60),
        struct.pack("<Q", 2) + b"{}",
        struct.pack("<Q", 2) + b"[]",
        struct.pack("<Q", 21) + b'{"__metadata__": null}',
        struct.pack("<Q", 30_000) + b"[" * 30_000,
        struct.pack("<Q", 2**64 - 1) + b"{}",
    ],
)
def test_foreign_files(tmp_path: Path, foreign: bytes) -> None:
    assert "is not a model file" in refused(tmp_path, foreign)


def test_a_table_of_another_program(tmp_path: Path) -> None:
    """A safetensors file that is none of ours."""
    text = b'{"weight":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}'
    assert "is not a model file" in refused(tmp_path, struct.pack("<Q", len(text)) + text + bytes(4))


class _Bomb:
    def __reduce__(self) -> tuple[Any, ...]:
        return pytest.fail, ("a pickle was executed",)


def test_pickles_are_never_unpickled(tmp_path: Path) -> None:
    refused(tmp_path, pickle.dumps(_Bomb()))
    array = np.empty(1, object)
    array[0] = _Bomb()
    np.save(tmp_path / "b.npy", array, allow_pickle=True)
    refused(tmp_path, (tmp_path / "b.npy").read_bytes())
    np.savez(tmp_path / "b.npz", array)
    refused(tmp_path, (tmp_path / "b.npz").read_bytes())


def test_no_file(tmp_path: Path) -> None:
    for path in (tmp_path / "none.lsm", tmp_path):
        with pytest.raises(ModelError, match="cannot be read"):
            load_model(path)


def edited(model: Model, name: str, place: int, value: int) -> np.ndarray[Any, Any]:
    table = model[name].copy()
    table.flat[place] = value
    return table


@pytest.mark.parametrize(
    ("name", "place", "value"),
    [
        ("tap_offset", 3, 4 * 8),  # beyond the last byte of four frames of eight bands
        ("recurrent_target", 0, 20),
        ("recurrent_start", 0, 1),
        ("recurrent_start", 20, 0),
        ("recurrent_start", 5, 3),  # falls
        ("delay_steps", 0, 0),
        ("delay_steps", 0, 4),
        ("mel_start", 0, 0),
        ("mel_end", 7, 65),
        ("mel_end", 0, 1),
        ("mel_end", 3, 60),  # more bins than there are weights
        ("threshold", 0, 0),
        ("threshold", 0, -1),
        ("leak_q15", 0, 32768),
        ("window_q15", 0, -1),
        ("twiddle_q15", 0, -32768),
        ("tap_weight", 0, -128),
        ("recurrent_weight", 0, -128),
        ("readout_weight", 0, -128),
        ("bias", 0, 2**30 + 1),
        ("length_weight", 0, -32768),
    ],
)
def test_integers_that_lead_out_of_bounds(model: Model, name: str, place: int, value: int) -> None:
    with pytest.raises(ModelError, match=name):
        model.replace(**{name: edited(model, name, place, value)})


@pytest.mark.parametrize(
    ("name", "place", "value"),
    [
        ("input_start", 0, 1),
        ("input_start", 16, 0),
        ("input_start", 4, 0),
        ("input_target", 0, 20),
        ("input_weight", 0, -128),
    ],
)
def test_synapses_of_the_encoder_that_lead_out_of_bounds(name: str, place: int, value: int) -> None:
    model = small_model(encoder={"kind": "delta"})
    with pytest.raises(ModelError, match=name):
        model.replace(**{name: edited(model, name, place, value)})


def test_types_shapes_and_names(model: Model) -> None:
    wrong = {
        "wider": {"bias": model["bias"].astype(np.int64)},
        "unsigned": {"threshold": model["threshold"].astype(np.uint16)},
        "swapped": {"threshold": model["threshold"].astype(">i2")},
        "float": {"threshold": model["threshold"].astype(np.float32)},
        "flat": {"tap_weight": model["tap_weight"].ravel()},
        "shorter": {"bias": model["bias"][:-1]},
        "longer": {"mel_weight_q8": np.append(model["mel_weight_q8"], np.uint8(1))},
        "unknown": {"tap_wait": model["bias"]},
    }
    for tables in wrong.values():
        with pytest.raises(ModelError, match=next(iter(tables))):
            model.replace(**tables)
    with pytest.raises(ModelError, match="bias"):
        Model(model.manifest, {name: table for name, table in model.tables.items() if name != "bias"})


@pytest.mark.parametrize(
    ("stage", "changes"),
    [
        ("frontend", {"hop_samples": 129}),
        ("frontend", {"hop_samples": 0}),
        ("frontend", {"window_samples": 200}),
        ("frontend", {"n_bands": 33}),
        ("frontend", {"n_bands": 8.0}),
        ("frontend", {"range_gain": 3}),
        ("encoder", {"n_taps": 0}),
        ("encoder", {"delta": 3}),
        ("encoder", {"kind": "delta"}),
        ("encoder", {"shift": 9}),
        ("reservoir", {"n_neurons": 0}),
        ("reservoir", {"n_neurons": 4097}),
        ("reservoir", {"extra": 1}),
        ("decision", {"mode": "live"}),
        ("decision", {"max_frames": 4096}),
        ("decision", {"every_frames": 65536}),
        ("decision", {"endpointer": {**POINTER, "preroll_frames": 28}}),
        ("decision", {"endpointer": {**POINTER, "hang_frames": 65536}}),
        ("decision", {"endpointer": {**POINTER, "gate": 256}}),
    ],
)  # fmt: skip
def test_manifests_that_no_firmware_could_be_made_of(
    data: bytes, tmp_path: Path, stage: str, changes: dict[str, Any]
) -> None:
    def change(header: dict[str, Any]) -> None:
        manifest = json.loads(header["__metadata__"]["manifest"])
        manifest[stage].update(changes)
        header["__metadata__"]["manifest"] = json.dumps(manifest)

    assert stage in refused(tmp_path, with_header(data, change))


@pytest.mark.parametrize("labels", [[], [""], ["a\0b"], ["a\nb"], [3], ["a", None]])
def test_labels_that_no_c_string_holds(model: Model, labels: list[Any]) -> None:
    dumped = model.manifest.model_dump(mode="json")
    with pytest.raises(pydantic.ValidationError, match="labels"):
        Manifest.model_validate_json(json.dumps({**dumped, "labels": labels}))


@pytest.mark.parametrize("name", ["", "../x", "a b", "*/", "a" * 33])
def test_names_that_could_leave_a_comment_or_a_folder(model: Model, name: str) -> None:
    with pytest.raises(pydantic.ValidationError, match="name"):
        Manifest(**{**dict(model.manifest), "name": name})


@pytest.mark.parametrize("name", OPTIONS)
def test_the_format_page_names_every_table_and_entry(name: str, root: Path) -> None:
    page = (root / "docs" / "model-format.md").read_text(encoding="utf-8")
    manifest = small_model(**OPTIONS[name]).manifest
    dumped = manifest.model_dump()
    entries = [*table_specs(manifest), *dumped]
    for stage in ("frontend", "encoder", "reservoir", "readout", "decision"):
        entries += dumped[stage]
    assert [entry for entry in entries if f"`{entry}`" not in page] == []
