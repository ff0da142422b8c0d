"""Self-supervised prototypes: one cut through all clusters at once (arXiv:2206.14486).

Letters: K clusters.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from filters.ensemble.budget import DIGIT_BITS, Cut, Digit, best
from pipeline.concepts.ranked import Ranked
from pipeline.executors import Executor, some_at_once


def count_above(
    ranked: Ranked, *, total: int, clusters: int, execute: Executor
) -> NDArray[np.int64]:
    """Return how many pairs of each cluster are among the first `total` of all, int64 [K].

    The shards are read once for every digit of the last pair's place, about four times, and once
    more.

    Args:
        ranked: The pairs; which comes first is its key, whatever the cluster, and then its uid.
        total: How many come first.
        clusters: K.
        execute: Where shards are read.
    """
    todo = some_at_once(range(len(ranked.remaining.scores)))

    def count(digit: Digit) -> NDArray[np.int64]:
        total_B = np.zeros(1 << DIGIT_BITS, np.int64)
        for value_b, count_b in execute.map(_count_digit, (ranked, digit), todo, weights={}):
            total_B[value_b] += count_b
        return total_B

    cut = best(count, total)
    parts = execute.map(_count_clusters, (ranked, cut, clusters), todo, weights={})
    return sum(parts, np.zeros(clusters, np.int64))


def _count_digit(
    shared: tuple[Ranked, Digit], weights: Mapping[str, Path], shards: Sequence[int]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    del weights
    ranked, digit = shared
    total_B = np.zeros(1 << DIGIT_BITS, np.int64)
    for shard in shards:
        total_B += digit.count(ranked.of(shard).rank)
    return np.flatnonzero(total_B), total_B[total_B > 0]


def _count_clusters(
    shared: tuple[Ranked, Cut, int], weights: Mapping[str, Path], shards: Sequence[int]
) -> NDArray[np.int64]:
    del weights
    ranked, cut, clusters = shared
    count_K = np.zeros(clusters, np.int64)
    for shard in shards:
        places = ranked.of(shard)
        kept_m = cut.keeps(*places.rank)
        count_K += np.bincount(places.cluster_m[kept_m], minlength=clusters)
    return count_K
