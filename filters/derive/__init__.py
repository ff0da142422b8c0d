"""Columns in, columns out: what needs no picture, but may need counts over the whole pool.

The union below is the registry: one line per derived column.
"""

from typing import Never

from filters.derive.base import Columns, Derive, Map
from filters.derive.counts import Counts, merge

AnyDerive = Never

__all__ = ["AnyDerive", "Columns", "Counts", "Derive", "Map", "merge"]
