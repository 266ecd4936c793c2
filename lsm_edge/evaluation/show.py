"""An `Evaluation` as tables for people and as JSON for programs."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import Any, Final

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table

from lsm_edge.evaluation.evaluate import Evaluation, LiquidMetrics
from lsm_edge.evaluation.score import Scores, Share

MOST_COLUMNS: Final = 40  # of a confusion matrix; of more classes only the confused pairs are named
MOST_PAIRS: Final = 20
LONGEST_HEAD: Final = 5  # letters of a label that stands above its column itself


def show(found: Evaluation, advice: Sequence[str], out: Console) -> None:
    """Print everything: accuracy, classes, confusion, groups, robustness, liquid, advice."""
    _show_scores(found, out)
    _show_robustness(found, out)
    _show_liquid(found, out)
    for sentence in advice or ["nothing stands out"]:
        out.print(f"advice: {sentence}")


def _show_scores(found: Evaluation, out: Console) -> None:
    scores = found.scores
    total = scores.total
    out.print(f"accuracy {_percent(total)} % of {total.of} recordings never heard (95 % interval {_interval(total)})")
    if scores.rejected:
        others = f"of the {scores.answered.of} others {_percent(scores.answered)} % are right"
        out.print(f"rejects {scores.rejected} of them; {others}")
    if found.n_folds > 1:
        out.print(f"{found.n_folds} folds, each judged by a model fitted again on the others")
    classes = _numbers("class", "recordings", "recall %", "precision %", "taken for")
    for i, (label, recall, precision) in enumerate(zip(scores.labels, scores.recall, scores.precision, strict=True)):
        wrong = [(int(n), j) for j, n in enumerate(scores.confusion[i]) if n and j != i]
        others = ", ".join(f"{scores.labels[j]} {n}" for n, j in sorted(wrong, key=lambda item: (-item[0], item[1])))
        classes.add_row(label, str(recall.of), _percent(recall), _percent(precision), others)
    classes.columns[4].justify = "left"
    out.print(classes)
    if len(scores.labels) <= MOST_COLUMNS:
        for line in _confusion(scores):
            out.print(line)
    else:
        pairs = _numbers("confused", "and", "recordings", "of")
        for pair in scores.confused[:MOST_PAIRS]:
            pairs.add_row(pair.first, pair.second, str(pair.taken), str(pair.of))
        out.print(pairs)
    if scores.groups:
        groups = _numbers("group", "recordings", "%", "95 % interval")
        for name, share in scores.groups.items():
            groups.add_row(name, str(share.of), _percent(share), _interval(share))
        out.print(groups)


def _confusion(scores: Scores) -> list[str]:
    """Rows said, columns heard; columns bear their class's number if its label is long, so that many fit.

    These are lines and no table: one that is wider than the console would be cut.
    """
    numbered = max(map(cell_len, scores.labels)) > LONGEST_HEAD
    heads = [str(j + 1) if numbered else label for j, label in enumerate(scores.labels)]
    rows = [
        [f"{i + 1:>2} {label}" if numbered else label, *(str(n or "·") for n in scores.confusion[i])]
        for i, label in enumerate(scores.labels)
    ]
    heads = ["said \\ heard", *heads]
    widths = [max(map(cell_len, column)) for column in zip(heads, *rows, strict=True)]
    return [
        " ".join([_padded(first, widths[0], after=True), *map(_padded, others, widths[1:])])
        for first, *others in [heads, *rows]
    ]


def _padded(text: str, width: int, *, after: bool = False) -> str:
    blank = " " * (width - cell_len(text))
    return text + blank if after else blank + text


def _show_robustness(found: Evaluation, out: Console) -> None:
    out.print(f"accuracy under strain, {found.spoiled} recordings; {100 * found.clean:.1f} % as they are")
    for (unit, values), curves in groupby(found.curves, key=lambda curve: (curve.unit, curve.values)):
        table = _numbers(f"%, by {unit}", *map(str, values))
        for curve in curves:
            table.add_row(curve.name, *(f"{100 * accuracy:.1f}" for accuracy in curve.accuracies))
        out.print(table)
    flips = found.flips
    harmless, out_of_range = (100 * count / flips.flipped for count in (flips.harmless, flips.out_of_range))
    out.print(
        f"{flips.flipped} bits of tables flipped, one at a time: {harmless:.0f} % change no decision, "
        f"{out_of_range:.0f} % leave what a table may hold (not run)"
    )
    if flips.accuracies:
        out.print(
            f"accuracy with a flipped bit: mean {100 * flips.mean:.1f} %, worst {100 * flips.worst:.1f} % "
            f"({flips.worst_table}), unflipped {100 * found.unflipped:.1f} %"
        )


def _show_liquid(found: Evaluation, out: Console) -> None:
    liquid = found.liquid
    table = Table("liquid", "", "")
    firing = liquid.firing
    hz = [f"{1000 * rate / firing.step_ms:.0f}" for rate in firing.quantiles]
    middle = f"median, {hz[2]} Hz; 5 and 95 % of neurons: {hz[0]} and {hz[4]} Hz"
    table.add_row("firing rate", f"{firing.quantiles[2]:.3f} / step", middle)
    table.add_row("silent neurons", f"{100 * firing.silent:.0f} %", "never fired")
    table.add_row("saturated neurons", f"{100 * firing.saturated:.0f} %", "fired nearly whenever they could")
    if liquid.memory is not None:
        reach = f"input of {liquid.memory.reach_ms:.0f} ms ago is still half there"
        table.add_row("memory capacity", f"{liquid.memory.capacity:.1f} frames", reach)
    if liquid.fading is not None:
        forgotten, left = liquid.fading.forgotten_ms, 100 * liquid.fading.left_over[-1]
        if forgotten is not None:
            table.add_row("forgets", f"{forgotten:.0f} ms", "until under 1 % of a difference is left")
        else:
            table.add_row("forgets", "not", f"{left:.0f} % of a difference is left at the end")
    if liquid.branching is not None:
        ratio, error = liquid.branching.ratio, liquid.branching.error
        said = f"{ratio:.2f} ± {error:.2f}" if liquid.branching.trials else "0"
        table.add_row("branching", said, "spikes that one spike causes")
    if liquid.ranks is not None:
        ranks = liquid.ranks
        said = f"{ranks.kernel} of {ranks.inputs}"
        table.add_row("kernel quality", said, "directions in which states of recordings differ")
        table.add_row("generalisation rank", str(ranks.generalisation), "directions in which 20 dB of noise moves one")
    if liquid.worth is not None:
        for i, without in enumerate(liquid.worth.without):
            lost = 100 * (liquid.worth.everything - without)
            table.add_row(f"window {i + 1}", f"{lost:+.1f} points", "of accuracy that it alone carries")
    out.print(table)
    if liquid.separation:
        distances = _numbers("distance from a recording to", "input", "state")
        for pair in liquid.separation:
            distances.add_row(pair.name, f"{pair.input:.2f}", f"{pair.state:.2f}")
        out.print(distances)


def _numbers(*columns: str) -> Table:
    """A table whose columns but the first are numbers."""
    table = Table(*columns)
    for column in table.columns[1:]:
        column.justify = "right"
    return table


def _percent(share: Share) -> str:
    return f"{100 * share.accuracy:.1f}" if share.of else "-"


def _interval(share: Share) -> str:
    low, high = share.interval
    return f"{100 * low:.1f} to {100 * high:.1f}"


def as_json(evaluation: Evaluation, advice: Sequence[str]) -> dict[str, Any]:
    """Everything as one JSON object."""
    scores, flips, liquid = evaluation.scores, evaluation.flips, evaluation.liquid
    low, high = scores.total.interval
    return {
        "accuracy": scores.total.accuracy,
        "accuracy_interval": [low, high],
        "recordings": scores.total.of,
        "folds": evaluation.n_folds,
        "rejected": scores.rejected,
        "accuracy_answered": scores.answered.accuracy,
        "classes": {
            label: {"recordings": recall.of, "recall": recall.accuracy, "precision": precision.accuracy}
            for label, recall, precision in zip(scores.labels, scores.recall, scores.precision, strict=True)
        },
        "confusion": scores.confusion.tolist(),
        "groups": {name: share.accuracy for name, share in scores.groups.items()},
        "robustness": {
            "recordings": evaluation.spoiled,
            "clean": evaluation.clean,
            **{
                curve.name.replace(" ", "_").replace("-", "_"): {
                    "unit": curve.unit,
                    "values": list(curve.values),
                    "accuracies": list(curve.accuracies),
                }
                for curve in evaluation.curves
            },
            "flipped_bits": {
                "flipped": flips.flipped,
                "harmless": flips.harmless,
                "out_of_range": flips.out_of_range,
                "unflipped": evaluation.unflipped,
                "mean": flips.mean,
                "worst": flips.worst,
                "worst_table": flips.worst_table,
            },
        },
        "liquid": _liquid_json(liquid),
        "advice": list(advice),
        "digest": evaluation.model.digest,
        "implementation": evaluation.implementation,
    }


def _liquid_json(liquid: LiquidMetrics) -> dict[str, Any]:
    found: dict[str, Any] = {
        "firing": {
            "quantiles": list(liquid.firing.quantiles),
            "silent": liquid.firing.silent,
            "saturated": liquid.firing.saturated,
        }
    }
    if liquid.memory is not None:
        memory = liquid.memory
        found["memory"] = {
            "capacity_frames": memory.capacity,
            "reach_ms": memory.reach_ms,
            "by_delay": list(memory.by_delay),
        }
    if liquid.fading is not None:
        found["fading"] = {"forgotten_ms": liquid.fading.forgotten_ms, "left_over": list(liquid.fading.left_over)}
    if liquid.branching is not None:
        found["branching"] = {"ratio": liquid.branching.ratio, "error": liquid.branching.error}
    if liquid.ranks is not None:
        ranks = liquid.ranks
        found["ranks"] = {"kernel": ranks.kernel, "generalisation": ranks.generalisation, "inputs": ranks.inputs}
    if liquid.separation:
        found["separation"] = {pair.name: {"input": pair.input, "state": pair.state} for pair in liquid.separation}
    if liquid.worth is not None:
        found["windows"] = {"everything": liquid.worth.everything, "without": list(liquid.worth.without)}
    return found
