"""A pool that is scored already, without a picture: planted columns, cut into shards at will."""

import hashlib
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from filters.extract import Column
from pipeline.folder import Folder
from pipeline.ledger import table_name
from pipeline.schema import BASE_SCHEMA
from pipeline.scores import Scores, Source
from pipeline.shards import Shard
from pipeline.tables import encode, score_schema, to_array

DIM = 4
COLUMNS = (
    Column("image_embedding", "embedding", "", "", "", DIM),
    Column("phash", "uint64", "", "", ""),
    Column("x", "float32", "", "", ""),
    Column("y", "float32", "", "", ""),
    Column("words", "int32", "", "", ""),
)


@dataclass(frozen=True)
class Planted:
    """N rows; `x` and `y` tell good from bad, every tenth row is broken."""

    uids: list[bytes]
    is_ok: np.ndarray
    is_good: np.ndarray
    values: dict[str, np.ndarray]


def planted(rows, seed=0):
    rng = np.random.default_rng(seed)
    is_good = rng.random(rows) < 0.6
    embedding = rng.normal(size=(rows, DIM))
    embedding /= np.linalg.norm(embedding, axis=1)[:, None]
    x = (is_good + rng.normal(size=rows)).astype(np.float32)
    x[rng.random(rows) < 0.05] = np.nan
    return Planted(
        uids=[hashlib.md5(rng.bytes(8)).digest() for _ in range(rows)],
        is_ok=np.arange(rows) % 10 != 7,
        is_good=is_good,
        values={
            "image_embedding": embedding.astype(np.float16),
            "phash": rng.integers(0, 2**63, rows).astype(np.uint64),
            "x": x,
            "y": (2 * is_good + rng.normal(size=rows)).astype(np.float32),
            "words": (3 * is_good + rng.integers(0, 6, rows)).astype(np.int32),
        },
    )


def scored(home, pool, *, shards, order=None, columns=COLUMNS, changed=()):
    """Write the pool's score tables into a folder, in so many shards; returns scores and shards.

    Those that are `changed` are known by another name, as files are that were written again.
    """
    order = np.arange(len(pool.uids)) if order is None else order
    schema, found, digests = score_schema(columns), [], []
    for number, rows in enumerate(np.array_split(order, shards)):
        ok = pool.is_ok[rows]
        base = [[pool.uids[r] for r in rows], [str(r) for r in rows], [0] * len(rows),
                [1] * len(rows), np.where(ok, "ok", "decode_error").tolist(),
                ["a caption"] * len(rows)]  # fmt: skip
        arrays = [pa.array(v, f.type) for v, f in zip(base, BASE_SCHEMA, strict=True)]
        arrays += [
            to_array(pool.values[c.name][rows][ok], schema.field(c.name), valid_N=ok)
            for c in columns
        ]
        data = encode(pa.Table.from_arrays(arrays, schema=schema))
        version = "-again" if number in changed else ""
        shard = Shard(f"{number:05d}.tar", f"{number:05d}-{shards}{version}", len(data))
        Folder(str(home / "scores" / "score-0")).write(table_name(shard.id), data)
        digests.append(np.frombuffer(hashlib.sha256(data).digest(), np.uint8))
        found.append(shard)
    names = tuple(column.name for column in columns)
    source = Source(str(home / "scores" / "score-0"), names, np.stack(digests))
    return Scores(tuple(s.url for s in found), tuple(s.id for s in found), (source,)), found
