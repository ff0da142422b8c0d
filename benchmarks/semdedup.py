"""Near-duplicates inside one cluster: our tiles against SemDeDup's dense rule in torch.

    python benchmarks/semdedup.py > benchmarks/results/DATE-semdedup.md

Both get the same float16 embeddings, a quarter of them planted copies of others, and take turns
round after round, each turn in a process of its own; imports, reading and a first small call are
not counted. Memory is the most that a process had less what it had before the call; for a file it
counts its pages in the system's cache, which go when others need room. The floor is
the matrix product of the same tiles and nothing else, on embeddings that are float32 already. The
second table is what is missed when a cluster is cut into pieces that are never compared with each
other, as the authors' code does where one is too large; hashes are compared in the third.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from heading import heading
from numpy.typing import NDArray

from filters.concepts import components, greedy_kept, max_similarity_to_earlier, near_copies
from filters.concepts.tiles import TILE

ROOT = Path(__file__).parents[1]
EPS = (0.001, 0.01, 0.05, 0.124, 0.26)
THRESHOLD = 0.95
ONE_JOB_S = 600
SIDES = {
    "dense rule, torch": "dense",
    "Thresher, any earlier": "tiles",
    "Thresher, any earlier, half of the rows visitors": "visitors",
    "Thresher, from a file": "file",
    "Thresher, greedy": "greedy",
    "Thresher, components": "components",
    "floor: the products alone": "floor",
}


def main() -> None:
    """Measure and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--dim", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--hashes", type=int, default=1_000_000)
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="of both sides")
    parser.add_argument("--job", nargs=2, metavar=("SIDE", "ROWS"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.job:
        print(json.dumps(job(args.job[0], Path(args.job[1]))))
        return
    for library in ("OMP", "MKL", "OPENBLAS"):
        os.environ[f"{library}_NUM_THREADS"] = str(args.threads)
    print(heading(f"NumPy {np.__version__}, {args.threads} threads, {args.rounds} rounds"))
    with tempfile.TemporaryDirectory() as folder:
        rows = Path(folder) / "rows.npy"
        rows_ND = planted(args.rows, args.dim)
        np.save(rows, rows_ND)
        print(f"\n## a. One cluster of {args.rows:,} x {args.dim}, tiles of {TILE}\n")
        compare(rows, args.rounds)
    print("\n## b. Copies found when the cluster is cut into pieces\n")
    pieces(rows_ND)
    print(f"\n## c. Perceptual hashes, {args.hashes:,}, a quarter 0 to 12 bits from another\n")
    hashes(args.hashes)


def planted(count: int, dim: int) -> NDArray[np.float16]:
    """Return unit rows; a quarter are copies, from exact to hardly alike."""
    rng = np.random.default_rng(0)
    rows_ND = rng.standard_normal((count, dim), np.float32)
    copy = rng.choice(count, count // 4, replace=False)
    noise = rng.choice(np.array([0, 0.05, 0.2, 0.4], np.float32), (len(copy), 1))
    rows_ND[copy] = rows_ND[rng.choice(count, len(copy))]
    rows_ND[copy] += noise * rng.standard_normal((len(copy), dim), np.float32)
    return (rows_ND / np.linalg.norm(rows_ND, axis=1, keepdims=True)).astype(np.float16)


def compare(rows: Path, rounds: int) -> None:
    """Let all sides take turns and print their table; the peer is the first of them."""
    told: dict[str, list[dict[str, Any]]] = {name: [] for name in SIDES}
    for _ in range(rounds):
        for name, side in SIDES.items():
            told[name].append(in_a_process(side, rows))
    (peer, *_) = told.values()
    middle = statistics.median(t["seconds"] for t in peer)
    least = min(t["seconds"] for t in peer)
    print("| | s, median (best) | s of a core, best | times as fast, median (best) | extra MB |")
    print("|---|---|---|---|---|")
    for name, every in told.items():
        seconds = [t["seconds"] for t in every]
        half, best = statistics.median(seconds), min(seconds)
        print(
            f"| {name} | {half:.2f} ({best:.2f}) | {min(t['cpu'] for t in every):.2f} | "
            f"{middle / half:.1f} ({least / best:.1f}) | "
            f"{max(t['megabytes'] for t in every):,.0f} |"
        )
    dense, tiles = (np.load(rows.parent / f"{side}.npy") for side in ("dense", "tiles"))
    print(f"\nM differs by at most {np.abs(dense - tiles).max():.2g}. Removed:\n")
    print("| eps | dense rule | tiles | removed by one alone |\n|---|---|---|---|")
    for eps in EPS:
        left_N, right_N = dense > 1 - eps, tiles > 1 - eps
        print(f"| {eps} | {left_N.sum():,} | {right_N.sum():,} | {(left_N != right_N).sum()} |")


def in_a_process(side: str, rows: Path) -> dict[str, Any]:
    command = [sys.executable, __file__, "--job", side, str(rows)]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        command, env=env, capture_output=True, text=True, timeout=ONE_JOB_S, check=False
    )
    if done.returncode:
        raise SystemExit(f"{side}: exit code {done.returncode}\n{done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def job(side: str, path: Path) -> dict[str, Any]:
    """Run one side on stored rows; leave its M beside them; return seconds and megabytes."""
    rows_ND = np.load(path, mmap_mode="r" if side == "file" else None)
    run: Callable[[Any], Any] = {
        "dense": dense,
        "tiles": lambda x: max_similarity_to_earlier(x).similarity_N,
        "file": lambda x: max_similarity_to_earlier(x).similarity_N,
        "visitors": lambda x: max_similarity_to_earlier(x, visitor_N=np.arange(len(x)) % 2 == 0),
        "greedy": lambda x: greedy_kept(x, similarity=THRESHOLD),
        "components": lambda x: components(x, similarity=THRESHOLD),
        "floor": products,
    }[side]
    if side == "floor":
        rows_ND = rows_ND.astype(np.float32)
    run(rows_ND[:100])
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # forgets the peak so far
    before = kilobytes("VmRSS")
    start, cpu = time.perf_counter(), time.process_time()
    found = run(rows_ND)
    seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
    after = kilobytes("VmHWM")
    if side in {"dense", "tiles"}:
        np.save(path.parent / f"{side}.npy", found)
    return {"seconds": seconds, "cpu": cpu, "megabytes": (after - before) / 1024}


def kilobytes(field: str) -> int:
    """Read a figure of this process's memory, as Linux tells it."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith(f"{field}:")))


def dense(rows_ND: NDArray[np.float16]) -> NDArray[np.float32]:
    """SemDeDup's rule as written: the whole matrix, its upper triangle, each column's most."""
    rows = torch.from_numpy(rows_ND).float()
    upper = torch.triu(rows @ rows.T, diagonal=1)
    return torch.max(upper, dim=0)[0].numpy()


def products(rows_ND: NDArray[np.float32]) -> None:
    """Multiply the tiles on and below the diagonal, into one buffer."""
    cosine = np.empty((TILE, TILE), np.float32)
    for top in range(0, len(rows_ND), TILE):
        later = rows_ND[top : top + TILE]
        for left in range(0, top + 1, TILE):
            earlier = rows_ND[left : left + TILE]
            np.matmul(later, earlier.T, out=cosine[: len(later), : len(earlier)])


def pieces(rows_ND: NDArray[np.float16]) -> None:
    """Print how many copies contiguous pieces find that are not compared with each other."""
    print("| eps | whole | 2 pieces | 4 pieces |\n|---|---|---|---|")
    most = {
        count: np.concatenate(
            [max_similarity_to_earlier(p).similarity_N for p in np.array_split(rows_ND, count)]
        )
        for count in (1, 2, 4)
    }
    for eps in EPS:
        found = {count: int((most_N > 1 - eps).sum()) for count, most_N in most.items()}
        told = [f"{n:,} ({n / max(1, found[1]):.0%})" for n in found.values()]
        print(f"| {eps} | {' | '.join(told)} |")


def hashes(count: int) -> None:
    """Print how long it takes to find all copies among hashes."""
    rng = np.random.default_rng(0)
    hash_N = rng.integers(0, 2**64, count, np.uint64)
    copy = rng.choice(count, count // 4, replace=False)
    hash_N[copy] = hash_N[rng.choice(count, len(copy))]
    for _ in range(12):  # even times the same bit undo each other
        flip = rng.random(len(copy)) < rng.random()
        bit = rng.integers(0, 64, len(copy), np.uint64)
        hash_N[copy[flip]] ^= np.uint64(1) << bit[flip]
    print("| within bits | copies | s |\n|---|---|---|")
    for bits in (0, 2, 4, 6):
        start = time.perf_counter()
        found = near_copies(hash_N, bits=bits)
        seconds = time.perf_counter() - start
        print(f"| {bits} | {(found.earlier_N >= 0).sum():,} | {seconds:.2f} |")


if __name__ == "__main__":
    main()
