"""Embeddings are sent to whoever has their clusters, compared there, and the answers come home.

Letters: K clusters, D dimensions, n rows of a shard, p pairs of clusters, N rows of a partition.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from filters.concepts.similar import (
    Earlier,
    components,
    greedy_kept,
    max_similarity_to_earlier,
)
from pipeline.columns.exchange import SHARD
from pipeline.columns.remaining import ROW, Remaining
from pipeline.columns.shuffle import PARTITION_BYTES, Rows, Runs
from pipeline.concepts.gathered import VECTOR, gathered
from pipeline.concepts.precedence import LAST, needed, precedence
from pipeline.settings import Dedup

PREFIX = "dedup_"  # of the columns of clusters
SMALL_BYTES = 2**20  # a partition of less is not worth a task of its own
MANY = 16  # partitions that there should be, so that several cores have something to do
ROUNDING = 0.004  # of cosines: embeddings are of unit norm within 0.001


@dataclass(frozen=True, slots=True)
class Comparison:
    """What is compared.

    Attributes:
        remaining: The pairs, with clusters.
        cfg: How.
        seed: Of a random order.
        bin_K: Partition of each cluster, int32.
        centroid_KD: Of the clusters.
        above: Visitors that can be no more similar than this to anything in their second nearest
            cluster are not sent there; -1 sends all.
    """

    remaining: Remaining
    cfg: Dedup
    seed: int
    bin_K: NDArray[np.int32]
    centroid_KD: NDArray[np.float32]
    above: float

    @property
    def partitions(self) -> int:
        """How many bins there are."""
        return int(self.bin_K.max(initial=0)) + 1

    def ask(self, shard: int) -> Iterator[Rows]:
        """Send each pair to its cluster, and near a border to the one beyond."""
        cfg, distance = self.cfg, f"{PREFIX}distance"
        wanted = [distance, f"{PREFIX}cluster", f"{PREFIX}second", f"{PREFIX}second_distance"]
        names = dict.fromkeys(["uid", cfg.embedding, *wanted, *needed(cfg.prefer, distance)])
        table = self.remaining.left(shard, list(names))
        if table.column(f"{PREFIX}cluster").null_count:
            table = table.filter(table.column(f"{PREFIX}cluster").is_valid())
        rank_n = precedence(table, cfg.prefer, distance=distance, seed=self.seed)
        sent = table.select([ROW, "uid"]).append_column("rank", pa.array(rank_n))
        sent = sent.append_column(VECTOR, table.column(cfg.embedding).combine_chunks())
        yield self._sent(sent, table.column(f"{PREFIX}cluster").to_numpy(), visits=False)
        if cfg.borders:
            visits_n = self._visits(table)
            second_n = table.column(f"{PREFIX}second").filter(visits_n).to_numpy()
            yield self._sent(sent.filter(visits_n), second_n, visits=True)

    def answer(self, runs: Runs, partition: int) -> Iterator[pa.Table]:
        """Say what each pair is most similar to: `shard, row, similarity, alike, alike_rank`."""
        with gathered(runs, partition) as found:
            table = found.table
            visits_N = table.column("visits").to_numpy(zero_copy_only=False)
            similarity_N = np.empty(len(table), np.float32)
            earlier_N = np.empty(len(table), np.int64)
            for rows in found.clusters():
                told = self._compared(found.vectors_ND[rows], visits_N[rows])
                similarity_N[rows] = told.similarity_N
                earlier_N[rows] = np.where(told.earlier_N < 0, -1, told.earlier_N + rows.start)
        alike_N = pa.array(earlier_N, mask=earlier_N < 0)
        rank_N = pc.fill_null(table.column("rank").take(alike_N), LAST)
        told = pa.table({
            SHARD: table.column(SHARD), ROW: table.column(ROW), "similarity": similarity_N,
            "alike": table.column("uid").take(alike_N), "alike_rank": rank_N,
        })  # fmt: skip
        yield told.filter(pa.array(~visits_N | (earlier_N >= 0)))  # a member is answered anyway

    def _sent(self, table: pa.Table, cluster_n: NDArray[np.int32], *, visits: bool) -> Rows:
        table = table.append_column("cluster", pa.array(cluster_n))
        table = table.append_column("visits", pa.array(np.full(len(table), visits)))
        return Rows(table, self.bin_K[cluster_n])

    def _visits(self, table: pa.Table) -> pa.Array:
        """Tell which pairs may have a near-copy in their second nearest cluster, bool [n].

        What is nearest to the other centroid lies beyond the plane that halves the angle between
        the two, and whatever is more similar than s to a pair at the angle a from that plane is at
        less than arccos(s) from the pair: it cannot be there if sin(a) > sqrt(1 - s^2).
        """
        has_n = table.column(f"{PREFIX}second").is_valid().combine_chunks()
        if self.above < 0:
            return has_n
        columns = [table.column(f"{PREFIX}{c}") for c in ("cluster", "second")]
        own_n, other_n = (c.fill_null(0).to_numpy().astype(np.int64) for c in columns)
        gap_n = self._gaps(own_n, other_n)
        distance_n, beyond_n = (
            table.column(f"{PREFIX}{c}").fill_null(0).to_numpy()
            for c in ("distance", "second_distance")
        )
        reach = np.sqrt(1 - max(self.above - ROUNDING, 0) ** 2) * (1 + ROUNDING)
        near_n = beyond_n - distance_n <= reach * gap_n
        return pc.and_(has_n, pa.array(near_n))

    def _gaps(self, own_n: NDArray[np.int64], other_n: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return how far apart the centroids of pairs are; of each two that are named once."""
        clusters = len(self.centroid_KD)
        code_p, which_n = np.unique(own_n * clusters + other_n, return_inverse=True)
        own_pD, other_pD = self.centroid_KD[code_p // clusters], self.centroid_KD[code_p % clusters]
        gap_p = np.sqrt(np.maximum(2 - 2 * np.vecdot(own_pD, other_pD), ROUNDING**2))
        return gap_p[which_n]

    def _compared(self, vectors_ND: NDArray[np.float16], visits_N: NDArray[np.bool_]) -> Earlier:
        mode, similarity = self.cfg.mode, self.cfg.similarity
        if mode == "greedy_kept":
            return greedy_kept(vectors_ND, similarity=similarity)
        if mode == "components":
            return components(vectors_ND, similarity=similarity)
        visitor_N = visits_N if visits_N.any() else None
        return max_similarity_to_earlier(vectors_ND, visitor_N=visitor_N)


def ask(comparison: Comparison, shard: int) -> Iterator[Rows]:
    """Send a shard's pairs to those who compare them."""
    return comparison.ask(shard)


def answer(comparison: Comparison, runs: Runs, partition: int) -> Iterator[pa.Table]:
    """Compare the pairs of a partition."""
    return comparison.answer(runs, partition)


def bins(size_K: NDArray[np.int64], *, row_bytes: int) -> NDArray[np.int32]:
    """Deal clusters out to partitions, one after the other until one is full; int32 [K].

    A cluster larger than a partition should be has one of its own.
    """
    bytes_K = size_K * row_bytes
    most = min(PARTITION_BYTES, max(SMALL_BYTES, int(bytes_K.sum()) // MANY))
    bin_K = np.zeros(len(size_K), np.int32)
    number = filled = 0
    for k, size in enumerate(bytes_K.tolist()):
        if filled and filled + size > most:
            number, filled = number + 1, 0
        bin_K[k] = number
        filled += size
    return bin_K
