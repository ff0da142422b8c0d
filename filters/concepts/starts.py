"""Where k-means starts: points drawn by their content, so that the order of the rows is no matter.

Letters: N points, D dimensions, K clusters, M candidates.
"""

import math
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from filters.concepts.nearest import BLOCK, nearest
from filters.concepts.threads import in_threads
from filters.concepts.widening import Points
from filters.hashing import mixed

Start = Literal["sampled", "parallel"]

ROUNDS = 5  # Bahmani et al., section 5: five rounds are as good as k-means++


def start_from(vectors_ND: Points, *, clusters: int, seed: int, start: Start) -> NDArray:
    """Return distinct points to start from, float32 [K, D]; K is at most the distinct points.

    "sampled" draws them uniformly from the distinct points. "parallel" is k-means|| (Bahmani et
    al., arXiv:1203.6402): in each of five rounds points are drawn in proportion to their distance
    to what is drawn, K a round, and k-means++ reduces these candidates, each with the weight of the
    points that it is nearest to. It starts lower, and costs as much as some six steps of k-means.
    """
    key_N = keys(vectors_ND, seed=seed)
    key_U, first_U = np.unique(key_N, return_index=True)
    clusters = min(clusters, len(key_U))
    if start == "sampled" or clusters == len(key_U):
        return vectors_ND[first_U[:clusters]].astype(np.float32)
    at_M, weight_M = _candidates(vectors_ND, key_N, first_U, clusters)
    candidate_MD = vectors_ND[at_M].astype(np.float32)
    chosen = _plus_plus(candidate_MD, weight_M, clusters=clusters, seed=seed)
    return candidate_MD[chosen]


def keys(vectors_ND: Points, *, seed: int) -> NDArray[np.uint64]:
    """Hash each row's values with a seed, uint64 [N]; equal rows have equal keys."""
    dim = vectors_ND.shape[1]
    words = -(-dim // 2)
    salt = np.random.default_rng(seed).integers(2**64, size=words, dtype=np.uint64)
    key_N = np.empty(len(vectors_ND), np.uint64)

    def hashed(start: int) -> None:
        block = vectors_ND[start : start + BLOCK]
        even = np.zeros((len(block), 2 * words), np.float32)
        even[:, :dim] = block
        even += np.float32(0)  # -0.0 becomes 0.0
        key_N[start : start + BLOCK] = mixed(even.view(np.uint64) ^ salt).sum(axis=1)

    for _ in in_threads(hashed, range(0, len(vectors_ND), BLOCK)):
        pass
    return mixed(key_N)


def _candidates(
    vectors_ND: Points, key_N: NDArray[np.uint64], first_U: NDArray[np.int64], clusters: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the positions of k-means||'s candidates and how many points are nearest to each."""
    at_M = first_U[:1]
    nearest_N, distance_N = _nearest_of(vectors_ND, at_M)
    for r in range(ROUNDS):
        # `sum` would depend on the order of the rows.
        share_U = clusters * distance_N[first_U] / max(math.fsum(distance_N), np.finfo(float).tiny)
        draw_U = mixed(key_N[first_U] + np.uint64(r)).astype(np.float64) / 2.0**64
        new_M = np.setdiff1d(first_U[draw_U < share_U], at_M)
        new_M = new_M[np.argsort(key_N[new_M])]
        if not len(new_M):
            continue
        nearer_N, less_N = _nearest_of(vectors_ND, new_M)
        better_N = less_N < distance_N
        nearest_N[better_N] = nearer_N[better_N] + len(at_M)
        distance_N[better_N] = less_N[better_N]
        at_M = np.concatenate([at_M, new_M])
    weight_M = np.bincount(nearest_N, minlength=len(at_M))
    rest = first_U[~np.isin(first_U, at_M)][: max(0, clusters - len(at_M))]
    return np.concatenate([at_M, rest]), np.concatenate([weight_M, np.ones(len(rest), np.int64)])


def _nearest_of(
    vectors_ND: Points, at_M: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    cluster_N1, similarity_N1 = nearest(vectors_ND, unit(vectors_ND[at_M]), wanted=1)
    return cluster_N1[:, 0].astype(np.int64), np.maximum(
        1.0 - similarity_N1[:, 0].astype(np.float64), 0.0
    )


def _plus_plus(
    candidate_MD: NDArray[np.float32], weight_M: NDArray[np.int64], *, clusters: int, seed: int
) -> list[int]:
    """Choose by weighted k-means++: each next one in proportion to weight times distance."""
    rng = np.random.default_rng(seed)
    unit_MD = unit(candidate_MD)
    distance_M = np.full(len(unit_MD), 2.0)
    left_M = np.ones(len(unit_MD), bool)
    chosen: list[int] = []
    for _ in range(clusters):
        share_M = np.where(left_M, weight_M * distance_M, 0.0)
        if not share_M.any():  # only points remain that are where others are
            share_M = left_M.astype(np.float64)
        upto_M = share_M.cumsum()
        one = int(np.searchsorted(upto_M, rng.random() * upto_M[-1], side="right"))
        chosen.append(one)
        left_M[one] = False
        # Not a matrix product: its bits depend on the number of threads.
        distance_M = np.minimum(distance_M, 1.0 - np.vecdot(unit_MD, unit_MD[one]))
        distance_M = np.maximum(distance_M, 0.0)
    return chosen


def unit(vectors_KD: NDArray) -> NDArray[np.float32]:
    """Scale each row to unit norm, float32; a row of zeros stays."""
    vectors_KD = vectors_KD.astype(np.float64)
    norm_K1 = np.linalg.norm(vectors_KD, axis=1, keepdims=True)
    return (vectors_KD / np.where(norm_K1 > 0, norm_K1, 1)).astype(np.float32)
