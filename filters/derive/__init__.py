"""Columns in, columns out: what needs no picture, but may need counts over the whole pool.

The union below is the registry: one line per kind.
"""

from filters.derive.base import Columns, Derive, Map
from filters.derive.combine import Combine
from filters.derive.counts import Counts, merge
from filters.derive.head import Head

AnyDerive = Head | Combine

__all__ = ["AnyDerive", "Columns", "Combine", "Counts", "Derive", "Head", "Map", "merge"]
