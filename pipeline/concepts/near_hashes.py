"""Pairs whose perceptual hashes differ in a few bits, over the whole pool.

Only the first pair of each hash takes part: what has its hash is a copy of it already. Letters: N
rows of a partition, n of them with one band.
"""

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from filters.concepts.copies import bands, closest_in_buckets
from pipeline.concepts.equal_hashes import (
    ROW_BYTES,
    WHICH,
    Search,
    claims,
    numpy_of,
    partition_of,
)
from pipeline.concepts.precedence import words_of
from pipeline.exchange import Answers, exchange
from pipeline.remaining import ROW
from pipeline.shuffle import Rows, Runs, partitions_for
from pipeline.stages import ColumnStage

_Shared = tuple[Search, str, int, Answers, int]


def near_hashes(
    search: Search, stage: ColumnStage, *, column: str, bits: int, equal: Answers, pairs: int
) -> Answers:
    """Tell pairs with a hash of their own which earlier one differs in the fewest bits.

    Args:
        search: What is asked.
        stage: Where it is done.
        column: The hash, one of the search's.
        bits: In how many of 64 bits copies may differ, at least 1.
        equal: What `equal_hashes` answered.
        pairs: How many there are.

    Returns:
        Tables as `claims` makes them; a pair may have several answers.
    """
    partitions = partitions_for(pairs * (bits + 1), row_bytes=ROW_BYTES)
    return exchange(
        _ask, _answer, (search, column, bits, equal, partitions),
        shards=len(search.remaining.scores), partitions=partitions,
        folder=stage.scratch / "near", execute=stage.place.execute,
    )  # fmt: skip


def _ask(shared: _Shared, shard: int) -> Iterator[Rows]:
    """Send each distinct hash to those that have a band of its bits, by band."""
    search, column, bits, equal, partitions = shared
    table = search.candidates(shard, column)
    told = equal.of(shard)
    if told is not None:
        which = search.hashes.index(column)
        copies = told.filter(pc.equal(told.column(WHICH), which)).column(ROW).combine_chunks()
        table = table.filter(pc.invert(pc.is_in(table.column(ROW), copies)))
    for band, key_N in enumerate(bands(numpy_of(table, "hash"), bits).T):
        partition_N = partition_of(key_N, band, partitions)
        index = pa.array(np.full(len(table), band, np.int8))
        yield Rows(table.append_column("band", index), partition_N)


def _answer(shared: _Shared, runs: Runs, partition: int) -> Iterator[pa.Table]:
    bits = shared[2]
    table = runs.read(partition)
    assert table is not None, "only partitions with rows are answered"
    uid_N2, hash_N = words_of(table.column("uid")), numpy_of(table, "hash")
    rank_N, band_N = numpy_of(table, "rank"), numpy_of(table, "band")
    for band in np.unique(band_N):
        rows = np.flatnonzero(band_N == band)
        rows = rows[np.lexsort((uid_N2[rows, 1], uid_N2[rows, 0], rank_N[rows]))]
        key_n = bands(hash_N[rows], bits)[:, band]
        earlier_n, bits_n = closest_in_buckets(hash_N[rows], key_n, bits)
        found = np.flatnonzero(earlier_n >= 0)
        yield claims(table, rows[found], rows[earlier_n[found]], bits_n[found])
