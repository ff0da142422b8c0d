"""Exact counts of hashed things: shards are counted apart and added up, in any order."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from filters.derive.pooled import Pooled


@dataclass(frozen=True, slots=True)
class Counts(Pooled):
    """How often each of K keys occurs.

    Attributes:
        key_K: uint64 [K], ascending.
        count_K: int64 [K], positive.
    """

    key_K: NDArray[np.uint64]
    count_K: NDArray[np.int64]

    @classmethod
    def of(cls, key_N: NDArray[np.uint64]) -> "Counts":
        """Count N keys."""
        key_K, count_K = np.unique(np.asarray(key_N, np.uint64), return_counts=True)
        return cls(key_K, count_K.astype(np.int64))

    def plus(self, others: "Sequence[Counts]") -> "Counts":
        """Add counts up."""
        return merge([self, *others])

    def __getitem__(self, key_N: NDArray[np.uint64]) -> NDArray[np.int64]:
        """Return the counts of N keys, 0 for one that never occurred; int64 [N]."""
        if not len(self.key_K):
            return np.zeros(len(key_N), np.int64)
        at_N = np.minimum(np.searchsorted(self.key_K, key_N), len(self.key_K) - 1)
        return np.where(self.key_K[at_N] == key_N, self.count_K[at_N], 0)


def merge(parts: Sequence[Counts]) -> Counts:
    """Add counts up."""
    keys = np.concatenate([p.key_K for p in parts]) if parts else np.zeros(0, np.uint64)
    counts = np.concatenate([p.count_K for p in parts]) if parts else np.zeros(0, np.int64)
    key_K, at_N = np.unique(keys, return_inverse=True)
    count_K = np.zeros(len(key_K), np.int64)
    np.add.at(count_K, at_N, counts)
    return Counts(key_K, count_K)
