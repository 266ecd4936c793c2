"""Results -> docs/accuracy.md: the same results give the same page."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.accuracy.result import Result, load_result
from benchmarks.accuracy.run import Job, shown_rows
from benchmarks.accuracy.searched import Searched, load_searched, searched_claims, searched_text
from benchmarks.accuracy.tables import LIQUIDS, SEEDS, Claim, Row, Table
from benchmarks.accuracy.timed import load_timed
from benchmarks.accuracy.timed_text import timed_text
from benchmarks.markdown import markdown

MOST_MINUTES = 60  # for everything, on two cores
CLEAR = 2.0  # standard errors: a difference of less is not called one

INTRODUCTION = f"""\
# Accuracy

How well liquids do, beside what is left of them without their liquid, and beside what others would put in their place.

    make bench-accuracy DATA=folder-of-the-data-sets

measures every row and writes this page, two rows at a time. A row is kept in `build/accuracy/`, and
is measured again only if what it depends on has changed. The liquids' settings are the YAML files in
`benchmarks/accuracy/`; `examples/audio.yaml` is that of the keywords.

**What is compared.** Every model of a table hears the same recordings, the same split and the same frames: the
project's front end, levelled bytes. Where a liquid is trained on changed copies of its training part, so are the
others. Seeds begin at {SEEDS[0]}; no settings were chosen with them. Liquids are judged as integers end to end, as the
firmware computes; **the others compute in floating point and are not charged for what int8 would cost them**. The
linear rows and the echo state network have the liquid's readout, fitted as the liquid's is, on means over three windows
of equal energy. Forest and perceptron see mean, deviation, maximum, rises and falls of each band in these windows and
in the whole. MiniRocket and the networks see the frames themselves. *Augmented* networks also learn from copies of
other speed (0.85 to 1.18) and in noise (10 to 40 dB): without them the DS-CNN was worse on every set, and the
GRU on three of five. Networks train slowly and so have one seed.

The YAML files were written with an eye on other seeds of the same recordings. In rows of *settings chosen without the
test part* each training part chooses for itself among five settings, by the exams of `lsm-edge search`
([search.md](search.md)): nothing of a test part has a say in the choice. The file's own
settings are one of the five. Rows of noise and live rows have no such counterpart.

**How to read it.** *Accuracy* is the mean over seeds, in %; *seeds* their lowest and highest; *s.e.* the standard error
that comes of the number of test recordings. Differences are paired: the same recordings, right or wrong by either
model; "no difference" means less than {CLEAR:.0f} standard errors. Recordings of one speaker resemble each other, so
six other speakers could differ by more than the standard errors say. *Numbers* are all that a model stores beside the
front end's tables; *KiB* has them as 8-bit weights (and 32-bit biases), with the front end's tables; *multiply-adds*
are for one recording of median length, without the front end, which all share. A decision of a forest is neither
multiplied nor added.
"""


@dataclass(frozen=True)
class Measured:
    """A row of a table with its seeds' results; none if it was not run."""

    row: Row
    results: tuple[Result, ...]

    def accuracies(self, condition: str) -> NDArray[np.float64]:
        """In %, one a seed."""
        return np.array([100 * result.hits(condition).mean() for result in self.results])

    def mean(self, condition: str) -> float:
        """In %."""
        return float(self.accuracies(condition).mean())

    def hits(self, condition: str) -> NDArray[np.float64]:
        """In %: how often each test recording was recognised, over the seeds."""
        return np.asarray(100 * np.mean([result.hits(condition) for result in self.results], axis=0))

    def by_fold(self, condition: str) -> NDArray[np.float64]:
        """In %, mean over seeds."""
        return np.asarray(100 * np.mean([result.by_fold(condition) for result in self.results], axis=0))

    @property
    def largest(self) -> Result:
        """The seed that takes most bytes."""
        return max(self.results, key=lambda result: result.table_bytes)


@dataclass(frozen=True)
class Difference:
    """Of two rows on the same recordings, in points."""

    points: float
    standard_error: float
    folds_won: int
    n_folds: int

    @classmethod
    def between(cls, a: Measured, b: Measured, condition: str) -> Difference:
        """How much better `a` is than `b`."""
        paired = a.hits(condition) - b.hits(condition)
        won = int((a.by_fold(condition) > b.by_fold(condition)).sum())
        return cls(float(paired.mean()), standard_error(paired), won, len(a.results[0].folds))

    @property
    def sign(self) -> int:
        """1: clearly better; -1: clearly worse; 0: cannot be told."""
        return 0 if abs(self.points) < CLEAR * self.standard_error or not self.points else int(np.sign(self.points))

    def __str__(self) -> str:
        text = f"{self.points:+.1f} ± {self.standard_error:.1f} points"
        return f"{text}, better on {self.folds_won} of {self.n_folds} folds" if self.n_folds > 1 else text


def standard_error(values: NDArray[np.float64]) -> float:
    """Of the mean of independent values."""
    return float(values.std(ddof=1) / np.sqrt(len(values))) if len(values) > 1 else 0.0


def page(tables: Sequence[Table], claims: Sequence[Claim], results: Path) -> str:
    """The whole page, from whatever results there are."""
    measured = {table.key: measure(table, results) for table in tables}
    searched, timed = load_searched(results), load_timed(results)
    packages = sorted({f"{name} {v}" for rows in measured.values() for m in rows.values() for r in m.results
                       for name, v in r.packages.items()})  # fmt: skip
    parts = [INTRODUCTION]
    minutes = minutes_claims(
        [result.cpu_s for rows in measured.values() for row in rows.values() for result in row.results]
        + [each.cpu_s for seeds in timed.values() for each in seeds],
        searched,
    )
    if packages:
        parts.append(f"Computed with {', '.join(packages)}; nothing was taken from papers.\n")
    if claims:
        parts += ["## What was to be shown\n", claims_text(claims, measured, [*searched_claims(searched), *minutes])]
    for table in tables:
        parts += [f"## {table.title}\n", f"{table.about}\n", table_text(table, measured[table.key])]
        rows = measured[table.key]
        verdicts = [*compared(table, rows), *contrasted(table, rows), *chosen_settings(rows)]
        if verdicts:
            parts.append("".join(f"- {verdict}\n" for verdict in verdicts))
    if timed:
        parts += ["## Order in time\n", timed_text(timed)]
    if searched:
        parts += ["## What a search finds\n", searched_text(searched)]
    return "\n".join(parts)


def measure(table: Table, results: Path) -> dict[str, Measured]:
    """The rows of a table by name; a row counts only with all its seeds."""
    found = {}
    for row in shown_rows(table):
        loaded = [load_result(Job(table, row, seed).path(results)) for seed in row.seeds]
        whole = tuple(result for result in loaded if result is not None)
        found[row.name] = Measured(row, whole if len(whole) == len(loaded) else ())
    return found


def table_text(table: Table, measured: dict[str, Measured]) -> str:
    """A line a row; several conditions share one standard error, which is below the table."""
    several = len(table.conditions) > 1
    head = [*table.conditions] if several else ["accuracy", "seeds", "s.e."]
    lines = [["model", *head, "numbers", "multiply-adds", "KiB"]]
    for name, row in measured.items():
        if not row.results:
            lines.append([name, "not run", *[""] * (len(head) + 2)])
            continue
        accuracies = row.accuracies(table.conditions[0])
        if several:
            cells = [f"{row.mean(condition):.1f}" for condition in table.conditions]
        else:
            spread = f"{accuracies.min():.1f} – {accuracies.max():.1f}" if len(accuracies) > 1 else "one"
            cells = [f"{accuracies.mean():.1f}", spread, f"{standard_error(row.hits(table.conditions[0])):.1f}"]
        cost = row.largest.cost
        cells += [f"{cost.parameters:,}", rounded(cost.multiply_adds), f"{row.largest.table_bytes / 1024:.1f}"]
        lines.append([f"**{name}**" if row.row.kind in LIQUIDS else name, *cells])
    text = markdown(lines)
    done = [row for row in measured.values() if row.results]
    if several and done:
        errors = [standard_error(row.hits(condition)) for row in done for condition in table.conditions]
        seeds = ", ".join(f"{row.row.name}: {len(row.results)}" for row in done if len(row.results) > 1)
        text += f"\nStandard errors are {min(errors):.1f} to {max(errors):.1f}. Seeds: {seeds or 'one'}; others: 1.\n"
    return text


def rounded(count: int) -> str:
    """To three digits: 1.23 M, 45.6 k."""
    for scale, unit in ((1e6, " M"), (1e3, " k")):
        if count >= scale:
            return f"{count / scale:.3g}{unit}" if count < 1000 * scale else f"{count / scale:.0f}{unit}"
    return str(count)


def compared(table: Table, measured: dict[str, Measured]) -> list[str]:
    """The best liquid against the best of the others, in each condition."""
    liquids = [m for m in measured.values() if m.row.kind in LIQUIDS and m.results]
    others = [m for m in measured.values() if m.row.kind not in LIQUIDS and m.results]
    if not liquids or not others:
        return []
    said = []
    for condition in table.conditions:
        best = max(liquids, key=lambda m: m.mean(condition))
        peer = max(others, key=lambda m: m.mean(condition))
        difference = Difference.between(best, peer, condition)
        word = {1: "The liquid wins", -1: "The liquid loses", 0: "No difference"}[difference.sign]
        where = f"{condition}: " if len(table.conditions) > 1 else ""
        said.append(
            f"{where}{word}: *{best.row.name}* {best.mean(condition):.1f} against {peer.mean(condition):.1f} of the "
            f"best other model, *{peer.row.name}* ({difference}){work(best, peer) if not where else ''}."
        )
    return said


def work(a: Measured, b: Measured) -> str:
    """What `a` takes of what `b` takes."""
    mine, other = a.largest, b.largest
    text = f"; in {mine.table_bytes / 1024:.0f} KiB against {other.table_bytes / 1024:.0f}"
    if other.cost.multiply_adds:
        text += f", with {rounded(mine.cost.multiply_adds)} multiply-adds against {rounded(other.cost.multiply_adds)}"
    return text


def contrasted(table: Table, measured: dict[str, Measured]) -> list[str]:
    """What the parts of a liquid are worth."""
    said = []
    for contrast in table.contrasts:
        rows = [measured.get(name) for name in (contrast.of, contrast.without)]
        a, b = rows
        if a is None or b is None or not a.results or not b.results:
            continue
        difference = Difference.between(a, b, table.conditions[0])
        verdict = {1: "helps", -1: "harms", 0: "makes no difference"}[difference.sign]
        said.append(f"{contrast.what.capitalize()} {verdict}: *{contrast.of}* over *{contrast.without}* {difference}.")
    return said


def minutes_claims(cpu_s: Sequence[float], searched: Searched | None) -> list[list[str]]:
    """How long all of this takes: rows two at a time, each on a core, after the search, which has both."""
    if searched is None or not cpu_s:
        return [["minutes for all of this page", f"≤ {MOST_MINUTES:.0f}", "not run", "", "", ""]]
    minutes = sum(cpu_s) / 60 / 2 + searched.minutes
    verdict = "shown" if minutes <= MOST_MINUTES else "**not shown**"
    return [["minutes for all of this page, on two cores", f"≤ {MOST_MINUTES:.0f}", f"{minutes:.0f}", "", "", verdict]]


def chosen_settings(measured: dict[str, Measured]) -> list[str]:
    """What folds chose by their training parts, and of what."""
    said = []
    for name, row in measured.items():
        if row.row.candidates and row.results:
            counts = Counter(choice for result in row.results for choice in result.chosen.values())
            took = ", ".join(f"{count} *{choice}*" for choice, count in counts.most_common())
            offered = ", ".join(f"*{candidate}*" for candidate in row.row.candidates)
            said.append(f"{name}: of {offered}, the best in {counts.total()} training parts (folds, seeds) was {took}.")
    return said


def claims_text(
    claims: Sequence[Claim], measured: dict[str, dict[str, Measured]], others: Sequence[Sequence[str]] = ()
) -> str:
    """Each with what was measured, and whether that is enough; `others` are lines of claims about no row."""
    lines = [["", "wanted", "measured", "KiB of tables", "neurons", ""]]
    for claim in claims:
        row = measured[claim.table].get(claim.row)
        base = measured[claim.table].get(claim.over) if claim.over else None
        wanted = f"+{claim.percent:g} points" if claim.over else f"{claim.percent:g}"
        limits = [
            f"≤ {claim.most_kib:g}" if claim.most_kib else "",
            f"≤ {claim.most_neurons}" if claim.most_neurons else "",
        ]
        if row is None or not row.results or (claim.over and (base is None or not base.results)):
            lines.append([claim.text, wanted, "not run", *limits, ""])
            continue
        value = row.mean(claim.condition) - (base.mean(claim.condition) if base else 0)
        kib, neurons = row.largest.table_bytes / 1024, row.largest.n_neurons
        fits = kib <= (claim.most_kib or kib) and neurons <= (claim.most_neurons or neurons)
        lines.append(
            [
                claim.text,
                wanted,
                f"{value:+.1f} points" if claim.over else f"{value:.1f}",
                f"{kib:.1f} {limits[0] and f'({limits[0]})'}".strip(),
                f"{neurons} {limits[1] and f'({limits[1]})'}".strip(),
                "shown" if value >= claim.percent and fits else "**not shown**",
            ]
        )
    return markdown([*lines, *others])
