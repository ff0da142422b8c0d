"""A score table written as it grows: memory for one row group, whatever the shard's size."""

import hashlib
import io
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.cells.plan import Stopwatch
from pipeline.cells.rows import Row, table_of
from pipeline.folder import Folder
from pipeline.tables import parquet_writer

GROUP_ROWS = 1024  # about: whole batches, so that parts of a shard can begin where groups do


def group_rows(batch: int) -> int:
    """Return the rows of a row group, for this batch size."""
    return max(1, GROUP_ROWS // batch) * batch


class Digested:
    """A stream that is hashed and counted while it is written."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream: BinaryIO = stream
        self._hash = hashlib.sha256()
        self.size = 0
        self.closed = False

    def write(self, data: Any) -> int:
        """Write and hash."""
        self._hash.update(data)
        self.size += len(data)
        self._stream.write(data)
        return len(data)

    def tell(self) -> int:
        """Return how much was written."""
        return self.size

    def flush(self) -> None:
        """Leave flushing to the one who opened the stream."""

    def close(self) -> None:
        """Leave closing to the one who opened the stream."""

    def cut_off(self) -> None:
        """Let what is written from here on go nowhere."""
        self._stream = io.BytesIO()

    def hexdigest(self) -> str:
        """Return the SHA-256 of what was written."""
        return self._hash.hexdigest()


class Sidecar:
    """Collects rows and writes them in groups, one group behind, in a thread of its own."""

    def __init__(self, sink: Digested, schema: pa.Schema, rows: int, watch: Stopwatch) -> None:
        self._schema, self._group_rows, self._watch = schema, rows, watch
        self._sink, self._parquet = sink, parquet_writer(sink, schema)
        self._group: list[Row] = []
        self._pool, self._writing = ThreadPoolExecutor(1, "write"), Future[None]()
        self._writing.set_result(None)
        self.rows, self.reasons = 0, Counter[str]()

    @property
    def sha256(self) -> str:
        """Digest of the finished table."""
        return self._sink.hexdigest()

    @property
    def size(self) -> int:
        """Bytes of the finished table."""
        return self._sink.size

    def add(self, rows: Iterable[Row]) -> None:
        """Take rows; a group that is full is written."""
        for row in rows:
            self._group.append(row)
            self.reasons[str(row.sample.status)] += 1
            self.rows += 1
            if len(self._group) == self._group_rows:
                self._write_group()

    def copy(self, source: pq.ParquetFile) -> None:
        """Take over the groups of a table that was written in the same way."""
        for number in range(source.num_row_groups):
            table = source.read_row_group(number)
            for status in table.column("status").to_pylist():
                self.reasons[status] += 1
            self.rows += len(table)
            self._parquet.write_table(table)

    def close(self) -> None:
        """Write what is left, and the footer."""
        if self._group:
            self._write_group()
        self._writing.result()
        with self._watch.on("write"):
            self._parquet.close()

    def abandon(self) -> None:
        """Wait for the thread and let go of the file, which its opener throws away."""
        self._pool.shutdown()
        self._sink.cut_off()
        self._parquet.close()  # or it is closed when it is collected, into a file that is gone

    def _write_group(self) -> None:
        self._writing.result()
        group, self._group = self._group, []
        self._writing = self._pool.submit(self._write, group)

    def _write(self, group: list[Row]) -> None:
        with self._watch.on("write"):
            self._parquet.write_table(table_of(group, self._schema), row_group_size=len(group))


@contextmanager
def sidecar(
    folder: Folder, name: str, schema: pa.Schema, *, batch: int, watch: Stopwatch
) -> Iterator[Sidecar]:
    """Publish a table when the `with` block ends well, and nothing otherwise."""
    with folder.open_write(name) as stream:
        table = Sidecar(Digested(stream), schema, group_rows(batch), watch)
        try:
            yield table
            table.close()
        finally:
            table.abandon()
