"""Build a training index by tasks: rows of many shards meet by range of uids, file by file.

Letters: N rows, P partitions, each a range of uids, S subsets.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from filters.hashing import uniform
from pipeline.columns import shuffle as shuffling
from pipeline.columns.shuffle import Rows, Runs, shuffle
from pipeline.executors import Executor, some_at_once
from pipeline.fingerprint import fingerprint
from pipeline.folder import Folder
from pipeline.index.digest import digest_name, digest_rows
from pipeline.index.opened import ABOUT, SHARDS, open_index, part_name
from pipeline.index.parts import COPIES, WEIGHT
from pipeline.index.pool import Pool, Scored, Wanted, no_rows
from pipeline.index.subset import Subset, open_subset
from pipeline.index.walk import walk
from pipeline.pairs import Pairs, not_held
from pipeline.schema import UID_BYTES
from pipeline.scores import Scores
from pipeline.shards import find_shards
from pipeline.tables import uid_words, uids

VERSION = 1  # raise when the same pool and subsets come to give another index
SAMPLED = 64  # uids looked at for each partition, to find where it ends
MOST = 768  # partitions: a reader holds one file of each open
PEEKED = 4  # shards of which rows are weighed
ALL = Wanted()


def index_of_scores(
    scores: Scores,
    subsets: Sequence[str] = (),
    *,
    wanted: Wanted = ALL,
    home: Folder,
    execute: Executor,
) -> Pairs:
    """Return the pairs of a scored pool that are in a subset, or in any of several.

    Args:
        scores: Of the pool; once it is decided on, of pairs with one uid the kept one counts.
        subsets: URLs of `subset.npy`; none takes every readable pair.
        wanted: Captions, weights and fields.
        home: Where indexes lie; one that is there already is found again.
        execute: Where it is built.

    Raises:
        ValueError: A subset is empty or no subset, or holds a uid that no shard does; or a column
            is not there, or of the wrong kind.
    """
    return build_index(Scored(scores, wanted), _opened(subsets), home=home, execute=execute)


def index_of_shards(
    urls: Sequence[str],
    subsets: Sequence[str] = (),
    *,
    wanted: Wanted = ALL,
    home: Folder,
    execute: Executor,
) -> Pairs:
    """Do as `index_of_scores` does, for shards that were never scored; `urls` as `find_shards`."""
    found = _opened(subsets)
    pool = walk(find_shards(urls), wanted, home=home, execute=execute)
    return build_index(pool, found, home=home, execute=execute)


def build_index(pool: Pool, subsets: Sequence[Subset], *, home: Folder, execute: Executor) -> Pairs:
    """Return the pairs of a pool that are in some subset; built once, published whole."""
    name = fingerprint(
        "index", version=VERSION, pool=pool.identity, subsets=[s.digest for s in subsets]
    )
    folder, scratch = home / "index" / name, home / "scratch" / f"index-{name}"
    if not folder.exists(ABOUT):
        todo = some_at_once(range(len(pool.shards)))
        work = _Work(pool, tuple(subsets), starts_of(pool, subsets, todo, execute))
        runs = shuffle(
            _send, work, todo, partitions=len(work.start_P), folder=scratch, execute=execute
        )
        parts = _Parts(work, runs, folder)
        items = range(len(work.start_P))
        _publish(parts, list(execute.map(_write_part, parts, items, weights={})))
        scratch.remove_all()
    return open_index(folder)


@dataclass(frozen=True, slots=True)
class _Work:
    """What is sent, and the first uid of every partition, of which the first holds all below."""

    pool: Pool
    subsets: tuple[Subset, ...]
    start_P: NDArray[np.bytes_]


@dataclass(frozen=True, slots=True)
class _Parts:
    work: _Work
    runs: Runs
    folder: Folder


@dataclass(frozen=True, slots=True)
class _Part:
    """What became of a partition.

    Attributes:
        number: Of the partition.
        rows: That were written; without any there is no file.
        digest: Sum of its rows' digests.
        copies: Of each subset: rows that are in it, rows shown, most copies of one.
        missing: Uids of subsets that no shard holds.
        example: One of them, hex.
        bad_weights: Of each weight: rows without a number of at least 0.
    """

    number: int
    rows: int
    digest: int
    copies: tuple[tuple[int, int, int], ...]
    missing: int
    example: str
    bad_weights: tuple[int, ...]


def _opened(urls: Sequence[str]) -> list[Subset]:
    return [open_subset(url) for url in urls]


def starts_of(
    pool: Pool, subsets: Sequence[Subset], todo: Sequence[Sequence[int]], execute: Executor
) -> NDArray[np.bytes_]:
    """Return the first uid of every partition, S16 [P]: at even steps of what there will be."""
    shards = len(pool.shards)
    peeked = {i * shards // PEEKED for i in range(PEEKED)} if shards else set()
    tables = [pool.rows(shard) for shard in sorted(peeked)]
    weighed = sum(len(table) for table in tables)
    row_bytes = max(64, sum(table.nbytes for table in tables) // max(1, weighed))
    if subsets:
        rows = sum(subset.uids for subset in subsets)
    else:
        rows = sum(execute.map(_count, pool, todo, weights={}))
    partitions = max(1, min(MOST, -(-rows * row_bytes // shuffling.PARTITION_BYTES)))
    if partitions == 1:
        return np.zeros(1, f"S{UID_BYTES}")
    wanted = SAMPLED * partitions
    if subsets:
        shares = [max(1, wanted * subset.uids // rows) for subset in subsets]
        found = [s.spread(share) for s, share in zip(subsets, shares, strict=True)]
    else:
        found = list(execute.map(_sample, (pool, min(1.0, wanted / rows)), todo, weights={}))
    uid_n = np.unique(np.concatenate(found))
    starts = np.unique(uid_n[np.arange(1, partitions) * len(uid_n) // partitions])
    return np.concatenate([np.zeros(1, f"S{UID_BYTES}"), starts])


def _count(pool: Pool, weights: Mapping[str, Path], shards: Sequence[int]) -> int:
    del weights
    return sum(len(pool.uids(shard)) for shard in shards)


def _sample(
    work: tuple[Pool, float], weights: Mapping[str, Path], shards: Sequence[int]
) -> NDArray[np.bytes_]:
    """Return a share of the uids, S16 [n]: which ones depends on nothing but themselves."""
    del weights
    pool, share = work
    found = [np.zeros(0, f"S{UID_BYTES}")]
    for shard in shards:
        uid_N = uids(pool.uids(shard))
        found.append(uid_N[uniform(uid_words(uid_N), salt="ends") < share])
    return np.concatenate(found)


def _send(work: _Work, shards: Sequence[int]) -> Iterator[Rows]:
    """Yield the rows of some shards that are in a subset, and the range of each."""
    for shard in shards:
        table = work.pool.rows(shard)
        if work.subsets:
            word_N2 = uid_words(uids(table))
            count_SN = np.stack([subset.count(word_N2) for subset in work.subsets])
            table = table.filter(pa.array(count_SN.any(axis=0)))
        partition_N = np.searchsorted(work.start_P[1:], uids(table), "right")
        yield Rows(table, partition_N.astype(np.int32))


def _write_part(parts: _Parts, weights: Mapping[str, Path], partition: int) -> _Part:
    """Write a partition by uid; of rows with one uid the first of the pool stays."""
    del weights
    work = parts.work
    table = parts.runs.read(partition)
    table = _sorted(no_rows(work.pool.wanted) if table is None else table)
    word_N2 = uid_words(uids(table))
    counts = [subset.count(word_N2) for subset in work.subsets]
    for number, count_N in enumerate(counts):
        table = table.append_column(f"{COPIES}{number}", pa.array(count_N))
    if len(table):
        _write(parts.folder, part_name(partition), table)
    start, *ends = work.start_P[partition : partition + 2].tolist()
    end = ends[0] if ends else b""
    lacking = _lacking(work.subsets, word_N2, start, end)
    weight_columns = [table.column(f"{WEIGHT}{name}").to_numpy() for name in _weights(work)]
    return _Part(
        number=partition,
        rows=len(table),
        digest=digest_rows(table),
        copies=tuple((int((n > 0).sum()), int(n.sum()), int(n.max(initial=0))) for n in counts),
        missing=len(lacking),
        example=next(iter(lacking), ""),
        bad_weights=tuple(int((~(np.isfinite(w) & (w >= 0))).sum()) for w in weight_columns),
    )


def _sorted(table: pa.Table) -> pa.Table:
    """Return rows in order of uid, each uid once."""
    word_N2 = uid_words(uids(table))
    place_N2 = [table.column(name).to_numpy() for name in ("offset", "shard")]
    order_N = np.lexsort((*place_N2, word_N2[:, 1], word_N2[:, 0]))
    word_N2 = word_N2[order_N]
    is_first_N = np.ones(len(order_N), bool)
    is_first_N[1:] = (word_N2[1:] != word_N2[:-1]).any(axis=1)
    return table.take(order_N[is_first_N]).combine_chunks()


def _lacking(
    subsets: Sequence[Subset], word_N2: NDArray[np.uint64], start: bytes, end: bytes
) -> list[str]:
    """Return the uids of subsets in a range that are not among the rows, hex, each once."""
    lacking = set[str]()
    held = set(map(tuple, word_N2.tolist())) if subsets else set()
    for subset in subsets:
        wanted = subset.between(start, end).tolist()
        lacking |= {f"{high:016x}{low:016x}" for high, low in wanted if (high, low) not in held}
    return sorted(lacking)


def _publish(parts: _Parts, found: list[_Part]) -> None:
    """Write what holds for the whole index, last of all what it is.

    Raises:
        ValueError: It is not the index that was asked for.
    """
    work, found = parts.work, sorted(found, key=lambda part: part.number)
    if missing := sum(part.missing for part in found):
        raise not_held(next(part.example for part in found if part.example), missing)
    rows = sum(part.rows for part in found)
    if not rows:
        raise ValueError(
            f"index: got {len(work.pool.shards)} shards without a pair that can be read, expected "
            "some; check the shards"
        )
    for i, name in enumerate(_weights(work)):
        if bad := sum(part.bad_weights[i] for part in found):
            raise ValueError(
                f"weight: got {bad} of {rows} pairs whose {name!r} is no number of at least 0, "
                "expected one of every pair; choose another column"
            )
    shards = pa.table({"shard": pa.array(work.pool.shards, pa.string())})
    _write(parts.folder, SHARDS, shards)
    columns = [*no_rows(work.pool.wanted).column_names]
    columns += [f"{COPIES}{number}" for number in range(len(work.subsets))]
    about = {
        "version": VERSION,
        "shards": len(work.pool.shards),
        "parts": [[part_name(part.number), part.rows] for part in found if part.rows],
        "digest": digest_name(columns, sum(part.digest for part in found), rows=rows),
        "subsets": [_subset(found, i) for i in range(len(work.subsets))],
    }
    parts.folder.write(ABOUT, json.dumps(about, indent=2).encode())


def _subset(found: Sequence[_Part], number: int) -> dict[str, int]:
    of = [part.copies[number] for part in found]
    return {"pairs": sum(c[0] for c in of), "shown": sum(c[1] for c in of),
            "most": max(c[2] for c in of)}  # fmt: skip


def _write(folder: Folder, name: str, table: pa.Table) -> None:
    """Write a table of at least one row as one batch, as it can be mapped."""
    (batch,) = table.combine_chunks().to_batches()
    with folder.open_write(name) as file, pa.ipc.new_file(file, table.schema) as writer:
        writer.write_batch(batch)


def _weights(work: _Work) -> tuple[str, ...]:
    return work.pool.wanted.weights
