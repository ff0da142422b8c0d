"""How many leases a second, and how much memory: 1.28 million of them through the real machinery.

The coordinator actor, its calls, the cells' loop, journals, merging and opening are the product's;
only the task is empty: a cell that reads nothing, runs nothing, and records that it is done.

    python benchmarks/coordinator.py --shards 1280000 --cells 2
"""

import argparse
import hashlib
import io
import os
import resource
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

import ray

from pipeline.cells.worker import Work
from pipeline.coordinator import Assignment
from pipeline.executors.actors import CoordinatorActor
from pipeline.folder import Folder
from pipeline.leases import Report
from pipeline.ledger import Ledger, Record, Writer
from pipeline.scores import locate
from pipeline.shards import Shard

STAGE = "score-000000000000"
WRITES = {"000000000000": ["aesthetic"]}


class EmptyCell:
    """A cell whose task is empty; it records like any other."""

    def __init__(self, store: str, name: str) -> None:
        self.name, self.moved = name, 0
        self._ledger = Writer(Folder(store), name)

    def do(self, lease, _open_file) -> Report:
        sha256 = hashlib.sha256(lease.shard.id.encode()).hexdigest()
        reasons = {"ok": 9_900 + lease.shard.size % 100, "decode_error": 7}
        record = Record(
            shard=lease.shard.id, stage=STAGE, rows=sum(reasons.values()), reasons=reasons,
            sha256=sha256, output_bytes=10**6, input_bytes=lease.shard.size,
            seconds={"decode": 12.5, "clip": 30.25, "read": 1.5, "write": 0.5}, cell=self.name,
            took=31.5,
        )  # fmt: skip
        self._ledger.add(record)
        self.moved += 1
        return Report(lease, record.rows, record.reasons, record.seconds)

    def close(self) -> None:
        self._ledger.close()


class Worker:
    """An actor with an empty cell."""

    def run(self, store: str, name: str, coordinator) -> None:
        def exchange(cell, reports, most):
            return ray.get(coordinator.exchange.remote(cell, reports, most))

        Work(EmptyCell(store, name), exchange, lambda _url: io.BytesIO()).run()


class Measured(CoordinatorActor):
    """The coordinator, asked for its memory at the end."""

    def peak_mib(self) -> float:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--shards", type=int, default=1_280_000)
    parser.add_argument("--cells", type=int, default=2)
    args = parser.parse_args()
    out = Path(tempfile.mkdtemp(prefix="coordinator-"))
    try:
        measure(args.shards, args.cells, str(out))
    finally:
        shutil.rmtree(out)


def measure(count: int, cells: int, store: str) -> None:
    """Run it and print a Markdown table."""
    url = "s3://bucket/datacomp/pool/{0:08d}.tar"
    shards = [Shard(url.format(i), f"{i:08d}-{i:016x}", 10**9 + i) for i in range(count)]
    Ledger(Folder(store)).declare(STAGE, WRITES)
    ray.init(num_cpus=os.cpu_count(), include_dashboard=False, log_to_driver=False)
    work = Assignment(
        shards=shards, store=store, stage=STAGE, cells=cells, attempts=3, part_bytes=2**40
    )
    start = time.perf_counter()
    coordinator: Any = (
        ray.remote(Measured).options(num_cpus=0).remote((ray.put(work),), "benchmark")
    )
    ray.get(coordinator.snapshot.remote())
    ready = time.perf_counter()
    workers: list[Any] = [ray.remote(Worker).options(num_cpus=0.4).remote() for _ in range(cells)]
    ray.get([w.run.remote(store, f"cell{i}", coordinator) for i, w in enumerate(workers)])
    leased = time.perf_counter()
    snapshot = ray.get(coordinator.snapshot.remote())
    assert snapshot.finished
    assert snapshot.done == count
    peak = ray.get(coordinator.peak_mib.remote())
    ray.shutdown()
    merge_start = time.perf_counter()
    Ledger(Folder(store)).merge(least=1)
    merged = time.perf_counter()
    ledger = Ledger(Folder(store))
    opened = time.perf_counter()
    located = locate(shards, WRITES, ledger)
    assert not list(located.lacking())
    done = time.perf_counter()
    driver = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    size = sum(p.stat().st_size for p in Path(store, "ledger").iterdir())
    print("| what | figure |\n| --- | --- |")
    print(f"| shards, cells | {count:,}, {cells} |")
    print(f"| coordinator started | {ready - start:.1f} s |")
    print(f"| leases/s, recorded and reported | {count / (leased - ready):,.0f} |")
    print(f"| coordinator, peak memory | {peak:,.0f} MiB |")
    print(f"| journals merged (opened, sorted, written) | {merged - merge_start:.1f} s |")
    print(f"| merged ledger, bytes per record | {size / count:.0f} |")
    print(f"| finished ledger opened | {opened - merged:.2f} s |")
    print(f"| all shards looked up in it | {done - opened:.2f} s |")
    print(f"| driver, peak memory, merging included | {driver:,.0f} MiB |")


if __name__ == "__main__":
    main()
