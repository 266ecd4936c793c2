"""Verification compares everything, names the stage that is wrong, and passes over nothing."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from emulated import M0, M4, Sound, change_elf, compile_firmware, flip_bit_in_elf, model_of, second_library, sounds
from needs import need_host_compiler

from lsm_edge.errors import BuildError, DataError, MismatchError
from lsm_edge.golden import TAPS, run_clips, tap_digest
from lsm_edge.model import Model
from lsm_edge.target import verify as module
from lsm_edge.target.codegen import generate_library, generate_project, write_files
from lsm_edge.target.native import Native
from lsm_edge.target.verify import read_library, verify

MODEL = model_of("counts")
SOUNDS = sounds(MODEL)


@pytest.fixture(scope="session")
def elf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return compile_firmware(MODEL, M4, tmp_path_factory.mktemp("verify"))


@pytest.fixture(scope="session", autouse=True)
def _host_compiler() -> None:
    need_host_compiler()


def integers_of(model: Model, recordings: list[Sound]) -> int:
    return sum(tap.size for clip in run_clips(model, [r.samples for r in recordings]) for tap in clip.taps.values())


def test_everything_is_equal_and_counted(elf: Path) -> None:
    """Each integer of each recording, on both targets; three digests over the same integers are one digest."""
    heard: list[tuple[int, int]] = []
    found = verify(MODEL, SOUNDS, elf=elf, board=M4, progress=lambda done, total: heard.append((done, total)))
    digest = tap_digest(clip.taps for clip in run_clips(MODEL, [sound.samples for sound in SOUNDS]))
    assert found.tap_digest == digest
    assert found.differences == 0
    assert found.first_difference is None
    assert found.altered_files == ()
    assert found.recordings == len(SOUNDS)
    assert [target.name.split()[0] for target in found.targets] == ["host", "cortex-m4"]
    for target in found.targets:
        assert target.tap_digest == digest
        assert target.integers == integers_of(MODEL, SOUNDS)
        assert (target.recordings, target.steps, target.differences) == (len(SOUNDS), found.steps, 0)
    assert found.integers == 2 * integers_of(MODEL, SOUNDS)
    assert heard == [(done, 2 * len(SOUNDS)) for done in range(1, 2 * len(SOUNDS) + 1)]


def test_json_names(elf: Path) -> None:
    found = json.loads(json.dumps(verify(MODEL, SOUNDS[:2], elf=elf, board=M4).as_json()))
    names = ["recordings", "steps", "integers", "differences", "first_difference", "tap_digest", "targets"]
    assert list(found)[:7] == names
    assert found["first_difference"] is None
    assert [set(names) - set(target) for target in found["targets"]] == [{"targets"}, {"targets"}]


def test_some_are_emulated(elf: Path) -> None:
    """All are compared on the host, `n_emulated` of them, spread over the list, on the core."""
    host, core = verify(MODEL, SOUNDS, elf=elf, board=M4, n_emulated=3).targets
    assert (host.recordings, core.recordings) == (len(SOUNDS), 3)
    chosen = [SOUNDS[i].samples for i in (0, 2, 4)]
    assert core.tap_digest == tap_digest(clip.taps for clip in run_clips(MODEL, chosen))


def test_batches_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = verify(MODEL, SOUNDS)
    monkeypatch.setattr(module, "_BATCH_BYTES", 1)
    assert verify(MODEL, SOUNDS) == whole


@pytest.mark.parametrize(
    ("table", "bytes_a_neuron", "offset_bytes", "bit", "stage"),
    [
        ("mel_weight_q8", 0, 3, 7, "frontend"),
        ("tap_weight", 6, 2, 6, "encoder"),
        ("threshold", 2, 1, 3, "reservoir"),
        ("readout_weight", 1, 0, 6, "readout"),
    ],
)
def test_one_flipped_bit_in_the_flash(
    elf: Path, tmp_path: Path, table: str, bytes_a_neuron: int, offset_bytes: int, bit: int, stage: str
) -> None:
    """The first difference is in the stage whose table it was; the host's C is still equal."""
    busiest = int(run_clips(MODEL, [SOUNDS[-1].samples])[0].features[0].argmax())
    faulty = flip_bit_in_elf(elf, tmp_path / "f.elf", table, offset_bytes + bytes_a_neuron * busiest, bit)
    found = verify(MODEL, SOUNDS, elf=faulty, board=M4)
    first = found.first_difference
    assert first is not None
    assert first.tap.startswith(stage)
    assert first.target.startswith("cortex-m4")
    assert [target.differences for target in found.targets] == [0, found.differences]
    assert found.differences > 0
    expected = run_clips(MODEL, [sound.samples for sound in SOUNDS if sound.path == first.recording])[0].taps[first.tap]
    column = expected[:, first.index]
    assert first.expected == column[first.step] != first.got
    assert list(first.before) == column[max(first.step - 10, 0) : first.step].tolist()
    assert found.targets[1].tap_digest != found.tap_digest == found.targets[0].tap_digest


def test_earliest_stage_wins_over_earliest_recording(elf: Path, tmp_path: Path) -> None:
    """A bias shows in every recording, a mel weight only where there is sound: the front end is named."""
    twice = flip_bit_in_elf(elf, tmp_path / "once.elf", "bias", 0, 1)
    twice = flip_bit_in_elf(twice, tmp_path / "twice.elf", "mel_weight_q8", 3, 7)
    silence_first = sorted(SOUNDS, key=lambda sound: sound.path != "silence")
    first = verify(MODEL, silence_first, elf=twice, board=M4).first_difference
    assert first is not None
    assert first.tap == "frontend.frame"
    assert first.recording != "silence"


def test_earliest_step_of_the_liquid() -> None:
    """Spikes, potentials and refractory times lead to each other: of them the earliest step counts, not their order."""
    taps = Native(MODEL).tap(SOUNDS[0].samples)
    got = {name: tap.copy() for name, tap in taps.items()}
    got["reservoir.v"][7, 2] += 1
    got["reservoir.refractory"][6, 3] += 1
    got["decision.class"][0] += 1
    target = module._Target("host", lambda samples, chunk: got, [0])
    target.compare(SOUNDS[0], taps, 64)
    result = target.result()
    assert result.differences == 3
    assert result.first_difference is not None
    assert (result.first_difference.tap, result.first_difference.step) == ("reservoir.refractory", 6)
    expected = int(taps["reservoir.refractory"][6, 3])
    assert f"reservoir.refractory, step 6, index 3: expected {expected}, got {expected + 1}, after" in str(
        result.first_difference
    )
    assert len(result.first_difference.before) == 6


def test_shapes_are_compared() -> None:
    """One frame too few is no equality, even if numpy could broadcast it."""
    taps = Native(MODEL).tap(SOUNDS[0].samples)
    got = {**taps, "frontend.frame": taps["frontend.frame"][:1]}
    target = module._Target("host", lambda samples, chunk: got, [0])
    with pytest.raises(MismatchError, match=r"sweep: host: frontend.frame has the shape \(1, 20\), expected \(9, 20\)"):
        target.compare(SOUNDS[0], taps, 64)


def test_library_on_disk_is_what_is_verified(tmp_path: Path) -> None:
    """An altered table is compiled as it stands, found by its integers, and named as altered."""
    write_files(tmp_path / "project", generate_project(MODEL, M4, command="lsm-edge generate --board nucleo_f446re"))
    library = read_library(tmp_path / "project")
    assert verify(MODEL, SOUNDS[:2], library=library).altered_files == ()
    threshold = MODEL["threshold"].copy()
    threshold[:] = 1400
    other = generate_library(MODEL.replace(threshold=threshold), command="lsm-edge generate --board nucleo_f446re")
    altered = {**library, "lsm_tables.h": other["lsm_tables.h"], "extra.h": ""}
    found = verify(MODEL, SOUNDS[:2], library=altered)
    assert found.first_difference is not None
    assert found.first_difference.tap.startswith("reservoir")
    assert found.altered_files == ("extra.h", "lsm_tables.h")


def test_prefix(tmp_path: Path) -> None:
    model = model_of("live")
    elf = compile_firmware(
        MODEL,
        M4,
        tmp_path,
        flags=["-O2", *(f"-Wl,--undefined=my_{name}" for name in ("init", "begin", "push", "end", "class", "scores"))],
        more=second_library(model, "my"),
    )
    library = read_library(tmp_path, "my")
    with pytest.raises(BuildError, match="has no symbol my_model_digest"):
        verify(model, sounds(model), elf=elf, board=M4, library=library, prefix="my")
    found = verify(model, sounds(model), library=library, prefix="my")
    assert (found.differences, found.altered_files) == (0, ())


def test_no_library(tmp_path: Path) -> None:
    with pytest.raises(BuildError, match="run lsm-edge generate first"):
        read_library(tmp_path)


def test_refusals(elf: Path, tmp_path: Path) -> None:
    """What is missing or foreign is said before anything is compared."""
    with pytest.raises(DataError, match="no recordings"):
        verify(MODEL, [])
    with pytest.raises(BuildError, match="run lsm-edge build --board nucleo_f446re first"):
        verify(MODEL, SOUNDS, elf=tmp_path / "firmware.elf", board=M4)
    with pytest.raises(BuildError, match="no firmware for nucleo_g071rb; run lsm-edge build"):
        verify(MODEL, SOUNDS, board=M0)
    with pytest.raises(BuildError, match="without the board"):
        verify(MODEL, SOUNDS, elf=elf)
    other = MODEL.replace(bias=MODEL["bias"] + np.int32(1))
    with pytest.raises(MismatchError, match=f"holds model {MODEL.digest[:12]}"):
        verify(other, SOUNDS, elf=elf, board=M4)
    blind = change_elf(elf, tmp_path / "blind.elf", remove=["--strip-symbol=lsm_readout"])
    with pytest.raises(BuildError, match="no function lsm_readout"):
        verify(MODEL, SOUNDS, elf=blind, board=M4)


def test_firmware_that_fails_names_the_recording(elf: Path, tmp_path: Path) -> None:
    """A tap that reads far beyond the frames stops the emulated core."""
    wild = flip_bit_in_elf(elf, tmp_path / "f.elf", "tap_offset", 1, 7)
    silent = [replace(sound, path=f"room/{sound.path}") for sound in SOUNDS]
    with pytest.raises(MismatchError, match=r"^room/sweep: .*lsm_end\(\) reads 1 bytes of nothing .*lsm_encoder"):
        verify(MODEL, silent, elf=wild, board=M4)


def test_taps_in_order() -> None:
    """`_first_of` relies on it: stages come in the order of the pipeline."""
    order = ["frontend", "encoder", "reservoir", "readout", "decision"]
    stages = [name.split(".")[0] for name in TAPS]
    assert stages == sorted(stages, key=order.index)
