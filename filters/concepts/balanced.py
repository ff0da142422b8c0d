"""How many points to take of each cluster of a tree, as evenly as their sizes allow.

Letters: K clusters, P parents.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from filters.hashing import hashed


def balanced_quotas(
    size_K: NDArray[np.int64],
    parents: Sequence[NDArray[np.int32]],
    *,
    total: int,
    repeats: int = 1,
    seed: int = 0,
) -> NDArray[np.int64]:
    """Share `total` among the clusters at the bottom of a tree, from the top down, int64 [K].

    Hierarchical balanced sampling (Vo et al., arXiv:2405.15613, section 3.4): the children of a
    cluster get the same share each, but none more than it has; what the full ones leave is shared
    by the others. Shares of one cluster's children that are not full differ by one at most; who
    gets the one more is settled by a hash of the seed and the child's id, not by a generator. The
    sum is `total`, or all there is if that is less.

    Args:
        size_K: Points of each cluster at the bottom.
        parents: Parent of each cluster among those of the next level up, then of each of those,
            and so on (`Concepts.parents`); empty shares among all clusters at once.
        total: Points to take, copies counted.
        repeats: How often a point may be taken; a quota above the size means whole copies first.
        seed: Of the hash.

    Raises:
        ValueError: A number is out of range, or the tree does not fit the sizes.
    """
    size_K = np.asarray(size_K, np.int64)
    if total < 0 or repeats < 1 or (size_K < 0).any():
        raise ValueError(
            f"balanced quotas: got a total of {total}, {repeats} repeats and a least size of "
            f"{size_K.min(initial=0)}, expected a total and sizes from 0 on and at least 1 repeat"
        )
    sizes = [size_K * repeats]
    for level, parent_K in enumerate(parents):
        if len(parent_K) != len(sizes[-1]):
            raise ValueError(
                f"balanced quotas: got parents of {len(parent_K)} clusters at level {level}, "
                f"expected {len(sizes[-1])}; take sizes and parents from one tree"
            )
        # As many as the level above says that it has; clusters without children are never named.
        above = len(parents[level + 1]) if level + 1 < len(parents) else 0
        above = max(above, int(np.max(parent_K, initial=-1)) + 1)
        sizes.append(_per_parent(sizes[-1], parent_K, above))
    quota = np.array([total], np.int64)
    root = np.zeros(len(sizes[-1]), np.int32)
    for child_size, parent in zip(reversed(sizes), [root, *reversed(parents)], strict=True):
        quota = _shared(quota, child_size, parent, seed)
    return quota


def _shared(
    quota_P: NDArray[np.int64], size_K: NDArray[np.int64], parent_K: NDArray[np.int32], seed: int
) -> NDArray[np.int64]:
    """Share each parent's quota among its children, int64 [K]."""
    parents = len(quota_P)
    level_P = _levels(quota_P, size_K, parent_K)
    share_K = np.minimum(level_P[parent_K], size_K)
    left_P = quota_P - _per_parent(share_K, parent_K, parents)
    more = np.flatnonzero(size_K > share_K)  # children that could take one more
    hash_K = hashed(more.astype(np.uint64)[:, None], salt=f"balanced:{seed}")
    order = more[np.lexsort((more, hash_K, parent_K[more]))]
    rank = np.arange(len(order)) - np.searchsorted(parent_K[order], parent_K[order])
    share_K[order[rank < left_P[parent_K[order]]]] += 1
    return share_K


def _levels(
    quota_P: NDArray[np.int64], size_K: NDArray[np.int64], parent_K: NDArray[np.int32]
) -> NDArray[np.int64]:
    """Find the largest q of each parent with sum(min(q, size)) <= quota, all parents at once.

    Beyond the largest size nothing changes; that is where the search begins.
    """
    low_P = np.zeros(len(quota_P), np.int64)
    high_P = np.full(len(quota_P), size_K.max(initial=0))
    while (low_P < high_P).any():
        middle_P = (low_P + high_P + 1) // 2
        taken_P = _per_parent(np.minimum(middle_P[parent_K], size_K), parent_K, len(quota_P))
        fits_P = taken_P <= quota_P
        low_P = np.where(fits_P, middle_P, low_P)
        high_P = np.where(fits_P, high_P, middle_P - 1)
    return low_P


def _per_parent(
    value_K: NDArray[np.int64], parent_K: NDArray[np.int32], parents: int
) -> NDArray[np.int64]:
    """Sum over the children of each parent; integers, since a float is exact up to 2**53 only."""
    sum_P = np.zeros(parents, np.int64)
    np.add.at(sum_P, parent_K, value_K)
    return sum_P
