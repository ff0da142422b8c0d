"""Concepts of the pairs that are left: near-copies go, and every concept keeps its share.

Letters: N pairs, K concepts, D embedding dimensions.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from filters.concepts import (
    Clusters,
    allocate,
    assign,
    complexity,
    max_similarity_to_earlier,
    near_copies,
    spherical_kmeans,
    targets,
)
from pipeline.config import Concepts


@dataclass(frozen=True, slots=True)
class Pruned:
    """What pruning decided.

    Attributes:
        concept_N: int32, concept of each pair.
        distance_N: float32, cosine distance to its centroid.
        twin_N: int64, position of the pair that it is a near-copy of, else -1.
        over_quota_N: bool, its concept had filled its share.
        complexity_K: float64, d_inter * d_intra.
        quota_K: int64, pairs that each concept keeps.
    """

    concept_N: NDArray[np.int32]
    distance_N: NDArray[np.float32]
    twin_N: NDArray[np.int64]
    over_quota_N: NDArray[np.bool_]
    complexity_K: NDArray[np.float64]
    quota_K: NDArray[np.int64]


def prune(
    vectors_ND: NDArray[np.float16],
    hash_N: NDArray[np.uint64],
    *,
    p_keep_N: NDArray[np.float64],
    cfg: Concepts,
    seed: int,
) -> Pruned:
    """Cluster, remove copies and near-copies, hold each concept to its quota.

    Of a group of copies the one with the highest p(keep) survives, ties to the earlier position.
    Within a concept the hardest pairs, farthest from the centroid, are kept.
    """
    centroid_KD = spherical_kmeans(
        vectors_ND, clusters=cfg.clusters, iterations=cfg.iterations, seed=seed
    ).centroid_KD
    clusters = assign(vectors_ND, centroid_KD)
    nowhere_N = clusters.cluster_N < 0  # no direction: the first concept's, and average in it
    clusters.cluster_N[nowhere_N], clusters.distance_N[nowhere_N] = 0, 1.0
    copy_N = copies(hash_N, order_N=np.argsort(-p_keep_N, kind="stable"), bits=cfg.copy_bits)
    alike_N = _twins(vectors_ND, clusters.cluster_N, p_keep_N, cfg.duplicate_similarity)
    twin_N = np.where(copy_N >= 0, copy_N, alike_N)
    left_N = twin_N < 0
    complexity_K = _complexity(clusters, centroid_KD, left_N, cfg.neighbours)
    size_K = np.bincount(clusters.cluster_N[left_N], minlength=len(centroid_KD))
    quota_K = _quotas(complexity_K, size_K, cfg)
    return Pruned(
        concept_N=clusters.cluster_N,
        distance_N=clusters.distance_N,
        twin_N=twin_N,
        over_quota_N=left_N & ~_hardest(clusters, left_N, quota_K),
        complexity_K=complexity_K,
        quota_K=quota_K,
    )


def copies(
    hash_N: NDArray[np.uint64], *, order_N: NDArray[np.int64], bits: int
) -> NDArray[np.int64]:
    """Find for each hash the closest earlier one of `order_N` within `bits` bits; -1 for none."""
    if bits < 0:
        return np.full(len(hash_N), -1, np.int64)
    return near_copies(hash_N, order=order_N, bits=bits).earlier_N


def _twins(
    vectors_ND: NDArray[np.float16],
    cluster_N: NDArray[np.int32],
    p_keep_N: NDArray[np.float64],
    similarity: float,
) -> NDArray[np.int64]:
    twin_N = np.full(len(vectors_ND), -1, np.int64)
    if similarity >= 1:
        return twin_N
    by_cluster = np.argsort(cluster_N, kind="stable")
    ends = np.cumsum(np.bincount(cluster_N))
    for members in np.split(by_cluster, ends[:-1]):
        order = np.argsort(-p_keep_N[members], kind="stable")
        most = max_similarity_to_earlier(vectors_ND[members], order=order)
        twin = most.above(similarity).earlier_N
        twin_N[members[twin >= 0]] = members[twin[twin >= 0]]
    return twin_N


def _complexity(
    clusters: Clusters,
    centroid_KD: NDArray[np.float32],
    left_N: NDArray[np.bool_],
    neighbours: int,
) -> NDArray[np.float64]:
    concepts = len(centroid_KD)
    members = clusters.cluster_N[left_N]
    total_K = np.bincount(
        members, weights=clusters.distance_N[left_N].astype(np.float64), minlength=concepts
    )
    size_K = np.bincount(members, minlength=concepts)
    with np.errstate(invalid="ignore"):  # a concept without members has no mean: NaN
        mean_K = total_K / size_K
    return complexity(centroid_KD, mean_distance_K=mean_K, neighbours=neighbours)


def _quotas(
    complexity_K: NDArray[np.float64], size_K: NDArray[np.int64], cfg: Concepts
) -> NDArray[np.int64]:
    """Share the budget; the minimum per concept gives way where the budget is too small for it."""
    total = max(1, int(np.floor(cfg.keep * size_K.sum())))
    lower_K = np.minimum(size_K, cfg.minimum)
    return allocate(
        targets(complexity_K, total=total, temperature=cfg.temperature),
        lower=lower_K if lower_K.sum() <= total else np.zeros_like(lower_K),
        upper=size_K,
        total=total,
    )


def _hardest(
    clusters: Clusters, left_N: NDArray[np.bool_], quota_K: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """Mark the `quota_K` members of each concept that lie farthest from its centroid."""
    position = np.flatnonzero(left_N)
    cluster = clusters.cluster_N[position]
    order = np.lexsort((position, -clusters.distance_N[position], cluster))
    starts = np.searchsorted(cluster[order], np.arange(len(quota_K)))
    rank = np.arange(len(order)) - starts[cluster[order]]
    kept_N = np.zeros(len(left_N), bool)
    kept_N[position[order[rank < quota_K[cluster[order]]]]] = True
    return kept_N
