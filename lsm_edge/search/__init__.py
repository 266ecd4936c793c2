"""Which settings are worth their bytes: trials scored by cross-validation inside the training part, and their front."""

from lsm_edge.search.search import Found, search

__all__ = ["Found", "search"]
