"""One pass of the engine over some shards, and what it left."""

import os
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from filters.extract import Extractor
from pipeline.config import Cells
from pipeline.executors import Executor, run_local
from pipeline.folder import Folder
from pipeline.score import score_shards
from pipeline.scores import Scores
from pipeline.shards import find_shards, write_shard
from pipeline.weights import model_file
from tests.toy import draw, encoded, pair


def score(
    pool: Path | str,
    out: Path | str,
    *extractors: Extractor,
    execute: Executor = run_local,
    weights=model_file,
    progress=lambda _snapshot: None,
    **cells: object,
) -> Scores:
    """Score a pool into a folder."""
    return score_shards(
        find_shards([str(pool)]), extractors, store=Folder(str(out)), weights=weights,
        cells=Cells(**cells), execute=execute, progress=progress,
    )  # fmt: skip


def tables(out: Path | str) -> dict[str, bytes]:
    """Return the score tables of a local run folder, by path."""
    root = Path(out)
    return {str(p.relative_to(root)): p.read_bytes() for p in sorted(root.rglob("*.parquet"))}


def rows(out: Path | str) -> list[dict[str, object]]:
    """Return all rows of a local run folder's score tables."""
    found = [pq.read_table(pa.BufferReader(data)) for data in tables(out).values()]
    return [row for table in found for row in table.to_pylist()]


def captioned(path: Path, captions: list[str]) -> Path:
    """Write a shard with one small picture, again and again, and these captions."""
    image = encoded(draw("circle", "red", size=(24, 24)))
    members = [
        member
        for i, caption in enumerate(captions)
        for member in pair(f"{i:05d}", image=image, caption=caption)
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    write_shard(path, members)
    return path


def parent_of(pid: int) -> int:
    """Return the id of a process's parent."""
    return int((Path("/proc") / str(pid) / "stat").read_text().rpartition(")")[2].split()[1])


def our_processes(name: bytes) -> list[int]:
    """Return the ids of Ray's processes with this in their name that descend from this one."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            title = (folder / "cmdline").read_bytes()
            named = title.startswith(b"ray::") and name in title
            ancestors, pid = set[int](), int(folder.name)
            while named and pid > 1:
                pid = parent_of(pid)
                ancestors.add(pid)
            if named and os.getpid() in ancestors:
                found.append(int(folder.name))
        except (OSError, ValueError):
            continue
    return found
