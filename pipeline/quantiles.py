"""Exact quantiles of a pool's columns: every shard is read twice, wherever there are cores."""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from filters.quantiles import BUCKETS, count, find, value_at
from pipeline.executors import Executor, some_at_once
from pipeline.scores import Scores
from pipeline.tables import numbers

Key = tuple[str, int | None]  # a column; the bucket to look into, None for all of them
Sparse = tuple[NDArray[np.int64], NDArray[np.int64]]  # buckets with rows, and how many


def quantiles(
    scores: Scores, wanted: Collection[tuple[str, float]], *, execute: Executor
) -> dict[tuple[str, float], float]:
    """Return the value of each (column, share of its rows) over all good rows; NaN without any.

    Two passes over the shards, however many quantiles of however many columns.
    """
    high = _count(scores, {(column, None) for column, _ in wanted}, execute)
    places = {key: find(high[key[0], None], key[1]) for key in wanted}
    inside = {(key[0], place.bucket) for key, place in places.items() if place is not None}
    low = _count(scores, inside, execute)
    return {
        key: float("nan") if place is None else value_at(place, low[key[0], place.bucket])
        for key, place in places.items()
    }


def _count(
    scores: Scores, keys: Collection[Key], execute: Executor
) -> dict[Key, NDArray[np.int64]]:
    """Count the rows of all shards by bucket; integers, so that any order gives the same."""
    total = {key: np.zeros(BUCKETS, np.int64) for key in keys}
    chunks = some_at_once(range(len(scores))) if keys else []
    for part in execute.map(_count_some, (scores, tuple(keys)), chunks, weights={}):
        for key, (bucket_n, count_n) in part.items():
            total[key][bucket_n] += count_n
    return total


def _count_some(
    shared: tuple[Scores, tuple[Key, ...]], weights: Mapping[str, Path], shards: Sequence[int]
) -> dict[Key, Sparse]:
    del weights
    scores, keys = shared
    total = {key: np.zeros(BUCKETS, np.int64) for key in keys}
    columns = sorted({column for column, _ in keys})
    for shard in shards:
        table = scores.good(shard, columns)
        for column, bucket in keys:
            total[column, bucket] += count(numbers(table, column, np.float32), inside=bucket)
    return {key: (np.flatnonzero(n_B), n_B[n_B > 0]) for key, n_B in total.items()}
