"""Which of a group of copies goes before the others, and so stays.

Letters: N rows.
"""

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from filters.hashing import hashed
from pipeline.settings import Prefer
from pipeline.tables import numbers, uid_words, uids

LAST = np.iinfo(np.uint64).max  # after all that have a number
SIGN = np.uint64(1 << 63)


def needed(prefer: Prefer, distance: str) -> list[str]:
    """Return the columns that precedence is read from, beside `uid`."""
    return {"p_keep": ["p_keep"], "hard": [distance], "easy": [distance], "random": []}[prefer]


def precedence(table: pa.Table, prefer: Prefer, *, distance: str, seed: int) -> NDArray[np.uint64]:
    """Return a number for each row, uint64 [N]; the lowest goes first, ties by lowest uid.

    Args:
        table: `uid`, and what `needed` names; rows without a value go last.
        prefer: What goes first.
        distance: Column of distances to the centroid.
        seed: Of a random order, which is a hash of it and the uid.
    """
    if prefer == "random":
        return hashed(uid_words(uids(table)), salt=f"precedence:{seed}")
    (column,) = needed(prefer, distance)
    value_N = numbers(table, column, np.float64)
    return _ascending(value_N if prefer == "easy" else -value_N)


def _ascending(value_N: NDArray[np.float64]) -> NDArray[np.uint64]:
    """Map floats to integers of the same order: flip all bits of negatives, the sign of others."""
    bits_N = (value_N + 0.0).view(np.uint64)  # -0 becomes 0
    key_N = np.where(bits_N & SIGN, ~bits_N, bits_N | SIGN)
    return np.where(np.isnan(value_N), LAST, key_N)
