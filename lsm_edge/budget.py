"""Budgets: the most that a model may cost. One grammar for the command line, for boards and for YAML files.

    flash=32KiB,ram=12KiB,stack=1KiB,instructions=2e6/s,cycles=20000/step,power=900uW

In a TOML or YAML section each name is a key and what follows the equals sign its value, or a list of several values.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from math import inf
from typing import Annotated, Any, Final

from pydantic import AfterValidator

from lsm_edge.errors import ConfigError

_SIZES: Final = {"": 1.0, "b": 1.0, "kb": 1e3, "kib": 1024.0, "mb": 1e6, "mib": 1048576.0}
_POWERS: Final = {"uw": 1.0, "mw": 1e3, "w": 1e6}
_SIZE: Final = r"(\d+(?:\.\d*)?)\s*(\w*)"
_SPEED: Final = r"(\d+(?:\.\d*)?(?:[eE]\+?\d+)?)\s*(/s|/step)?"
NAMES: Final = ("flash", "ram", "stack", "instructions", "cycles", "power")
_ALLOWED: Final = {
    "flash": "a size in B, kB, KiB, MB or MiB",
    "ram": "a size in B, kB, KiB, MB or MiB",
    "stack": "a size in B, kB, KiB, MB or MiB",
    "instructions": "a number of instructions a second (/s) or a step (/step)",
    "cycles": "a number of cycles a second (/s) or a step (/step)",
    "power": "a power in uW, mW or W",
}
_EXAMPLES: Final = {"stack": "1KiB", "cycles": "20000/step", "power": "900uW"}
_GRAMMAR: Final = "such as flash=32KiB,ram=12KiB,instructions=2e6/s"


@dataclass(frozen=True)
class Budget:
    """The most that a model may cost; infinity where nothing is said."""

    flash_bytes: float = inf
    ram_bytes: float = inf
    instructions_per_s: float = inf
    stack_bytes: float = inf
    instructions_per_step: float = inf
    cycles_per_s: float = inf
    cycles_per_step: float = inf
    power_uw: float = inf

    @classmethod
    def parse(cls, text: str, source: str = "--budget", names: Sequence[str] = NAMES) -> Budget:
        """From `flash=32KiB,ram=12KiB,instructions=2e6/s`; each may be left out. `source` is named in messages.

        Raises:
            ConfigError: it is not of this form, or asks for what is not among `names`.
        """
        found: dict[str, float] = {}
        for item in text.split(","):
            name, equals, said = (part.strip() for part in item.partition("="))
            if name not in names or not equals:
                known = f"{'=, '.join(names[:-1])}= or {names[-1]}="
                raise ConfigError(f"{source}: {item.strip()!r} is not {known} with a number, {_GRAMMAR}")
            key, amount = _amount(name, said)
            if amount is None or not 0 < amount < inf:
                raise ConfigError(f"{source}: {name}={said} must be {_ALLOWED[name]}, {_grammar(name)}")
            if key in found:
                raise ConfigError(f"{source}: {name} is given twice")
            found[key] = amount
        return cls(**found)

    @classmethod
    def of_section(cls, section: Mapping[str, Any], source: str) -> Budget:
        """From a section of a TOML or YAML file.

        Raises:
            ConfigError: a key or a value is not allowed.
        """
        said = [
            f"{name}={value}"
            for name, values in section.items()
            for value in (values if isinstance(values, list | tuple) else [values])
        ]
        return cls.parse(",".join(said), source) if said else cls()

    def __and__(self, other: Budget) -> Budget:
        """The stricter of each."""
        return Budget(*(min(getattr(self, f.name), getattr(other, f.name)) for f in fields(self)))

    def over(self, cost: Any) -> list[str]:
        """What of the cost, an object with some of the same fields, is over; each in words."""
        return [
            f"{_name(f.name)} {amount:,.0f} > {getattr(self, f.name):,.0f}"
            for f in fields(self)
            if (amount := getattr(cost, f.name, None)) is not None and amount > getattr(self, f.name)
        ]

    def broken_by(self, cost: Any) -> str:
        """What of the cost is over, in words; "" if nothing is."""
        return ", ".join(self.over(cost))


def _is_budget(section: dict[str, Any]) -> dict[str, Any]:
    try:
        Budget.of_section(section, "budget")
    except ConfigError as error:
        raise ValueError(str(error).removeprefix("budget: ")) from None
    return section


Section = Annotated[dict[str, Any], AfterValidator(_is_budget)]


def _amount(name: str, said: str) -> tuple[str, float | None]:
    """The field that a value belongs to, and the value in its unit."""
    if name in ("instructions", "cycles"):
        number = re.fullmatch(_SPEED, said)
        per = "per_step" if number and number[2] == "/step" else "per_s"
        return f"{name}_{per}", float(number[1]) if number else None
    units, key = (_POWERS, "power_uw") if name == "power" else (_SIZES, f"{name}_bytes")
    number = re.fullmatch(_SIZE, said)
    if number is None or number[2].lower() not in units:
        return key, None
    return key, float(number[1]) * units[number[2].lower()]


def _grammar(name: str) -> str:
    return f"such as {name}={_EXAMPLES[name]}" if name in _EXAMPLES else _GRAMMAR


def _name(key: str) -> str:
    return key.removesuffix("_bytes").replace("_per_", "/").replace("power_uw", "power in uW")
