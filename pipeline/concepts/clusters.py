"""Every pair still in gets its nearest clusters, which are found from a sample of the pairs.

Letters: K clusters, D dimensions, n good rows of a shard, m of them in a cluster.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from filters.concepts import AnyClustering, Concepts
from filters.extract import Column
from filters.extract.base import Values
from pipeline.arrays import read_arrays, write_arrays
from pipeline.concepts.sample import training_sample
from pipeline.executors import Executor, some_at_once
from pipeline.remaining import ROW, Remaining, spread
from pipeline.scores import Scores
from pipeline.stages import ColumnStage, Place, column_stage
from pipeline.tables import embedding as embedding_of

CENTROIDS, SIZES = "centroids.npz", "sizes.npz"
FIXED_POINT = 1 << 28  # of summed distances: 2^33 pairs at distance 2 still fit an int64


@dataclass(frozen=True, slots=True)
class Clustered:
    """Where the pairs still in lie.

    Attributes:
        remaining: The same pairs; `{prefix}cluster`, `{prefix}distance`, `{prefix}second` and
            `{prefix}second_distance` are known of them, null where an embedding tells nothing.
        concepts: The clusters; none, if no embedding tells anything.
        size_K: Pairs in each, int64 [K].
        distance_K: Sum of their distances, int64 [K], in units of 1 / FIXED_POINT.
    """

    remaining: Remaining
    concepts: Concepts
    size_K: NDArray[np.int64]
    distance_K: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class _Work:
    remaining: Remaining
    embedding: str
    prefix: str
    concepts: Concepts


def cluster_pairs(
    remaining: Remaining,
    *,
    embedding: str,
    clustering: AnyClustering,
    prefix: str,
    seed: int,
    place: Place,
) -> Clustered:
    """Find clusters and assign every pair still in.

    A pair whose embedding tells nothing (zero, or not finite) stays in, without a cluster.

    Args:
        remaining: The pairs.
        embedding: Column to cluster.
        clustering: How clusters are found.
        prefix: Of the columns written.
        seed: Of sample and clusters.
        place: Where it is done.
    """
    stage = column_stage(
        remaining.scores, f"{prefix}clusters", cluster_columns(prefix), place=place,
        reads=reads_of(remaining, embedding), version=1,
        embedding=embedding, reason=remaining.reason, clustering=clustering, seed=seed,
    )  # fmt: skip
    concepts = _concepts(stage, remaining, embedding, clustering, seed)
    if stage.is_whole:
        scores = stage.known()
    else:
        scores = stage.fill(_assign, _Work(remaining, embedding, prefix, concepts))
    clustered = Remaining(scores, remaining.reason)
    size_K, distance_K = _sizes(stage, clustered, prefix, concepts.clusters)
    return Clustered(clustered, concepts, size_K, distance_K)


def cluster_columns(prefix: str) -> tuple[Column, ...]:
    """Return the columns of an assignment."""
    return (
        Column(f"{prefix}cluster", "int32", "", "[0, K)", "nearest cluster"),
        Column(f"{prefix}distance", "float32", "", "[0, 2]", "cosine distance to its centroid"),
        Column(f"{prefix}second", "int32", "", "[0, K)", "second nearest cluster"),
        Column(f"{prefix}second_distance", "float32", "", "[0, 2]", "distance to its centroid"),
    )


def reads_of(remaining: Remaining, *columns: str) -> tuple[str, ...]:
    """Return the columns that decide what is read of pairs still in.

    A table that says why a pair is out follows from all that tells which rows are good.
    """
    if remaining.reason == "status":
        return remaining.scores.columns
    return (*columns, remaining.reason)


def _concepts(
    stage: ColumnStage, remaining: Remaining, column: str, clustering: AnyClustering, seed: int
) -> Concepts:
    """Return the clusters that lie beside the stage's tables; find them, if none do."""
    if stage.folder.exists(CENTROIDS):
        return Concepts.from_arrays(read_arrays(stage.folder, CENTROIDS))
    execute = stage.place.execute
    sample_ND = training_sample(
        remaining, column=column, rows=clustering.points, seed=seed, execute=execute
    )
    if len(sample_ND):
        concepts = clustering.train(sample_ND, seed=seed, map=partial(_in_tasks, execute))
    else:
        concepts = Concepts(np.zeros((0, sample_ND.shape[1]), np.float32))
    write_arrays(stage.folder, CENTROIDS, concepts.to_arrays())
    return concepts


def _in_tasks(
    execute: Executor, function: Callable[[Any], Any], items: Iterable[Any]
) -> Iterable[Any]:
    """Return `function` of each item, in order, done where the executor does things."""
    numbered = list(enumerate(items))
    found = dict(execute.map(_numbered, function, numbered, weights={}))
    return [found[number] for number, _ in numbered]


def _numbered(
    function: Callable[[Any], Any], weights: Mapping[str, Path], item: tuple[int, Any]
) -> tuple[int, Any]:
    del weights
    number, what = item
    return number, function(what)


def _assign(work: _Work, scores: Scores, shard: int) -> dict[str, Values]:
    """Return the columns of one shard."""
    del scores
    table = work.remaining.left(shard, [work.embedding])
    rows = len(work.remaining.reasons(shard))
    names = [column.name for column in cluster_columns(work.prefix)]
    if not work.concepts.clusters:
        kinds = (pa.int32(), pa.float32(), pa.int32(), pa.float32())
        return {name: pa.nulls(rows, kind) for name, kind in zip(names, kinds, strict=True)}
    found = work.concepts.assign(embedding_of(table, work.embedding))
    row_m, first_m, second_m = (
        table.column(ROW).to_numpy(),
        found.cluster_N >= 0,
        found.second_N >= 0,
    )
    values = (
        (found.cluster_N, first_m), (found.distance_N, first_m),
        (found.second_N, second_m), (found.second_distance_N, second_m),
    )  # fmt: skip
    return {
        name: spread(value_m[has_m], row_m[has_m], rows)
        for name, (value_m, has_m) in zip(names, values, strict=True)
    }


def _sizes(
    stage: ColumnStage, clustered: Remaining, prefix: str, clusters: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return how many pairs each cluster has and the sum of their distances; kept for the next."""
    if stage.folder.exists(SIZES):
        held = read_arrays(stage.folder, SIZES)
        return held["size_K"], held["distance_K"]
    size_K, distance_K = np.zeros(clusters, np.int64), np.zeros(clusters, np.int64)
    shared, todo = (clustered, prefix, clusters), some_at_once(range(len(clustered.scores)))
    for size_k, distance_k in stage.place.execute.map(_size_some, shared, todo, weights={}):
        size_K += size_k
        distance_K += distance_k
    write_arrays(stage.folder, SIZES, {"size_K": size_K, "distance_K": distance_K})
    return size_K, distance_K


def _size_some(
    shared: tuple[Remaining, str, int], weights: Mapping[str, Path], shards: Sequence[int]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    del weights
    clustered, prefix, clusters = shared
    size_K, distance_K = np.zeros(clusters, np.int64), np.zeros(clusters, np.int64)
    for shard in shards:
        table = clustered.left(shard, [f"{prefix}cluster", f"{prefix}distance"]).drop_null()
        cluster_m = table.column(f"{prefix}cluster").to_numpy()
        distance_m = table.column(f"{prefix}distance").to_numpy().astype(np.float64)
        size_K += np.bincount(cluster_m, minlength=clusters)
        np.add.at(distance_K, cluster_m, np.rint(distance_m * FIXED_POINT).astype(np.int64))
    return size_K, distance_K
