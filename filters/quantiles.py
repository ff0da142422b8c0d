"""Exact order statistics of a sharded column in two passes of integer counts.

A float32 maps to a 32-bit key of the same order. The first pass counts its high 16 bits, the second
the low 16 bits inside the bucket that holds the wanted rank. Counts of shards add up, so the result
does not depend on how rows are sharded, and nothing but 65,536 counts is ever held.
"""

from collections.abc import Callable, Iterable

import numpy as np
from numpy.typing import NDArray

BUCKETS = 1 << 16
SIGN = np.uint32(1 << 31)


def quantile(shards: Callable[[], Iterable[NDArray[np.float32]]], share: float) -> float:
    """Return the smallest value that at least `share` of the rows do not exceed.

    Args:
        shards: Called twice; yields float32 arrays. NaN rows do not count.
        share: In [0, 1]. 0 gives the smallest value, 1 the largest.

    Returns:
        A value of the column, or NaN if it has none.
    """
    high = sum((_count(_keys(x) >> np.uint32(16)) for x in shards()), np.zeros(BUCKETS, np.int64))
    total = int(high.sum())
    if total == 0:
        return float("nan")
    rank = max(1, int(np.ceil(share * total)))
    bucket = int(np.searchsorted(np.cumsum(high), rank))
    rank -= int(high[:bucket].sum())
    low = sum((_count_within(_keys(x), bucket) for x in shards()), np.zeros(BUCKETS, np.int64))
    key = np.uint32(bucket << 16 | int(np.searchsorted(np.cumsum(low), rank)))
    return float(_values(np.array([key], np.uint32))[0])


def _keys(values_N: NDArray[np.float32]) -> NDArray[np.uint32]:
    """Map floats to integers of the same order: flip all bits of negatives, the sign of others."""
    values_N = np.asarray(values_N, np.float32)
    bits = (values_N[~np.isnan(values_N)] + np.float32(0)).view(np.uint32)  # -0 becomes 0
    return np.where(bits & SIGN, ~bits, bits | SIGN)


def _values(keys_N: NDArray[np.uint32]) -> NDArray[np.float32]:
    return np.where(keys_N & SIGN, keys_N & ~SIGN, ~keys_N).astype(np.uint32).view(np.float32)


def _count(bucket_N: NDArray[np.uint32]) -> NDArray[np.int64]:
    return np.bincount(bucket_N, minlength=BUCKETS).astype(np.int64)


def _count_within(keys_N: NDArray[np.uint32], bucket: int) -> NDArray[np.int64]:
    return _count(keys_N[keys_N >> np.uint32(16) == bucket] & np.uint32(BUCKETS - 1))
