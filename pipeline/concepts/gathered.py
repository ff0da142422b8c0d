"""A partition's embeddings, sorted: in memory or, where there are too many, on disk.

Letters: N rows of a partition, n of one batch, D dimensions.
"""

import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline.columns.shuffle import Runs
from pipeline.staging import reserve
from pipeline.tables import uid_words, uids

MEMORY_BYTES = 256 * 2**20  # of embeddings; more of them lie in a file meanwhile
VECTOR = "vector"  # float16 little-endian, as fixed-size binary


@dataclass(frozen=True, slots=True)
class Gathered:
    """Rows by cluster, then in order of precedence.

    Attributes:
        table: What was sent, but for the vectors.
        vectors_ND: float16, an array or an `np.memmap`.
    """

    table: pa.Table
    vectors_ND: NDArray[np.float16]

    def clusters(self) -> Iterator[slice]:
        """Yield where the rows of each cluster are."""
        cluster_N = self.table.column("cluster").to_numpy()
        ends = np.append(np.flatnonzero(np.diff(cluster_N)) + 1, len(cluster_N))
        yield from map(slice, [0, *ends[:-1].tolist()], ends.tolist())


@contextmanager
def gathered(runs: Runs, partition: int) -> Iterator[Gathered]:
    """Sort the rows of a partition by `cluster`, `rank` and `uid`; the file goes with the block.

    Args:
        runs: Of tables with those columns, `vector`, and others.
        partition: One with rows.
    """
    schema = next(runs.batches(partition)).schema
    dim = schema.field(VECTOR).type.byte_width // np.dtype(np.float16).itemsize
    shape = int(runs.rows_P[partition]), dim
    if 2 * shape[0] * dim <= MEMORY_BYTES:
        batches = list(runs.batches(partition))
        table, place_N = _sorted(batches)
        yield Gathered(table, _placed(batches, place_N, np.empty(shape, np.float16)))
        return
    with tempfile.TemporaryFile() as file:
        reserve(file.fileno(), 2 * shape[0] * dim, place=tempfile.gettempdir())
        on_disk: Any = np.memmap(file, np.float16, "r+", shape=shape)
        table, place_N = _sorted(runs.batches(partition))
        yield Gathered(table, _placed(runs.batches(partition), place_N, on_disk))


def _sorted(batches: Iterable[pa.RecordBatch]) -> tuple[pa.Table, NDArray[np.int64]]:
    """Return the rows without vectors, sorted, and the place of each row as it came, int64 [N]."""
    parts = [batch.drop_columns([VECTOR]) for batch in batches]
    # Copied, since a slice keeps the vectors of its batch in memory.
    table = pa.Table.from_batches([part.take(np.arange(len(part))) for part in parts])
    uid_N2 = uid_words(uids(table))
    rank_N, cluster_N = (table.column(name).to_numpy() for name in ("rank", "cluster"))
    order = np.lexsort((uid_N2[:, 1], uid_N2[:, 0], rank_N, cluster_N))
    place_N = np.empty(len(order), np.int64)
    place_N[order] = np.arange(len(order))
    return table.take(order), place_N


def _placed(
    batches: Iterable[pa.RecordBatch], place_N: NDArray[np.int64], to_ND: NDArray[np.float16]
) -> NDArray[np.float16]:
    at = 0
    for batch in batches:
        column = batch.column(VECTOR)
        start = column.offset * column.type.byte_width
        data = memoryview(column.buffers()[1])[start:]
        vectors_nD = np.frombuffer(data, "<f2", len(column) * to_ND.shape[1])
        to_ND[place_N[at : at + len(column)]] = vectors_nD.reshape(len(column), -1)
        at += len(column)
    return to_ND
