"""What the engine adds to the model, what a second cell brings, and what a large shard costs.

    overhead  a cell (leases, bounded pipeline, Parquet, ledger) against a plain loop over the same
              tars: tarfile, the same decoder, the same model on the same batches, nothing written
    cells     one Ray cell against two, first lease to last record, models loaded; each cell pinned
              to a core of its own, since one alone would use a second core for decoding
    memory    a cell's peak over that before the first lease, on one shard of few and of many pairs

    python benchmarks/engine.py --pairs 1200 --rounds 5

The pictures are photographs of 500 x 375 cut from wallpapers (`photographs.py`).
"""

import argparse
import multiprocessing
import os
import statistics
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

from photographs import photographs

from filters.extract import Batch, Extractor
from filters.extract.caption import CaptionStatistics
from filters.extract.embed import Embeddings
from filters.extract.image import ImageStatistics
from pipeline.cells import PICTURE_SIDE, Cell, CellPlan, Work
from pipeline.cells.loaded import Loaded
from pipeline.config import Cells
from pipeline.coordinator import Assignment, Coordinator
from pipeline.decode import decode_picture
from pipeline.executors import Job, run_on_ray
from pipeline.fetch import open_shard
from pipeline.folder import Folder
from pipeline.ledger import Ledger
from pipeline.shards import Shard, find_shards, write_shard
from pipeline.tables import field_of
from pipeline.weights import model_file

BATCH = 32


def main() -> None:
    """Measure and print Markdown."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pairs", type=int, default=1200)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--large", type=int, default=100_000, help="pairs of the large shard")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="engine-") as folder:
        root = Path(folder)
        pictures = photographs((500, 375))
        pool = root / "pool"
        for number in range(8):
            first = options.pairs * number // 8
            pairs = members(pictures, first, options.pairs * (number + 1) // 8)
            write_shard(made(pool) / f"{number:05d}.tar", pairs)
        print("| what | ours | against | ratio |\n| --- | --- | --- | --- |")
        overhead(pool, root, options.pairs, options.rounds)
        more_cells(pool, root, options.pairs, options.rounds)
        memory(pictures, root, options.large)


def made(folder: Path) -> Path:
    """Make a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def members(pictures: list[bytes], first: int, last: int) -> Iterator[tuple[str, bytes]]:
    """Yield the members of pairs."""
    for i in range(first, last):
        yield f"{i:09d}.jpg", pictures[i % len(pictures)]
        yield f"{i:09d}.json", b'{"uid": "%032x"}' % i
        yield f"{i:09d}.txt", b"a photograph of a landscape, number %d" % i


def plan_of(out: Path, extractors: tuple, settings: Cells) -> CellPlan:
    """Plan a pass without what `score_shards` looks up first."""
    weights = {name: str(model_file(name)) for e in extractors for name in e.weights}
    Ledger(Folder(str(out))).declare("score", {})
    return CellPlan(
        extractors=extractors, weights=weights, store=str(out), stage="score", newest=0.0,
        settings=settings,
    )  # fmt: skip


def overhead(pool: Path, root: Path, pairs: int, rounds: int) -> None:
    """Compare a cell with a plain loop, interleaved, same process and loaded model."""
    extractor = Embeddings()
    weights = {name: model_file(name) for name in extractor.weights}
    score = extractor.load(weights, threads=1)
    shards = find_shards([str(pool)])

    def plainly() -> None:
        for shard in shards:
            for batch in plain_batches(shard):
                score(batch)

    def in_a_cell(number: list[int]) -> None:
        number[0] += 1
        out = root / f"overhead-{number[0]}"
        cell = Cell(plan_of(out, (extractor,), Cells(batch=BATCH)), "cell")
        fields = tuple(field_of(column) for column in extractor.columns)
        cell._loaded = [Loaded("embed", score, vital=True, fields=fields)]  # the very same session
        work_off(cell, shards, str(out))

    plain, ours = interleaved(rounds, plainly, partial(in_a_cell, [0]))
    row("one extractor (embed), pairs/s", pairs, ours, plain, "plain loop")


def plain_batches(shard: Shard) -> Iterator[Batch]:
    """Read a tar as a script would: tarfile, decode, batch."""
    pictures, sizes, captions = [], [], []
    with tarfile.open(shard.url) as tar:
        for member in tar:
            file: Any = tar.extractfile(member)
            data = file.read()
            if member.name.endswith(".jpg"):
                picture = decode_picture(data, min_side=PICTURE_SIDE)
                pictures.append(picture.rgb)
                sizes.append((picture.width, picture.height))
            elif member.name.endswith(".txt"):
                captions.append(data.decode())
            if len(captions) == BATCH:
                yield Batch(pictures, sizes, captions)
                pictures, sizes, captions = [], [], []
    if captions:
        yield Batch(pictures, sizes, captions)


def work_off(cell: Cell, shards: list[Shard], store: str) -> None:
    """Let a cell do all shards, as `run_local` does."""
    assignment = Assignment(
        shards=shards, store=store, stage="score", cells=1, attempts=3, part_bytes=2**40
    )
    coordinator = Coordinator(assignment, name="benchmark")
    Work(cell, coordinator.exchange, open_shard).run()
    coordinator.close()


@dataclass(frozen=True, kw_only=True, slots=True)
class Pinned(Extractor):
    """Writes no column; pins its cell to a core that no other cell of the run has."""

    folder: str
    kind: str = "pinned"
    columns: ClassVar[tuple] = ()
    pixels: ClassVar[bool] = False

    def load(self, weights, *, threads):
        """Take the next core."""
        del weights, threads
        for core in sorted(os.sched_getaffinity(0)):
            try:
                made(Path(self.folder)).joinpath(str(core)).mkdir()
            except FileExistsError:
                continue
            for thread in Path("/proc/self/task").iterdir():
                os.sched_setaffinity(int(thread.name), {core})
            return lambda _batch: {}
        raise RuntimeError("more cells than cores")


def more_cells(pool: Path, root: Path, pairs: int, rounds: int) -> None:
    """Compare two cells with one on Ray, by the ledger's own times."""
    import ray

    ray.init(num_cpus=os.cpu_count(), include_dashboard=False, log_to_driver=False)
    shards = tuple(find_shards([str(pool)]))
    numbers = iter(range(10**6))

    def run(cells: int) -> float:
        out = root / f"cells-{next(numbers)}"
        extractors = (Pinned(folder=f"{out}-cores"), Embeddings(), ImageStatistics())
        plan = plan_of(out, extractors, Cells(batch=BATCH, count=cells))
        run_on_ray("local")(Job(plan, shards), lambda _: None)
        records = list(Ledger(Folder(str(out))).records())
        return max(r.at for r in records) - min(r.at - r.took for r in records)

    times = [(run(1), run(2)) for _ in range(rounds)]
    one, two = ([t[i] for t in times] for i in (0, 1))
    row("two cells (embed, image), pairs/s", pairs, two, one, "one cell")
    ray.shutdown()


def memory(pictures: list[bytes], root: Path, large: int) -> None:
    """Compare a cell's growth on a small and a large shard, each in a fresh process."""
    grown = []
    for count in (1000, large):
        pool = made(root / f"memory-{count}")
        write_shard(pool / "0.tar", members([p[:] for p in pictures], 0, count))
        with multiprocessing.get_context("spawn").Pool(1) as processes:
            grown.append(processes.apply(peak_of, (str(pool), str(root / f"out-{count}"))))
        (pool / "0.tar").unlink()
    (small, before), (big, _) = grown
    print(
        f"| peak memory of a cell without models, shard of {large:,} pairs | {big:.0f} MiB | "
        f"{small:.0f} MiB at 1,000 pairs | {big / small:.3f} |"
    )
    print(f"| the same before its first lease | {before:.0f} MiB | | |")


def peak_of(pool: str, out: str) -> tuple[float, float]:
    """Score a shard and return this process's peak in MiB, and that before."""
    extractors = (ImageStatistics(), CaptionStatistics())
    cell = Cell(plan_of(Path(out), extractors, Cells(batch=BATCH)), "cell")
    cell.load()
    before = peak_mib()
    work_off(cell, find_shards([pool]), out)
    return peak_mib(), before


def peak_mib() -> float:
    """Return this process's peak of resident memory; getrusage would count its parent's, too."""
    (line,) = (x for x in Path("/proc/self/status").read_text().splitlines() if "VmHWM" in x)
    return int(line.split()[1]) / 1024


def interleaved(rounds: int, *calls: Callable[[], None]) -> list[list[float]]:
    """Time calls in turn, after one round that does not count."""
    times: list[list[float]] = [[] for _ in calls]
    for number in range(rounds + 1):
        for call, of_call in zip(calls, times, strict=True):
            start = time.perf_counter()
            call()
            if number:
                of_call.append(time.perf_counter() - start)
    return times


def row(what: str, pairs: int, ours: list[float], theirs: list[float], named: str) -> None:
    """Print rates as median (best), and the ratio of both."""
    middle, best = statistics.median, min
    ratio = [f(theirs) / f(ours) for f in (middle, best)]
    mine, peer = ([pairs / f(t) for f in (middle, best)] for t in (ours, theirs))
    print(
        f"| {what} | {mine[0]:.1f} ({mine[1]:.1f}) | {peer[0]:.1f} ({peer[1]:.1f}) {named} | "
        f"{ratio[0]:.3f} ({ratio[1]:.3f}) |"
    )


if __name__ == "__main__":
    main()
