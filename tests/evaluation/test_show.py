"""What `evaluate` prints: everything that was found, aligned, whatever labels look like."""

from __future__ import annotations

import io
import json
from dataclasses import replace

import numpy as np
import pytest
from models import small_config, small_model
from rich.console import Console

from lsm_edge.evaluation import metrics
from lsm_edge.evaluation.evaluate import Evaluation, LiquidMetrics
from lsm_edge.evaluation.robustness import AFTER, BABBLE, BEFORE, WHITE, Curve, Flips
from lsm_edge.evaluation.score import score
from lsm_edge.evaluation.show import MOST_COLUMNS, as_json, show

LIQUID = LiquidMetrics(
    firing=metrics.Firing((0.05, 0.1, 0.12, 0.15, 0.2), silent=0.25, saturated=0.5, step_ms=2.0),
    memory=metrics.Memory((0.9, 0.6, 0.1), frame_ms=8.0),
    fading=metrics.Fading((0.5, 0.1, 0.0, 0.0), frame_ms=8.0),
    branching=metrics.Branching(0.5, 0.1, 100),
    ranks=metrics.Ranks(kernel=90, generalisation=10, inputs=100),
    separation=[metrics.Separation("white noise at 20 dB", 0.25, 0.5)],
    worth=metrics.Worth(0.9, (0.8, 0.95)),
)


def found(labels: tuple[str, ...] = ("yes", "no"), *, reject: bool = False) -> Evaluation:
    n = len(labels)
    said = np.arange(20 * n) % n
    heard = said.copy()
    heard[0] = 1
    return Evaluation(
        config=small_config(),
        model=small_model(),
        scores=score(labels, said, heard, [f"voice {i % 3}" for i in range(len(said))], (said != heard) & reject),
        n_folds=1,
        spoiled=40,
        clean=0.95,
        curves=(
            Curve(WHITE, "dB SNR", (10, 0), (0.9, 0.5)),
            Curve(BABBLE, "dB SNR", (10, 0), (0.8, 0.4)),
            Curve(BEFORE, "ms", (160,), (0.94,)),
            Curve(AFTER, "ms", (160,), (0.93,)),
        ),
        flips=Flips(200, 190, 5, (0.9, 0.6), "bias"),
        unflipped=0.95,
        liquid=LIQUID,
        implementation="native",
    )


def shown(evaluation: Evaluation, advice: tuple[str, ...] = (), width: int = 120) -> str:
    stream = io.StringIO()
    show(evaluation, advice, Console(file=stream, width=width, highlight=False, soft_wrap=True, markup=False))
    return stream.getvalue()


def matrix(text: str, n: int) -> list[str]:
    lines = text.splitlines()
    first = next(i for i, line in enumerate(lines) if line.startswith("said"))
    return lines[first : first + n + 1]


def test_everything_is_there() -> None:
    text = shown(found(), ("do this", "do that"))
    for part in [
        "accuracy 97.5 % of 40 recordings", "95 % interval 87.1 to 99.6",
        "voice 2", "white noise", "near-silence after", "95 % change no decision", "worst 60.0 % (bias)",
        "median, 60 Hz; 5 and 95 % of neurons: 25 and 100 Hz", "25 %", "1.6 frames", "input of 16 ms ago",
        "16 ms", "0.50 ± 0.10", "90 of 100", "+10.0 points", "-5.0 points", "white noise at 20 dB",
        "advice: do this\nadvice: do that",
    ]:  # fmt: skip
        assert part in text
    assert "rejects" not in text
    assert "folds" not in text
    assert "nothing stands out" in shown(found())


def test_curves_of_the_same_points_share_a_table() -> None:
    text = shown(found())
    assert text.count("%, by dB SNR") == 1
    assert text.count("%, by ms") == 1


def test_what_was_not_measured_is_left_out() -> None:
    bare = LiquidMetrics(LIQUID.firing, None, None, None, None, [], None)
    text = shown(replace(found(), liquid=bare, flips=Flips(3, 0, 3, (), None)))
    for part in ("memory", "forgets", "branching", "kernel", "window 1", "distance", "worst"):
        assert part not in text
    json.dumps(as_json(replace(found(), liquid=bare), []))


def test_what_does_not_forget_says_how_much_is_left() -> None:
    liquid = replace(LIQUID, fading=metrics.Fading((0.5, 0.06), 8.0))
    assert "6 % of a difference is left at the end" in shown(replace(found(), liquid=liquid))


def test_rejected_recordings_are_told() -> None:
    assert "rejects 1 of them; of the 39 others 100.0 % are right" in shown(found(reject=True))
    result = as_json(found(reject=True), [])
    assert (result["rejected"], result["accuracy"], result["accuracy_answered"]) == (1, 0.975, 1.0)


@pytest.mark.parametrize("n", [2, MOST_COLUMNS])
def test_the_matrix_is_aligned_and_whole_on_a_narrow_console(n: int) -> None:
    labels = ("[bold]", "言葉", *(f"word {i}" for i in range(n - 2)))
    evaluation = found(labels)
    lines = matrix(shown(evaluation, width=60), n)
    for i, line in enumerate(lines[1:]):
        assert f"{i + 1:>2} {labels[i]}" in line
        counts = line.split(labels[i])[1].split()
        assert [int(count.replace("·", "0")) for count in counts] == evaluation.scores.confusion[i].tolist()


def test_long_labels_stand_above_columns_as_numbers() -> None:
    assert matrix(shown(found(("yes", "perhaps"))), 2)[0].split()[3:] == ["1", "2"]
    assert matrix(shown(found(("yes", "no"))), 2)[0].split()[3:] == ["yes", "no"]


def test_of_many_classes_only_confused_pairs_are_named() -> None:
    text = shown(found(tuple(f"word {i}" for i in range(MOST_COLUMNS + 1))))
    assert "said" not in text
    assert "confused" in text


def test_json_is_plain_and_holds_what_the_tables_hold() -> None:
    result = json.loads(json.dumps(as_json(found(), ["do this"])))
    assert result["accuracy"] == 0.975
    assert result["confusion"] == [[19, 1], [0, 20]]
    assert result["classes"]["yes"] == {"recordings": 20, "recall": 0.95, "precision": 1.0}
    assert result["robustness"]["white_noise"] == {"unit": "dB SNR", "values": [10, 0], "accuracies": [0.9, 0.5]}
    assert result["robustness"]["flipped_bits"]["worst"] == 0.6
    assert set(result["liquid"]) == {"firing", "memory", "fading", "branching", "ranks", "separation", "windows"}
    assert result["advice"] == ["do this"]
