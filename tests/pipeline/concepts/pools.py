"""Pools of planted columns without pictures, cut into shards at will, and what is found of them."""

import hashlib
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from filters.extract import Column
from pipeline.columns.remaining import Remaining
from pipeline.columns.stages import Place
from pipeline.executors import run_local
from pipeline.folder import Folder
from pipeline.ledger import table_name
from pipeline.schema import BASE_SCHEMA
from pipeline.scores import Scores, Source
from pipeline.shards import Shard
from pipeline.tables import encode, score_schema, to_array

BEFORE = "reason_before"  # of a step before, if a pool has it


@dataclass(frozen=True)
class Planted:
    """N rows: uids, which are good, a value for each by column, and captions."""

    uids: list[bytes]
    is_ok: np.ndarray
    values: dict
    captions: tuple[str, ...] = ()

    def __len__(self):
        return len(self.uids)


def pool_of(values, *, broken=10, seed=0):
    """Give rows uids; every so manieth one is broken."""
    rows = len(next(iter(values.values())))
    rng = np.random.default_rng(seed)
    uids = [hashlib.md5(rng.bytes(8)).digest() for _ in range(rows)]
    uids[0] = uids[0][:14] + b"\0\0"  # uids may end in zeros
    return Planted(uids, np.arange(rows) % broken != broken - 1, values)


def declared(name, values):
    if values.ndim == 2:
        return Column(name, "embedding", "", "", "", values.shape[1])
    dtype = "string" if values.dtype.kind == "U" else str(values.dtype)
    return Column(name, dtype, "", "", "")


def written(home, pool, *, shards=3, order=None, execute=run_local):
    """Write score tables; returns what remains, all, and the place."""
    order = np.arange(len(pool)) if order is None else order
    columns = [declared(name, values) for name, values in pool.values.items()]
    schema, found, digests = score_schema(columns), [], []
    folder = Folder(str(home / "scores" / "score-0"))
    for number, rows in enumerate(np.array_split(order, shards)):
        ok = pool.is_ok[rows]
        base = [[pool.uids[r] for r in rows], [str(r) for r in rows], [0] * len(rows),
                [1] * len(rows), np.where(ok, "ok", "decode_error").tolist(),
                [pool.captions[r] if pool.captions else "a caption" for r in rows]]  # fmt: skip
        arrays = [pa.array(v, f.type) for v, f in zip(base, BASE_SCHEMA, strict=True)]
        arrays += [
            to_array(pool.values[c.name][rows][ok], schema.field(c.name), valid_N=ok)
            for c in columns
        ]
        data = encode(pa.Table.from_arrays(arrays, schema=schema))
        shard = Shard(f"{number:05d}.tar", f"{number:05d}-{shards}", len(data))
        folder.write(table_name(shard.id), data)
        digests.append(np.frombuffer(hashlib.sha256(data).digest(), np.uint8))
        found.append(shard)
    source = Source(folder.url, tuple(c.name for c in columns), np.stack(digests))
    scores = Scores(tuple(s.url for s in found), tuple(s.id for s in found), (source,))
    reason = BEFORE if BEFORE in pool.values else "status"
    return Remaining(scores, reason), Place(found, Folder(str(home)), execute)


def told(remaining, *columns):
    """Return columns of all good rows, by uid."""
    parts = [
        remaining.scores.good(shard, ["uid", *columns]) for shard in range(len(remaining.scores))
    ]
    rows = pa.concat_tables([part.replace_schema_metadata() for part in parts]).to_pylist()
    return {row["uid"]: tuple(row[c] for c in columns) for row in rows}


def tables(home, kind):
    """Return the bytes of a stage's tables."""
    return {p.name: p.read_bytes() for p in home.glob(f"scores/{kind}-*/*.parquet")}
