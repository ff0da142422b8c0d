"""Nearest centroids by way of the nearest outer ones: N (U + 2 K / U) products instead of N K.

Letters: N points, K clusters, U outer clusters, D dimensions, M points of an outer cluster.
"""

import numpy as np
from numpy.typing import NDArray

from filters.concepts.kmeans import Clusters, assign
from filters.concepts.widening import Points


def assign_routed(
    vectors_ND: Points,
    *,
    outer_UD: NDArray[np.float32],
    parent_K: NDArray[np.int32],
    centroid_KD: NDArray[np.float32],
) -> Clusters:
    """Assign each point to a centroid under its nearest outer one.

    The second is the nearer of the next one under the same outer centroid and the nearest one under
    the second nearest, and may be nearer than the first. Ties go to the lowest id.

    Args:
        vectors_ND: Points of unit norm.
        outer_UD: Outer centroids.
        parent_K: Outer centroid of each centroid, ascending.
        centroid_KD: Centroids.
    """
    begin = np.searchsorted(parent_K, np.arange(len(outer_UD) + 1))
    outer = assign(vectors_ND, outer_UD)
    own = _inside(vectors_ND, outer.cluster_N, centroid_KD, begin)
    across = _inside(vectors_ND, outer.second_N, centroid_KD, begin)
    nearer_N = ~(across.distance_N >= own.second_distance_N) & (across.cluster_N >= 0)
    return Clusters(
        cluster_N=own.cluster_N,
        distance_N=own.distance_N,
        second_N=np.where(nearer_N, across.cluster_N, own.second_N),
        second_distance_N=np.where(nearer_N, across.distance_N, own.second_distance_N),
    )


def _inside(
    vectors_ND: Points,
    outer_N: NDArray[np.int32],
    centroid_KD: NDArray[np.float32],
    begin: NDArray[np.int64],
) -> Clusters:
    """Assign points inside the super-clusters named, -1 for none."""
    size = len(vectors_ND)
    found = Clusters(
        cluster_N=np.full(size, -1, np.int32),
        distance_N=np.full(size, np.nan, np.float32),
        second_N=np.full(size, -1, np.int32),
        second_distance_N=np.full(size, np.nan, np.float32),
    )
    order_N = np.argsort(outer_N, kind="stable")
    ends = np.searchsorted(outer_N[order_N], np.arange(len(begin)))
    for u in np.flatnonzero(np.diff(ends)):
        at_M = order_N[ends[u] : ends[u + 1]]
        one = assign(vectors_ND[at_M], centroid_KD[begin[u] : begin[u + 1]])
        found.cluster_N[at_M] = one.cluster_N + begin[u]
        found.distance_N[at_M] = one.distance_N
        found.second_N[at_M] = np.where(one.second_N >= 0, one.second_N + begin[u], -1)
        found.second_distance_N[at_M] = one.second_distance_N
    return found
