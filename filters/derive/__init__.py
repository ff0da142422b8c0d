"""Columns in, columns out: what needs no picture, but may need counts over the whole pool."""

from filters.derive.base import Columns, Derive, Map
from filters.derive.counts import Counts, merge

__all__ = ["Columns", "Counts", "Derive", "Map", "merge"]
