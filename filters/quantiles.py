"""Exact order statistics of a sharded column in two passes of integer counts.

A float32 maps to a 32-bit key of the same order. The first pass counts its high 16 bits, the second
the low 16 bits inside the bucket that holds the wanted rank. Counts of shards add up, so the result
does not depend on how rows are sharded, and nothing but 65,536 counts is ever held.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

BUCKETS = 1 << 16
SIGN = np.uint32(1 << 31)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a quantile is, after the first pass.

    Attributes:
        bucket: The high 16 bits of its key.
        rank: Its rank among the rows of that bucket, from 1 on.
    """

    bucket: int
    rank: int


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
    high_B = sum((count(x) for x in shards()), np.zeros(BUCKETS, np.int64))
    place_Q = [find(high_B, share) for share in share_Q]
    low = {place.bucket: np.zeros(BUCKETS, np.int64) for place in place_Q if place is not None}
    for values_N in shards():
        for bucket in low:
            low[bucket] += count(values_N, inside=bucket)
    return [float("nan") if p is None else value_at(p, low[p.bucket]) for p in place_Q]


def count(values_N: NDArray[np.float32], *, inside: int | None = None) -> NDArray[np.int64]:
    """Count one pass of N values; NaN does not count. Counts of shards add up.

    Args:
        values_N: float32 [N].
        inside: None for the first pass, the bucket that holds the quantile for the second.

    Returns:
        int64 [BUCKETS].
    """
    key_N = _keys(values_N)
    if inside is None:
        return _count(key_N >> np.uint32(16))
    return _count(key_N[key_N >> np.uint32(16) == inside] & np.uint32(BUCKETS - 1))


def find(high_B: NDArray[np.int64], share: float) -> Place | None:
    """Return where the quantile of a share is, from the first pass; None if there is no value."""
    total = int(high_B.sum())
    if total == 0:
        return None
    rank = max(1, int(np.ceil(share * total)))
    bucket = int(np.searchsorted(np.cumsum(high_B), rank))
    return Place(bucket, rank - int(high_B[:bucket].sum()))


def value_at(place: Place, low_B: NDArray[np.int64]) -> float:
    """Return the quantile from the second pass."""
    low = int(np.searchsorted(np.cumsum(low_B), place.rank))
    key = np.uint32(place.bucket << 16 | low)
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
