"""`make bench-accuracy`: what it compares is comparable, what it counts is right, and what it writes is what it found.

The outside peers themselves need their packages (benchmarks/requirements.txt) and an hour; they are not run here.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.io import wavfile

from benchmarks.accuracy import cost, searched, streams, timed
from benchmarks.accuracy.page import Difference, Measured, measure, page, rounded
from benchmarks.accuracy.peers import USES
from benchmarks.accuracy.peers.pooling import as_levelled, listener, pooled
from benchmarks.accuracy.peers.relu_taps import rectified
from benchmarks.accuracy.peers.ridge import WideRidge
from benchmarks.accuracy.result import Result, load_result, save_result
from benchmarks.accuracy.run import Job, jobs_of, run_jobs, shown_rows
from benchmarks.accuracy.scene import BABBLE, CLEAN, WHITE, Scene
from benchmarks.accuracy.searched import Searched, load_searched, run_search, save_searched
from benchmarks.accuracy.sources import ROOT, SOURCES, spoken
from benchmarks.accuracy.tables import CLAIMS, LIQUIDS, SEEDS, TABLES, Row, Table
from benchmarks.accuracy.tasks import TASKS
from benchmarks.accuracy.timed import ROWS, Size, Timed, judge, load_timed, run_timed, save_timed
from benchmarks.accuracy.timed_text import MEASURES, timed_text
from benchmarks.markdown import markdown
from lsm_edge.config import Frontend, parse_config
from lsm_edge.errors import DataError
from lsm_edge.learn.wire import draft

SPEAKERS = ("ann", "bob", "cleo", "dan")
TAKES = 15


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of data sets with an fsdd of four speakers and four digits: a tone a digit, a colour a speaker."""
    folder = tmp_path_factory.mktemp("data") / "fsdd" / "recordings"
    folder.mkdir(parents=True)
    t = np.arange(1200)
    rng = np.random.default_rng(1)
    for s, speaker in enumerate(SPEAKERS):
        for digit in range(4):
            for take in range(TAKES):
                tone = np.sin(2 * np.pi * t * (300 + 400 * digit) / 8000) + 0.3 * np.sin(2 * np.pi * t * (s + 1) / 40)
                samples = 6000 * tone * np.hanning(len(t)) + rng.normal(0, 60, len(t))
                wavfile.write(folder / f"{digit}_{speaker}_{take}.wav", 8000, samples.astype(np.int16))
    return folder.parents[1]


@pytest.fixture(scope="module")
def scene(digits: Path) -> Scene:
    return Scene(TASKS["fsdd-loso"], digits, Frontend())


@pytest.mark.parametrize("key", ["fsdd-loso", "fsdd-pairs"])
def test_a_fold_holds_no_speaker_of_its_test_part(digits: Path, key: str) -> None:
    recordings, folds = TASKS[key].load(digits, 8000)
    assert [fold.name for fold in folds] == list(SPEAKERS)
    for fold in folds:
        assert {recordings.groups[i] for i in fold.test} == {fold.name}
        assert fold.name not in {recordings.groups[i] for i in fold.train}
        assert len(fold.train) + len(fold.test) == len(recordings)


def test_pairs_hold_the_same_words_in_either_order(digits: Path) -> None:
    recordings, _ = TASKS["fsdd-pairs"].load(digits, 8000)
    assert set(recordings.labels) == {"01", "10", "12", "21", "23", "32", "30", "03"}
    assert len(recordings) == len(SPEAKERS) * 8 * TAKES
    assert all(len(clip.samples) == 2400 for clip in recordings.clips)


def test_a_data_set_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"fsdd.recordings: no such folder; DATA=DIR"):
        TASKS["fsdd-loso"].load(tmp_path, 8000)


def test_babble_holds_no_voice_of_the_test_speaker(scene: Scene) -> None:
    for i in range(0, len(scene.recordings), 7):
        voices = {scene.recordings.groups[v] for v in scene.babblers(i)}
        assert voices == set(SPEAKERS) - {scene.recordings.groups[i]}


@pytest.mark.parametrize("kind", [WHITE, BABBLE])
def test_noise_lies_as_far_below_as_its_name_says(scene: Scene, kind: str) -> None:
    clean = scene.recordings.clips[3].samples.astype(float)
    for snr_db in (20, 0):
        noise = scene.noisy(f"{kind} {snr_db}", 3) - clean
        assert 10 * np.log10((clean**2).mean() / (noise**2).mean()) == pytest.approx(snr_db, abs=0.1)


def test_peers_are_trained_on_what_the_liquid_is_trained_on(scene: Scene) -> None:
    table = next(table for table in TABLES if table.key == "fsdd-noise")
    config = table.rows[0].config_for(SEEDS[0])
    assert config.augment is not None
    train = scene.folds[0].train
    sounds = scene.train(config, train)
    assert len(sounds.frames) == len(train) * (1 + config.augment.copies)
    assert set(sounds.groups) == set(SPEAKERS[1:])
    np.testing.assert_array_equal(sounds.targets, np.tile(scene.recordings.targets[train], 1 + config.augment.copies))
    assert all(frames.max() == 255 for frames in sounds.frames)  # levelled: the loudest band of a segment is 255


def test_counts_of_the_ds_cnn_are_those_of_mlperf_tiny() -> None:
    """49 x 10 cepstra, stride two, 12 words: 2,656,768 multiply-adds and 22,604 numbers are known of it."""
    counted = cost.ds_cnn(64, 4, 40, 25 * 5, 12)
    assert (counted.multiply_adds, counted.parameters) == (2_656_768, 22_604)
    assert counted.n_bytes == 22_604 + 3 * (9 * 64 + 12)


def test_counts_of_small_models() -> None:
    assert cost.layers(3, 2, 5) == cost.Cost(8 + 15, 6 + 10, 6 + 8 + 10 + 20)
    assert cost.gru(20, 64, 10, 0).parameters == 3 * 64 * 84 + 6 * 64 + 65 * 10
    assert cost.gru(20, 64, 10, 100).multiply_adds == 100 * 3 * 64 * 85 + 640
    assert cost.forest(10) == cost.Cost(10, 0, 80)
    assert cost.echo_state(4, 6, 10, cost.dense(4, 2)) == cost.Cost(16, 108, 18 + 16)


def test_ridge_on_recordings_and_on_features_is_the_same() -> None:
    rng = np.random.default_rng(0)
    few = rng.normal(size=(60, 20))
    targets, groups = rng.integers(0, 3, 60), np.arange(60) % 5
    few[:, 0] += 3 * targets
    many = np.concatenate([few, np.zeros((60, 60))], axis=1)  # more features than recordings, and nothing in them
    on_features, on_recordings = WideRidge(few, targets, groups), WideRidge(many, targets, groups)
    assert (on_features.predict(few) == targets).mean() > 0.8
    assert on_features.strength == on_recordings.strength
    np.testing.assert_allclose(on_features.weights[:20], on_recordings.weights[:20], atol=1e-5)


def test_pooled_frames() -> None:
    table = TABLES[0]
    model = listener(table.rows[0].config_for(0), ["a", "b"])
    frames = np.zeros((9, 20), np.uint8)
    frames[3:6] = 200
    row = pooled(model, [frames, frames[:1]])
    assert row.shape == (2, 4 * 5 * 20 + 1)
    assert row[:, -1].tolist() == [9, 1]
    assert row[0, 0] == pytest.approx(200 / 3)
    assert row[0, 40] == 200


def test_rectified_taps_do_not_depend_on_what_a_recording_is_padded_with() -> None:
    config = TABLES[0].rows[0].config_for(1)
    model = draft(as_levelled(config), ["a", "b"])
    rng = np.random.default_rng(2)
    frames = [rng.integers(0, 256, (n, config.frontend.n_bands)).astype(np.uint8) for n in (30, 9, 17)]
    together = rectified(model, frames)
    np.testing.assert_array_equal(together, np.concatenate([rectified(model, [segment]) for segment in frames]))
    assert together[:, -1].tolist() == [30, 9, 17]


def test_every_row_has_a_config_that_is_allowed() -> None:
    for table in TABLES:
        assert table.task in TASKS
        assert len({row.name for row in table.rows}) == len(table.rows)
        names = {row.name for row in shown_rows(table)}
        assert any(row.kind == "liquid" for row in table.rows)
        assert {contrast.of for contrast in table.contrasts} <= {row.name for row in table.rows}
        assert names
    for claim in CLAIMS:
        table = next(table for table in TABLES if table.key == claim.table)
        assert claim.row in {row.name for row in shown_rows(table)}
        assert claim.condition in table.conditions


def test_each_row_is_measured_once_and_the_longest_first() -> None:
    jobs = jobs_of(TABLES)
    assert [job.row.minutes for job in jobs] == sorted((job.row.minutes for job in jobs), reverse=True)
    assert len({(job.table.key, job.row.name, job.seed) for job in jobs}) == len(jobs)


def test_a_result_is_kept_until_what_it_depends_on_changes() -> None:
    table = TABLES[0]
    liquid = Job(table, table.rows[0], SEEDS[0])
    peer = Job(table, next(row for row in table.rows if row.kind == "ds_cnn"), SEEDS[0])
    other = Row("other", "liquid", table.rows[0].config, changes={"reservoir": {"n_neurons": 7}})
    as_peer = replace(peer.row, changes={**peer.row.changes, "reservoir": {"n_neurons": 7}})
    assert Job(table, other, SEEDS[0]).digest != liquid.digest
    assert Job(table, as_peer, SEEDS[0]).digest == peer.digest  # a network does not care for neurons
    assert Job(table, liquid.row, SEEDS[1]).digest != liquid.digest
    assert Job(table, replace(liquid.row, name="renamed"), SEEDS[0]).digest == liquid.digest


def test_a_result_outlives_comments_but_no_code() -> None:
    one = 'def f(x):\n    """Old."""\n    return x + 1  # more\n'
    assert spoken(one) == spoken('def f(x):\n    """New\n\n    text."""\n    return (x +\n 1)\n')
    assert spoken(one) != spoken(one.replace("1", "2"))
    assert SOURCES.keys() == {*USES, "search", "time"}
    for patterns in SOURCES.values():
        for pattern in patterns:
            assert list(ROOT.glob(pattern)), pattern


def test_two_rows_are_judged_and_the_next_run_has_nothing_to_do(digits: Path, tmp_path: Path) -> None:
    rows = (
        Row("liquid", "liquid", "fsdd_12k.yaml", 1, changes={"reservoir": {"n_neurons": 24, "n_candidates": None}}),
        Row("linear", "linear", "fsdd_12k.yaml", 1, options={"deltas": True}),
    )
    table = Table("small", "Small", "fsdd-loso", "Tones.", rows, conditions=(CLEAN, "white noise 20"))
    for job in jobs_of([table]):
        result = job.run(digits)
        assert result.folds == list(SPEAKERS)
        assert len(result.hits(CLEAN)) == len(SPEAKERS) * 4 * TAKES
        assert result.hits(CLEAN).mean() > 0.7
        assert result.cost.multiply_adds > 0
        save_result(job.path(tmp_path), result)
        assert load_result(job.path(tmp_path)) == result
    said: list[str] = []
    assert run_jobs(jobs_of([table]), data=digits, results=tmp_path, n_workers=1, say=said.append) == []
    assert said == ["2 of 2 results are there already; 0 to go"]
    text = page([table], (), tmp_path)
    assert re.search(r"\| \*\*liquid\*\* \| [\d.]+ \| [\d.]+ \|", text)
    assert "| model | clean | white noise 20 | numbers | multiply-adds | KiB |" in text


def test_each_fold_chooses_settings_by_its_training_part(digits: Path, tmp_path: Path) -> None:
    sleeping = {"reservoir": {"n_neurons": 24, "target_rate": 0.0001}}
    candidates = {"sleeping": sleeping, "awake": {"reservoir": {"n_neurons": 24}}}
    row = Row("chosen", "nested", "fsdd_12k.yaml", 1, candidates=candidates)
    table = Table("small", "Small", "fsdd-loso", "Tones.", (row,))
    (job,) = jobs_of([table])
    assert job.digest != Job(table, replace(row, candidates={"awake": candidates["awake"]}), SEEDS[0]).digest
    result = job.run(digits)
    assert result.chosen == dict.fromkeys(SPEAKERS, "awake")
    assert result.hits(CLEAN).mean() > 0.7
    save_result(job.path(tmp_path), result)
    assert "chosen: of *sleeping*, *awake*, the best in 4 training parts (folds, seeds) was 4 *awake*." in page(
        [table], (), tmp_path
    )


def test_a_search_is_kept(digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(searched, "TRIALS", 2)
    said: list[str] = []
    run_search(data=digits, results=tmp_path, n_workers=1, say=said.append)
    found = load_searched(tmp_path)
    assert found is not None
    assert found.n_done + found.n_stopped == 2
    assert found.members
    assert found.members[0]["accuracy_held_back"] > 0.5
    run_search(data=digits / "nowhere", results=tmp_path, n_workers=1, say=said.append)  # it has its result


def test_a_match_is_two_times_the_same_pattern() -> None:
    gap, n = 5, 400
    trials = streams.delayed_match(gap, 3, n)
    patterns = streams.two_patterns(3)
    length = streams.PATTERN_FRAMES
    assert trials.frames.shape == (n, streams.LEAD_FRAMES + 2 * length + gap, streams.N_BANDS)
    first, last = streams.LEAD_FRAMES, streams.LEAD_FRAMES + length + gap
    shown = [
        [int(((trials.frames[i, at : at + length] == 255) == patterns[1]).all()) for at in (first, last)]
        for i in range(n)
    ]
    np.testing.assert_array_equal(trials.classes, [int(a == b) for a, b in shown])
    assert 0.4 < trials.classes.mean() < 0.6
    assert trials.frames[:, :first].max() < 64
    np.testing.assert_array_equal(trials.frames, streams.delayed_match(gap, 3, n).frames)


@pytest.mark.parametrize("n_bits", [1, 3])
def test_parity_counts_the_last_patterns(n_bits: int) -> None:
    trials = streams.temporal_parity(n_bits, 3, 200)
    by_bit = (trials.frames == 255).reshape(200, streams.BITS_SHOWN, streams.PATTERN_FRAMES, streams.N_BANDS)
    bits = (by_bit == streams.two_patterns(3)[1]).all(axis=(2, 3))
    np.testing.assert_array_equal(trials.classes, bits[:, -n_bits:].sum(axis=1) % 2)


def test_narma10_is_its_formula() -> None:
    u = np.random.default_rng(0).uniform(0, 0.5, (2, 60))
    y = streams.narma10(u)
    t = 40
    expected = 0.3 * y[:, t] + 0.05 * y[:, t] * y[:, t - 9 : t + 1].sum(axis=1) + 1.5 * u[:, t - 8] * u[:, t + 1] + 0.1
    np.testing.assert_allclose(y[:, t + 1], expected)
    np.testing.assert_allclose(y[:, 0], 0.1)
    np.testing.assert_array_equal(streams.lagged(u, 3)[:, 5], u[:, 3:6])
    np.testing.assert_array_equal(streams.lagged(u, 3)[:, 0, :2], 0)


def test_order_in_time_is_judged_on_what_was_not_seen() -> None:
    """Frames themselves say nothing of match and parity, and the last 24 of them remember 23; a liquid says more."""
    size = Size(train=300, test=200, sequences=4, n_frames=300)
    known, few = judge(ROWS[-1], 5, size), judge(replace(ROWS[3], n_neurons=40), 5, size)
    assert known.keys() == few.keys() == {measure.key for measure in MEASURES}
    assert all(0.35 < known[key] < 0.65 for key in known if key.startswith(("match", "parity")))
    assert known[timed.MEMORY] == pytest.approx(timed.SHORT_TAPS - 1, abs=1)
    assert known[timed.NARMA] < 0.5
    assert few["match 16"] > 0.6
    assert 1 < few[timed.MEMORY] < 40
    assert few[timed.NARMA] < 1


def test_rows_about_time_differ_in_what_they_say() -> None:
    configs = {row.name: row.config(7, 31) for row in ROWS if row.is_liquid}
    assert {config.reservoir.n_neurons for config in configs.values()} == {256}
    for name, config in configs.items():
        assert (config.reservoir.topology.kind == "none") == ("recurrence" not in name)
        assert (max(config.reservoir.leak_shift or []) > 4) == ("slow" in name)
    assert [config.encoder.max_delay_frames for config in configs.values()] == [0, 0, 24, 24, 31, 0, 0]  # type: ignore[union-attr]


def _save_timed(results: Path) -> None:
    """Recurrence is worth 5 points, or frames, in every row but where taps reach 24 frames: there it costs as many."""
    for row in ROWS:
        for seed in SEEDS:
            value = 0.6 + 0.001 * (seed % 3) + (-0.05 if row.frames == 24 else 0.05) * row.is_recurrent
            save_timed(results, row, seed, Timed({measure.key: value for measure in MEASURES}, 1.0))


def test_order_in_time_is_kept_and_said(tmp_path: Path) -> None:
    assert load_timed(tmp_path) == {}
    _save_timed(tmp_path)
    said: list[str] = []
    run_timed(results=tmp_path, n_workers=1, say=said.append)
    assert said == [f"time: 0 of {len(ROWS) * len(SEEDS)} results to go"]
    text = timed_text(load_timed(tmp_path))
    assert "| no taps | 60.1 ± 0.1 | 60.1 ± 0.1 |" in text
    assert (
        "- Delayed match over 16 frames: recurrence without taps helps (+5.0 ± 0.0 points), recurrence with slow leaks "
        "helps (+5.0 ± 0.0 points), recurrence with taps to 24 frames harms (-5.0 ± 0.0 points), "
        "a share of slow leaks without taps makes no difference (+0.0 ± 0.0 points).\n"
    ) in text
    assert "- NARMA-10: recurrence without taps harms (+0.050 ± 0.000), " in text
    assert ", recurrence with taps to 24 frames helps (-0.050 ± 0.000), " in text
    assert "## Order in time" in page(TABLES, CLAIMS, tmp_path)


def test_a_row_that_fails_is_reported_and_the_others_are_kept(digits: Path, tmp_path: Path) -> None:
    rows = (
        Row("linear", "linear", "fsdd_12k.yaml", 1, options={"deltas": False}),
        Row("bad", "linear", "fsdd_12k.yaml", 1, options={"no": "such option"}),
    )
    table = Table("small", "Small", "fsdd-loso", "Tones.", rows)
    failures = run_jobs(jobs_of([table]), data=digits, results=tmp_path, n_workers=1, say=lambda _line: None)
    assert len(failures) == 1
    assert "small: bad, seed 1001: TypeError" in failures[0]
    measured = measure(table, tmp_path)
    assert measured["linear"].results
    assert not measured["bad"].results
    assert "| bad | not run |" in page([table], (), tmp_path)


def test_a_result_cut_short_is_none(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('{"right": {"clean": ["1')
    (tmp_path / "b.json").write_text('{"right": {}}')
    assert [load_result(tmp_path / name) for name in ("a.json", "b.json", "c.json")] == [None] * 3


def _measured(row: Row, *seeds: str, n_bytes: int = 1000) -> Measured:
    def result(hits: str) -> Result:
        folds = [hits[: len(hits) // 2], hits[len(hits) // 2 :]]
        return Result({CLEAN: folds}, ["x", "y"], cost.Cost(9, 99, n_bytes), 24, 64, 1.0, {})

    return Measured(row, tuple(result(hits) for hits in seeds))


def test_a_difference_is_paired() -> None:
    a = _measured(Row("a", "liquid", ""), "1111111011", "1111111111")
    b = _measured(Row("b", "gru", ""), "1111100011")
    found = Difference.between(a, b, CLEAN)
    assert found.points == pytest.approx(25)
    assert found.standard_error == pytest.approx(np.std([0] * 7 + [100, 100, 50], ddof=1) / np.sqrt(10))
    assert (found.folds_won, found.n_folds) == (1, 2)
    assert found.sign == 0  # less than two standard errors
    assert Difference.between(b, a, CLEAN).points == pytest.approx(-25)
    assert Difference.between(a, a, CLEAN).sign == 0


def _searched(accuracy: float) -> Searched:
    members = [
        {
            "settings": {"reservoir.n_neurons": n},
            "cost": {"table_bytes": 40 * n, "ram_bytes": 9000, "instructions_per_s": 1e6},
            "accuracy_search": share,
            "accuracy_held_back": share,
        }
        for n, share in ((400, 1.0), (300, accuracy), (200, 1.0))
    ]
    return Searched(minutes=60 - 40 * accuracy, n_workers=2, n_done=150, n_stopped=50, n_refused=7, members=members)


@pytest.fixture
def whole_page(tmp_path: Path) -> Callable[[float], str]:
    """The page if every result of a liquid is right with this chance."""

    def build(chance: float) -> str:
        rng = np.random.default_rng(0)
        for table in TABLES:
            for row in shown_rows(table):
                for seed in row.seeds:
                    job = Job(table, row, seed)
                    share = chance if row.kind in LIQUIDS else 0.9
                    right = {c: ["".join("01"[int(h)] for h in rng.random(200) < share)] * 2 for c in table.conditions}
                    n_bytes = 9000 if row.kind in LIQUIDS else 20000
                    result = Result(right, ["x", "y"], cost.Cost(5, 123_456, n_bytes), 1024, 256, 1.0, {"torch": "9"})
                    save_result(job.path(tmp_path), result)
        save_searched(tmp_path, _searched(chance))
        return page(TABLES, CLAIMS, tmp_path)

    return build


def test_the_page_says_who_wins(whole_page: Callable[[float], str]) -> None:
    good, bad = whole_page(1.0), whole_page(0.5)
    assert good == whole_page(1.0)
    assert good.count("The liquid wins") == bad.count("The liquid loses") > 5
    assert "The liquid loses" not in good
    assert "not run" not in good
    assert "**not shown**" in bad
    assert "| unheard speakers, 32 KiB | 90 | 100.0 | 9.8 (≤ 32) | 256 | shown |" in good
    assert "| search: minutes for 200 trials | ≤ 30 | 20.0 |  |  | shown |" in good
    assert "| search: minutes for 200 trials | ≤ 30 | 40.0 |  |  | **not shown** |" in bad
    by_hand = "| search: front, at the size of the best by hand | 88.2 |"  # not the best held back: the best by marks
    assert f"{by_hand} 100.0 | 11.7 (≤ 13) | 300 | shown |" in good
    assert f"{by_hand} 50.0 | 11.7 (≤ 13) | 300 | **not shown** |" in bad
    assert "| 400 | 100.0 | 100.0 | 15.6 | 9,000 | 1.00 M |" in good
    assert "Computed with torch 9" in good
    assert "make bench-accuracy" in good
    for table in TABLES:
        assert f"## {table.title}\n" in good


def test_the_page_of_no_results(tmp_path: Path) -> None:
    text = page(TABLES, CLAIMS, tmp_path)
    assert "| unheard speakers, 32 KiB | 90 | not run |" in text
    assert "| search: minutes for 200 trials | ≤ 30 | not run |" in text
    assert "nan" not in text


def test_numbers_are_readable() -> None:
    assert [rounded(n) for n in (0, 999, 1234, 45_678, 1_234_567, 2_100_000_000)] == [
        "0", "999", "1.23 k", "45.7 k", "1.23 M", "2100 M",
    ]  # fmt: skip
    assert markdown([["a", "b"], ["c", "1"]]) == "| a | b |\n| --- | ---: |\n| c | 1 |\n"


def test_configs_are_whole_experiments() -> None:
    """Each can be trained by `lsm-edge train` as it is."""
    for path in sorted((Path(__file__).parents[1] / "benchmarks" / "accuracy").glob("*.yaml")):
        row = Row(path.stem, "liquid", path.name)
        assert parse_config(row.config_for(3).model_dump(mode="json"), path.name).name == path.stem
