"""Every pair still in gets its nearest clusters, which are found from a sample of the pairs.

Letters: K clusters, D dimensions, n good rows of a shard, m of them in a cluster.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from filters.concepts import AnyClustering, Concepts
from filters.concepts.density import Spread
from filters.extract import Column
from filters.extract.base import Values
from pipeline.columns.arrays import kept_arrays
from pipeline.columns.remaining import ROW, Remaining, spread
from pipeline.columns.stages import ColumnStage, Place, column_stage
from pipeline.concepts.centroids import find_concepts
from pipeline.executors import some_at_once
from pipeline.scores import Scores
from pipeline.tables import embedding as embedding_of

SPREAD = "spread.npz"
NOBODY, NOWHERE = np.zeros(0, np.int32), np.zeros(0, np.float32)


@dataclass(frozen=True, slots=True)
class Clustered:
    """Where the pairs still in lie.

    Attributes:
        remaining: The same pairs; `{prefix}cluster`, `{prefix}distance`, `{prefix}second` and
            `{prefix}second_distance` are known of them, null where an embedding tells nothing.
        concepts: The clusters; none, if no embedding tells anything.
        size_K: Pairs in each cluster, int64 [K].
        mean_distance_K: Of its pairs to its centroid, float64 [K]; NaN for one without pairs.
    """

    remaining: Remaining
    concepts: Concepts
    size_K: NDArray[np.int64]
    mean_distance_K: NDArray[np.float64]


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
        reads=reads_of(remaining, embedding), version=2,
        embedding=embedding, reason=remaining.reason, clustering=clustering, seed=seed,
    )  # fmt: skip
    concepts = find_concepts(stage, remaining, embedding, clustering, seed=seed)
    if stage.is_whole:
        scores = stage.known()
    else:
        scores = stage.fill(_assign, _Work(remaining, embedding, prefix, concepts))
    clustered = Remaining(scores, remaining.reason)
    found = _spread(stage, clustered, prefix, concepts.clusters)
    return Clustered(clustered, concepts, found.size_K, found.mean)


def cluster_columns(prefix: str) -> tuple[Column, ...]:
    """Return the columns of an assignment."""
    return (
        Column(f"{prefix}cluster", "int32", "", "[0, K)", "nearest cluster"),
        Column(f"{prefix}distance", "float32", "", "[0, 2]", "cosine distance to its centroid"),
        Column(f"{prefix}second", "int32", "", "[0, K)", "second nearest cluster"),
        Column(f"{prefix}second_distance", "float32", "", "[0, 2]", "distance to its centroid"),
    )


def reads_of(remaining: Remaining, *columns: str) -> tuple[str, ...]:
    """Return the columns that decide what is read of pairs still in, their uids included.

    A table that says why a pair is out follows from all that tells which rows are good.
    """
    if remaining.reason == "status":
        return remaining.scores.columns
    return ("uid", *columns, remaining.reason)


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


def _spread(stage: ColumnStage, clustered: Remaining, prefix: str, clusters: int) -> Spread:
    """Return sizes and summed distances; they are kept beside the stage's tables."""

    def add_up() -> dict[str, NDArray[np.int64]]:
        shared, todo = (clustered, prefix, clusters), some_at_once(range(len(clustered.scores)))
        parts = stage.place.execute.map(_spread_some, shared, todo, weights={})
        found = sum(parts, Spread.of(NOBODY, NOWHERE, concepts=clusters))
        return {"size_K": found.size_K, "sum_K": found.sum_K}

    return Spread(**kept_arrays(stage.folder, SPREAD, add_up))


def _spread_some(
    shared: tuple[Remaining, str, int], weights: Mapping[str, Path], shards: Sequence[int]
) -> Spread:
    del weights
    clustered, prefix, clusters = shared
    names = [f"{prefix}cluster", f"{prefix}distance"]
    found = Spread.of(NOBODY, NOWHERE, concepts=clusters)
    for shard in shards:
        table = clustered.left(shard, names).drop_null()
        cluster_m, distance_m = (table.column(name).to_numpy() for name in names)
        found += Spread.of(cluster_m, distance_m, concepts=clusters)
    return found
