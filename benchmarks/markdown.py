"""Tables of the pages that benchmarks write."""

from __future__ import annotations

from collections.abc import Sequence


def markdown(lines: Sequence[Sequence[str]]) -> str:
    """The first line is the head; all columns but the first are numbers."""
    head, *rows = lines
    ruler = ["---", *["---:"] * (len(head) - 1)]
    return "".join(f"| {' | '.join(line)} |\n" for line in (head, ruler, *rows))
