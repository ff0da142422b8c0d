"""Clustering against the machine's matrix product and against FAISS, on the same points.

    python benchmarks/clustering.py > benchmarks/results/DATE-clustering.md
    python benchmarks/clustering.py --points embeddings.npy --only abcd

Without a file the points are planted: unit vectors around 400 centres, some crowded and some not.
All sides take turns, round after round, in one process; libraries get all the cores. Seconds of a
core are those of all threads together, and say more where others use the machine.
"""

import argparse
import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

import faiss
import numpy as np
from heading import heading
from numpy.typing import NDArray

from filters.concepts import Flat, Hierarchical, TwoLevel, assign, spherical_kmeans
from filters.concepts.starts import unit

Sides = dict[str, Callable[[], Any]]
Seconds = list[tuple[float, float]]  # of each turn, by the clock and of a core


def main() -> None:
    """Measure what was asked for and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--only", default="abcd", help="letters of the tables, as printed")
    parser.add_argument("--points", help="float16 .npy of unit vectors, instead of planted ones")
    parser.add_argument("--rows", type=int, default=65_536, help="of planted points")
    parser.add_argument("--dim", type=int, default=512, help="of planted points")
    parser.add_argument("--clusters", type=int, default=1000)
    args = parser.parse_args()
    points_ND = np.load(args.points) if args.points else planted(args.rows, args.dim)
    rows, dim = points_ND.shape
    print(heading(f"FAISS {faiss.__version__}, NumPy {np.__version__}, {args.rounds} rounds"))
    print(f"\n{rows:,} points of {dim} dimensions, float16, {args.clusters:,} clusters.")
    if "a" in args.only:
        assigning(points_ND, args.clusters, args.rounds)
    if "b" in args.only:
        steps(points_ND, args.clusters, args.rounds // 2 + 1)
    if "c" in args.only:
        starts(points_ND, args.clusters)
    if "d" in args.only:
        kinds(points_ND, args.clusters)


def planted(rows: int, dim: int) -> NDArray[np.float16]:
    """Return points around centres of unlike size."""
    rng = np.random.default_rng(0)
    centre = unit(rng.standard_normal((400, dim)))
    truth_N = rng.choice(400, rows, p=rng.dirichlet(np.ones(400)))
    points_ND = np.empty((rows, dim), np.float16)
    for start in range(0, rows, 10_000):
        truth = truth_N[start : start + 10_000]
        noise = rng.standard_normal((len(truth), dim), np.float32) / np.sqrt(dim)
        points_ND[start : start + 10_000] = unit(centre[truth] + noise)
    return points_ND


def assigning(points_ND: NDArray[np.float16], clusters: int, rounds: int) -> None:
    """Table a: nearest and second nearest centroid, against the product alone."""
    wide_ND = points_ND.astype(np.float32)
    centroid_KD = unit(points_ND[:: max(1, len(points_ND) // clusters)][:clusters])
    clusters = len(centroid_KD)
    out_NK = np.empty((len(points_ND), clusters), np.float32)
    out_BK = np.empty((4096, clusters), np.float32)

    def in_blocks() -> None:
        for start in range(0, len(wide_ND), 4096):
            block_BD = wide_ND[start : start + 4096]
            np.matmul(block_BD, centroid_KD.T, out=out_BK[: len(block_BD)])

    index = faiss.IndexFlatIP(points_ND.shape[1])
    index.add(centroid_KD)
    sides: Sides = {
        "NumPy's matrix product alone": lambda: np.matmul(wide_ND, centroid_KD.T, out=out_NK),
        "the same, 4,096 rows at a time": in_blocks,
        "FAISS IndexFlatIP, nearest": lambda: index.search(wide_ND, 1),
        "FAISS IndexFlatIP, two nearest": lambda: index.search(wide_ND, 2),
        "Thresher assign, float32": lambda: assign(wide_ND, centroid_KD),
        "Thresher assign, float16": lambda: assign(points_ND, centroid_KD),
    }
    seconds = turns(sides, rounds)
    print(f"\n## a. Assigning {len(points_ND):,} points\n")
    print("Share: of the speed of the faster matrix product, in float32, without any search.\n")
    print("| | s, median (best) | share | s of a core, median (best) | share |")
    print("| --- | --- | --- | --- | --- |")
    for name, every in seconds.items():
        cells = []
        for k in (0, 1):
            product = [column(seconds[one], k) for one in list(sides)[:2]]
            half, best = statistics.median(column(every, k)), min(column(every, k))
            share = min(map(statistics.median, product)) / half
            cells.append(f"{half:.3f} ({best:.3f})")
            cells.append(f"{share:.0%} ({min(map(min, product)) / best:.0%})")
        print(f"| {name} | {' | '.join(cells)} |")
    flops = 2 * len(points_ND) * clusters * points_ND.shape[1]
    fastest = min(min(column(seconds[one], 0)) for one in list(sides)[:2])
    print(f"\nThe product at its best: {flops / fastest / 1e9:.0f} GFLOP/s.")
    found, (_, theirs_N2) = assign(points_ND, centroid_KD), index.search(wide_ND, 2)
    ours_N2 = np.stack([found.cluster_N, found.second_N], axis=1)
    apart = int((ours_N2 != theirs_N2).any(axis=1).sum())
    print(f"\nFAISS names other centroids for {apart} points (ties within float32's rounding).")


def steps(points_ND: NDArray[np.float16], clusters: int, rounds: int) -> None:
    """Table b: twenty steps from the same centroids."""
    at = np.random.default_rng(0).choice(len(points_ND), clusters, replace=False)
    initial_KD = unit(points_ND[at])
    objective: dict[str, tuple[float, int]] = {}

    def peer() -> None:
        kmeans = faiss.Kmeans(
            points_ND.shape[1], clusters, niter=20, spherical=True,
            min_points_per_centroid=1, max_points_per_centroid=len(points_ND),
        )  # fmt: skip
        kmeans.train(points_ND.astype(np.float32), init_centroids=initial_KD)
        objective["FAISS Kmeans"] = (1 - kmeans.obj[-1] / len(points_ND), len(kmeans.obj))

    def ours() -> None:
        trained = spherical_kmeans(
            points_ND, clusters=clusters, iterations=20, seed=0, tolerance=0, initial=initial_KD
        )
        objective["Thresher"] = (trained.inertia[-1], trained.steps)

    seconds = turns({"FAISS Kmeans": peer, "Thresher": ours}, rounds)
    print("\n## b. Up to 20 steps of spherical k-means on all points, same start\n")
    print("| | steps | ms a step, median (best) | ms of a core | mean distance |")
    print("| --- | --- | --- | --- | --- |")
    for name, every in seconds.items():
        distance, taken = objective[name]
        wall, cpu = ([1000 * s / taken for s in column(every, k)] for k in (0, 1))
        print(
            f"| {name} | {taken} | {statistics.median(wall):.0f} ({min(wall):.0f}) | "
            f"{statistics.median(cpu):.0f} ({min(cpu):.0f}) | {distance:.6f} |"
        )


def starts(points_ND: NDArray[np.float16], clusters: int) -> None:
    """Table c: what a better start costs and brings, three seeds."""
    print("\n## c. Starts, means of three seeds, until a step brings less than 1e-4\n")
    print("| start | s | steps | mean distance at first | in the end |")
    print("| --- | --- | --- | --- | --- |")
    for start in ("sampled", "parallel"):
        begun = time.perf_counter()
        runs = [
            spherical_kmeans(points_ND, clusters=clusters, iterations=100, seed=seed, start=start)
            for seed in range(3)
        ]
        taken = (time.perf_counter() - begun) / 3
        print(
            f"| {start} | {taken:.2f} | {mean([r.steps for r in runs]):.1f} | "
            f"{mean([r.inertia[0] for r in runs]):.4f} | "
            f"{mean([r.inertia[-1] for r in runs]):.4f} |"
        )


def kinds(points_ND: NDArray[np.float16], clusters: int) -> None:
    """Table d: the same number of clusters at once, in two levels, and as a tree."""
    root = round(clusters**0.5)
    print(f"\n## d. Kinds of clustering, {root * root:,} clusters, 25 steps at most\n")
    print("| kind | train, s | assign, s | mean distance | largest cluster, share of points |")
    print("| --- | --- | --- | --- | --- |")
    for clustering in (
        Flat(clusters=root * root),
        TwoLevel(outer=root, inner=root),
        Hierarchical(levels=(root * root, root), steps=3),
    ):
        begun = time.perf_counter()
        concepts = clustering.train(points_ND, seed=0)
        trained = time.perf_counter()
        found = concepts.assign(points_ND)
        done = time.perf_counter()
        largest = np.bincount(found.cluster_N).max() / len(points_ND)
        print(
            f"| {clustering.kind} | {trained - begun:.2f} | {done - trained:.2f} | "
            f"{found.distance_N.mean():.4f} | {largest:.2%} |"
        )


def turns(sides: Sides, rounds: int) -> dict[str, Seconds]:
    """Let the sides take turns after one turn each to warm up."""
    seconds: dict[str, Seconds] = {name: [] for name in sides}
    for counted in range(-1, rounds):
        for name, run in sides.items():
            begun, cpu = time.perf_counter(), time.process_time()
            run()
            if counted >= 0:
                seconds[name].append((time.perf_counter() - begun, time.process_time() - cpu))
    return seconds


def column(seconds: Seconds, k: int) -> list[float]:
    """Return one figure of each turn."""
    return [turn[k] for turn in seconds]


def mean(values: Sequence[float]) -> float:
    """Return the mean."""
    return statistics.fmean(values)


if __name__ == "__main__":
    main()
