"""A search that begins with defaults: how long its trials take, and what the models on its front are worth."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from benchmarks.accuracy.result import digest_of
from benchmarks.accuracy.scene import CONFIGS
from benchmarks.accuracy.sources import source_digest
from benchmarks.accuracy.tasks import TASKS
from benchmarks.markdown import markdown
from lsm_edge.budget import Budget
from lsm_edge.config import load_config
from lsm_edge.files import write_atomically
from lsm_edge.search.search import search
from lsm_edge.search.study import Tried

CONFIG: Final = "fsdd_search.yaml"
TRIALS: Final = 200
BUDGET: Final = "flash=32KiB,ram=12KiB,instructions=2e6/s"
MOST_MINUTES: Final = 30.0
# 256 neurons whose settings were chosen by hand, with an eye on these speakers' scores.
BY_HAND_PERCENT, BY_HAND_KIB = 88.2, 13.0


@dataclass(frozen=True)
class Searched:
    """A finished search; `members` as front.json has them, the most accurate by its marks first."""

    minutes: float
    n_workers: int
    n_done: int
    n_stopped: int
    n_refused: int
    members: list[dict[str, Any]]

    def best_within(self, kib: float) -> dict[str, Any] | None:
        """Of the members with so little of tables the one that the search itself prefers: no test part has its say."""
        return next((member for member in self.members if member["cost"]["table_bytes"] <= 1024 * kib), None)


def run_search(*, data: Path, results: Path, n_workers: int, say: Callable[[str], None]) -> None:
    """Search unless there is a result; one that is interrupted begins anew, so that its minutes are those of a whole.

    Raises:
        DataError: the data set is not there.
    """
    if load_searched(results) is not None:
        return
    told = 0

    def watch(tried: list[Tried], doing: str) -> None:
        nonlocal told
        n = sum(trial.outcome in ("done", "poor") for trial in tried)
        if n >= told + 20:
            told = n
            say(f"search: {n} of {TRIALS} trials; {doing}")

    with tempfile.TemporaryDirectory() as folder:
        found = search(
            load_config(CONFIGS / CONFIG),
            root=CONFIGS,
            out=Path(folder),
            data=data / TASKS["fsdd-loso"].folder,
            trials=TRIALS,
            budget=Budget.parse(BUDGET, names=("flash", "ram", "instructions")),
            workers=n_workers,
            watch=watch,
        )
        members = [{key: member.as_json()[key] for key in _KEPT} for member in found.members]
    counts = (found.count(outcome) for outcome in ("done", "poor", "refused"))
    save_searched(results, Searched(found.seconds / 60, n_workers, *counts, members))


def save_searched(results: Path, searched: Searched) -> None:
    """To a temporary name, then renamed."""
    write_atomically(_path(results), json.dumps(asdict(searched), sort_keys=True).encode())


def load_searched(results: Path) -> Searched | None:
    """None if there is none, or one that this version cannot read."""
    try:
        return Searched(**json.loads(_path(results).read_bytes()))
    except (OSError, ValueError, TypeError):
        return None


def searched_text(searched: Searched) -> str:
    """The front, as a table."""
    lines = [["neurons", "search", "held back", "KiB of tables", "bytes of RAM", "instructions a second"]]
    for member in searched.members:
        cost = member["cost"]
        lines.append(
            [
                str(member["settings"]["reservoir.n_neurons"]),
                f"{100 * member['accuracy_search']:.1f}",
                f"{100 * member['accuracy_held_back']:.1f}",
                f"{cost['table_bytes'] / 1024:.1f}",
                f"{cost['ram_bytes']:,}",
                f"{cost['instructions_per_s'] / 1e6:.2f} M",
            ]
        )
    return (
        f"`lsm-edge search {CONFIG} --trials {TRIALS} --budget {BUDGET} --workers {searched.n_workers}`, which begins "
        f"with defaults, on the speakers above: {searched.n_done + searched.n_stopped} trials in "
        f"{searched.minutes:.0f} minutes, {searched.n_stopped} of them stopped early; {searched.n_refused} more were "
        "over the budget. *Search* is the mark that chose, by readouts that heard four speakers; *held back* is "
        "nested: each speaker is tested by the best of its size that was chosen without that speaker, trained on the "
        f"other five (docs/search.md says what of it is not).\n\n{markdown(lines)}"
    )


def searched_claims(searched: Searched | None) -> list[list[str]]:
    """Lines of the page's first table: text, wanted, measured, KiB, neurons, verdict."""
    asked = [["search: minutes for 200 trials", f"≤ {MOST_MINUTES:.0f}"],
             ["search: front, at the size of the best by hand", f"{BY_HAND_PERCENT:g}"]]  # fmt: skip
    if searched is None:
        return [[*line, "not run", "", "", ""] for line in asked]
    n_trials = searched.n_done + searched.n_stopped
    fast = searched.minutes <= MOST_MINUTES and n_trials >= TRIALS
    best = searched.best_within(BY_HAND_KIB)
    percent = 100 * best["accuracy_held_back"] if best else 0.0
    kib, neurons = (best["cost"]["table_bytes"] / 1024, best["settings"]["reservoir.n_neurons"]) if best else (0, 0)
    verdicts = ["shown" if is_shown else "**not shown**" for is_shown in (fast, percent >= BY_HAND_PERCENT)]
    measured = [[f"{searched.minutes:.1f}", "", ""], [f"{percent:.1f}", f"{kib:.1f} (≤ {BY_HAND_KIB:g})", f"{neurons}"]]
    return [[*text, *values, verdict] for text, values, verdict in zip(asked, measured, verdicts, strict=True)]


_KEPT: Final = ("settings", "cost", "accuracy_search", "accuracy_held_back")


def _path(results: Path) -> Path:
    settings = load_config(CONFIGS / CONFIG).model_dump(mode="json")
    digest = digest_of(settings=settings, trials=TRIALS, budget=BUDGET, sources=source_digest("search"))
    return results / "search" / f"fsdd-{digest}.json"
