"""What a search found: the models that nothing beats in accuracy, flash and instructions at once; table and picture."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from rich.table import Table

from lsm_edge.budget import Budget
from lsm_edge.errors import ConfigError
from lsm_edge.files import write_atomically
from lsm_edge.search.cost import Cost
from lsm_edge.search.exam import accuracy_of, inner_accuracy
from lsm_edge.search.space import Settings
from lsm_edge.search.study import Tried

# Two models whose costs differ by less than this are taken to cost the same: the more accurate one stands for both.
SAME_COST: Final = 0.05


@dataclass(frozen=True)
class Member:
    """One model of the front, trained, and what recordings say that nothing of its choice has heard."""

    number: int
    settings: Settings
    cost: Cost
    accuracy_search: float
    accuracy_held_back: float
    model: str
    config: str
    digest: str

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return {**self.__dict__, "cost": self.cost.as_json()}


def is_cheaper(one: Cost, than: Cost, slack: float = 0.0) -> bool:
    """Does `one` cost no more, in flash and in instructions, give or take a share of `slack`?"""
    most = 1 + slack
    return one.flash_bytes <= most * than.flash_bytes and one.instructions_per_s <= most * than.instructions_per_s


def front_of(tried: Sequence[Tried], budget: Budget) -> list[Tried]:
    """The finished trials within the budget that no other beats, the most accurate first.

    Of models of about the same cost (`SAME_COST`) only the most accurate is kept.
    """
    front: list[Tried] = []
    for trial in by_accuracy(tried, budget):
        assert trial.cost is not None
        if not any(kept.cost is not None and is_cheaper(kept.cost, trial.cost, SAME_COST) for kept in front):
            front.append(trial)
    return front


def by_accuracy(tried: Sequence[Tried], budget: Budget) -> list[Tried]:
    """Finished trials within the budget, the most accurate first, the cheaper first where equal."""
    usable = [t for t in tried if t.outcome == "done" and t.cost is not None and not budget.broken_by(t.cost)]
    return sorted(usable, key=lambda t: (-accuracy_of(t.marks)[0], t.cost.flash_bytes if t.cost else 0, t.number))


def choose_without(tried: Sequence[Tried], limit: Cost, outer: int) -> Tried:
    """The trial that would be chosen at no more than this cost if block `outer` had never been heard.

    Raises:
        ConfigError: no finished trial costs so little.
    """
    affordable = [t for t in tried if t.outcome == "done" and t.cost is not None and is_cheaper(t.cost, limit)]
    if not affordable:
        raise ConfigError("search: no finished trial within this cost")
    return max(affordable, key=lambda t: (inner_accuracy(t.marks, outer), -t.number))


def front_table(members: Sequence[Member] | Sequence[Tried]) -> Table:
    """Costs and accuracies."""
    is_final = bool(members) and isinstance(members[0], Member)
    accuracies = ["search %", "held back %"] if is_final else ["search %"]
    table = Table("trial", *accuracies, "flash", "tables", "RAM", "instr/s")
    for column in table.columns:
        column.justify = "right"
    for member in members:
        assert member.cost is not None
        if isinstance(member, Member):
            shares = [member.accuracy_search, member.accuracy_held_back]
        else:
            shares = [accuracy_of(member.marks)[0]]
        cost = member.cost
        table.add_row(
            str(member.number),
            *(f"{100 * accuracy:.1f}" for accuracy in shares),
            *(f"{n_bytes:,}" for n_bytes in (cost.flash_bytes, cost.table_bytes, cost.ram_bytes)),
            f"{cost.instructions_per_s / 1e6:.2f} M",
        )
    return table


def differences(settings: Settings, baseline: Settings) -> str:
    """The settings that are not as in the baseline, in one line."""
    changes = [f"{key.rpartition('.')[2]} {value}" for key, value in settings.items() if baseline.get(key) != value]
    return ", ".join(changes) or "the config itself"


def draw_front(tried: Sequence[Tried], members: Sequence[Member], path: Path) -> None:
    """A picture of all finished trials, accuracy over flash, coloured by instructions; the front is ringed.

    Raises:
        ConfigError: the place cannot be written to.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 5), layout="constrained")
    axes = figure.subplots()
    done = [trial for trial in tried if trial.outcome == "done" and trial.cost is not None]
    points = axes.scatter(
        [trial.cost.flash_bytes / 1024 for trial in done if trial.cost],
        [100 * accuracy_of(trial.marks)[0] for trial in done],
        c=[trial.cost.instructions_per_s / 1e6 for trial in done if trial.cost],
        cmap="viridis",
        s=24,
    )
    figure.colorbar(points, label="million instructions a second of signal")
    x = [member.cost.flash_bytes / 1024 for member in members]
    y = [100 * member.accuracy_search for member in members]
    axes.scatter(x, y, s=90, facecolors="none", edgecolors="black", label="the front")
    for member, at_x, at_y in zip(members, x, y, strict=True):
        axes.annotate(str(member.number), (at_x, at_y), (6, 4), textcoords="offset points", fontsize=8)
    axes.set_xlabel("flash, KiB")
    axes.set_ylabel("accuracy in the search, %")
    axes.legend(loc="best")
    axes.grid(alpha=0.3)
    picture = io.BytesIO()
    figure.savefig(picture, format="png", dpi=120, metadata={"Software": None})
    write_atomically(path, picture.getvalue())
