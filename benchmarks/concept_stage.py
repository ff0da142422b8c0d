"""Seconds, memory and bytes of the concept stage, step by step, on planted pools of two sizes.

    python benchmarks/concept_stage.py > benchmarks/results/DATE-concept-stage.md
    python benchmarks/concept_stage.py --rows 1000000 --concepts 1000 --ray off

A pool is score tables on a disk, as scoring writes them: uids, captions, p(keep), hashes and
embeddings around centres of centres, of which a fifth nearly repeats another. Every step is the one
that `thresher curate` takes. Near-copies are looked for inside clusters, so that step grows with
rows times rows of a cluster; where sizes are compared there is one concept for so many rows in
all of them, as the authors of SemDeDup have it (50,000 clusters for 440 million pairs). One flat
k-means then costs more a row in a larger pool, as there are more centroids; two levels (`--levels
2`) cost a row the square root of that.

Memory is that of this process and all it started, Ray's own included, looked at five times a second
(Linux' smaps, pages that processes share counted once): all that is resident, files that are mapped
included, and what is no file's.
"""

import argparse
import hashlib
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from heading import heading
from numpy.typing import NDArray
from process_tree import cpu_of_tree, memory_of, tree

from filters.concepts import AnyClustering, Flat, TwoLevel
from filters.extract import Column
from pipeline.columns.remaining import Remaining
from pipeline.columns.stages import Place
from pipeline.concepts.clusters import cluster_pairs
from pipeline.concepts.copies import drop_copies
from pipeline.concepts.dedup import PREFIX as DEDUP
from pipeline.concepts.dedup import drop_alike
from pipeline.concepts.prune import PREFIX as CONCEPT
from pipeline.concepts.prune import prune
from pipeline.executors import executor
from pipeline.folder import Folder
from pipeline.ledger import table_name
from pipeline.schema import BASE_SCHEMA
from pipeline.scores import Scores, Source
from pipeline.settings import Concepts, Dedup
from pipeline.shards import Shard
from pipeline.tables import encode, score_schema, to_array

SEED, DIM, SHARD_ROWS = 0, 512, 10_000
ROWS_A_CONCEPT = 1000
CENTRES = 25  # of centres: those around one are neighbours, so that borders matter
REPEATS, NOISE = 0.2, 0.2  # share of near-copies; cosines of about 0.96
COLUMNS = (
    Column("p_keep", "float64", "", "", ""),
    Column("phash", "uint64", "", "", ""),
    Column("content", "uint64", "", "", ""),
    Column("image_embedding", "embedding", "", "", "", DIM),
)


@dataclass
class Step:
    """What a step took."""

    seconds: float = 0.0
    cpu: float = 0.0
    resident: int = 0
    own: int = 0
    scratch: int = 0
    kept: int = 0


@dataclass
class Watch:
    """Looks at the process tree and the run folder while a step runs."""

    home: Path
    steps: dict[str, Step] = field(default_factory=dict)

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        step = self.steps.setdefault(name, Step())
        over = threading.Event()
        watcher = threading.Thread(target=self._look, args=(step, over))
        before, start, cpu = size_of(self.home / "scores"), time.perf_counter(), cpu_of_tree()
        watcher.start()
        try:
            yield
        finally:
            step.seconds = time.perf_counter() - start
            step.cpu = cpu_of_tree() - cpu
            over.set()
            watcher.join()
            step.kept = size_of(self.home / "scores") - before

    def _look(self, step: Step, over: threading.Event) -> None:
        while not over.wait(0.2):
            found = [memory_of(process) for process in tree()]
            step.resident = max(step.resident, sum(resident for resident, _ in found))
            step.own = max(step.own, sum(own for _, own in found))
            step.scratch = max(step.scratch, size_of(self.home / "scratch"))


def size_of(folder: Path) -> int:
    total = 0
    for path in folder.rglob("*"):
        with suppress(OSError):
            total += path.stat().st_size if path.is_file() else 0
    return total


def main() -> None:
    """Measure what was asked for and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, nargs="+", default=[100_000, 400_000])
    parser.add_argument("--concepts", type=int, default=0, help="0: one for 1,000 rows")
    parser.add_argument("--levels", type=int, choices=[1, 2], default=1, help="of clustering")
    parser.add_argument("--ray", default="local", help="off, local, or an address")
    parser.add_argument("--similarity", type=float, default=0.95)
    parser.add_argument("--tmp", help="where pools are written; 2.5 KB a row")
    args = parser.parse_args()
    print(heading(f"{DIM} dimensions, --ray {args.ray}, NumPy {np.__version__}"))
    told = {}
    for rows in args.rows:
        with tempfile.TemporaryDirectory(dir=args.tmp) as folder, executor(args.ray) as execute:
            concepts = args.concepts or max(1, rows // ROWS_A_CONCEPT)
            remaining, shards = written(Path(folder), rows, concepts)
            place = Place(shards, Folder(folder), execute)
            if args.ray != "off":
                list(execute.map(nothing, None, range(4), weights={}))  # Ray is up
            watch = Watch(Path(folder))
            print(f"\n## {rows:,} rows, {concepts:,} concepts\n")
            print(f"{size_of(Path(folder) / 'scores') / 1e6:,.0f} MB of score tables. ", end="")
            clustering = clusters_of(concepts, args.levels)
            run(remaining, place, watch, clustering, args.similarity)
            table(watch.steps, rows)
            told[rows] = watch.steps
            shutil.rmtree(Path(folder) / "scores")
    if len(told) > 1:
        compare(told)


def clusters_of(concepts: int, levels: int) -> AnyClustering:
    """Return settings for so many clusters, or the square nearest to it."""
    side = max(1, round(concepts**0.5))
    return Flat(clusters=concepts) if levels == 1 else TwoLevel(outer=side, inner=side)


def nothing(shared: None, weights: Any, item: int) -> None:
    del shared, weights, item


def run(
    remaining: Remaining, place: Place, watch: Watch, clustering: AnyClustering, similarity: float
) -> None:
    """Take the steps; one that is part of another is taken before it, so they are told apart."""
    dedup = Dedup(similarity=similarity, cluster=clustering)
    cfg = Concepts(keep=0.5, cluster=clustering)
    counts = [remaining.count(place.execute)]

    def taken(name: str, step: Callable[[], Remaining]) -> Remaining:
        with watch.step(name):
            after = step()
        counts.append(after.count(place.execute))
        return after

    def clustered(left: Remaining, prefix: str) -> Remaining:
        return cluster_pairs(
            left,
            embedding=cfg.embedding,
            clustering=clustering,
            prefix=prefix,
            seed=SEED,
            place=place,
        ).remaining

    left = taken("copies", lambda: drop_copies(remaining, dedup, seed=SEED, place=place))
    taken("clusters of copies", lambda: clustered(left, DEDUP))
    alike = taken("near-copies", lambda: drop_alike(left, dedup, seed=SEED, place=place))
    taken("concepts", lambda: clustered(alike, CONCEPT))
    taken("quotas", lambda: prune(alike, cfg, seed=SEED, place=place).remaining)
    print(f"Pairs left, step by step: {', '.join(f'{count:,}' for count in counts)}.\n")


def table(steps: dict[str, Step], rows: int) -> None:
    print("| step | s | s of a core | us a row | MB resident | MB own | MB kept | MB scratch |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for name, s in steps.items():
        print(
            f"| {name} | {s.seconds:.1f} | {s.cpu:.1f} | {s.seconds / rows * 1e6:.0f} | "
            f"{s.resident / 1e6:,.0f} | {s.own / 1e6:,.0f} | {s.kept / 1e6:,.0f} | "
            f"{s.scratch / 1e6:,.0f} |"
        )
    every = list(steps.values())
    seconds = sum(s.seconds for s in every)
    print(
        f"| all | {seconds:.1f} | {sum(s.cpu for s in every):.1f} | {seconds / rows * 1e6:.0f} | "
        f"{max(s.resident for s in every) / 1e6:,.0f} | {max(s.own for s in every) / 1e6:,.0f} | "
        f"{sum(s.kept for s in every) / 1e6:,.0f} | {max(s.scratch for s in every) / 1e6:,.0f} |"
    )


def compare(told: dict[int, dict[str, Step]]) -> None:
    first = min(told)
    print("\n## A row's seconds, and its seconds of a core, against the smallest pool\n")
    print("| step | " + " | ".join(f"{rows:,} rows" for rows in told) + " |")
    print("| --- |" + " --- |" * len(told))
    for name in [*told[first], "all"]:
        each = {
            rows: np.array([(s.seconds, s.cpu) for n, s in steps.items() if name in (n, "all")])
            for rows, steps in told.items()
        }
        a_row = {rows: took.sum(axis=0) / rows for rows, took in each.items()}
        ratios = [a_row[rows] / a_row[first] for rows in told]
        print(f"| {name} | " + " | ".join(f"{s:.2f}, {cpu:.2f}" for s, cpu in ratios) + " |")


def written(home: Path, rows: int, concepts: int) -> tuple[Remaining, list[Shard]]:
    """Write the score tables of a planted pool."""
    rng = np.random.default_rng(SEED)
    middle = unit(rng.standard_normal((CENTRES, DIM)))[rng.integers(0, CENTRES, concepts)]
    centre_KD = unit(middle + 0.5 * unit(rng.standard_normal((concepts, DIM)))).astype(np.float32)
    share_K = rng.lognormal(0, 0.5, concepts)
    schema, folder = score_schema(COLUMNS), Folder(str(home / "scores" / "score-0"))
    seen = np.zeros((0, DIM), np.float32)
    shards, digests = [], []
    for number, start in enumerate(range(0, rows, SHARD_ROWS)):
        count = min(SHARD_ROWS, rows - start)
        concept_N = rng.choice(concepts, count, p=share_K / share_K.sum())
        vector_ND = unit(
            centre_KD[concept_N] + 0.7 * unit(rng.standard_normal((count, DIM), np.float32))
        )
        if len(seen):
            again = rng.random(count) < REPEATS
            noise = NOISE * unit(rng.standard_normal((int(again.sum()), DIM), np.float32))
            vector_ND[again] = unit(seen[rng.integers(0, len(seen), len(noise))] + noise)
        seen = np.concatenate([seen[-4 * SHARD_ROWS :], vector_ND[::5]])
        data = encode(pa.Table.from_arrays(columns_of(vector_ND, start, rng), schema=schema))
        shard = Shard(f"{number:05}.tar", f"{number:05}", len(data))
        folder.write(table_name(shard.id), data)
        shards.append(shard)
        digests.append(np.frombuffer(hashlib.sha256(data).digest(), np.uint8))
    source = Source(folder.url, tuple(c.name for c in COLUMNS), np.stack(digests))
    scores = Scores(tuple(s.url for s in shards), tuple(s.id for s in shards), (source,))
    return Remaining(scores), shards


def columns_of(
    vector_ND: NDArray[np.float32], start: int, rng: np.random.Generator
) -> list[pa.Array]:
    """Lay out a shard's rows: one in a hundred broken, one in fifty a copy by its hash."""
    count = len(vector_ND)
    ok = np.arange(count) % 100 > 0
    hash_N = rng.integers(0, 2**64, count, np.uint64)
    copies = np.arange(0, count - 1, 50)
    hash_N[copies] = hash_N[copies + 1] ^ np.uint64(1 << 20)
    captions = [" ".join(map(str, words)) for words in rng.integers(0, 9999, (count, 10))]
    base = [
        [rng.bytes(16) for _ in range(count)], [str(start + i) for i in range(count)],
        np.arange(count) * 20_480, np.full(count, 20_000),
        np.where(ok, "ok", "decode_error").tolist(), captions,
    ]  # fmt: skip
    values: list[Any] = [
        rng.random(count), hash_N, rng.integers(0, 2**64, count, np.uint64),
        vector_ND.astype(np.float16),
    ]  # fmt: skip
    fields = score_schema(COLUMNS)
    return [
        *(pa.array(v, f.type) for v, f in zip(base, BASE_SCHEMA, strict=True)),
        *(to_array(v[ok], fields.field(c.name), valid_N=ok)
          for v, c in zip(values, COLUMNS, strict=True)),
    ]  # fmt: skip


def unit(vector_ND: NDArray[Any]) -> NDArray[Any]:
    return vector_ND / np.linalg.norm(vector_ND, axis=1, keepdims=True)


if __name__ == "__main__":
    main()
