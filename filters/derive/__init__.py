"""Columns in, columns out: what needs no picture, but may need counts over the whole pool.

The union below is the registry: one line per kind.
"""

from filters.derive.base import Columns, Derive, Map
from filters.derive.combine import Combine
from filters.derive.copies import Copies
from filters.derive.counts import Counts, merge
from filters.derive.head import Head
from filters.derive.surprise import Surprise
from filters.derive.templates import Templates

AnyDerive = Surprise | Templates | Copies | Head | Combine

__all__ = [
    "AnyDerive", "Columns", "Combine", "Copies", "Counts", "Derive", "Head", "Map", "Surprise",
    "Templates", "merge",
]  # fmt: skip
