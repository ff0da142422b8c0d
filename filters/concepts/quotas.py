"""How many pairs each concept keeps (density-based pruning, Abbas et al., arXiv:2401.04578).

Letters: K concepts.
"""

import numpy as np
from numpy.typing import NDArray


def complexity(
    centroid_KD: NDArray[np.float32], *, mean_distance_K: NDArray[np.float64], neighbours: int
) -> NDArray[np.float64]:
    """Complexity C = d_inter * d_intra of each concept, float64 [K] (section 3 of the paper).

    d_intra is the mean cosine distance of members to their centroid, d_inter the mean cosine
    distance of the centroid to its nearest others. A concept without members has the mean of the
    rest, as in the authors' code; with fewer than `neighbours` other concepts, all of them count.

    Args:
        centroid_KD: Unit-norm centroids.
        mean_distance_K: d_intra; NaN for a concept without members.
        neighbours: l in the paper.
    """
    concepts = len(centroid_KD)
    if concepts == 1:
        return np.ones(1)
    distance_KK = 1.0 - centroid_KD.astype(np.float64) @ centroid_KD.astype(np.float64).T
    np.fill_diagonal(distance_KK, np.inf)
    nearest = np.sort(distance_KK, axis=1)[:, : min(neighbours, concepts - 1)]
    value_K = nearest.mean(axis=1) * mean_distance_K
    return np.where(np.isnan(value_K), np.nanmean(value_K), value_K)


def targets(complexity_K: NDArray[np.float64], *, total: int, temperature: float) -> NDArray:
    """Share `total` by a softmax over complexities, float64 [K]."""
    scaled_K = complexity_K / temperature
    weight_K = np.exp(scaled_K - scaled_K.max())
    return total * weight_K / weight_K.sum()


def allocate(
    target_K: NDArray[np.float64],
    *,
    lower_K: NDArray[np.int64],
    upper_K: NDArray[np.int64],
    total: int,
) -> NDArray[np.int64]:
    """Find the integer quotas nearest to the targets, in least squares, that respect the bounds.

    The paper solves a quadratic program. Its optimality conditions leave one unknown: every quota
    is its target plus the same shift, clipped to its bounds, so that surplus of full concepts is
    spread evenly. The shift is found exactly between two of the 2 K points where a quota meets a
    bound. Rounding hands the left-over units to the largest fractions, ties to the lowest id: the
    sum is exactly `total` and no bound is broken.

    Raises:
        ValueError: The bounds cross, or do not admit `total`.
    """
    if (lower_K > upper_K).any() or not lower_K.sum() <= total <= upper_K.sum():
        raise ValueError(
            f"quotas: got a total of {total}, expected {lower_K.sum()} to {upper_K.sum()} with "
            "lower bounds below upper ones; change the share to keep or the minimum per concept"
        )
    shift = _shift(target_K, lower_K, upper_K, total)
    exact_K = np.clip(target_K + shift, lower_K, upper_K)
    quota_K = np.floor(exact_K + 1e-9).astype(np.int64)
    left = total - int(quota_K.sum())
    fraction_K = np.where(quota_K < upper_K, exact_K - quota_K, -1.0)
    quota_K[np.argsort(-fraction_K, kind="stable")[:left]] += 1
    return quota_K


def _shift(
    target_K: NDArray[np.float64],
    lower_K: NDArray[np.int64],
    upper_K: NDArray[np.int64],
    total: int,
) -> float:
    """Solve sum(clip(target + shift, lower, upper)) = total, piecewise linear and not falling."""
    points = np.unique(np.concatenate([lower_K - target_K, upper_K - target_K]))

    def filled(shift: float) -> float:
        return float(np.clip(target_K + shift, lower_K, upper_K).sum())

    low, high = 0, len(points) - 1
    while low < high:  # the last point at which the sum is not above the total
        middle = (low + high + 1) // 2
        low, high = (middle, high) if filled(points[middle]) <= total else (low, middle - 1)
    left, right = points[low], points[min(low + 1, len(points) - 1)]
    rise = filled(right) - filled(left)
    if rise <= 0:
        return float(left)
    return float(left + (total - filled(left)) / rise * (right - left))
