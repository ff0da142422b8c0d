"""A bounded sample of a pool's pairs: those with the lowest hashes of their uids, in order of uid.

Neither how the pool is cut into shards, nor the order of anything, nor who was first has a say. No
process holds more than the sample: shards are counted, then each gives what is below a threshold.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from filters.concepts.direction import has_direction
from filters.hashing import hash_contents, hashed
from pipeline.columns.remaining import Remaining
from pipeline.executors import Executor, some_at_once
from pipeline.tables import embedding, uid_words, uids


@dataclass(frozen=True, slots=True)
class Sample:
    """Some pairs of a pool.

    Attributes:
        pairs: How many there are to draw from.
        embeddings: float16 [N, D] by column; N pairs sorted by uid, those of one uid by contents.
    """

    pairs: int
    embeddings: Mapping[str, NDArray[np.float16]]

    def __len__(self) -> int:
        """Return the number of pairs drawn."""
        return len(next(iter(self.embeddings.values())))

    def require_some(self, what: str) -> None:
        """Refuse a pool of which nothing could be drawn.

        Raises:
            ValueError: It is one.
        """
        if not len(self):
            raise ValueError(
                f"{what}: got no readable pair with {' and '.join(self.embeddings)} in the whole "
                "pool, expected some; `thresher status` tells what is wrong with them"
            )


@dataclass(frozen=True, slots=True)
class _Part:
    """What a task gives: keys uint64 [n, 4] (hash, high, low word of the uid, digest), vectors."""

    key_n4: NDArray[np.uint64]
    embeddings: Mapping[str, NDArray[np.float16]]


@dataclass(frozen=True, slots=True)
class _Draw:
    remaining: Remaining
    columns: tuple[str, ...]
    seed: int
    below: int  # hashes that are taken, of 2 ** 64


def draw(
    remaining: Remaining, columns: Sequence[str], *, most: int, seed: int, execute: Executor
) -> Sample:
    """Draw pairs that have all of these embeddings; about `most` of a pool that has more.

    Args:
        remaining: The pairs to draw from.
        columns: Embeddings; a pair without one, of zeros, or with NaN in it is never drawn.
        most: Never more than that are drawn; all of a pool that has no more.
        seed: Of the hashes.
        execute: Where shards are read.
    """
    pairs = remaining.count(execute)
    work = _Draw(remaining, tuple(columns), seed, min(2**64, 2**64 * most // max(pairs, 1)))
    shards = some_at_once(range(len(remaining.scores)))
    return Sample(pairs, _laid_out(list(execute.map(_take, work, shards, weights={})), most))


def _take(work: _Draw, weights: Mapping[str, Path], shards: Sequence[int]) -> _Part:
    del weights
    parts = [_of_shard(work, shard) for shard in shards]
    return _Part(
        np.concatenate([part.key_n4 for part in parts]),
        {c: np.concatenate([part.embeddings[c] for part in parts]) for c in work.columns},
    )


def _of_shard(work: _Draw, shard: int) -> _Part:
    table = work.remaining.left(shard, ["uid", *work.columns])
    uid_N2 = uid_words(uids(table))
    hash_N = hashed(uid_N2, salt=f"sample:{work.seed}")
    at_n = np.flatnonzero(hash_N <= np.uint64(max(work.below - 1, 0)))
    table = table.take(at_n)
    found = {column: embedding(table, column) for column in work.columns}
    whole_n = np.logical_and.reduce([has_direction(vectors) for vectors in found.values()])
    found = {column: vectors[whole_n] for column, vectors in found.items()}
    at_n = at_n[whole_n]
    digest_n = hash_contents(np.concatenate(list(found.values()), axis=1))
    return _Part(np.column_stack([hash_N[at_n], uid_N2[at_n], digest_n]), found)


def _laid_out(parts: list[_Part], most: int) -> dict[str, NDArray[np.float16]]:
    """Put the `most` lowest in order of uid; parts are let go one by one, as they may be large."""
    key_n4 = np.concatenate([part.key_n4 for part in parts])
    lowest = np.lexsort(key_n4.T[[3, 2, 1, 0]])[:most]
    chosen = lowest[np.lexsort(key_n4[lowest].T[[3, 2, 1]])]
    place_n = np.full(len(key_n4), -1)
    place_n[chosen] = np.arange(len(chosen))
    laid = {
        column: np.empty((len(chosen), vectors.shape[1]), np.float16)
        for column, vectors in parts[0].embeddings.items()
    }
    start = 0
    for i, part in enumerate(parts):
        at_n = place_n[start : start + len(part.key_n4)]
        for column, vectors in part.embeddings.items():
            laid[column][at_n[at_n >= 0]] = vectors[at_n >= 0]
        start += len(part.key_n4)
        parts[i] = _Part(part.key_n4[:0], {})
    return laid
