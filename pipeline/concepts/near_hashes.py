"""Pairs whose perceptual hashes differ in a few bits, over the whole pool.

Only the first pair of each hash takes part: what has its hash is a copy of it already. Letters: N
rows of a partition, n of a shard, C keys of a row.
"""

from collections.abc import Iterator
from math import comb

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from filters.concepts.copies import WIDTH, bands, near_in_groups
from pipeline.columns.exchange import Answers, exchange
from pipeline.columns.remaining import ROW
from pipeline.columns.shuffle import Rows, Runs, partitions_for
from pipeline.columns.stages import ColumnStage
from pipeline.concepts.equal_hashes import ROW_BYTES, WHICH, Search, claims, numpy_of
from pipeline.tables import uid_words, uids

MOST_AGREE = 4  # bands of a key, at most
SENDING = 200  # what sending and sorting a row costs, in pairs compared: 2 us against 10 ns

_Shared = tuple[Search, str, int, int, Answers, int]


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
    agree = agreeing(pairs, bits)
    partitions = partitions_for(pairs * comb(bits + agree, agree), row_bytes=ROW_BYTES)
    return exchange(
        _ask, _answer, (search, column, bits, agree, equal, partitions),
        shards=len(search.remaining.scores), partitions=partitions,
        folder=stage.scratch / "near", execute=stage.place.execute,
    )  # fmt: skip


def agreeing(pairs: int, bits: int) -> int:
    """Choose how many bands must agree, for the least work on hashes that are evenly spread.

    >>> agreeing(1_000_000, 4), agreeing(12_800_000, 4), agreeing(12_800_000_000, 4)
    (1, 2, 3)
    """

    def work(agree: int) -> float:
        share = 2.0 ** -(WIDTH * agree / (bits + agree))
        return comb(bits + agree, agree) * (SENDING + share * pairs / 2)

    return min(range(1, min(MOST_AGREE, WIDTH - bits) + 1), key=work)


def _ask(shared: _Shared, shard: int) -> Iterator[Rows]:
    """Send each distinct hash to everyone who has one of its keys."""
    search, column, bits, agree, equal, partitions = shared
    table = search.candidates(shard, column)
    told = equal.of(shard)
    if told is not None:
        which = search.hashes.index(column)
        copies = told.filter(pc.equal(told.column(WHICH), which)).column(ROW).combine_chunks()
        table = table.filter(pc.invert(pc.is_in(table.column(ROW), copies)))
    key_nC = bands(numpy_of(table, "hash"), bits=bits, agree=agree)
    sent = table.take(np.repeat(np.arange(len(table)), key_nC.shape[1]))
    partition_N = (key_nC.ravel() % np.uint64(partitions)).astype(np.int32)
    yield Rows(sent.append_column("key", pa.array(key_nC.ravel())), partition_N)


def _answer(shared: _Shared, runs: Runs, partition: int) -> Iterator[pa.Table]:
    bits = shared[2]
    table = runs.read(partition)
    assert table is not None, "only partitions with rows are answered"
    uid_N2, rank_N = uid_words(uids(table)), numpy_of(table, "rank")
    order = np.lexsort((uid_N2[:, 1], uid_N2[:, 0], rank_N))
    found = near_in_groups(numpy_of(table, "key"), numpy_of(table, "hash"), order=order, bits=bits)
    # Hashes differ from each other, so 0 bits are a pair that met itself: two keys were the same.
    later = np.flatnonzero(found.distance_N > 0)
    yield claims(table, later, found.earlier_N[later], found.distance_N[later])
