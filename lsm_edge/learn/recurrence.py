"""What recurrence adds on recordings held back, what it costs on the board, and whether to keep it.

Enters: classes that the same neurons found with and without recurrent synapses (same seed, same taps, same folds; the
thresholds and the readout are fitted anew). Leaves: numbers, and one sentence of advice.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lsm_edge.config import Config, NoTopology
from lsm_edge.learn.liquid import Liquid, liquid_for
from lsm_edge.model import Model
from lsm_edge.target.context import context_fields, padded_bytes

MOST_SEGMENTS = 100  # that spikes are counted on
WORTHWHILE_POINTS = 1.0
_FIELDS = ("pending", "recurrent", "slot")  # of the context, that no other liquid has


@dataclass(frozen=True)
class Recurrence:
    """Its gain and its price; `chance_points` is twice the standard error of `added_points`."""

    accuracy_without: float
    added_points: float
    chance_points: float
    table_bytes: int
    context_bytes: int
    synaptic_operations_per_s: int

    @property
    def price(self) -> str:
        """Flash, RAM and work."""
        return (
            f"{self.table_bytes:,} bytes of flash, {self.context_bytes:,} of RAM and "
            f"{self.synaptic_operations_per_s:,} synaptic operations a second"
        )

    @property
    def advice(self) -> str:
        """One sentence, in plain words."""
        if self.added_points < -self.chance_points:
            return f"recurrence costs {-self.added_points:.1f} points and {self.price}: take topology: {{kind: none}}"
        rounded = round(self.added_points, 1) + 0.0  # never -0.0
        said = f"recurrence adds {rounded} points for {self.price}"
        if self.added_points <= self.chance_points:
            return f"{said}; that may be chance (+- {self.chance_points:.1f}): topology: {{kind: none}} would do"
        if self.added_points < WORTHWHILE_POINTS:
            return f"{said}: topology: {{kind: none}} would nearly do"
        return f"{said}: it pays"

    def as_json(self) -> dict[str, Any]:
        """The numbers and the advice."""
        return {**asdict(self), "advice": self.advice}


def without_recurrence(config: Config) -> Config:
    """The same neurons, left alone."""
    alone = config.reservoir.model_copy(update={"topology": NoTopology(kind="none")})
    return config.model_copy(update={"reservoir": alone})


def weigh(
    model: Model,
    segments: list[NDArray[np.uint8]],
    with_: NDArray[np.bool_],
    without: NDArray[np.bool_],
) -> Recurrence:
    """`with_` and `without` say of each recording held back whether it was recognised; `segments` are frames."""
    n = max(len(with_), 1)
    changed = int(np.count_nonzero(with_ != without))
    added = (int(with_.sum()) - int(without.sum())) / n
    fields = context_fields(model, dsp=True)
    alone = [field for field in fields if field.name not in _FIELDS]
    return Recurrence(
        accuracy_without=float(without.mean()),
        added_points=100 * added,
        chance_points=200 * float(np.sqrt(max(changed - n * added**2, 0.0))) / n,
        table_bytes=sum(t.nbytes for name, t in model.tables.items() if name.startswith(("recurrent_", "delay_"))),
        context_bytes=padded_bytes(fields) - padded_bytes(alone),
        synaptic_operations_per_s=round(_deliveries_per_s(model, segments)),
    )


def _deliveries_per_s(model: Model, segments: list[NDArray[np.uint8]]) -> float:
    """Recurrent weights added to a current, per second of signal that the liquid hears."""
    manifest = model.manifest
    longest = manifest.decision.max_frames if manifest.decision.mode == "segment" else None
    picked = np.unique(np.linspace(0, len(segments) - 1, MOST_SEGMENTS).astype(int))
    chosen = [segments[i][:longest] for i in picked]
    liquid: Liquid = liquid_for(model)[0]
    spikes = liquid.stir(chosen, count_spikes=True).spikes
    start = model["recurrent_start"].astype(np.int64)
    seconds = sum(map(len, chosen)) * manifest.frontend.hop_samples / manifest.frontend.sample_hz
    return float(spikes @ (start[1:] - start[:-1])) / max(seconds, 1e-9)
