"""Spherical k-means with FAISS: unit vectors in, unit centroids and cosine distances out."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

BLOCK = 65_536  # rows assigned at a time


@dataclass(frozen=True, slots=True)
class Clusters:
    """N points in K clusters.

    Attributes:
        centroid_KD: Unit-norm centroids, float32 [K, D].
        cluster_N: Nearest centroid of each point, int32 [N].
        distance_N: Cosine distance to it, float32 [N] in [0, 2].
        second_N: Second nearest, int32 [N]; -1 without.
        second_distance_N: Cosine distance to it, float32 [N]; NaN without.
    """

    centroid_KD: NDArray[np.float32]
    cluster_N: NDArray[np.int32]
    distance_N: NDArray[np.float32]
    second_N: NDArray[np.int32]
    second_distance_N: NDArray[np.float32]


def spherical_kmeans(
    vectors_ND: NDArray[np.float16], *, clusters: int, iterations: int, seed: int
) -> NDArray[np.float32]:
    """Train centroids on all points given; float32 [K, D], unit norm.

    FAISS would train on 256 points a centroid unless told otherwise; here every point is used, and
    a caller who wants a sample passes one. K is at most the number of points.

    Raises:
        ValueError: There are no points.
    """
    import faiss

    points, dim = vectors_ND.shape
    if points == 0:
        raise ValueError("concepts: got no embeddings to cluster, expected at least one")
    clusters = min(clusters, points)
    kmeans = faiss.Kmeans(
        dim,
        clusters,
        niter=iterations,
        seed=seed,
        spherical=True,
        min_points_per_centroid=1,
        max_points_per_centroid=points,
    )
    kmeans.train(np.ascontiguousarray(vectors_ND, np.float32))
    centroid_KD = np.asarray(kmeans.centroids, np.float32)
    norm_K1 = np.linalg.norm(centroid_KD, axis=1, keepdims=True)
    return centroid_KD / np.maximum(norm_K1, 1e-12)


def assign(vectors_ND: NDArray[np.float16], centroid_KD: NDArray[np.float32]) -> Clusters:
    """Assign each point to the centroid of the largest inner product; ties to the lowest id."""
    cluster_N = np.empty(len(vectors_ND), np.int32)
    distance_N = np.empty(len(vectors_ND), np.float32)
    second_N = np.full(len(vectors_ND), -1, np.int32)
    second_distance_N = np.full(len(vectors_ND), np.nan, np.float32)
    for start in range(0, len(vectors_ND), BLOCK):
        block = slice(start, start + BLOCK)
        similarity = vectors_ND[block].astype(np.float32) @ centroid_KD.T
        nearest = similarity.argmax(axis=1)
        cluster_N[block] = nearest
        distance_N[block] = 1.0 - similarity[np.arange(len(nearest)), nearest]
        if len(centroid_KD) > 1:
            similarity[np.arange(len(nearest)), nearest] = -np.inf
            second_N[block] = similarity.argmax(axis=1)
            second_distance_N[block] = 1.0 - similarity.max(axis=1)
    return Clusters(centroid_KD, cluster_N, distance_N, second_N, second_distance_N)
