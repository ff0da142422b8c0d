"""What is done: one record per finished (shard, pass), appended to a journal of this process.

A record is written after its table was published, so a record means a finished file. A run that was
killed leaves at most a torn last line, which is not a record.
"""

import json
import os
import uuid
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import PurePosixPath

import fsspec

from pipeline.fingerprint import fingerprint
from pipeline.folder import Folder


@dataclass(frozen=True, kw_only=True, slots=True)
class Record:
    """A finished pass over a shard.

    Attributes:
        shard: Identity of the shard.
        stage: `<stage>-<fingerprint>`, the folder of the table.
        name: File name of the table.
        writes: Columns by the fingerprint of what wrote them.
        rows: Rows written.
        reasons: Rows by reason code, `ok` included; they add up to `rows`.
        sha256: Digest of the table.
        output_bytes: Size of the table.
        input_bytes: Size of the shard.
        seconds: Busy time by step.
    """

    shard: str
    stage: str
    name: str
    writes: dict[str, list[str]]
    rows: int
    reasons: dict[str, int]
    sha256: str
    output_bytes: int
    input_bytes: int
    seconds: dict[str, float] = field(default_factory=dict)


class Ledger:
    """The records of a run folder."""

    def __init__(self, run: Folder, *, deleted: bool = False) -> None:
        """Read every journal.

        Args:
            run: The run folder.
            deleted: Count records whose table has been deleted, too.
        """
        self._folder = run / "ledger"
        self._journal = f"{uuid.uuid4().hex}.jsonl"
        self._lines: list[str] = []
        self._records: dict[str, dict[str, Record]] = defaultdict(dict)
        self._tables: dict[str, set[str]] = {}
        for name in self._folder.names():
            for line in self._folder.read(name).decode("utf-8", "replace").splitlines():
                record = _parse(line)
                if record is not None and (deleted or self._has_table(run, record)):
                    self._records[record.shard][record.stage] = record

    def of(self, shard: str) -> list[Record]:
        """Return the records of a shard, in order of their stage names."""
        return [record for _, record in sorted(self._records.get(shard, {}).items())]

    def all(self) -> list[Record]:
        """Return every record, by shard and stage."""
        return [record for shard in sorted(self._records) for record in self.of(shard)]

    def add(self, record: Record) -> None:
        """Append a record; it is on disk when this returns."""
        line = json.dumps(asdict(record), sort_keys=True)
        self._records[record.shard][record.stage] = record
        self._lines.append(line)
        fs, path = fsspec.core.url_to_fs(self._folder.path(self._journal))
        if "file" not in fs.protocol:  # object stores cannot append: put the journal once more
            fs.pipe_file(path, ("\n".join(self._lines) + "\n").encode())
            return
        fs.makedirs(fs._parent(path), exist_ok=True)
        with fs.open(path, "ab") as stream:
            stream.write(f"{line}\n".encode())
            stream.flush()
            os.fsync(stream.fileno())

    def _has_table(self, run: Folder, record: Record) -> bool:
        if record.stage not in self._tables:
            self._tables[record.stage] = set((run / "scores" / record.stage).names())
        return record.name in self._tables[record.stage]


@dataclass(frozen=True, slots=True)
class Identity:
    """A shard as the ledger knows it: `<name>-<digest of url, size and version>`, and its bytes."""

    id: str
    size: int


def shard_identities(shards: Iterable[str]) -> dict[str, Identity]:
    """Identify shards from their metadata alone; nothing is opened.

    The version is the store's etag, or the modification time of a local file.
    """
    found = {}
    for shard in shards:
        fs, path = fsspec.core.url_to_fs(shard)
        info = fs.info(path)
        version = str(info.get("ETag") or info.get("etag") or info.get("mtime") or "")
        digest = fingerprint("shard", url=path, size=info["size"], version=version)
        stem = PurePosixPath(path).name.removesuffix(".tar")
        found[shard] = Identity(f"{stem}-{digest}", int(info["size"]))
    return found


def _parse(line: str) -> Record | None:
    try:
        return Record(**json.loads(line))
    except (ValueError, TypeError):
        return None
