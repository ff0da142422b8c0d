"""What is done: one record per finished (shard, stage), in journals that are merged into a table.

    ledger/stage-<stage>.json        which columns the stage's tables hold, and what wrote them
    ledger/<writer>-00000.jsonl      journals (see `journal`)
    ledger/base-<id>.parquet         journals merged; opening 1.28 million records takes seconds

A record is written after its table was published, so a record means a finished file; that the file
is still there is for `thresher verify` to say. Of several records of a shard and stage the newest
counts; a struck one sends the shard back to be done again. Any number of writers may be at it, on
any fsspec filesystem: two runs may share one ledger, and what both do at once is the same bytes.
"""

import json
import time
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.folder import Folder
from pipeline.journal import SEALED, Journal, entries_of, seal_abandoned
from pipeline.tables import encode, read

Writes = Mapping[str, Sequence[str]]  # fingerprint of what writes -> columns

SCHEMA = pa.schema(
    [
        ("shard", pa.string()),
        ("stage", pa.string()),
        ("rows", pa.int64()),
        ("reasons", pa.string()),  # JSON: few distinct ones, so Parquet makes them a dictionary
        ("sha256", pa.binary(32)),
        ("output_bytes", pa.int64()),
        ("input_bytes", pa.int64()),
        ("seconds", pa.string()),  # JSON
        ("cell", pa.string()),
        ("took", pa.float64()),
        ("at", pa.float64()),
        ("struck", pa.bool_()),
    ]
)
MERGE_FROM = 64  # journals, below which opening a ledger is fast enough without merging
ATTEMPTS = 5  # at opening, while another run merges journals away


@dataclass(frozen=True, kw_only=True, slots=True)
class Record:
    """A finished stage of a shard.

    Attributes:
        shard: Identity of the shard.
        stage: `<stage>-<fingerprint>`, the folder of the table.
        rows: Rows written.
        reasons: Rows by reason code, `ok` included; they add up to `rows`.
        sha256: Digest of the table, hex.
        output_bytes: Size of the table.
        input_bytes: Size of the shard.
        seconds: Busy time by step.
        cell: Who did it.
        took: Seconds from lease to record.
        at: When it was finished, seconds since 1970; the newest record counts.
    """

    shard: str
    stage: str
    rows: int
    reasons: dict[str, int]
    sha256: str
    output_bytes: int
    input_bytes: int
    seconds: dict[str, float] = field(default_factory=dict)
    cell: str = ""
    took: float = 0.0
    at: float = field(default_factory=time.time)

    @property
    def name(self) -> str:
        """File name of the table."""
        return table_name(self.shard)


def table_name(shard: str) -> str:
    """Return the file name of a shard's tables."""
    return f"{shard}.parquet"


def later_than(newest: float) -> float:
    """Return the time now, but after the newest entry, whatever this clock says."""
    return max(time.time(), newest + 1e-3)


class Ledger:
    """The records of a folder that holds `ledger/`, as they were when it was opened.

    Attributes:
        table: What is done, `SCHEMA`, sorted by stage and shard.
        stages: What each stage's tables hold.
        newest: Time of the newest entry; what is added later must be newer.
    """

    def __init__(self, store: Folder) -> None:
        """Read tables and journals."""
        self._folder = store / "ledger"
        entries, self.stages = self._read()
        self.newest = pc.max(entries.column("at")).as_py() or 0.0
        self.table = entries.filter(pc.invert(entries.column("struck")))

    def of_stage(self, stage: str) -> pa.Table:
        """Return a stage's records, sorted by shard."""
        column = self.table.column("stage")
        first, last = (pc.sum(pc.less(column, stage)), pc.sum(pc.less_equal(column, stage)))
        start = first.as_py() or 0
        return self.table.slice(start, (last.as_py() or 0) - start)

    def records(self, stage: str | None = None) -> Iterator[Record]:
        """Yield every record, by stage and shard; or those of one stage."""
        table = self.table if stage is None else self.of_stage(stage)
        for batch in table.to_batches(max_chunksize=10_000):
            for row in batch.to_pylist():
                del row["struck"]
                maps = {key: json.loads(row[key]) for key in ("reasons", "seconds")}
                yield Record(**row | maps | {"sha256": row["sha256"].hex()})

    def declare(self, stage: str, writes: Writes) -> None:
        """Say what a stage's tables hold, before the first is written."""
        if stage not in self.stages:
            self._folder.write(f"stage-{stage}.json", json.dumps(writes, sort_keys=True).encode())
            self.stages[stage] = writes

    def strike(self, records: Iterable[Record]) -> None:
        """Send shards back: what these records say is done shall be done again."""
        at = later_than(self.newest)
        journal = Journal(self._folder, f"strike-{uuid.uuid4().hex}")
        for record in records:
            journal.append({"shard": record.shard, "stage": record.stage, "struck": True, "at": at})
        journal.seal()

    def merge(self, *, gone: Sequence[str] = (), least: int = MERGE_FROM) -> None:
        """Merge sealed journals into one table, if there are at least so many.

        Args:
            gone: Writers that have ended without sealing theirs.
            least: Number of journals from which it is done.
        """
        seal_abandoned(self._folder, list(gone))
        names = [n for n in self._folder.names() if _is_sealed(n) or _is_base(n)]
        if sum(map(_is_sealed, names)) < least:
            return
        merged = _newest(pa.concat_tables([SCHEMA.empty_table(), *map(self._entries, names)]))
        self._folder.write(f"base-{uuid.uuid4().hex}.parquet", encode(merged))
        for name in names:
            self._folder.remove(name)

    def _read(self, attempts: int = ATTEMPTS) -> tuple[pa.Table, dict[str, Writes]]:
        try:
            return self._read_once()
        except (FileNotFoundError, ValueError):  # another run has merged it away meanwhile
            if attempts == 1:
                raise
            return self._read(attempts - 1)

    def _read_once(self) -> tuple[pa.Table, dict[str, Writes]]:
        tables, stages = [SCHEMA.empty_table()], {}
        for name in self._folder.names():
            if name.startswith("stage-"):
                stage = name.removeprefix("stage-").removesuffix(".json")
                stages[stage] = json.loads(self._folder.read(name))
            else:
                tables.append(self._entries(name))
        return _newest(pa.concat_tables(tables)), stages

    def _entries(self, name: str) -> pa.Table:
        if _is_base(name):
            return read(self._folder.path(name)).cast(SCHEMA)
        rows = [_row(entry) for entry in entries_of(self._folder.read(name))]
        return pa.Table.from_pylist([row for row in rows if row is not None], SCHEMA)


class Writer:
    """Adds records; used as a context manager it seals its journal at the end."""

    def __init__(self, store: Folder, name: str) -> None:
        """Take the folder that holds `ledger/`, and a name that no other writer has."""
        self._journal = Journal(store / "ledger", name)

    def __enter__(self) -> "Writer":
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Seal the journal."""
        self.close()

    def close(self) -> None:
        """Seal the journal."""
        self._journal.seal()

    def add(self, record: Record) -> None:
        """Append a record; it outlives this process as soon as this returns."""
        self._journal.append(asdict(record))


def records_of(store: Folder, writer: str) -> Iterator[dict[str, Any]]:
    """Yield what one writer has recorded so far, as plain entries."""
    folder = store / "ledger"
    for name in folder.names():
        if name.startswith(f"{writer}-"):
            yield from entries_of(folder.read(name))


def _newest(entries: pa.Table) -> pa.Table:
    """Sort by stage and shard, and keep the newest entry of each."""
    keys = [("stage", "ascending"), ("shard", "ascending"), ("at", "ascending")]
    entries = entries.sort_by(keys).combine_chunks()
    if not len(entries):
        return entries
    is_last = np.ones(len(entries), bool)
    is_last[:-1] = False
    for name in ("stage", "shard"):
        column = entries.column(name)
        is_last[:-1] |= pc.not_equal(column[:-1], column[1:]).to_numpy()
    return entries.filter(pa.array(is_last))


def _row(entry: dict[str, Any]) -> dict[str, Any] | None:
    """Lay an entry out by `SCHEMA`; None for one that is none of ours."""
    try:
        row = {name: entry.get(name) for name in SCHEMA.names} | {"struck": "struck" in entry}
        if not row["struck"]:
            row["sha256"] = bytes.fromhex(entry["sha256"])
            row["reasons"] = json.dumps(entry["reasons"])
            row["seconds"] = json.dumps(entry["seconds"])
        return row if isinstance(entry["shard"], str) and entry["stage"] else None
    except (KeyError, TypeError, ValueError):
        return None


def _is_sealed(name: str) -> bool:
    return name.endswith(SEALED) and not name.endswith(".open.jsonl")


def _is_base(name: str) -> bool:
    return name.startswith("base-")
