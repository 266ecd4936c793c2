"""dataset/recordings.py: a whole folder, good and bad."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from wavs import wav, write

from lsm_edge.config import Dataset
from lsm_edge.dataset import Recordings, load_recordings
from lsm_edge.dataset.recordings import natural_order
from lsm_edge.errors import ConfigError, DataError


def load(root: Path, **settings: Any) -> Recordings:
    return load_recordings(Dataset.model_validate({"path": "data", **settings}), root=root, sample_hz=8000)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A folder with data/{yes,no}/{0,1,2}.wav."""
    for word in ("yes", "no"):
        for i in range(3):
            write(tmp_path, f"data/{word}/{i}.wav")
    return tmp_path


def test_clips_are_sorted_labelled_and_read_only(root: Path) -> None:
    recordings = load(root)
    assert [clip.path for clip in recordings.clips] == [f"{word}/{i}.wav" for word in ("no", "yes") for i in range(3)]
    assert recordings.labels == ("no", "yes")
    assert recordings.targets.tolist() == [0, 0, 0, 1, 1, 1]
    assert recordings.groups == (None,) * 6
    assert recordings.skipped == ()
    assert len(recordings) == 6
    for clip in recordings.clips:
        assert clip.samples.dtype == np.int16
        assert clip.samples.tobytes() == (root / "data" / clip.path).read_bytes()[44:]
        with pytest.raises(ValueError, match="read-only"):
            clip.samples[0] = 1


def test_the_folder_may_be_given_or_absolute(root: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    config = Dataset(path="nowhere")
    given = load_recordings(config, root=elsewhere, sample_hz=8000, folder=root / "data")
    absolute = load(elsewhere, path=str(root / "data"))
    assert [c.path for c in given.clips] == [c.path for c in absolute.clips] == [c.path for c in load(root).clips]


def test_progress_counts_every_file(root: Path) -> None:
    write(root, "data/no/bad.wav", b"")
    seen: list[tuple[int, int]] = []
    config = Dataset(path="data", on_bad_file="skip")
    load_recordings(config, root=root, sample_hz=8000, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(i, 7) for i in range(1, 8)]


@pytest.mark.parametrize(
    ("labels", "ordered"),
    [
        (("10", "2", "1"), ("1", "2", "10")),
        (("b10", "b9", "a", "B"), ("B", "a", "b9", "b10")),
        (("01", "1", "x"), ("01", "1", "x")),
        (("7", "²", "٣"), ("7", "²", "٣")),
    ],
)
def test_labels_are_in_natural_order(labels: tuple[str, ...], ordered: tuple[str, ...]) -> None:
    assert tuple(sorted(labels, key=natural_order)) == ordered


def test_channel_and_rate_settings_reach_the_file(root: Path) -> None:
    write(root, "data/no/0.wav", wav([[1, 5], [2, 6]]))
    write(root, "data/no/1.wav", wav(np.zeros(32), 16000))
    assert load(root).clips[0].samples.tolist() == [3, 4]
    assert load(root).clips[1].samples.size == 16
    with pytest.raises(DataError, match=r"no/1\.wav: is sampled at 16000 Hz"):
        load(root, resample=False)
    with pytest.raises(DataError, match=r"no/1\.wav: has 1 channel\(s\)"):
        load(root, channel=1)


def break_files(root: Path) -> dict[str, str]:
    """Seven ways not to be a recording; what should be said of each."""
    write(root, "data/yes/cut.wav", wav(np.arange(100))[:-50])
    write(root, "data/yes/empty.wav", b"")
    write(root, "data/yes/song.wav", b"ID3" + bytes(100))
    (root / "data/yes/folder.wav").mkdir()
    (root / "data/yes/dangling.wav").symlink_to(root / "nowhere.wav")
    write(root, "data/lost.wav")
    write(root, f"data/{'x' * 65}/0.wav")
    return {
        "yes/cut.wav": "is cut short",
        "yes/empty.wav": "is an empty file",
        "yes/song.wav": "is not a WAV file but MP3",
        "yes/folder.wav": "cannot be read: Is a directory",
        "yes/dangling.wav": "cannot be read: No such file or directory",
        "lost.wav": "has no label",
        f"{'x' * 65}/0.wav": "has a label of 65 characters",
    }


def test_bad_files_are_an_error_that_names_the_first_and_counts_the_rest(root: Path) -> None:
    break_files(root)
    with pytest.raises(DataError) as caught:
        load(root)
    lines = str(caught.value).splitlines()
    assert lines[0].startswith(f"{root / 'data' / 'lost.wav'}: has no label")
    assert lines[3:] == [
        "and 4 more",
        "7 of 13 recordings cannot be used; dataset.on_bad_file: skip leaves them out",
    ]


def test_bad_files_can_be_skipped_and_are_listed(root: Path) -> None:
    wanted = break_files(root)
    recordings = load(root, on_bad_file="skip")
    assert len(recordings) == 6
    assert [path for path, _ in recordings.skipped] == sorted(wanted)
    for path, reason in recordings.skipped:
        assert reason.startswith(wanted[path])


def test_all_files_bad_is_an_error_even_when_skipping(tmp_path: Path) -> None:
    write(tmp_path, "data/a/0.wav", b"")
    with pytest.raises(DataError, match=r"a[/\\]0\.wav: is an empty file$"):
        load(tmp_path, on_bad_file="skip")


def test_a_name_that_is_no_unicode_is_a_bad_file(root: Path) -> None:
    try:
        (root / "data/no/\udcff.wav").write_bytes(wav())
    except (OSError, UnicodeError):
        pytest.skip("this file system holds Unicode names only")
    assert load(root, on_bad_file="skip").skipped == (("no/\\udcff.wav", "has a name that is not Unicode text"),)


def test_one_class_is_not_enough(tmp_path: Path) -> None:
    write(tmp_path, "data/yes/0.wav")
    with pytest.raises(DataError, match="data: all 1 recordings are of class 'yes'; at least 2 classes"):
        load(tmp_path)
    write(tmp_path, "data/no/0.wav", b"")
    with pytest.raises(DataError, match=r"all 1 recordings that are not skipped \(1 are\) are of class 'yes'"):
        load(tmp_path, on_bad_file="skip")


def test_index_rows_without_a_file_are_bad_files_unless_the_glob_leaves_them_out(root: Path) -> None:
    rows = [f"{word}/{i}.wav,{word}" for word in ("yes", "no") for i in range(4)]
    write(root, "data/index.csv", "\n".join(["file,word", *rows, "old/x.wav,old"]).encode())
    index = {"label_from": "index", "index": {"label_column": "word"}}
    with pytest.raises(DataError, match=r"no[/\\]3\.wav: is listed in index\.csv but not there"):
        load(root, **index)
    write(root, "data/no/4.wav")
    assert load(root, **index, on_bad_file="skip").skipped == (
        ("no/3.wav", "is listed in index.csv but not there"),
        ("no/4.wav", "is not listed in index.csv"),
        ("old/x.wav", "is listed in index.csv but not there"),
        ("yes/3.wav", "is listed in index.csv but not there"),
    )
    assert load(root, **index, files="*/[012].wav").skipped == ()


def test_the_glob_is_checked_first(root: Path) -> None:
    with pytest.raises(ConfigError, match=r"dataset\.files"):
        load(root, files="../**/*.wav")
