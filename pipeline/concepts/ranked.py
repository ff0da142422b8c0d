"""In which order the pairs of each cluster are kept, and the last pair that each one keeps.

Only the rows of clusters that keep some of their pairs and not all are moved, 24 bytes each, to
whoever answers for the cluster; one place of each cluster comes back.
Letters: K clusters, k some of them, m pairs of a shard in a cluster, P partitions.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from filters.concepts.grouping import Cuts, Which, cuts_of, grouped, keys
from filters.ensemble.budget import DIGIT_BITS, Digit, best
from pipeline.columns.remaining import Remaining
from pipeline.columns.shuffle import PARTITION_BYTES, Rows, Runs, shuffle
from pipeline.executors import Executor, some_at_once
from pipeline.folder import Folder
from pipeline.tables import uid_words, uids

CLUSTER, DISTANCE = "concept_cluster", "concept_distance"
ROW_BYTES = 64  # that a row takes where it is sorted
PARTITION_ROWS = PARTITION_BYTES // ROW_BYTES
LAST = np.iinfo(np.uint64).max


@dataclass(frozen=True, slots=True)
class Places:
    """Where m pairs stand: in each cluster those of the lowest (key, uid) are kept first.

    Attributes:
        cluster_m: int32.
        key_m: uint32.
        uid_m2: uint64, the high word first.
    """

    cluster_m: NDArray[np.int32]
    key_m: NDArray[np.uint32]
    uid_m2: NDArray[np.uint64]

    def take(self, at: NDArray[np.bool_]) -> "Places":
        """Return some of them."""
        return Places(self.cluster_m[at], self.key_m[at], self.uid_m2[at])

    @property
    def rank(self) -> tuple[NDArray[np.float64], NDArray[np.uint64]]:
        """What `best` ranks by: the lowest key is the highest number."""
        return -self.key_m.astype(np.float64), self.uid_m2


@dataclass(frozen=True, slots=True)
class Ranked:
    """The pairs still in that are in a cluster.

    Attributes:
        remaining: With the columns of their clusters.
        which: Which ones of a cluster are kept first.
        seed: Of "random".
    """

    remaining: Remaining
    which: Which
    seed: int

    def of(self, shard: int) -> Places:
        """Return those of a shard, in its order."""
        return self.places(self.remaining.left(shard, ["uid", CLUSTER, DISTANCE]).drop_null())

    def places(self, table: pa.Table) -> Places:
        """Return where rows with uid, cluster and distance stand."""
        uid_m2 = uid_words(uids(table))
        distance_m = table.column(DISTANCE).to_numpy()
        key_m = keys(self.which, distance_N=distance_m, uid_N2=uid_m2, seed=self.seed)
        return Places(table.column(CLUSTER).to_numpy(), key_m, uid_m2)


def find_cuts(
    ranked: Ranked,
    quota_K: NDArray[np.int64],
    size_K: NDArray[np.int64],
    *,
    folder: Folder,
    execute: Executor,
) -> Cuts:
    """Return the last place that each cluster keeps.

    Args:
        ranked: The pairs.
        quota_K: How many each cluster keeps.
        size_K: How many it has.
        folder: For what lies on disk meanwhile.
        execute: Where it is done.
    """
    key_K, uid_K2 = np.full(len(size_K), LAST >> 32, np.uint32), np.full((len(size_K), 2), LAST)
    partition_K = _deal(np.where((quota_K > 0) & (quota_K < size_K), size_K, 0))
    partitions = int(partition_K.max(initial=-1)) + 1
    if not partitions:  # every cluster keeps all or nothing
        return Cuts(key_K, uid_K2, quota_K)
    runs = shuffle(
        _send, (ranked, partition_K), some_at_once(range(len(ranked.remaining.scores))),
        partitions=partitions, folder=folder / "ranked", execute=execute,
    )  # fmt: skip
    answers = execute.map(_cut, (runs, quota_K, partition_K), range(partitions), weights={})
    for cluster_k, cuts in answers:
        key_K[cluster_k], uid_K2[cluster_k] = cuts.key_K, cuts.uid_K2
    runs.remove()
    return Cuts(key_K, uid_K2, quota_K)


def _deal(rows_K: NDArray[np.int64]) -> NDArray[np.int32]:
    """Return who answers for each cluster, -1 for one without rows; a large one has its own."""
    partition_K = np.full(len(rows_K), -1, np.int32)
    small_K = (rows_K > 0) & (rows_K <= PARTITION_ROWS)
    before_k = np.cumsum(rows_K[small_K]) - rows_K[small_K]
    _, partition_k = np.unique(before_k // PARTITION_ROWS, return_inverse=True)
    partition_K[small_K] = partition_k
    large = np.flatnonzero(rows_K > PARTITION_ROWS)
    partition_K[large] = int(partition_K.max(initial=-1)) + 1 + np.arange(len(large))
    return partition_K


def _send(shared: tuple[Ranked, NDArray[np.int32]], shards: Sequence[int]) -> Iterator[Rows]:
    ranked, partition_K = shared
    for shard in shards:
        places = ranked.of(shard)
        places = places.take(partition_K[places.cluster_m] >= 0)
        high_m, low_m = places.uid_m2.T
        table = pa.table(
            {"cluster": places.cluster_m, "key": places.key_m, "high": high_m, "low": low_m}
        )
        yield Rows(table, partition_K[places.cluster_m])


def _cut(
    shared: tuple[Runs, NDArray[np.int64], NDArray[np.int32]],
    weights: Mapping[str, Path],
    partition: int,
) -> tuple[NDArray[np.int64], Cuts]:
    """Return the cuts of a partition's clusters, and which these are."""
    del weights
    runs, quota_K, partition_K = shared
    cluster_k = np.flatnonzero(partition_K == partition)
    if len(cluster_k) == 1:
        return cluster_k, _cut_of_one(runs, partition, int(quota_K[cluster_k[0]]))
    table = runs.read(partition)
    assert table is not None, "only clusters with rows are sent"
    places = _read(table)
    at_m = np.searchsorted(cluster_k, places.cluster_m).astype(np.int32)
    groups = grouped(at_m, places.key_m, places.uid_m2, concepts=len(cluster_k))
    return cluster_k, cuts_of(groups, places.key_m, places.uid_m2, quota_K=quota_K[cluster_k])


def _cut_of_one(runs: Runs, partition: int, quota: int) -> Cuts:
    """Return the cut of a cluster of any size: its runs are gone through, several times."""

    def count(digit: Digit) -> NDArray[np.int64]:
        total_B = np.zeros(1 << DIGIT_BITS, np.int64)
        for batch in runs.batches(partition):
            total_B += digit.count(_read(batch).rank)
        return total_B

    cut, last = best(count, quota), (-1, 0, 0)
    for batch in runs.batches(partition):
        places = _read(batch)
        places = places.take(cut.keeps(*places.rank))
        if len(places.key_m):
            at = np.lexsort((places.uid_m2[:, 1], places.uid_m2[:, 0], places.key_m))[-1]
            last = max(last, (int(places.key_m[at]), *places.uid_m2[at].tolist()))
    key, *uid = last
    return Cuts(np.array([key], np.uint32), np.array([uid], np.uint64), np.array([quota], np.int64))


def _read(rows: pa.Table | pa.RecordBatch) -> Places:
    cluster_m, key_m, high_m, low_m = (
        rows.column(name).to_numpy() for name in ("cluster", "key", "high", "low")
    )
    return Places(cluster_m, key_m, np.stack([high_m, low_m], axis=1))
