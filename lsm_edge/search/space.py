"""What a search may change: one table of settings, each with the values that are tried.

A knob's values are rising (or go from one extreme to the other), so that neighbours are alike and a sampler can learn
from it. Everything that the table does not name stays as the config has it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass
from typing import Any, Final

from lsm_edge.config import DEFAULT_LEAK_SHIFT, Config, parse_config
from lsm_edge.errors import ConfigError
from lsm_edge.learn.kernels import SHORTEST_SPAN_FRAMES

Settings = dict[str, Any]

SPACE: Final[dict[str, tuple[Any, ...]]] = {
    "reservoir.n_neurons": (32, 48, 64, 96, 128, 160, 192, 224, 256, 320, 384, 448, 512),
    "reservoir.steps_per_frame": (1, 2, 3, 4, 6),
    "reservoir.leak_shift": ([2], [2, 3], [3], [3, 4], [4], [4, 5], [2, 3, 4, 5]),
    "reservoir.target_rate": (0.04, 0.06, 0.08, 0.1, 0.12, 0.15, 0.2),
    "reservoir.rate_spread": (0.0, 0.25, 0.5, 0.75, 1.0),
    "reservoir.topology.kind": ("none", "random"),
    "reservoir.topology.fan_in": (4, 8, 16, 32),
    "reservoir.max_delay_steps": (1, 4, 8, 16, 32, 64, 128),
    "encoder.n_taps": (2, 3, 4, 6, 8, 12),
    "encoder.max_delay_frames": (0, 4, 8, 12, 16, 24, 32, 48),
    "encoder.spans": ("fixed", "log_uniform"),
    "encoder.bands": ("any", "few"),
    "readout.n_windows": (1, 2, 3, 4, 5, 6),
    "readout.window_by": ("energy", "length"),
    "frontend.n_bands": (12, 16, 20, 24, 28, 32),
    "frontend.hop_ms": (5.0, 6.0, 8.0, 10.0, 12.0, 16.0),
    "frontend.range_db": (24, 48, 96),
    "frontend.equalise": (0.0, 0.25, 0.5, 0.75, 1.0),
}

# A knob that means something only where another setting has one of these values.
NEEDS: Final[dict[str, tuple[str, tuple[Any, ...]]]] = {
    "reservoir.topology.fan_in": ("reservoir.topology.kind", ("random", "blocks", "maass")),
    "reservoir.max_delay_steps": ("reservoir.topology.kind", ("random", "blocks", "maass")),
    "encoder.n_taps": ("encoder.kind", ("current",)),
    "encoder.max_delay_frames": ("encoder.kind", ("current",)),
    "encoder.spans": ("encoder.max_delay_frames", tuple(range(SHORTEST_SPAN_FRAMES + 1, 1024))),
    "encoder.bands": ("encoder.kind", ("current",)),
    "readout.n_windows": ("decision.mode", ("segment",)),
    "readout.window_by": ("readout.n_windows", tuple(range(2, 9))),
}


@dataclass(frozen=True)
class Knob:
    """A setting by its dotted key, and the values it may take."""

    key: str
    values: tuple[Any, ...]


def knobs_of(config: Config) -> list[Knob]:
    """The knobs that this config leaves free; each can also stay where the config has it.

    Without a `search` section: all of `SPACE`. With one: those it names.

    Raises:
        ConfigError: `search.space` names what is no setting, or gives a value that is not allowed.
    """
    chosen = config.search.space if config.search is not None else None
    base = config.model_dump(mode="json")
    knobs = []
    for key, values in (chosen or SPACE).items():
        if chosen is None and key == "reservoir.leak_shift" and config.reservoir.leak_q15 is not None:
            continue
        present = _present(base, key)
        usable = [value for value in values if _is_usable(config, base, key, value, strictly=chosen is not None)]
        if present is not None and present not in usable:
            usable = _in_order([*usable, present])
        if len(usable) > 1 and _may_matter(base, chosen or SPACE, key):
            knobs.append(Knob(key, tuple(usable)))
    if not knobs:
        raise ConfigError("search.space: leaves nothing to search: every setting has only one value")
    return knobs


def propose(config: Config, knobs: list[Knob], choose: Callable[[Knob], int]) -> Settings:
    """Settings, by key, that `choose` picks by index; knobs that mean nothing beside those before them are left out."""
    base = config.model_dump(mode="json")
    settings: Settings = {}
    for knob in sorted(knobs, key=lambda knob: _depth(knob.key)):  # what others need is chosen before them
        needed, among = NEEDS.get(knob.key, ("", ()))
        if not needed or settings.get(needed, _get(base, needed)) in among:
            settings[knob.key] = knob.values[choose(knob)]
    return settings


def present_choice(config: Config, knobs: list[Knob]) -> dict[str, int]:
    """The indices at which every knob stands in the config itself."""
    base = config.model_dump(mode="json")
    found = {}
    for knob in knobs:
        value = _present(base, knob.key)
        if value in knob.values:
            found[knob.key] = knob.values.index(value)
    return found


def first_choices(config: Config, knobs: list[Knob]) -> list[dict[str, int]]:
    """What is tried first: the config as it is, then with every other number of neurons, the nearest first.

    So that where the config is over the budget, a search begins with what of it is not.
    """
    present, key = present_choice(config, knobs), "reservoir.n_neurons"
    sizes = next((knob.values for knob in knobs if knob.key == key), ())
    others = [i for i in range(len(sizes)) if i != present.get(key)]
    nearest = sorted(others, key=lambda i: abs(i - present.get(key, 0)))
    return [present, *({**present, key: i} for i in nearest)]


def near(knobs: list[Knob], settings: Settings, uniform: Callable[[], float]) -> dict[str, int]:
    """The indices of these settings with one or two knobs moved to a value beside theirs."""
    choice = {knob.key: knob.values.index(settings[knob.key]) for knob in knobs if knob.key in settings}
    movable = [knob for knob in knobs if knob.key in choice]
    for _ in range(1 + (uniform() < 0.5)):
        knob = movable[int(uniform() * len(movable))]
        beside = [i for i in (choice[knob.key] - 1, choice[knob.key] + 1) if 0 <= i < len(knob.values)]
        choice[knob.key] = beside[int(uniform() * len(beside))]
    return choice


def with_settings(config: Config, settings: Mapping[str, Any], source: str = "search") -> Config:
    """The config with some settings changed.

    Raises:
        ConfigError: they do not fit together.
    """
    return parse_config(changed(config.model_dump(mode="json"), settings), source)


def changed(base: Settings, settings: Mapping[str, Any]) -> Settings:
    """A copy of nested settings with some of them changed; a new `kind` drops what belonged to the old one."""
    data = deepcopy(base)
    for key, value in sorted(settings.items(), key=lambda item: not item[0].endswith(".kind")):
        *path, last = key.split(".")
        inner = data
        for part in path:
            if not isinstance(inner.setdefault(part, {}), dict):
                inner[part] = {}
            inner = inner[part]
        if last == "kind" and inner.get("kind") != value:
            inner.clear()
        inner[last] = value
    return data


def _depth(key: str) -> int:
    return 1 + _depth(NEEDS[key][0]) if key in NEEDS else 0


def _present(base: Settings, key: str) -> Any:
    """What a setting is, also where it is left to its default."""
    value = _get(base, key)
    return DEFAULT_LEAK_SHIFT if value is None and key == "reservoir.leak_shift" else value


def _get(data: Settings, key: str) -> Any:
    found: Any = data
    for part in key.split("."):
        found = found.get(part) if isinstance(found, dict) else None
    return found


def _is_usable(config: Config, base: Settings, key: str, value: Any, *, strictly: bool) -> bool:
    """Can this value be set with everything else as it is, or as the knob needs it?"""
    settings = {key: value}
    needed, among = NEEDS.get(key, ("", ()))
    if needed and _get(base, needed) not in among:
        settings[needed] = among[0]
    try:
        with_settings(config, settings, "search.space")
    except ConfigError:
        if strictly:
            raise
        return False
    return True


def _may_matter(base: Settings, space: Mapping[str, Any], key: str) -> bool:
    needed, among = NEEDS.get(key, ("", ()))
    return not needed or _get(base, needed) in among or any(value in among for value in space.get(needed, ()))


def _in_order(values: list[Any]) -> list[Any]:
    return sorted(values) if all(isinstance(value, int | float) for value in values) else values
