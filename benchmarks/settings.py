"""Settings of a YAML file with some of them changed."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from lsm_edge.config import Config, load_config, parse_config


def changed(file: Path, changes: Mapping[str, Any]) -> Config:
    """The file's config with the changes.

    Raises:
        ConfigError: the file is not there, or what comes of it is not allowed.
    """
    return parse_config(_merged(_written(file), changes), file.name)


@lru_cache
def _written(file: Path) -> dict[str, Any]:
    return load_config(file).model_dump(mode="json", exclude_unset=True)


def _merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """`above` wins; a mapping that has a `kind` replaces the other as a whole."""
    merged = dict(below)
    for key, value in above.items():
        old = merged.get(key)
        is_nested = isinstance(value, Mapping) and isinstance(old, Mapping) and "kind" not in value
        merged[key] = _merged(old or {}, value) if is_nested else value
    return merged
