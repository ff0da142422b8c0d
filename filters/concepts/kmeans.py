"""Spherical k-means: unit vectors in, unit centroids and cosine distances out.

Letters: N points, K clusters, D dimensions, C points of a chunk, S clusters in it.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from filters.concepts.direction import has_direction
from filters.concepts.nearest import BLOCK, nearest, products_with
from filters.concepts.starts import Start, start_from, unit
from filters.concepts.threads import in_threads
from filters.concepts.widening import Points, wide

CHUNK = 2048  # points summed at a time: 8 MB in float64 with 512 dimensions
WIDE_BYTES = 2**29  # of points that are converted once and not in each step


@dataclass(frozen=True, slots=True)
class Clusters:
    """Where N points belong among K clusters.

    A point without a direction (all zeros, or not finite) belongs nowhere: -1 and NaN throughout.

    Attributes:
        cluster_N: Nearest centroid of each point, int32 [N].
        distance_N: 1 - inner product with it, float32 [N]; the cosine distance of unit vectors.
        second_N: Second nearest centroid, int32 [N]; -1 if there is none.
        second_distance_N: Distance to that, float32 [N]; NaN if there is none.
    """

    cluster_N: NDArray[np.int32]
    distance_N: NDArray[np.float32]
    second_N: NDArray[np.int32]
    second_distance_N: NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Trained:
    """Centroids, and how training went.

    Attributes:
        centroid_KD: Unit-norm centroids, float32 [K, D].
        inertia: Mean distance of the points to their centroids before each step's update.
        mended: How often a cluster had lost all its points and was given a new one.
    """

    centroid_KD: NDArray[np.float32]
    inertia: tuple[float, ...]
    mended: int

    @property
    def steps(self) -> int:
        """Steps that were taken."""
        return len(self.inertia)


def spherical_kmeans(
    vectors_ND: Points,
    *,
    clusters: int,
    iterations: int,
    seed: int,
    start: Start = "sampled",
    tolerance: float = 1e-4,
    initial: NDArray[np.float32] | None = None,
) -> Trained:
    """Train centroids on all points given, but those without a direction.

    Lloyd's steps with centroids scaled to unit norm after each (Dhillon and Modha, 2001). FAISS
    would take 256 points a centroid unless told otherwise; here a caller who wants a sample passes
    one. Sums of float16 points are exact in float64, starts are drawn by content and near ties
    decided exactly, so the order of such points does not change a bit, nor do threads.

    Args:
        vectors_ND: Unit-norm points, read block by block.
        clusters: K; there are no more than distinct points.
        iterations: Steps at most, at least 1.
        seed: Of the start.
        start: How points to start from are drawn (`start_from`).
        tolerance: Stop once a step has lowered the inertia by no more than this share of it.
        initial: Centroids to start from instead, [K, D].

    Raises:
        ValueError: There are no points with a direction, or a number is out of range.
    """
    if min(clusters, iterations) < 1:
        raise ValueError(
            f"concepts: got {clusters} clusters and {iterations} iterations, expected at least 1"
        )
    directed_N = has_direction(vectors_ND)
    if not directed_N.any():
        raise ValueError(
            f"concepts: got no embeddings to cluster among {len(vectors_ND)}, expected at least "
            "one that is finite and not zero"
        )
    if not directed_N.all():
        vectors_ND = vectors_ND[directed_N]
    if initial is None:
        initial = start_from(vectors_ND, clusters=clusters, seed=seed, start=start)
    is_exact = vectors_ND.dtype == np.float16
    vectors_ND = _widened(vectors_ND)
    sums = _Sums(vectors_ND, len(initial), is_exact=is_exact)
    centroid_KD, inertia, mended = unit(initial), [], 0
    for _ in range(iterations):
        cluster_N1, _none = nearest(vectors_ND, centroid_KD, wanted=1, products=False)
        cluster_N = cluster_N1[:, 0]
        new = _mend(vectors_ND, cluster_N, centroid_KD)
        sum_KD = sums.of(cluster_N)
        inertia.append(1.0 - float((sum_KD * centroid_KD).sum()) / len(vectors_ND))
        # Points that cancel out have no mean direction; their centroid stays.
        centroid_KD = np.where(sum_KD.any(axis=1, keepdims=True), unit(sum_KD), centroid_KD)
        mended += new
        fallen = inertia[-2] - inertia[-1] if len(inertia) > 1 else np.inf
        if not new and fallen <= tolerance * abs(inertia[-1]):
            break
    return Trained(centroid_KD, tuple(inertia), mended)


def assign(vectors_ND: Points, centroid_KD: NDArray[np.float32]) -> Clusters:
    """Assign each point to the centroid of the largest inner product; ties to the lowest id."""
    cluster_N2, similarity_N2 = nearest(vectors_ND, centroid_KD, wanted=2)
    distance_N2 = np.float32(1) - similarity_N2
    return Clusters(
        cluster_N=np.ascontiguousarray(cluster_N2[:, 0]),
        distance_N=np.ascontiguousarray(distance_N2[:, 0]),
        second_N=np.ascontiguousarray(cluster_N2[:, 1]),
        second_distance_N=np.ascontiguousarray(distance_N2[:, 1]),
    )


def _widened(vectors_ND: Points) -> Points:
    if 4 * vectors_ND.size > WIDE_BYTES:
        return vectors_ND
    wide_ND = np.empty(vectors_ND.shape, np.float32)
    for start in range(0, len(vectors_ND), BLOCK):
        wide_ND[start : start + BLOCK] = wide(vectors_ND[start : start + BLOCK])
    return wide_ND


def _mend(
    vectors_ND: Points, cluster_N: NDArray[np.int32], centroid_KD: NDArray[np.float32]
) -> int:
    """Give each empty cluster the farthest point of a large one; return how many got one.

    The largest clusters give one each, the largest to the lowest id, unless their points are all
    the same. What is still empty then waits for the next step.
    """
    size_K = np.bincount(cluster_N, minlength=len(centroid_KD))
    empty = np.flatnonzero(size_K == 0)
    if not len(empty):
        return 0
    similarity_N = products_with(vectors_ND, centroid_KD, cluster_N)
    order_N = np.lexsort((similarity_N, cluster_N))
    full = np.flatnonzero(size_K)
    last = np.cumsum(size_K[full]) - 1
    farthest, nearest_ = order_N[last - size_K[full] + 1], order_N[last]
    spread = similarity_N[farthest] < similarity_N[nearest_]
    by_size = np.argsort(-size_K[full[spread]], kind="stable")
    given = farthest[spread][by_size][: len(empty)]
    cluster_N[given] = empty[: len(given)]
    centroid_KD[empty[: len(given)]] = unit(vectors_ND[given])
    return len(given)


class _Sums:
    """Sums of the points of each cluster, made anew only of points that have moved.

    Letters: M points that moved, from one cluster and to another.
    """

    def __init__(self, vectors_ND: Points, clusters: int, *, is_exact: bool) -> None:
        self._vectors_ND = vectors_ND
        self._sum_KD = np.zeros((clusters, vectors_ND.shape[1]))
        self._cluster_N = np.full(len(vectors_ND), -1, np.int32)
        # Of what was float16: so that it is no matter what is added and taken away again.
        self._is_exact = is_exact

    def of(self, cluster_N: NDArray[np.int32]) -> NDArray[np.float64]:
        """Return the sum of each cluster, float64 [K, D]; not to be changed."""
        clusters, before_N = len(self._sum_KD), self._cluster_N
        moved_M = np.flatnonzero(cluster_N != before_N)
        if before_N[0] < 0 or not self._is_exact or 2 * len(moved_M) > len(cluster_N):
            everyone = np.arange(len(cluster_N))
            self._sum_KD = _sums(self._vectors_ND, everyone, cluster_N, clusters)
        elif len(moved_M):
            self._sum_KD -= _sums(self._vectors_ND, moved_M, before_N, clusters)
            self._sum_KD += _sums(self._vectors_ND, moved_M, cluster_N, clusters)
        self._cluster_N = cluster_N.copy()
        return self._sum_KD


def _sums(
    vectors_ND: Points, at_M: NDArray[np.int64], cluster_N: NDArray[np.int32], clusters: int
) -> NDArray[np.float64]:
    """Sum some points of each cluster, float64 [K, D], in an order that threads do not change.

    Points are sorted by cluster and a sparse matrix of ones adds those of a chunk: three times as
    fast as `np.add.reduceat`, and without a loop over clusters.
    """
    order_M = at_M[np.argsort(cluster_N[at_M], kind="stable")]
    sum_KD = np.zeros((clusters, vectors_ND.shape[1]))

    def summed(start: int) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
        at_C = order_M[start : start + CHUNK]
        cluster_C = cluster_N[at_C]
        first_S = np.flatnonzero(np.r_[True, cluster_C[1:] != cluster_C[:-1]])
        column_C, end = np.arange(len(at_C)), len(at_C)
        ones_SC = csr_array(
            (np.ones(end), column_C, np.append(first_S, end)), shape=(len(first_S), end)
        )
        return cluster_C[first_S], ones_SC @ wide(vectors_ND[at_C]).astype(np.float64)

    for cluster_S, sum_SD in in_threads(summed, range(0, len(order_M), CHUNK)):
        sum_KD[cluster_S] += sum_SD
    return sum_KD
