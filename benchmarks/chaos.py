"""Kill cells, the coordinator, a node and the driver at random instants; nothing may change.

    python benchmarks/chaos.py --runs 20 --pairs 4000

A Ray cluster of a head and two nodes is started here, and the demo's pool is scored on it again and
again, each time with a few murders at random. Every run has to end with the bytes of a for-loop in
one process, and with one record for each shard. Done again is what some ledger line says twice; a
shard that was in the hands of a killed cell and not finished is begun again, at most one per cell.
"""

import argparse
import collections
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from ray.cluster_utils import Cluster

from filters.extract.caption import CaptionStatistics
from filters.extract.image import ImageStatistics
from filters.extract.language import Language
from pipeline.config import Cells
from pipeline.executors import run_local, run_on_ray
from pipeline.folder import Folder
from pipeline.journal import entries_of
from pipeline.ledger import Ledger
from pipeline.pools.build import build_pool
from pipeline.score import score_shards
from pipeline.shards import find_shards
from pipeline.weights import model_file

KINDS = ("cell", "coordinator", "node", "driver")
LONGEST_S = 300.0


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--pairs", type=int, default=4000)
    parser.add_argument("--shards", type=int, default=40)
    parser.add_argument("--pool", default="", help="folder of shards, instead of the demo's pool")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--work", nargs=3, metavar=("POOL", "OUT", "ADDRESS"), help="be the driver")
    options = parser.parse_args()
    if options.work:
        score(*options.work)
        return
    with tempfile.TemporaryDirectory(prefix="chaos-") as folder:
        rampage(Path(folder), options)


def score(pool: str, out: str, address: str) -> None:
    """Score a pool: the driver that may be killed, or the reference."""
    score_shards(
        find_shards([pool]), [ImageStatistics(), CaptionStatistics(), Language()],
        store=Folder(out), weights=model_file, cells=Cells(count=2, cpus=0.5),
        execute=run_on_ray(address) if address else run_local, progress=lambda _: None,
    )  # fmt: skip


def rampage(root: Path, options: argparse.Namespace) -> None:
    """Do all runs; print a line for each and a summary."""
    pool = options.pool or build(root / "pool", options.pairs, options.shards)
    score(pool, str(root / "reference"), "")
    expected, dice = tables(root / "reference"), random.Random(options.seed)
    cluster = Cluster(
        initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False}
    )
    nodes = [cluster.add_node(num_cpus=1) for _ in range(2)]
    totals = collections.Counter[str]()
    print("| run | killed | seconds | shards done twice |\n| --- | --- | --- | --- |")
    try:
        for number in range(options.runs):
            out, start = root / f"run-{number}", time.monotonic()
            killed = one_run(pool, out, cluster, nodes, dice)
            assert tables(out) == expected, f"run {number}: other bytes"
            records = list(Ledger(Folder(str(out))).records())
            assert len(records) == len(expected), f"run {number}: not one record for each shard"
            twice = done_twice(out)
            totals.update(killed)
            totals["twice"] += twice
            what = ", ".join(killed) or "nothing in time"
            print(f"| {number} | {what} | {time.monotonic() - start:.0f} | {twice} |", flush=True)
    finally:
        cluster.shutdown()
    killed = ", ".join(f"{totals[kind]} {kind}" for kind in KINDS)
    print(
        f"\n{options.runs} runs of {len(expected)} shards, killed: {killed}; every byte the same; "
    )
    print(f"{totals['twice']} shards recorded twice.")


def build(folder: Path, pairs: int, shards: int) -> str:
    """Build the demo's pool."""
    size = -(-pairs // shards)
    build_pool("openclipart", out=Folder(str(folder)), limit=pairs, shard_size=size)
    return str(folder / "pool")


def one_run(pool: str, out: Path, cluster: Cluster, nodes: list, dice: random.Random) -> list[str]:
    """Score the pool, killing up to four things; return what was killed."""
    killed: list[str] = []
    wanted = [dice.choice(KINDS) for _ in range(dice.randint(1, 4))]
    driver = start_driver(pool, out, cluster.address)
    until = time.monotonic() + LONGEST_S
    due = None
    while (code := driver.poll()) is None:
        assert time.monotonic() < until, f"it hangs after {killed}"
        time.sleep(0.05)
        if due is None and list((out / "ledger").glob("*.jsonl")):
            due = time.monotonic() + dice.uniform(0, 2)
        if due and time.monotonic() > due and wanted:
            kind = wanted.pop()
            if kill(kind, driver, cluster, nodes, dice):
                killed.append(kind)
            due = time.monotonic() + dice.uniform(0, 3)
            if kind == "driver":
                driver.wait()
                driver = start_driver(pool, out, cluster.address)
    said = out.with_suffix(".log").read_text()[-2000:]
    assert code == 0, f"the driver ended with {code} after {killed}: {said}"
    return killed


def start_driver(pool: str, out: Path, address: str) -> subprocess.Popen:
    command = [sys.executable, __file__, "--work", pool, str(out), address]
    with out.with_suffix(".log").open("a") as log:  # Ray tells of every death
        return subprocess.Popen(command, stdout=log, stderr=log)


def kill(kind: str, driver, cluster: Cluster, nodes: list, dice: random.Random) -> bool:
    """Kill one thing of a kind; False if there is none to be found."""
    if kind == "driver":
        driver.kill()
        return True
    if kind == "node":
        cluster.remove_node(nodes.pop(dice.randrange(len(nodes))), allow_graceful=False)
        nodes.append(cluster.add_node(num_cpus=1))
        return True
    name = b"ray::CellActor" if kind == "cell" else b"ray::CoordinatorActor"
    found = [pid for pid in processes(name) if is_ours(pid)]
    if not found:
        return False
    os.kill(dice.choice(found), signal.SIGKILL)
    return True


def processes(name: bytes) -> list[int]:
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if (folder / "cmdline").read_bytes().startswith(name):
                found.append(int(folder.name))
        except OSError:
            continue
    return found


def is_ours(pid: int) -> bool:
    """Tell whether a process descends from this one."""
    try:
        while pid > 1:
            if pid == os.getpid():
                return True
            pid = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        pass
    return False


def tables(out: Path) -> dict[str, bytes]:
    """Return every finished score table."""
    found = (p for p in (out / "scores").rglob("*.parquet") if not p.name.startswith("."))
    return {p.name: p.read_bytes() for p in found if ".parts" not in str(p)}


def done_twice(out: Path) -> int:
    """Count ledger lines beyond the first of each shard."""
    lines = collections.Counter(
        entry["shard"]
        for path in (out / "ledger").glob("*.jsonl")
        for entry in entries_of(path.read_bytes())
    )
    return sum(lines.values()) - len(lines)


if __name__ == "__main__":
    main()
