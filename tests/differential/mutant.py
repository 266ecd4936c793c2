"""Run in a copy of the project with a fault in it: prints the check that finds it, or nothing."""

from __future__ import annotations

import sys

from differential.check import check
from differential.matrix import EMULATED, HOSTS
from differential.models import random_model, random_recordings, seeded
from differential.mutations import LARGEST, SEEDS

CELLS = {"host": HOSTS[:1], "core": [cell for cell in EMULATED if str(cell) == "cortex-m4 gcc -O2"]}


def main(on: str) -> None:
    """Stop at the first difference."""
    for seed in SEEDS:
        random_ = seeded(seed)
        model = random_model(random_, LARGEST)
        tally = check(model, random_recordings(random_, model, most=3, longest_frames=24), CELLS[on])
        for difference in tally.differences:
            print(difference.tap)
            print(f"seed {seed}: {difference}", file=sys.stderr)
            return


if __name__ == "__main__":
    main(sys.argv[1])
