"""The score columns of a pool, shard by shard, joined over the stages that wrote them."""

import hashlib
import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from pipeline.folder import Folder
from pipeline.ledger import Ledger, Writes, table_name
from pipeline.schema import BASE_SCHEMA, Reason
from pipeline.shards import Shard
from pipeline.tables import embedding, encode, numbers, read


@dataclass(frozen=True, slots=True)
class Source:
    """A folder of score tables, one for each shard that has what it holds.

    Attributes:
        folder: URL.
        columns: The columns it adds to the base ones.
        digest_S32: uint8 [S, 32], SHA-256 of the shards' tables; zeros where a shard has none here.
    """

    folder: str
    columns: tuple[str, ...]
    digest_S32: NDArray[np.uint8]

    def has(self, shard: int) -> bool:
        """Tell whether it holds something of a shard."""
        return bool(self.digest_S32[shard].any())


@dataclass(frozen=True, slots=True)
class Scores:
    """What is known of a pool.

    Attributes:
        shards: S shard URLs, sorted.
        ids: Their identities, which name their tables.
        sources: Where the columns are; rows of a shard are aligned over them.
    """

    shards: tuple[str, ...]
    ids: tuple[str, ...]
    sources: tuple[Source, ...]

    def __len__(self) -> int:
        """Return the number of shards."""
        return len(self.shards)

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the score columns."""
        return tuple(dict.fromkeys(c for source in self.sources for c in source.columns))

    def digest(self, columns: Sequence[str]) -> str:
        """Digest of the tables that hold these columns: what a stage reads."""
        digests = [s.digest_S32 for s in self.sources if set(columns) & set(s.columns)]
        return hashlib.sha256(b"".join(d.tobytes() for d in digests)).hexdigest()

    def plus(self, source: Source) -> "Scores":
        """Return these scores with one more table per shard."""
        return replace(self, sources=(*self.sources, source))

    def holding(self, columns: Sequence[str]) -> "Scores":
        """Return these scores without the tables that hold none of the columns.

        Of a base column other than `status` that is the first table of each shard. The status that
        the others have found is lost, unless one that is left lies beside columns of later steps.
        """
        wanted = set(columns)
        if not wanted <= {*self.columns, *BASE_SCHEMA.names}:
            return self  # reading tells the names that there are
        firsts = set()
        if wanted & set(BASE_SCHEMA.names) - {"status"}:
            has_XS = [source.digest_S32.any(axis=1) for source in self.sources]
            firsts = set(np.argmax(has_XS, axis=0).tolist())
        sources = enumerate(self.sources)
        held = tuple(s for i, s in sources if i in firsts or wanted & set(s.columns))
        return replace(self, sources=held)

    def tables(self, shard: int) -> Iterator[tuple[str, tuple[str, ...]]]:
        """Yield URL and columns of a shard's tables."""
        for source in self.sources:
            if source.has(shard):
                url = Folder(source.folder).path(table_name(self.ids[shard]))
                yield url, source.columns

    def read(self, shard: int, columns: Sequence[str]) -> pa.Table:
        """Read columns of one shard, all rows; `status` is the first reason that a pass found.

        The other base columns are those of the first table, as a pass over pixels has written it.

        Raises:
            ValueError: No pass wrote such a column.
        """
        tables: dict[str, pa.ChunkedArray] = {}
        fields: dict[str, pa.Field] = {}
        for url, held in self.tables(shard):
            base = [c for c in BASE_SCHEMA.names if c == "status" or c not in tables]
            table = read(url, [c for c in columns if c in held or c in base])
            for field in table.schema:
                fields[field.name] = field
                new = table.column(field.name)
                if field.name == "status" and "status" in tables:
                    is_ok = pc.equal(tables["status"], str(Reason.OK))
                    new = pc.if_else(is_ok, new, tables["status"])
                tables[field.name] = new
        missing = [c for c in columns if c not in tables]
        if missing:
            raise ValueError(
                f"column: got {missing[0]!r}, expected one of {', '.join(self.columns)}; correct "
                "the name, or add the extractor that writes it to the config"
            )
        schema = pa.schema([fields[c] for c in columns])
        return pa.Table.from_arrays([tables[c] for c in columns], schema=schema)

    def good(self, shard: int, columns: Sequence[str]) -> pa.Table:
        """Read columns of one shard's rows that have status `ok`."""
        table = self.read(shard, list(dict.fromkeys([*columns, "status"])))
        return table.filter(pc.equal(table.column("status"), str(Reason.OK))).select(list(columns))

    def numbers(self, column: str) -> Iterator[NDArray[np.float32]]:
        """Yield a numeric column of good rows, an array per shard; null becomes NaN."""
        for shard in range(len(self)):
            yield numbers(self.good(shard, [column]), column, np.float32)

    def embeddings(self, column: str) -> NDArray[np.float16]:
        """Return an embedding of all good rows, shard after shard, float16 [N, D]."""
        parts = [embedding(self.good(s, [column]), column) for s in range(len(self))]
        return np.concatenate(parts)

    def dump(self) -> bytes:
        """Write down where the columns are, as Parquet."""
        digests = [_binary(source.digest_S32) for source in self.sources]
        about = [{"folder": s.folder, "columns": s.columns} for s in self.sources]
        names = ["shard", "id", *(f"sha256_{i}" for i in range(len(digests)))]
        arrays = [pa.array(self.shards), pa.array(self.ids), *digests]
        table = pa.table(arrays, names=names)
        return encode(table.replace_schema_metadata({"sources": json.dumps(about)}))

    @classmethod
    def load(cls, data: bytes) -> "Scores":
        """Read what `dump` wrote; opens no score table."""
        table = pq.read_table(io.BytesIO(data))
        about = json.loads((table.schema.metadata or {})[b"sources"])
        sources = tuple(
            Source(a["folder"], tuple(a["columns"]), _bytes(table.column(f"sha256_{i}")))
            for i, a in enumerate(about)
        )
        shards, ids = (tuple(table.column(c).to_pylist()) for c in ("shard", "id"))
        return cls(shards, ids, sources)


@dataclass(frozen=True, slots=True)
class Located:
    """Which stage holds what of which shard.

    Attributes:
        shards: S shards.
        writes: Columns by fingerprint of what writes them, W of them.
        stages: Stage names.
        stage_SW: int16, index into `stages`; -1 where nothing was written yet.
        digest_KS32: uint8, SHA-256 of each stage's table of each shard.
    """

    shards: Sequence[Shard]
    writes: Writes
    stages: tuple[str, ...]
    stage_SW: NDArray[np.int16]
    digest_KS32: NDArray[np.uint8]

    def lacking(self) -> Iterator[tuple[tuple[int, ...], NDArray[np.bool_]]]:
        """Yield what some shards lack, and which shards those are, bool [S]."""
        lacks_SW = self.stage_SW < 0
        for pattern in np.unique(lacks_SW, axis=0)[::-1]:
            if pattern.any():
                yield tuple(np.flatnonzero(pattern).tolist()), (lacks_SW == pattern).all(axis=1)

    @property
    def is_whole(self) -> bool:
        """Whether no shard lacks anything."""
        return bool((self.stage_SW >= 0).all())

    def scores(self, store: Folder) -> Scores:
        """Return the columns' places; every shard has to have every column."""
        assert self.is_whole, "every shard was scored"
        columns, sources = list(self.writes.values()), []
        for k, stage in enumerate(self.stages):
            held_SW = self.stage_SW == k
            for pattern in np.unique(held_SW, axis=0)[::-1]:
                if pattern.any():
                    which = (held_SW == pattern).all(axis=1)
                    names = tuple(c for w in np.flatnonzero(pattern) for c in columns[w])
                    digests = np.where(which[:, None], self.digest_KS32[k], 0).astype(np.uint8)
                    sources.append(Source((store / "scores" / stage).url, names, digests))
        urls, ids = tuple(s.url for s in self.shards), tuple(s.id for s in self.shards)
        return Scores(urls, ids, tuple(sources))


def locate(shards: Sequence[Shard], writes: Writes, ledger: Ledger) -> Located:
    """Look up where the ledger has what of the shards, each column in one stage only."""
    stages = tuple(s for s in sorted(ledger.stages) if set(ledger.stages[s]) & set(writes))
    ids = pa.array([shard.id for shard in shards], pa.string())
    stage_SW = np.full((len(shards), len(writes)), -1, np.int16)
    digest_KS32 = np.zeros((len(stages), len(shards), 32), np.uint8)
    for k, stage in enumerate(stages):
        records = ledger.of_stage(stage)
        at = pc.index_in(ids, value_set=records.column("shard").combine_chunks())
        done_S = at.is_valid().to_numpy(zero_copy_only=False)
        digest_KS32[k] = _bytes(records.column("sha256").take(at))
        for w, fingerprint in enumerate(writes):
            if fingerprint in ledger.stages[stage]:
                stage_SW[done_S & (stage_SW[:, w] < 0), w] = k
    return Located(shards, writes, stages, stage_SW, digest_KS32)


def _binary(digest_S32: NDArray[np.uint8]) -> pa.Array:
    data = pa.py_buffer(np.ascontiguousarray(digest_S32).tobytes())
    return pa.FixedSizeBinaryArray.from_buffers(pa.binary(32), len(digest_S32), [None, data])


def _bytes(digests: pa.ChunkedArray) -> NDArray[np.uint8]:
    data = b"".join(digests.fill_null(bytes(32)).to_pylist())
    return np.frombuffer(data, np.uint8).reshape(len(digests), 32)
