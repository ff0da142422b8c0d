"""What an index is made of: the readable pairs of one shard after the other, as tables of rows.

Letters: N rows of a shard.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.deciding.decisions import REASON, decisions_of
from pipeline.fingerprint import fingerprint
from pipeline.folder import Folder
from pipeline.index.parts import CAPTION, FIELD, WEIGHT
from pipeline.samples import read_shard
from pipeline.schema import BASE_SCHEMA, UID_BYTES, Reason
from pipeline.scores import Scores
from pipeline.tables import holds_numbers

BASE = ("caption",)  # a readable pair has this one, whatever else it lacks


@dataclass(frozen=True, kw_only=True, slots=True)
class Wanted:
    """Which columns an index is to have beside `uid, shard, offset, size`.

    Attributes:
        captions: Columns of texts; where one is null or empty, the next one that is not stands in.
        weights: Columns of numbers, at least 0.
        fields: Values of the json, as texts.
    """

    captions: tuple[str, ...] = BASE
    weights: tuple[str, ...] = ()
    fields: tuple[str, ...] = ()


class Pool(Protocol):
    """Shards whose readable pairs can be read one shard at a time, in a task."""

    @property
    def shards(self) -> Sequence[str]:
        """URLs, by position."""
        ...

    @property
    def wanted(self) -> Wanted:
        """Columns of the rows."""
        ...

    @property
    def identity(self) -> str:
        """What its rows depend on."""
        ...

    def rows(self, shard: int) -> pa.Table:
        """Return the readable pairs of a shard: `uid, shard, offset, size`, and what is wanted."""
        ...

    def uids(self, shard: int) -> pa.Table:
        """Return their column `uid` alone."""
        ...


@dataclass(frozen=True, slots=True)
class Scored:
    """A pool with score tables; once it is decided on, of pairs with one uid the kept one counts.

    Attributes:
        scores: Of the pool.
        wanted: What each row is to have.
    """

    scores: Scores
    wanted: Wanted

    def __post_init__(self) -> None:
        """Refuse columns that no pass has written.

        Raises:
            ValueError: There is one.
        """
        known = dict.fromkeys([*BASE_SCHEMA.names, *self.scores.columns])
        for name in (*self.wanted.captions, *self.wanted.weights):
            if name not in known:
                raise ValueError(
                    f"column: got {name!r}, expected one of {', '.join(known)}; correct the name, "
                    "or add the extractor that writes it to the config"
                )

    @property
    def shards(self) -> Sequence[str]:
        """URLs, by position."""
        return self.scores.shards

    @property
    def identity(self) -> str:
        """Digest of what is read."""
        return fingerprint(
            "scored", of=self.scores.digest(self._read), shards=self.shards, wanted=self.wanted
        )

    def rows(self, shard: int) -> pa.Table:
        """Return the readable pairs of a shard."""
        table = self._readable(shard, self._read)
        found: dict[str, pa.ChunkedArray | pa.Array] = {
            "uid": table.column("uid"),
            "shard": pa.array(np.full(len(table), shard, np.int32)),
            "offset": table.column("offset"),
            "size": table.column("size"),
        }
        found |= captions_of(table, self.wanted.captions)
        for name in self.wanted.weights:
            found[WEIGHT + name] = _numbers(table, name)
        if self.wanted.fields:
            found |= _fields(self.shards[shard], table.column("offset"), self.wanted.fields)
        return pa.table(found)

    def uids(self, shard: int) -> pa.Table:
        """Return the uids of the readable pairs of a shard."""
        return self._readable(shard, ["uid"]).select(["uid"])

    @property
    def _read(self) -> list[str]:
        wanted = (*self.wanted.captions, *BASE, *self.wanted.weights)
        return list(dict.fromkeys(["uid", "offset", "size", *wanted, *self._reason]))

    @property
    def _reason(self) -> list[str]:
        return [REASON] if REASON in self.scores.columns else []

    def _readable(self, shard: int, columns: Sequence[str]) -> pa.Table:
        if not self._reason:
            return self.scores.good(shard, list(columns))
        names = list(dict.fromkeys([*columns, REASON, "status"]))
        table = decisions_of(self.scores, (), shard, names)
        is_good = pc.equal(table.column("status"), str(Reason.OK))
        is_first = pc.not_equal(table.column(REASON), str(Reason.REPEATED_UID))
        return table.filter(pc.and_(is_good, is_first))


@dataclass(frozen=True, slots=True)
class Walked:
    """Shards that were never scored, of which `walk` has written down the readable pairs.

    Attributes:
        shards: URLs.
        ids: Identities of the shards, which name their tables.
        folder: Where the tables are.
        wanted: What each row has; captions but the first, weights and fields are of the json.
    """

    shards: tuple[str, ...]
    ids: tuple[str, ...]
    folder: Folder
    wanted: Wanted

    @property
    def identity(self) -> str:
        """Digest of what is read."""
        return fingerprint("walked", ids=self.ids, shards=self.shards, wanted=self.wanted)

    def rows(self, shard: int) -> pa.Table:
        """Return the readable pairs of a shard."""
        with self.folder.open(f"{self.ids[shard]}.arrow") as file, pa.ipc.open_file(file) as reader:
            table = reader.read_all()
        return table.add_column(1, "shard", pa.array(np.full(len(table), shard, np.int32)))

    def uids(self, shard: int) -> pa.Table:
        """Return the uids of the readable pairs of a shard."""
        return self.rows(shard).select(["uid"])


def captions_of(table: pa.Table, names: Sequence[str]) -> Mapping[str, pa.ChunkedArray]:
    """Return a column of captions for each name, without nulls and, where possible, empty texts."""
    stated = {}
    for name in dict.fromkeys([*names, *BASE]):
        column = table.column(name)
        if not pa.types.is_string(column.type):
            raise ValueError(
                f"sampling.captions: got {name!r}, a column of {column.type}, expected one of "
                "texts; correct it in the config"
            )
        is_empty = pc.equal(pc.utf8_trim_whitespace(column), "")
        stated[name] = pc.if_else(is_empty, pa.scalar(None, pa.string()), column)
    others = list(stated.values())
    return {CAPTION + n: pc.fill_null(pc.coalesce(stated[n], *others), "") for n in names}


def no_rows(wanted: Wanted) -> pa.Table:
    """Return the rows of a pool without any."""
    fields = [("uid", pa.binary(UID_BYTES)), ("shard", pa.int32())]
    fields += [("offset", pa.int64()), ("size", pa.int64())]
    fields += [(CAPTION + name, pa.string()) for name in wanted.captions]
    fields += [(WEIGHT + name, pa.float32()) for name in wanted.weights]
    fields += [(FIELD + name, pa.string()) for name in wanted.fields]
    return pa.schema(fields).empty_table()


def _numbers(table: pa.Table, name: str) -> pa.ChunkedArray:
    field = table.schema.field(name)
    if not holds_numbers(field):
        raise ValueError(
            f"weight: got {name!r}, a column of {field.type}, expected one of numbers; correct it "
            "in the config"
        )
    return table.column(name).cast(pa.float32(), safe=False).fill_null(np.nan)


def _fields(url: str, offset_N: pa.ChunkedArray, names: Sequence[str]) -> Mapping[str, pa.Array]:
    """Read values of the json of a shard's pairs; pictures are passed over."""
    meta = {sample.offset: sample.meta for sample in read_shard(url, pictures=False)}
    meta_N = [meta.get(offset, {}) for offset in offset_N.to_pylist()]
    return {
        FIELD + name: pa.array([str(each.get(name, "")) for each in meta_N], pa.string())
        for name in names
    }
