"""What a step has said of every pair of a planted pool, whatever its shards."""

from dataclasses import replace

import numpy as np

from pipeline.columns.remaining import Remaining
from pipeline.columns.stages import Place
from pipeline.executors import run_local
from pipeline.folder import Folder
from tests.scored import DIM, planted, scored


def lumpy(rows, *, lumps=5, seed=0):
    """Plant pairs around a few directions, around some of them many and close."""
    pool, rng = planted(rows, seed), np.random.default_rng(seed)
    share = np.arange(1, lumps + 1) ** 2.0
    lump = rng.choice(lumps, rows, p=share / share.sum())
    noise = rng.normal(size=(rows, DIM)) * (0.1 + 0.1 * lump[:, None])
    return with_vectors(pool, rng.normal(size=(lumps, DIM))[lump] + noise)


def with_vectors(pool, vectors):
    """Return the pool with other embeddings, scaled to unit norm where they have one."""
    norm = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit = np.divide(vectors, norm, out=np.zeros_like(vectors), where=norm > 0)
    unit[~np.isfinite(norm[:, 0])] = np.nan
    return replace(pool, values=pool.values | {"image_embedding": unit.astype(np.float16)})


def start(home, pool, *, shards=1, order=None, execute=run_local):
    """Write the pool and return its pairs, and where steps are done."""
    scores, found = scored(home, pool, shards=shards, order=order)
    return Remaining(scores), Place(found, Folder(str(home)), execute)


def told(remaining, columns):
    """Return columns of all good pairs, by uid."""
    rows = {}
    for shard in range(len(remaining.scores)):
        table = remaining.scores.good(shard, ["uid", *columns])
        rows |= {row.pop("uid"): tuple(row.values()) for row in table.to_pylist()}
    return dict(sorted(rows.items()))
