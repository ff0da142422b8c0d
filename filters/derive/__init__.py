"""Columns in, columns out: what needs no picture, but may need counts over the whole pool."""

from filters.derive.base import Columns, Derive, Map
from filters.derive.copies import Copies
from filters.derive.counts import Counts, merge
from filters.derive.surprise import Surprise
from filters.derive.templates import Templates

AnyDerive = Surprise | Templates | Copies

__all__ = [
    "AnyDerive", "Columns", "Copies", "Counts", "Derive", "Map", "Surprise", "Templates", "merge",
]  # fmt: skip
