"""The command line as a user types it: a new process in a folder of its own."""

from __future__ import annotations

import json
import os
import shutil
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import typer

from lsm_edge import cli
from lsm_edge.model import load_model

EXAMPLES = Path(__file__).parents[1] / "examples"

CONFIG = """
name: tiny
seed: 3
dataset:
  path: words
  split: {kind: random, test_share: 0.25}
reservoir: {n_neurons: 24}
decision: {max_segment_ms: 300}
"""


def run(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "lsm_edge.cli", *arguments]
    environment = {**os.environ, "PYTHONPATH": str(EXAMPLES.parent), "COLUMNS": "120"}
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False, env=environment)


def files_in(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a config, two words of the shipped recordings, and the model trained on them."""
    folder = tmp_path_factory.mktemp("workspace")
    for word in ("yes", "stop"):
        (folder / "words" / word).mkdir(parents=True)
        for path in sorted((EXAMPLES / "keywords" / word).glob("*.wav"))[:16]:
            shutil.copy(path, folder / "words" / word)
    (folder / "tiny.yaml").write_text(CONFIG)
    done = run("train", "tiny.yaml", "--json", cwd=folder)
    assert done.returncode == 0, done.stderr
    (folder / "train.json").write_text(done.stdout)
    return folder


@pytest.fixture
def copy(workspace: Path, tmp_path: Path) -> Path:
    """The workspace, to be broken."""
    return Path(shutil.copytree(workspace, tmp_path / "work"))


def test_train_json_holds_the_names_that_stay(workspace: Path) -> None:
    result = json.loads((workspace / "train.json").read_text())
    names = "accuracy_float accuracy_quantised ablations seconds model digest table_bytes context_bytes"
    assert set(names.split()) <= set(result)
    model = load_model(workspace / result["model"])
    assert model.digest == result["digest"]
    assert model.table_bytes == result["table_bytes"]


def test_training_twice_gives_the_same_file(copy: Path) -> None:
    before = (copy / "tiny.lsm").read_bytes()
    assert run("train", "tiny.yaml", cwd=copy).returncode == 0
    assert (copy / "tiny.lsm").read_bytes() == before


def test_leave_one_group_out_names_every_group(copy: Path) -> None:
    settings = CONFIG.replace("path: words", "path: words\n  pattern: '/(?P<group>[a-z]+)[^/]*$'")
    (copy / "tiny.yaml").write_text(settings)
    done = run("train", "tiny.yaml", "--split", "leave-one-group-out", "--json", cwd=copy)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert len(result["groups"]) > 1
    assert np.isclose(np.mean(list(result["groups"].values())), result["accuracy_quantised"])


def test_evaluate_finds_what_train_found(workspace: Path) -> None:
    done = run("evaluate", "--json", cwd=workspace)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    trained = json.loads((workspace / "train.json").read_text())
    assert result["accuracy"] == trained["accuracy_quantised"]
    assert result["digest"] == trained["digest"]
    assert {"classes", "confusion", "robustness", "liquid", "advice"} <= set(result)
    assert {"white_noise", "babble", "gain", "near_silence_before", "flipped_bits"} <= set(result["robustness"])
    assert {"firing", "memory", "fading", "branching", "ranks", "separation", "windows"} == set(result["liquid"])


def test_evaluate_can_be_a_gate(workspace: Path, tmp_path: Path) -> None:
    command = ("evaluate", str(workspace / "tiny.lsm"), "--data", str(workspace / "words"), "--quick", "--at-least")
    good = run(*command, "5", cwd=tmp_path)
    assert good.returncode == 0, good.stderr
    assert "white noise" in good.stdout
    bad = run(*command, "100", cwd=tmp_path)
    accuracy = json.loads((workspace / "train.json").read_text())["accuracy_quantised"]
    assert bad.returncode == (0 if accuracy == 1 else 1)
    assert bad.stdout == good.stdout
    if accuracy < 1:
        assert f"accuracy {100 * accuracy:.1f} % is below 100 %" in bad.stderr
    assert run(*command, "101", cwd=tmp_path).returncode == 2


def test_generate_twice_gives_the_same_bytes(copy: Path) -> None:
    results = []
    for _ in range(2):
        done = run("generate", "--board", "nucleo_f446re", "--json", cwd=copy)
        assert done.returncode == 0, done.stderr
        results.append((done.stdout, files_in(copy / "build")))
        shutil.rmtree(copy / "build")
    assert results[0] == results[1]
    assert set(json.loads(results[0][0])) >= {"project", "files", "table_bytes", "context_bytes"}


def test_generate_build_verify_then_a_flipped_bit(copy: Path) -> None:
    assert run("generate", "--board", "nucleo_f446re", cwd=copy).returncode == 0
    built = run("build", "--board", "nucleo_f446re", "--offline", "--json", cwd=copy)
    assert built.returncode == 0, built.stderr
    assert set(json.loads(built.stdout)) >= {"elf", "flash_bytes", "ram_bytes"}
    done = run("verify", "--board", "nucleo_f446re", "--json", cwd=copy)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["differences"] == 0
    assert result["first_difference"] is None
    assert {"recordings", "steps", "integers", "tap_digest", "targets"} <= set(result)
    assert len(result["targets"]) == 2

    change_one_weight(copy)
    assert run("build", "--board", "nucleo_f446re", "--offline", cwd=copy).returncode == 0
    done = run("verify", "--board", "nucleo_f446re", cwd=copy)
    assert done.returncode == 1
    assert "readout" in done.stderr
    assert "Traceback" not in done.stderr


def change_one_weight(folder: Path) -> None:
    """Turn the lowest bit of the first readout weight in the generated C."""
    tables = folder / "build/nucleo_f446re/lib/lsm/lsm_tables.h"
    head, name, body = tables.read_text().partition("readout_weight[")
    first = body.splitlines()[1].split(",")[0]
    changed = first.replace(first.strip(), str(int(first) ^ 1))
    tables.write_text(head + name + body.replace(first, changed, 1))


def test_profile_with_and_without_recordings(copy: Path) -> None:
    """Numbers, a budget from each of the three places, another model beside it; exit code 1 for a broken budget."""
    assert run("generate", "--board", "nucleo_f446re", cwd=copy).returncode == 0
    assert run("build", "--board", "nucleo_f446re", "--offline", cwd=copy).returncode == 0
    profile = ("profile", "--board", "nucleo_f446re", "--limit", "2")
    done = run(*profile, "--json", cwd=copy)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found["heard"], found["recordings"], found["broken"]) == ("recordings", 2, [])
    assert set(found["stages"]) == {"frontend", "encoder", "reservoir", "readout", "decision", "push"}
    for moment in ("step", "hop", "end"):
        assert 0 < found[moment]["worst_instructions"] <= found[moment]["bound_instructions"]

    done = run(*profile, "--budget", "flash=1KiB,cycles=5/step,ram=1MiB", cwd=copy)
    assert done.returncode == 1
    assert "over budget: flash" in done.stderr
    assert "over budget: cycles/step" in done.stderr
    assert "ram" not in done.stderr

    shutil.copy(copy / "tiny.lsm", copy / "other")
    done = run(*profile, "--model", "tiny.lsm", "--compare", "other", cwd=copy)
    assert done.returncode == 0, done.stderr
    assert "+0.0 %" in done.stdout

    shutil.rmtree(copy / "words")
    done = run(*profile, "--json", cwd=copy)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["heard"] == "synthetic sounds"
    assert "heard instead: synthetic sounds" in done.stderr
    done = run(*profile, "--data", "nowhere", cwd=copy)
    assert done.returncode == 2


def test_generate_keeps_to_the_budget(copy: Path) -> None:
    """Of the board's file, and of the YAML, which travels in the model without changing what it computes."""
    (copy / "boards").mkdir()
    board = (EXAMPLES.parent / "boards" / "nucleo_f446re.toml").read_text()
    (copy / "boards" / "small.toml").write_text(f'{board}\n[budget]\nram = "1KiB"\n')
    done = run("generate", "--board", "small", cwd=copy)
    assert done.returncode == 1
    assert done.stderr.startswith("over budget: ram ")
    assert not (copy / "build").exists()

    digest = json.loads((copy / "train.json").read_text())["digest"]
    (copy / "tiny.yaml").write_text(f"{CONFIG}budget: {{flash: 100, ram: 1MiB}}\n")
    trained = run("train", "tiny.yaml", "--json", cwd=copy)
    assert json.loads(trained.stdout)["digest"] == digest
    done = run("generate", "--board", "nucleo_f446re", cwd=copy)
    assert done.returncode == 1
    assert "over budget: flash " in done.stderr


def test_certificate_holds_in_another_folder_and_not_with_another_weight(copy: Path, tmp_path: Path) -> None:
    def build(folder: Path) -> None:
        assert run("build", "--board", "nucleo_f446re", "--offline", cwd=folder).returncode == 0

    assert run("generate", "--board", "nucleo_f446re", cwd=copy).returncode == 0
    build(copy)
    options = ("--certificate", "out.json", "--table-bits", "50", "--code-bits", "3", "--emulated", "2")
    done = run("verify", "--board", "nucleo_f446re", *options, "--dump", "taps.npz", cwd=copy)
    assert done.returncode == 0, done.stderr
    assert "Not checked" in (copy / "out.md").read_text()
    taps = np.load(copy / "taps.npz")
    assert np.array_equal(taps["expected/reservoir.v"], taps["got/reservoir.v"])

    other = tmp_path / "another place"
    other.mkdir()
    for name in ("tiny.lsm", "out.json"):
        shutil.copy(copy / name, other)
    shutil.copytree(copy / "words", other / "words")
    assert run("generate", "--board", "nucleo_f446re", cwd=other).returncode == 0
    build(other)
    done = run("verify", "--check", "out.json", cwd=other)
    assert done.returncode == 0, done.stderr
    assert "out.json holds" in done.stdout

    change_one_weight(other)
    build(other)
    done = run("verify", "--check", "out.json", "--json", cwd=other)
    assert done.returncode == 1, done.stderr
    result = json.loads(done.stdout)
    assert result["first_difference"]["tap"].startswith("readout")
    assert not result["certificate"]["holds"]
    assert any(line.startswith("elf.sha256") for line in result["certificate"]["broken"])


def broken_copy(folder: Path, name: str) -> list[str]:
    """Break one thing in `folder`; returns the command that meets it."""
    wav = sorted((folder / "words" / "yes").glob("*.wav"))[0]
    match name:
        case "misspelt key":
            (folder / "tiny.yaml").write_text(CONFIG.replace("n_neurons", "n_neuron"))
        case "missing folder":
            (folder / "tiny.yaml").write_text(CONFIG.replace("path: words", "path: nowhere"))
        case "empty folder":
            shutil.rmtree(folder / "words")
            (folder / "words").mkdir()
        case "one class only":
            shutil.rmtree(folder / "words" / "stop")
        case "truncated WAV":
            wav.write_bytes(wav.read_bytes()[:-100])
        case "MP3 renamed to .wav":
            wav.write_bytes(b"ID3\x04\x00\x00\x00\x00\x00\x00" + bytes(range(256)) * 8)
        case "NaN floats":
            soundfile.write(wav, np.array([0.1, np.nan, 0.2] * 500, np.float32), 8000, subtype="FLOAT")
        case "unreadable file":
            wav.unlink()
            wav.mkdir()
        case "unknown board":
            return ["generate", "--board", "nucleo_f446er"]
        case "model file cut in half":
            data = (folder / "tiny.lsm").read_bytes()
            (folder / "tiny.lsm").write_bytes(data[: len(data) // 2])
            return ["generate", "--board", "nucleo_f446re"]
        case "model file from a newer format":
            data = (folder / "tiny.lsm").read_bytes()
            (n,) = struct.unpack("<Q", data[:8])
            header = data[8 : 8 + n].replace(b'"lsm_edge_format":"1"', b'"lsm_edge_format":"2"')
            assert header != data[8 : 8 + n]
            (folder / "tiny.lsm").write_bytes(data[:8] + header + data[8 + n :])
            return ["generate", "--board", "nucleo_f446re"]
        case "output folder not writable":
            (folder / "build").write_text("a file stands where the folder should be")
            return ["generate", "--board", "nucleo_f446re"]
        case "model not writable":
            return ["train", "tiny.yaml", "--model", "tiny.yaml/x.lsm"]
        case "two models":
            shutil.copy(folder / "tiny.lsm", folder / "other.lsm")
            return ["generate", "--board", "nucleo_f446re"]
        case "unknown split":
            return ["train", "tiny.yaml", "--split", "halves"]
        case "not built yet":
            return ["verify", "--board", "nucleo_f446re"]
        case "recordings gone":
            (folder / "words").rename(folder / "elsewhere")
            return ["evaluate", "tiny.lsm"]
        case "other words":
            (folder / "words" / "yes").rename(folder / "words" / "no")
            return ["evaluate"]
    return ["train", "tiny.yaml"]


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("misspelt key", "tiny.yaml: reservoir.n_neuron: unknown key; did you mean n_neurons?"),
        ("missing folder", "nowhere"),
        ("empty folder", "words"),
        ("one class only", "yes"),
        ("truncated WAV", ".wav: "),
        ("MP3 renamed to .wav", ".wav: "),
        ("NaN floats", ".wav: "),
        ("unreadable file", ".wav: "),
        ("unknown board", "did you mean nucleo_f446re?"),
        ("model file cut in half", "tiny.lsm: "),
        ("model file from a newer format", "format 2"),
        ("output folder not writable", "build"),
        ("model not writable", "tiny.yaml"),
        ("two models", "other.lsm, tiny.lsm"),
        ("unknown split", "leave-one-group-out"),
        ("not built yet", "lsm-edge generate --board nucleo_f446re"),
        ("recordings gone", "words: no such folder (dataset.path; --data DIR"),
        ("other words", "words: holds no, stop; tiny.lsm knows stop, yes: --data DIR"),
    ],
)
def test_wrong_input_is_named_and_nothing_is_lost(copy: Path, name: str, says: str) -> None:
    """A clear message, exit code 2, no traceback, and every file as it was."""
    command = broken_copy(copy, name)
    before = files_in(copy)
    done = run(*command, cwd=copy)
    assert done.returncode == 2, done.stdout + done.stderr
    assert says in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
    assert files_in(copy) == before


def test_every_command_has_help() -> None:
    for command in ("train", "evaluate", "generate", "build", "verify", "profile", "boards"):
        done = run(command, "--help", cwd=EXAMPLES)
        assert done.returncode == 0
        assert "--json" in done.stdout


def test_boards_lists_ours() -> None:
    done = run("boards", "--json", cwd=EXAMPLES)
    assert {"nucleo_f446re", "nucleo_l476rg", "nucleo_g071rb"} <= set(json.loads(done.stdout))


def test_ctrl_c_ends_with_a_word(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(typer.Exit) as stopped, cli._progress("train", None):
        raise KeyboardInterrupt
    assert stopped.value.exit_code == 130
    assert "nothing half-written" in capsys.readouterr().err
