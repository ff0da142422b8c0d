"""Rows of many shards brought together by key, through sorted runs on disk or object storage.

A task reads some shards and writes what it has to send as *runs*: Arrow files with one record batch
for each partition, in order of partition. Who answers for a partition reads its batch of every run.
No process holds more than a run, or a partition; the driver holds names and counts. A task whose
worker died writes the same runs under the same names again.

Letters: N rows of a table, P partitions.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline.executors import Executor
from pipeline.folder import Folder

RUN_BYTES = 128 * 2**20  # that a task gathers before it writes a run
PARTITION_BYTES = 128 * 2**20  # that whoever answers for a partition should have to hold
PARTITIONS = b"partitions"  # key in a run's schema: which partitions it has, int32, ascending


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows to send.

    Attributes:
        table: N rows; of one schema in all of a shuffle.
        partition_N: Where each goes, int32 [N].
    """

    table: pa.Table
    partition_N: NDArray[np.int32]


Send = Callable[[Any, Any], Iterable[Rows]]


@dataclass(frozen=True, slots=True)
class Runs:
    """What was sent.

    Attributes:
        folder: Where the runs are.
        names: Their files, in the order of what was sent.
        rows_P: Rows of each partition, int64 [P].
    """

    folder: Folder
    names: tuple[str, ...]
    rows_P: NDArray[np.int64]

    def batches(self, partition: int) -> Iterator[pa.RecordBatch]:
        """Yield the rows of a partition, in the order in which they were sent."""
        for name in self.names:
            with _opened(self.folder, name) as reader:
                held = np.frombuffer((reader.schema.metadata or {})[PARTITIONS], "<i4")
                at = int(np.searchsorted(held, partition))
                if at < len(held) and held[at] == partition:
                    yield reader.get_batch(at).replace_schema_metadata()

    def read(self, partition: int) -> pa.Table | None:
        """Return the rows of a partition, in the order in which they were sent; None without."""
        batches = list(self.batches(partition))
        return pa.Table.from_batches(batches) if batches else None

    def remove(self) -> None:
        """Delete the runs."""
        self.folder.remove_all()


def shuffle(
    send: Send,
    shared: Any,
    items: Sequence[Any],
    *,
    partitions: int,
    folder: Folder,
    execute: Executor,
) -> Runs:
    """Have `send(shared, item)` of every item sorted by partition.

    The rows of a partition come in the order of `items`, and of each as it was sent, whoever
    finished first; where items are shards, they still depend on how the pool is sharded, so whoever
    answers sorts by something of the rows themselves.

    Args:
        send: Of a module, so that it can be sent to a task; may be called again.
        shared: What every call needs; sent once.
        items: Small, such as lists of shards.
        partitions: P.
        folder: For the runs; nothing else may be in it.
        execute: Where it is done.
    """
    work = _Work(send, shared, folder)
    names: list[str] = []
    rows_P = np.zeros(partitions, np.int64)
    for written in execute.map(_send, work, list(enumerate(items)), weights={}):
        for name, held, count in written:
            names.append(name)
            rows_P[held] += count
    return Runs(folder, tuple(sorted(names)), rows_P)


def partitions_for(rows: int, *, row_bytes: int) -> int:
    """Return how many partitions so many rows need, at least 1.

    >>> partitions_for(1_000_000_000, row_bytes=32)
    239
    """
    return max(1, -(-rows * row_bytes // PARTITION_BYTES))


@dataclass(frozen=True, slots=True)
class _Work:
    send: Send
    shared: Any
    folder: Folder


_Written = tuple[str, NDArray[np.int32], NDArray[np.int64]]  # file, its partitions, rows of each


def _send(work: _Work, weights: Mapping[str, Path], item: tuple[int, Any]) -> list[_Written]:
    """Write the runs of one item."""
    del weights
    number, what = item
    written: list[_Written] = []
    held: list[Rows] = []
    held_bytes = 0

    def flush() -> None:
        name = f"run-{number:09}-{len(written):05}.arrow"
        written.append(_write(work.folder, name, held))
        held.clear()

    for rows in work.send(work.shared, what):
        if len(rows.table):
            held.append(rows)
            held_bytes += rows.table.nbytes
        if held_bytes >= RUN_BYTES:
            flush()
            held_bytes = 0
    if held:
        flush()
    return written


def _write(folder: Folder, name: str, parts: Sequence[Rows]) -> _Written:
    """Write one run; its bytes depend on its rows alone."""
    partition_N = np.concatenate([part.partition_N for part in parts])
    order_N = np.argsort(partition_N, kind="stable")
    table = pa.concat_tables([part.table for part in parts]).take(order_N)
    held, count = np.unique(partition_N, return_counts=True)
    schema = table.schema.with_metadata({PARTITIONS: held.astype("<i4").tobytes()})
    ends = np.cumsum(count)
    with folder.open_write(name, lasting=False) as file, pa.ipc.new_file(file, schema) as writer:
        for start, rows in zip(ends - count, count, strict=True):
            (batch,) = table.slice(start, rows).combine_chunks().to_batches()
            writer.write_batch(batch)
    return name, held, count


@contextmanager
def _opened(folder: Folder, name: str) -> Iterator[pa.RecordBatchFileReader]:
    if folder.is_local:
        with pa.memory_map(folder.path(name)) as source:
            yield pa.ipc.open_file(source)
    else:
        with folder.open(name) as source:
            yield pa.ipc.open_file(source)
