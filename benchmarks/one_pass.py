"""All extractors of a config in one pass, against the sum of one pass for each of them.

The sum is what a folder of scripts costs, one per filter: each reads the tars and decodes every
picture again. One cell in this process, models loaded before the clock starts, passes in turn.

    python benchmarks/one_pass.py --pool POOL [--config configs/detection.toml] [--rounds 3]

`POOL` is a folder of shards, such as `thresher pool build openclipart --out POOL --limit 400` makes
(its `pool/`).
"""

import argparse
import statistics
import tarfile
import tempfile
import time

from heading import heading

from filters.extract import Extractor
from pipeline.cells import Cell, CellPlan, Work
from pipeline.config import Cells
from pipeline.coordinator import Assignment, Coordinator
from pipeline.fetch import open_shard
from pipeline.folder import Folder
from pipeline.ledger import Ledger
from pipeline.shards import Shard, find_shards
from pipeline.weights import model_file
from training.run import load_run


def main() -> None:
    """Measure and print Markdown."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pool", required=True)
    parser.add_argument("--config", default="configs/detection.toml")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    shards = find_shards([options.pool])
    where = [f'data.shards=["{options.pool}"]', "data.heldout=[]", 'data.truth=""']
    cfg = load_run(options.config, overrides=where)
    passes = {"all together": cfg.extract, **{e.kind: (e,) for e in cfg.extract}}
    seconds: dict[str, list[float]] = {name: [] for name in passes}
    for _ in range(options.rounds):
        for name, extractors in passes.items():
            seconds[name].append(one_pass(shards, extractors, cfg.cells))
    rows = pairs_of(shards)
    print(heading(f"{rows} pairs in {len(shards)} shards, {options.rounds} rounds, one cell"))
    print("\n| pass | median s | best s | ms a pair |\n| --- | --- | --- | --- |")
    for name, every in seconds.items():
        middle = statistics.median(every)
        print(f"| {name} | {middle:.2f} | {min(every):.2f} | {1e3 * middle / rows:.2f} |")
    alone = [every for name, every in seconds.items() if name != "all together"]
    for what, of in (("median", statistics.median), ("best", min)):
        ratio = sum(of(every) for every in alone) / of(seconds["all together"])
        print(f"\nSum of the {len(alone)} separate passes over the one pass, {what}: {ratio:.2f}x")


def one_pass(shards: list[Shard], extractors: tuple[Extractor, ...], settings: Cells) -> float:
    """Return the seconds of a pass, first lease to last record."""
    with tempfile.TemporaryDirectory(prefix="one-pass-") as out:
        weights = {name: str(model_file(name)) for e in extractors for name in e.weights}
        Ledger(Folder(out)).declare("score", {})
        cell = Cell(CellPlan(
            extractors=extractors, weights=weights, store=out, stage="score", newest=0.0,
            settings=settings,
        ), "cell")  # fmt: skip
        cell.load()
        work = Coordinator(Assignment(
            shards=tuple(shards), store=out, stage="score", cells=1, attempts=1, part_bytes=2**40,
        ), name="coordinator")  # fmt: skip
        start = time.perf_counter()
        Work(cell, work.exchange, open_shard).run()
        work.close()
        return time.perf_counter() - start


def pairs_of(shards: list[Shard]) -> int:
    """Count the pairs of a pool by their captions."""
    pairs = 0
    for shard in shards:
        with tarfile.open(shard.url) as tar:
            pairs += sum(name.endswith(".txt") for name in tar.getnames())
    return pairs


if __name__ == "__main__":
    main()
