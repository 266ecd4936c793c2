"""Jinja2 templates from the shipped `templates/` folder, for C and for pages that people read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jinja2

from lsm_edge.assets import asset


def environment() -> jinja2.Environment:
    """Where templates are found and how they are written; what is not defined in one is an error."""
    made = jinja2.Environment(
        loader=jinja2.FileSystemLoader(asset("templates")),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # noqa: S701 - C and Markdown; what comes from a user is escaped by filters
    )
    made.filters["inline"] = inline
    return made


def render(name: str, values: Mapping[str, Any]) -> str:
    """Fill one template."""
    return environment().get_template(name).render(values)


def inline(text: object) -> str:
    """Any text as Markdown inline code that nothing can leave."""
    return "`" + "".join(c if c.isprintable() and c not in "`|<>" else "?" for c in str(text)) + "`"
