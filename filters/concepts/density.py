"""How complex each concept is: how far from its neighbours and how widely spread (arXiv:2401.04578).

Letters: N pairs, K concepts, D embedding dimensions, B concepts of a block.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

FRACTION_BITS = 28  # float32 distances from 1/16 on have fewer
MOST_DISTANCE = 2.0
BLOCK_ROWS = 2**24  # so many integers of up to 2^29 add up to 2^53 at most: exact in float64
BLOCK_CELLS = 2**24  # of similarities at a time, 128 MB


def fixed_point(distance_N: NDArray[np.float32]) -> NDArray[np.int64]:
    """Return cosine distances in units of 2^-28, int64 [N], whose sums do not depend on an order.

    A distance is clipped to [0, 2], so that it is at most 2^29 units: 2^34 - 1 (1.7e10) rows fit
    into one sum. The mean of any of them is within 1.9e-9 of that of the distances.

    Raises:
        ValueError: A distance is NaN.
    """
    if np.isnan(distance_N).any():
        raise ValueError(
            f"distance: got NaN in {np.isnan(distance_N).sum()} of {len(distance_N)} rows, expected "
            "numbers; leave out what has no concept"
        )
    clipped_N = np.clip(np.asarray(distance_N, np.float64), 0.0, MOST_DISTANCE)
    return np.rint(np.ldexp(clipped_N, FRACTION_BITS)).astype(np.int64)


@dataclass(frozen=True, slots=True)
class Spread:
    """Members of each concept and the sum of their distances; those of shards add up exactly.

    Attributes:
        size_K: int64.
        sum_K: int64, units of 2^-28.
    """

    size_K: NDArray[np.int64]
    sum_K: NDArray[np.int64]

    @classmethod
    def of(
        cls, cluster_N: NDArray[np.int32], distance_N: NDArray[np.float32], *, concepts: int
    ) -> Self:
        """Count the rows of a shard; those of no concept (-1) are left out."""
        size_K, sum_K = np.zeros((2, concepts), np.int64)
        for start in range(0, len(cluster_N), BLOCK_ROWS):
            cluster_n = cluster_N[start : start + BLOCK_ROWS]
            inside_n = cluster_n >= 0
            cluster_n = cluster_n[inside_n]
            unit_n = fixed_point(distance_N[start : start + BLOCK_ROWS][inside_n])
            size_K += np.bincount(cluster_n, minlength=concepts)
            sum_K += np.bincount(cluster_n, weights=unit_n, minlength=concepts).astype(np.int64)
        return cls(size_K, sum_K)

    def __add__(self, other: "Spread") -> "Spread":
        """Return the two together."""
        return Spread(self.size_K + other.size_K, self.sum_K + other.sum_K)

    @property
    def mean_K(self) -> NDArray[np.float64]:
        """d_intra: the mean distance of members, float64 [K]; NaN for a concept without any."""
        some_K = self.size_K > 0
        mean_K = np.ldexp(self.sum_K / np.maximum(self.size_K, 1), -FRACTION_BITS)
        return np.where(some_K, mean_K, np.nan)


def complexity(
    centroid_KD: NDArray[np.float32], *, mean_distance_K: NDArray[np.float64], neighbours: int
) -> NDArray[np.float64]:
    """Complexity C = d_inter * d_intra of each concept, float64 [K] (section 3 of the paper).

    A concept without members has no d_intra: it gets the mean of the rest, as in the authors' code.
    One of a single member has that member's distance, which is zero only if the centroid was
    trained on it alone. A lone concept, or ones that all are empty, have 1.

    Args:
        centroid_KD: Centroids; of unit norm or not.
        mean_distance_K: d_intra, as `Spread.mean_K`; NaN for a concept without members.
        neighbours: l in the paper.
    """
    if len(centroid_KD) < 2:
        return np.ones(len(centroid_KD))
    value_K = distance_to_nearest(centroid_KD, neighbours=neighbours) * mean_distance_K
    known_K = ~np.isnan(value_K)
    if not known_K.any():
        return np.ones(len(value_K))
    return np.where(known_K, value_K, value_K[known_K].mean())


def distance_to_nearest(
    centroid_KD: NDArray[np.float32], *, neighbours: int
) -> NDArray[np.float64]:
    """d_inter: the mean cosine distance of a centroid to its l nearest others, float64 [K].

    Others are all but the centroid itself by its id, so that one which has a twin is near to it;
    with l of them or fewer, all count. Similarities are float64, for results that do not change
    with the number of threads, and of a block of centroids at a time, never [K, K].

    Raises:
        ValueError: There are fewer than two centroids, one is not finite, or l is below 1.
    """
    concepts, nearest = len(centroid_KD), min(neighbours, len(centroid_KD) - 1)
    if nearest < 1 or not np.isfinite(centroid_KD).all():
        raise ValueError(
            f"complexity: got {concepts} centroids and {neighbours} neighbours, expected at least "
            "two finite centroids and one neighbour"
        )
    unit_KD = np.asarray(centroid_KD, np.float64)
    unit_KD = unit_KD / np.maximum(np.linalg.norm(unit_KD, axis=1, keepdims=True), 1e-30)
    mean_K = np.empty(concepts)
    rows = max(1, BLOCK_CELLS // concepts)
    for start in range(0, concepts, rows):
        similarity_BK = unit_KD[start : start + rows] @ unit_KD.T
        own = np.arange(len(similarity_BK))
        similarity_BK[own, start + own] = -np.inf
        similarity_BK.partition(concepts - nearest, axis=1)
        top_Bl = np.clip(similarity_BK[:, concepts - nearest :], -1.0, 1.0)
        mean_K[start : start + rows] = 1.0 - np.sort(top_Bl, axis=1).mean(axis=1)
    return mean_K
