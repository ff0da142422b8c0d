"""Which pairs clusters are found from: chosen by hash, so by nothing but their uids and a seed."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from filters.concepts.nearest import has_direction
from filters.hashing import hashed
from pipeline.executors import Executor, some_at_once
from pipeline.remaining import Remaining
from pipeline.tables import embedding, uid_words, uids

logger = logging.getLogger(__name__)

Part = tuple[NDArray[np.uint64], NDArray[np.float16]]  # uids [n, 2]; embeddings [n, D]


@dataclass(frozen=True, slots=True)
class _Wanted:
    remaining: Remaining
    embedding: str
    salt: str
    below: int  # 64 bits, inclusive


def training_sample(
    remaining: Remaining, *, column: str, rows: int, seed: int, execute: Executor
) -> NDArray[np.float16]:
    """Return the embeddings of about so many pairs still in, in order of uid; all of fewer.

    A pair is chosen if the hash of seed and uid is below the share wanted, so neither how the pool
    is cut into shards nor who finished first changes what clusters are found. Embeddings that tell
    nothing, zero or not finite, are left out.

    Args:
        remaining: Of the pool.
        column: Embedding.
        rows: How many; what comes differs from it by about its square root.
        seed: Another chooses others.
        execute: Where shards are read.
    """
    pairs = remaining.count(execute)
    below = (min(rows, pairs) << 64) // max(pairs, 1) - 1
    if below < 0:
        return np.zeros((0, 0), np.float16)
    wanted = _Wanted(remaining, column, f"sample:{seed}", below)
    todo = some_at_once(range(len(remaining.scores)))
    parts = list(execute.map(_chosen_some, wanted, todo, weights={}))
    sample_ND = _by_uid(parts)
    logger.info(
        "%s: clusters are found from %d of %d pairs, %d bytes",
        column, len(sample_ND), pairs, sample_ND.nbytes,
    )  # fmt: skip
    return sample_ND


def _by_uid(parts: Sequence[Part]) -> NDArray[np.float16]:
    """Join embeddings in order of uid; besides what comes in there is only what goes out."""
    uid_N2 = np.concatenate([uid_n2 for uid_n2, _ in parts])
    place_N = np.empty(len(uid_N2), np.int64)
    place_N[np.lexsort((uid_N2[:, 1], uid_N2[:, 0]))] = np.arange(len(uid_N2))
    sample_ND = np.empty((len(uid_N2), parts[0][1].shape[1]), np.float16)
    ends = np.cumsum([len(vectors_nD) for _, vectors_nD in parts])
    for (_, vectors_nD), place_n in zip(parts, np.split(place_N, ends[:-1]), strict=True):
        sample_ND[place_n] = vectors_nD
    return sample_ND


def _chosen_some(wanted: _Wanted, weights: Mapping[str, Path], shards: Sequence[int]) -> Part:
    del weights
    parts = [_chosen(wanted, shard) for shard in shards]
    return np.concatenate([part[0] for part in parts]), np.concatenate([part[1] for part in parts])


def _chosen(wanted: _Wanted, shard: int) -> Part:
    table = wanted.remaining.left(shard, ["uid", wanted.embedding])
    uid_N2 = uid_words(uids(table))
    vectors_ND = embedding(table, wanted.embedding)
    chosen_N = hashed(uid_N2, salt=wanted.salt) <= np.uint64(wanted.below)
    chosen_N[chosen_N] = has_direction(vectors_ND[chosen_N])
    return uid_N2[chosen_N], vectors_ND[chosen_N]
