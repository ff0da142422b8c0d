"""Speed of grouping by concept and of quotas, against a loop over masks, a full sort and OSQP.

    python benchmarks/quotas.py > benchmarks/results/DATE-quotas.md
    python benchmarks/quotas.py --osqp peer/bin/python

All sides get the same input, take turns round after round in this process; the orders must agree.
Grouping is timed in seconds of a core (all sides use one), so that other work disturbs it less.
OSQP wants an environment of its own: `python3.11 -m venv peer && peer/bin/pip install osqp
qpsolvers`, then `--osqp peer/bin/python`; without it those columns are empty.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("OPENBLAS_NUM_THREADS", str(os.cpu_count()))

import numpy as np
from heading import heading
from numpy.typing import NDArray

from filters.concepts.density import distance_to_nearest
from filters.concepts.grouping import grouped, keys
from filters.concepts.quotas import allocate
from filters.concepts.shares import lower_bounds, targets

JOB = Path(__file__).parent / "peer_jobs" / "quotas.py"
KEEP = 0.4
POOLS = (  # concepts, pairs, temperature
    (100, 96_000, 0.1),
    (100, 96_000_000, 0.1),
    (500, 277_000_000, 0.1),
    (5_000, 277_000_000, 0.1),
    (5_000, 277_000_000, 0.5),
    (50_000, 12_800_000_000, 0.1),
    (1_000_000, 12_800_000_000, 0.1),
)
ONE_JOB_S = 300
Rows = tuple[NDArray[np.int32], NDArray[np.float32], NDArray[np.uint64]]


def main() -> None:
    """Measure what was asked for and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", default="abc", help="letters of the tables, as printed")
    parser.add_argument("--rows", type=int, default=2_000_000, help="of a")
    parser.add_argument("--concepts", type=int, default=1000, help="of a")
    parser.add_argument("--osqp", metavar="PYTHON", help="an interpreter that has it")
    parser.add_argument("--centroids", type=int, default=50_000, help="of c")
    parser.add_argument("--dimensions", type=int, default=768, help="of c")
    args = parser.parse_args()
    print(heading(f"NumPy {np.__version__}, {args.rounds} rounds"))
    if "a" in args.only:
        grouping(args.rows, args.concepts, args.rounds)
    if "b" in args.only:
        quotas(args.osqp, args.rounds)
    if "c" in args.only:
        neighbours(args.centroids, args.dimensions)


def grouping(rows: int, concepts: int, rounds: int) -> None:
    """Let all sides sort the same rows."""
    print(f"\n## a. {rows:,} rows by concept ({concepts:,}), distance, uid\n")
    print("| distances | | s of a core, median (best) | times as fast as the loop, median (best) |")
    print("| --- | --- | --- | --- |")
    rng = np.random.default_rng(0)
    cluster_N = rng.integers(0, concepts, rows).astype(np.int32)
    uid_N2 = rng.integers(0, 2**64, (rows, 2), dtype=np.uint64)
    distance_N = rng.random(rows, np.float32)
    by_thresher((cluster_N[:9], distance_N[:9], uid_N2[:9]), concepts)  # imports
    sides = {"loop over masks": by_masks, "lexsort": by_lexsort, "Thresher": by_thresher}
    for name, steps in (("nearly all differ", 2**24), ("65,536 values", 2**16), ("one value", 1)):
        coarse_N = np.floor(distance_N * np.float32(steps)) / np.float32(steps)
        told: dict[str, list[float]] = {side: [] for side in sides}
        for _ in range(rounds):
            orders = []
            for side, sort in sides.items():
                start = time.process_time()
                orders.append(sort((cluster_N, coarse_N, uid_N2), concepts))
                told[side].append(time.process_time() - start)
            if any(not np.array_equal(orders[0], order) for order in orders[1:]):
                raise SystemExit("the orders differ")
        loop = told["loop over masks"]
        for side, seconds in told.items():
            middle = statistics.median(seconds)
            ratio = f"{statistics.median(loop) / middle:.1f}x ({min(loop) / min(seconds):.1f}x)"
            print(f"| {name} | {side} | {middle:.3f} ({min(seconds):.3f}) | {ratio} |")


def by_masks(rows: Rows, concepts: int) -> NDArray[np.int64]:
    """Look for the rows of one concept after the other, and sort them."""
    cluster_N, distance_N, uid_N2 = rows
    parts = []
    for concept in range(concepts):
        at = np.flatnonzero(cluster_N == concept)
        parts.append(at[np.lexsort((uid_N2[at, 1], uid_N2[at, 0], -distance_N[at]))])
    return np.concatenate(parts)


def by_lexsort(rows: Rows, _concepts: int) -> NDArray[np.int64]:
    """Sort everything by everything."""
    cluster_N, distance_N, uid_N2 = rows
    return np.lexsort((uid_N2[:, 1], uid_N2[:, 0], -distance_N, cluster_N))


def by_thresher(rows: Rows, concepts: int) -> NDArray[np.int64]:
    """Sort as `curate` does, keys included."""
    cluster_N, distance_N, uid_N2 = rows
    key_N = keys("hard", distance_N=distance_N, uid_N2=uid_N2)
    return grouped(cluster_N, key_N, uid_N2, concepts=concepts).order_N


def quotas(osqp: str | None, rounds: int) -> None:
    """Share 40 % of pools of log-normal concepts by their complexity."""
    print("\n## b. Quotas that keep 40 %\n")
    print("Off: sum of the rounded quotas less what was asked for. Broken: quotas out of bounds.")
    print(
        "\n| concepts | pairs | temperature | s, median (best) | off | broken "
        "| OSQP: s | off | broken | largest difference |"
    )
    print("| --- " * 10 + "|")
    for concepts, pairs, temperature in POOLS:
        target_K, lower_K, upper_K, total = pool(concepts, pairs, temperature)

        def ours(
            target_K: NDArray = target_K, lower_K: NDArray = lower_K,
            upper_K: NDArray = upper_K, total: int = total,
        ) -> NDArray[np.int64]:  # fmt: skip
            return allocate(target_K, lower=lower_K, upper=upper_K, total=total)

        quota_K, seconds = timed(ours, rounds)
        cells = [
            f"{concepts:,}", f"{pairs:,}", f"{temperature}",
            f"{statistics.median(seconds):.4f} ({min(seconds):.4f})",
            f"{int(quota_K.sum()) - total}", f"{broken(quota_K, lower_K, upper_K)}",
        ]  # fmt: skip
        if osqp:
            peer_K, peer_s = by_osqp(osqp, target_K, lower_K, upper_K, total)
            rounded_K = np.rint(peer_K)
            cells += [
                f"{peer_s:.4f}", f"{int(rounded_K.sum()) - total:+d}",
                f"{broken(rounded_K, lower_K, upper_K)}",
                f"{np.abs(rounded_K - quota_K).max():.0f}",
            ]  # fmt: skip
        else:
            cells += ["-"] * 4
        print("| " + " | ".join(cells) + " |")


def pool(
    concepts: int, pairs: int, temperature: float
) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.int64], int]:
    """Return targets, bounds and total of a planted pool."""
    rng = np.random.default_rng(concepts)
    weight_K = rng.lognormal(0.0, 1.0, concepts)
    size_K = np.maximum(1, weight_K / weight_K.sum() * pairs).astype(np.int64)
    total = int(KEEP * size_K.sum())
    complexity_K = rng.uniform(0.05, 0.5, concepts)
    target_K = targets(complexity_K, total=total, temperature=temperature)
    return target_K, lower_bounds(size_K, total=total, balance=0.0, minimum=1), size_K, total


def broken(quota_K: NDArray, lower_K: NDArray[np.int64], upper_K: NDArray[np.int64]) -> int:
    """Count quotas out of bounds."""
    return np.count_nonzero((quota_K < lower_K) | (quota_K > upper_K))


def timed(
    call: Callable[[], NDArray[np.int64]], rounds: int
) -> tuple[NDArray[np.int64], list[float]]:
    """Return the result and the seconds of each round."""
    seconds = []
    for _ in range(rounds):
        start = time.perf_counter()
        result = call()
        seconds.append(time.perf_counter() - start)
    return result, seconds


def by_osqp(
    python: str,
    target_K: NDArray[np.float64],
    lower_K: NDArray[np.int64],
    upper_K: NDArray[np.int64],
    total: int,
) -> tuple[NDArray[np.float64], float]:
    """Solve it with the other interpreter; NaN where it finds no solution."""
    with tempfile.TemporaryDirectory() as folder:
        given, result = Path(folder) / "given.npz", Path(folder) / "result.npy"
        np.savez(given, target=target_K, lower=lower_K, upper=upper_K, total=total)
        done = subprocess.run(
            [python, str(JOB), str(given), str(result)],
            capture_output=True, text=True, timeout=ONE_JOB_S, check=False,
        )  # fmt: skip
        if done.returncode:
            raise SystemExit(f"osqp: exit code {done.returncode}\n{done.stderr[-2000:]}")
        return np.load(result), json.loads(done.stdout.splitlines()[-1])["seconds"]


def neighbours(centroids: int, dimensions: int) -> None:
    """Find the 20 nearest of all centroids without a [K, K] matrix."""
    rng = np.random.default_rng(0)
    centroid_KD = rng.standard_normal((centroids, dimensions), np.float32)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.perf_counter()
    distance_to_nearest(centroid_KD, neighbours=20)
    seconds = time.perf_counter() - start
    memory = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024 / 1e6
    print(
        f"\n## c. Distance to the 20 nearest of {centroids:,} centroids, {dimensions} dimensions\n"
    )
    print(
        f"{seconds:.1f} s, {memory:,.0f} MB more than before; [K, K] alone would be "
        f"{centroids**2 * 8 / 1e6:,.0f} MB."
    )


if __name__ == "__main__":
    main()
