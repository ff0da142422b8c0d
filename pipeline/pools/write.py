"""Entries to shards: pictures damaged where planned, json composed, several shards at a time."""

import hashlib
import json
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.pools.entry import Entry
from pipeline.pools.looks import THREADS, look
from pipeline.samples import uid_hex
from pipeline.shards import write_shard

TRUTH_SCHEMA = pa.schema(
    [
        pa.field("uid", pa.string(), nullable=False),  # 32 hex digits
        pa.field("kind", pa.string(), nullable=False),  # a word of entry.Kind
        pa.field("twin", pa.string()),  # of a copy: its original's uid
    ]
)


def write_split(entries: Sequence[Entry], folder: Path, *, shard_size: int) -> dict[str, str]:
    """Write entries as `00000.tar`, `00001.tar`, ... into a new folder.

    Args:
        entries: In the order of the shards.
        folder: Created; its parent exists.
        shard_size: Pairs per shard.

    Returns:
        SHA-256 by `<folder name>/<shard name>`.
    """
    folder.mkdir()
    parts = [entries[i : i + shard_size] for i in range(0, len(entries), shard_size)]
    paths = [folder / f"{number:05d}.tar" for number in range(len(parts))]
    starts = range(0, len(entries), shard_size)
    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(_write_one, paths, parts, starts))
        digests = list(pool.map(_sha256, paths))
    return {f"{folder.name}/{p.name}": d for p, d in zip(paths, digests, strict=True)}


def write_truth(entries: Sequence[Entry], path: Path) -> None:
    """Write uid, kind and twin of every entry, sorted by uid."""
    rows = sorted((e.uid, e.kind.value, e.twin) for e in entries)
    columns = {
        "uid": [uid_hex(uid) for uid, _, _ in rows],
        "kind": [kind for _, kind, _ in rows],
        "twin": [None if twin is None else uid_hex(twin) for _, _, twin in rows],
    }
    pq.write_table(pa.table(columns, schema=TRUTH_SCHEMA), path)


def _write_one(path: Path, entries: Sequence[Entry], first: int) -> None:
    numbered = enumerate(entries, first)
    write_shard(path, (m for number, entry in numbered for m in _members(f"{number:08d}", entry)))


def _members(key: str, entry: Entry) -> Iterator[tuple[str, bytes]]:
    """Yield picture, caption and json of one entry; the json does not tell what was planted."""
    data, seen = entry.item.picture.read(), entry.look
    if entry.damage is not None:
        data = entry.damage(data)
        after = look(data, hashed=False)
        seen = after if after.width else seen  # a damaged header hides what the picture was
    size = {"width": seen.width, "height": seen.height} if seen.width else {}
    meta = {**entry.item.meta, "uid": uid_hex(entry.uid), **size}
    yield f"{key}.{seen.extension if seen.width else 'jpg'}", data
    yield f"{key}.txt", entry.caption.encode()
    yield f"{key}.json", json.dumps(meta, ensure_ascii=False, sort_keys=True).encode()


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
