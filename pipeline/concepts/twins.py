"""Answers that say which pair another one copies: the best of several, and where they go.

Letters: A answers to a shard, m pairs answered, n good rows.
"""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline.columns.exchange import Answers
from pipeline.columns.remaining import ROW
from pipeline.schema import UID_BYTES
from pipeline.tables import uid_words, uids


def best_answers(
    answers: Sequence[Answers], shard: int, *, by: str, twin: str, rank: str
) -> pa.Table | None:
    """Return the best answer to each pair of a shard, in order of `row`; None without any.

    Args:
        answers: Of one or several exchanges.
        shard: Index.
        by: Column of numbers of which the greatest is the best.
        twin: Column of uids; of equally good answers that of the lowest rank, then uid, counts.
        rank: Column of the twin's rank.
    """
    names = [ROW, by, twin, rank]
    told = [table.select(names) for a in answers if (table := a.of(shard)) is not None]
    if not told:
        return None
    table = pa.concat_tables(told)
    uid_A2 = uid_words(uids(table, twin))
    row_A, rank_A, by_A = (table.column(name).to_numpy() for name in (ROW, rank, by))
    by_A = by_A.astype(np.float32)
    order = np.lexsort((uid_A2[:, 1], uid_A2[:, 0], rank_A, -by_A, row_A))
    is_first = np.ones(len(order), bool)
    is_first[1:] = row_A[order][1:] != row_A[order][:-1]
    return table.take(order[is_first])


def spread_uids(uid_m: pa.ChunkedArray, row_m: NDArray[np.int32], rows: int) -> pa.Array:
    """Place uids at their rows, null at the others; [rows]."""
    if not len(row_m):
        return pa.nulls(rows, pa.binary(UID_BYTES))
    index = np.zeros(rows, np.int64)
    index[row_m] = np.arange(len(row_m))
    missing = np.ones(rows, bool)
    missing[row_m] = False
    return uid_m.combine_chunks().take(pa.array(index, mask=missing))
