"""Pairs with equal hashes, over the whole pool: of each group the first stays.

Letters: N rows of a partition, one for each pair and hash.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from filters.hashing import hashed
from pipeline.columns.exchange import SHARD, Answers, exchange
from pipeline.columns.remaining import ROW, Remaining
from pipeline.columns.shuffle import Rows, Runs, partitions_for
from pipeline.columns.stages import ColumnStage
from pipeline.concepts.precedence import needed, precedence
from pipeline.settings import Prefer
from pipeline.tables import uid_words, uids

ROW_BYTES = 256  # 41 are sent; the rest is for sorting, and for tasks that are soon done
WHICH = "which"  # index of the hash that is equal, int8


@dataclass(frozen=True, slots=True)
class Search:
    """What is asked.

    Attributes:
        remaining: The pairs; those without a hash have no copies by it.
        hashes: Columns, uint64.
        prefer: Which of a group goes first.
        seed: Of a random order.
    """

    remaining: Remaining
    hashes: tuple[str, ...]
    prefer: Prefer
    seed: int

    def candidates(self, shard: int, column: str) -> pa.Table:
        """Return `row`, `uid`, `rank` and `hash` of a shard's pairs that have a hash."""
        names = dict.fromkeys(["uid", column, *needed(self.prefer, "")])
        table = self.remaining.left(shard, list(names))
        table = table.filter(table.column(column).is_valid())
        rank_N = precedence(table, self.prefer, distance="", seed=self.seed)
        return pa.table({
            ROW: table.column(ROW), "uid": table.column("uid"), "rank": rank_N,
            "hash": table.column(column),
        })  # fmt: skip


def equal_hashes(search: Search, stage: ColumnStage, *, pairs: int) -> Answers:
    """Tell every pair but the first of each group which one that is.

    Args:
        search: What is asked.
        stage: Where it is done.
        pairs: How many there are.

    Returns:
        Tables as `claims` makes them, with `which` hash is equal.
    """
    partitions = partitions_for(pairs * len(search.hashes), row_bytes=ROW_BYTES)
    return exchange(
        _ask, _answer, (search, partitions), shards=len(search.remaining.scores),
        partitions=partitions, folder=stage.scratch / "equal", execute=stage.place.execute,
    )  # fmt: skip


def claims(
    table: pa.Table, later: NDArray[np.int64], first: NDArray[np.int64], bits: NDArray[np.int8]
) -> pa.Table:
    """Say which earlier rows some are copies of: `shard, row, closeness, copy_of, copy_rank`."""
    twins = table.select(["uid", "rank"]).take(first)
    return pa.table({
        SHARD: table.column(SHARD).take(later), ROW: table.column(ROW).take(later),
        "closeness": -bits, "copy_of": twins.column("uid"), "copy_rank": twins.column("rank"),
    })  # fmt: skip


def numpy_of(table: pa.Table, name: str) -> NDArray:
    """Return a column without nulls."""
    return table.column(name).to_numpy()


def _ask(shared: tuple[Search, int], shard: int) -> Iterator[Rows]:
    search, partitions = shared
    for which, column in enumerate(search.hashes):
        table = search.candidates(shard, column)
        index = pa.array(np.full(len(table), which, np.int8))
        which_N = np.full(len(table), which, np.uint64)
        key_N = hashed(np.stack([which_N, numpy_of(table, "hash")], axis=1))
        partition_N = (key_N % np.uint64(partitions)).astype(np.int32)
        yield Rows(table.append_column(WHICH, index), partition_N)


def _answer(shared: tuple[Search, int], runs: Runs, partition: int) -> Iterator[pa.Table]:
    del shared
    table = runs.read(partition)
    assert table is not None, "only partitions with rows are answered"
    uid_N2, hash_N, which_N = (
        uid_words(uids(table)), numpy_of(table, "hash"), numpy_of(table, WHICH)
    )  # fmt: skip
    order = np.lexsort((uid_N2[:, 1], uid_N2[:, 0], numpy_of(table, "rank"), hash_N, which_N))
    hash_N, which_N = hash_N[order], which_N[order]
    starts_N = np.ones(len(order), bool)
    starts_N[1:] = (hash_N[1:] != hash_N[:-1]) | (which_N[1:] != which_N[:-1])
    first_N = np.maximum.accumulate(np.where(starts_N, np.arange(len(order)), 0))
    later, first = order[~starts_N], order[first_N[~starts_N]]
    told = claims(table, later, first, np.zeros(len(later), np.int8))
    yield told.append_column(WHICH, pa.array(which_N[~starts_N]))
