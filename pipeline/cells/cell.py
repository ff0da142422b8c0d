"""A cell: the models loaded once, then lease after lease."""

import posixpath
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pyarrow.parquet as pq

from pipeline.cells.loaded import Loaded, load_all
from pipeline.cells.plan import CellPlan, Stopwatch
from pipeline.cells.rows import Row, rows_of
from pipeline.cells.sidecar import Sidecar, group_rows, sidecar
from pipeline.cells.source import OpenFile, OpenSource, Source, own_sources
from pipeline.folder import Folder
from pipeline.leases import Lease, Report
from pipeline.ledger import Record, later_than, table_name
from pipeline.ledger import Writer as LedgerWriter
from pipeline.samples import Sample, uid_from
from pipeline.tables import score_schema


class Cell:
    """Does what leases say, and records what is finished.

    Attributes:
        name: Unique; names the journal.
        moved: Batches scored so far: it stands still when the cell does.
    """

    def __init__(self, plan: CellPlan, name: str, *, open_source: OpenSource | None = None) -> None:
        """Take the plan; nothing is loaded before `load`.

        Args:
            plan: What it is built from.
            name: No other cell has it.
            open_source: Where decoded batches come from; by default it reads and decodes itself.
        """
        self.name, self.moved = name, 0
        self._plan, self._batch = plan, plan.settings.batch
        self._open = open_source or own_sources(plan)
        self._schema = score_schema(c for e in plan.extractors for c in e.columns)
        self._ledger = LedgerWriter(Folder(plan.store), name)
        self._loaded: list[Loaded] = []

    def load(self) -> None:
        """Load every extractor; apart from `__init__`, so that what fails is not the actor."""
        paths = {name: Path(path) for name, path in self._plan.weights.items()}
        threads = self._plan.settings.threads
        self._loaded = load_all(self._plan.extractors, paths, threads=threads)

    def close(self) -> None:
        """Seal the journal."""
        self._ledger.close()

    def do(self, lease: Lease, open_file: OpenFile) -> Report:
        """Do what a lease says.

        Args:
            lease: The work.
            open_file: Opens the shard, seekable.

        Raises:
            UnreadableShardError: The shard cannot be fetched or read.
            OSError: The output cannot be written.
        """
        start, watch = time.time(), Stopwatch()
        if lease.task == "join":
            with suppress(FileNotFoundError):  # another run has joined the parts meanwhile
                return self._publish(lease, start, watch, lambda table: self._join(lease, table))
        if lease.verdict is not None:
            uid = uid_from(posixpath.basename(lease.shard.url), "")
            row = Row(Sample(uid, "", status=lease.verdict))
            return self._publish(lease, start, watch, lambda table: table.add([row]))
        with self._open(lease, open_file, watch) as source:
            if lease.task == "count":
                return Report(lease, source.rows)
            if lease.task == "try":
                rows = self._rows(source, watch, lease.first, lease.last)
                return Report(lease, sum(1 for _ in rows))
            if lease.task == "part":
                return self._write_part(source, lease, watch)
            rows = self._rows(source, watch, 0, source.rows)
            return self._publish(lease, start, watch, lambda table: table.add(rows))

    def _rows(self, source: Source, watch: Stopwatch, first: int, last: int) -> Iterator[Row]:
        """Score a range of samples."""
        for batch in source.batches(first, last):
            yield from rows_of(batch, self._loaded, watch)
            self.moved += 1

    def _publish(
        self, lease: Lease, start: float, watch: Stopwatch, fill: Callable[[Sidecar], None]
    ) -> Report:
        """Write the shard's table, then its record."""
        name, batch = table_name(lease.shard.id), self._batch
        with sidecar(self._plan.tables, name, self._schema, batch=batch, watch=watch) as table:
            fill(table)
        now = later_than(self._plan.newest)
        record = Record(
            shard=lease.shard.id, stage=self._plan.stage, rows=table.rows,
            reasons=dict(sorted(table.reasons.items())), sha256=table.sha256,
            output_bytes=table.size, input_bytes=lease.shard.size,
            seconds={step: round(s, 4) for step, s in sorted(watch.seconds.items())},
            cell=self.name, took=round(now - start, 4), at=now,
        )  # fmt: skip
        self._ledger.add(record)
        if lease.parts > 1:
            self._parts(lease).remove_all()
        return Report(lease, record.rows, record.reasons, record.seconds)

    def _write_part(self, source: Source, lease: Lease, watch: Stopwatch) -> Report:
        """Write a part's table; parts begin where row groups do, so joining them copies groups."""
        batch = self._batch
        groups = -(-source.rows // group_rows(batch))
        first, last = (groups * part // lease.parts for part in (lease.part, lease.part + 1))
        first, last = first * group_rows(batch), min(last * group_rows(batch), source.rows)
        folder, name = self._parts(lease), _part_name(lease, lease.part)
        with sidecar(folder, name, self._schema, batch=batch, watch=watch) as table:
            table.add(self._rows(source, watch, first, last) if first < last else ())
        return Report(lease)

    def _join(self, lease: Lease, table: Sidecar) -> None:
        for part in range(lease.parts):
            with self._parts(lease).open(_part_name(lease, part)) as stream:
                table.copy(pq.ParquetFile(stream))

    def _parts(self, lease: Lease) -> Folder:
        return self._plan.parts / lease.shard.id


def _part_name(lease: Lease, part: int) -> str:
    return f"{part:05d}-of-{lease.parts:05d}.parquet"  # another run may split it in another way
