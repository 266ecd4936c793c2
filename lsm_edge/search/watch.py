"""A search as it is seen while it runs: how far it is, and the front so far."""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType
from typing import Final, Self

from rich.console import Console, Group
from rich.live import Live

from lsm_edge.budget import Budget
from lsm_edge.search.exam import accuracy_of
from lsm_edge.search.front import by_accuracy, front_of, front_table
from lsm_edge.search.study import Tried

_SHOWN: Final = 10
_A_LINE_EVERY: Final = 10  # trials, where nobody watches a terminal


class Watcher:
    """Shows a search on a console: a table that is kept up to date on a terminal, a line now and then in a file."""

    def __init__(self, console: Console, budget: Budget, wanted: int) -> None:
        self._console, self._budget, self._wanted = console, budget, wanted
        self._live = Live(console=console, transient=True, auto_refresh=False) if console.is_terminal else None
        self._shown = ""
        self._lines = 0
        self.progress = "nothing done"

    def __enter__(self) -> Self:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def __call__(self, tried: Sequence[Tried], doing: str) -> None:
        """What `lsm_edge.search.search.search` calls."""
        counted = sum(trial.outcome in ("done", "poor") for trial in tried)
        self.progress = summary(tried, self._budget, self._wanted)
        said = f"{doing}: {self.progress}"
        if said == self._shown:
            return
        self._shown = said
        if self._live is not None:
            front = front_of(tried, self._budget)[:_SHOWN]
            parts = [front_table(front), said] if front else [said]
            self._live.update(Group(*parts), refresh=True)
        elif counted // _A_LINE_EVERY > self._lines:
            self._lines = counted // _A_LINE_EVERY
            self._console.print(said)


def summary(tried: Sequence[Tried], budget: Budget, wanted: int) -> str:
    """How far a search is, in one line."""
    done, poor = (sum(trial.outcome == outcome for trial in tried) for outcome in ("done", "poor"))
    refused = sum(trial.outcome == "refused" for trial in tried)
    best = next(iter(by_accuracy(tried, budget)), None)
    ending = f", best {100 * accuracy_of(best.marks)[0]:.1f} % (trial {best.number})" if best else ""
    return f"{done + poor} of {wanted} trials, {poor} of them stopped early, {refused} more refused{ending}"
