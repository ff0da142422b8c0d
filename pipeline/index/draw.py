"""Random pairs of a pool as a `subset.npy`: those with the lowest hashes of their uids.

Neither shards, nor their order, nor workers have a say. Uids are counted by hash first, so that a
threshold is known; then those below it are brought in order, a range at a time.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from filters.hashing import hashed
from pipeline.columns.shuffle import Rows, shuffle
from pipeline.deciding.subset import npy_header
from pipeline.executors import Executor, some_at_once
from pipeline.fingerprint import fingerprint
from pipeline.folder import Folder
from pipeline.index.build import starts_of
from pipeline.index.parts import uids_from_bytes
from pipeline.index.pool import Pool, Scored, Wanted
from pipeline.scores import Scores
from pipeline.tables import uid_words, uids

BINS = 1 << 16  # of hashes, in which they are counted


@dataclass(frozen=True, slots=True)
class _Draw:
    pool: Pool
    salt: str
    bin: int  # of hashes, in which the last pair that is taken lies
    most: int  # the highest hash that is taken
    start_P: NDArray[np.bytes_]

    def hashes(self, shard: int) -> tuple[pa.Table, NDArray[np.uint64]]:
        """Return the uids of a shard and their hashes."""
        table = self.pool.uids(shard)
        return table, hashed(uid_words(uids(table)), salt=self.salt)


def random_subset(
    scores: Scores, pairs: int, *, seed: int, folder: Folder, home: Folder, execute: Executor
) -> str:
    """Write `random-<name>.npy` with so many readable pairs of a pool, if it is not there yet.

    Args:
        scores: Of a pool that is decided on, so that each uid counts once.
        pairs: How many; all of a pool that has no more.
        seed: Of the choice.
        folder: Where the file goes.
        home: Where rows are sorted.
        execute: Where it is done.

    Returns:
        URL of the file, in DataComp's format.
    """
    pool = Scored(scores, Wanted())
    name = fingerprint("random", version=1, pool=pool.identity, pairs=pairs, seed=seed)
    file = f"random-{name}.npy"
    if not folder.exists(file):
        todo = some_at_once(range(len(pool.shards)))
        nothing = np.zeros(1, "S16")
        work = _threshold(_Draw(pool, f"random:{seed}", 0, 0, nothing), pairs, todo, execute)
        start_P = starts_of(pool, (), todo, execute)
        work = _Draw(pool, work.salt, work.bin, work.most, start_P)
        scratch = home / "scratch" / f"random-{name}"
        runs = shuffle(_send, work, todo, partitions=len(start_P), folder=scratch, execute=execute)
        with folder.open_write(file) as sink:
            sink.write(npy_header(int(runs.rows_P.sum())))
            for partition in np.flatnonzero(runs.rows_P).tolist():
                table = runs.read(partition)
                assert table is not None, "it has rows"
                sink.write(uids_from_bytes(np.sort(uids(table)).tobytes()).tobytes())
        scratch.remove_all()
    return folder.path(file)


def _threshold(work: _Draw, pairs: int, todo: Sequence[Sequence[int]], execute: Executor) -> _Draw:
    """Find the hash of the last pair that is taken."""
    count_b = np.zeros(BINS, np.int64)
    for part_b in execute.map(_count, work, todo, weights={}):
        count_b += part_b
    before_b = np.cumsum(count_b) - count_b
    last = int(np.searchsorted(before_b, pairs, "left")) - 1
    inside = _Draw(work.pool, work.salt, last, 0, work.start_P)
    found = np.sort(np.concatenate(list(execute.map(_inside, inside, todo, weights={}))))
    left = pairs - int(before_b[last])
    most = int(found[left - 1]) if left <= len(found) else 2**64 - 1
    return _Draw(work.pool, work.salt, last, most, work.start_P)


def _count(work: _Draw, weights: Mapping[str, Path], shards: Sequence[int]) -> NDArray[np.int64]:
    """Count the hashes in each bin, int64 [BINS]."""
    del weights
    total_b = np.zeros(BINS, np.int64)
    for shard in shards:
        total_b += np.bincount(_bins(work.hashes(shard)[1]), minlength=BINS)
    return total_b


def _inside(work: _Draw, weights: Mapping[str, Path], shards: Sequence[int]) -> NDArray[np.uint64]:
    """Return the hashes in the last bin of which some are taken."""
    del weights
    found = [np.empty(0, np.uint64)]
    for shard in shards:
        hash_N = work.hashes(shard)[1]
        found.append(hash_N[_bins(hash_N) == work.bin])
    return np.concatenate(found)


def _send(work: _Draw, shards: Sequence[int]) -> Iterator[Rows]:
    """Yield the uids of some shards that are taken, and the range of each."""
    for shard in shards:
        table, hash_N = work.hashes(shard)
        table = table.filter(pa.array(hash_N <= np.uint64(work.most)))
        partition_N = np.searchsorted(work.start_P[1:], uids(table), "right")
        yield Rows(table, partition_N.astype(np.int32))


def _bins(hash_N: NDArray[np.uint64]) -> NDArray[np.int64]:
    return (hash_N >> np.uint64(48)).astype(np.int64)
