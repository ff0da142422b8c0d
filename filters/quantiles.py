"""Exact order statistics of a sharded column in two passes of integer counts.

A float32 maps to a 32-bit key of the same order. The first pass counts its high 16 bits, the second
the low 16 bits inside the bucket that holds the wanted rank. Counts of shards add up, so the result
does not depend on how rows are sharded, and no more than 65,536 counts for each quantile are held.
"""

from collections.abc import Callable, Iterable, Sequence

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
    return quantiles(shards, [share])[0]


def quantiles(
    shards: Callable[[], Iterable[NDArray[np.float32]]], share_Q: Sequence[float]
) -> list[float]:
    """Return the quantile of each share, all in the same two passes."""
    high = sum((_count(_keys(x) >> np.uint32(16)) for x in shards()), np.zeros(BUCKETS, np.int64))
    total = int(high.sum())
    if total == 0:
        return [float("nan")] * len(share_Q)
    below = np.concatenate([[0], np.cumsum(high)])
    rank_Q = [max(1, int(np.ceil(share * total))) for share in share_Q]
    bucket_Q = [int(np.searchsorted(below[1:], rank)) for rank in rank_Q]
    kept, place_Q = np.unique(bucket_Q, return_inverse=True)
    slot = np.full(BUCKETS, -1)
    slot[kept] = np.arange(len(kept))
    low = np.zeros((len(kept), BUCKETS), np.int64)
    for x in shards():
        keys = _keys(x)
        slot_N = slot[keys >> np.uint32(16)]
        inside = slot_N >= 0
        np.add.at(low, (slot_N[inside], keys[inside] & np.uint32(BUCKETS - 1)), 1)
    upto = np.cumsum(low, axis=1)
    keys_Q = [
        bucket << 16 | int(np.searchsorted(upto[place], rank - below[bucket]))
        for bucket, place, rank in zip(bucket_Q, place_Q, rank_Q, strict=True)
    ]
    return _values(np.array(keys_Q, np.uint32)).tolist()


def _keys(values_N: NDArray[np.float32]) -> NDArray[np.uint32]:
    """Map floats to integers of the same order: flip all bits of negatives, the sign of others."""
    values_N = np.asarray(values_N, np.float32)
    bits = (values_N[~np.isnan(values_N)] + np.float32(0)).view(np.uint32)  # -0 becomes 0
    return np.where(bits & SIGN, ~bits, bits | SIGN)


def _values(keys_N: NDArray[np.uint32]) -> NDArray[np.float32]:
    return np.where(keys_N & SIGN, keys_N & ~SIGN, ~keys_N).astype(np.uint32).view(np.float32)


def _count(bucket_N: NDArray[np.uint32]) -> NDArray[np.int64]:
    return np.bincount(bucket_N, minlength=BUCKETS).astype(np.int64)
