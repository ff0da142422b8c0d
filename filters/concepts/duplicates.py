"""Semantic near-duplicates inside a cluster (SemDeDup, Abbas et al., arXiv:2303.09540)."""

import numpy as np
from numpy.typing import NDArray

TILE = 1024


def duplicate_of(
    vectors_ND: NDArray[np.float16], *, order_N: NDArray[np.int64], similarity: float
) -> NDArray[np.int64]:
    """Find for each point an earlier one that it is a copy of; -1 where there is none.

    A point is a copy if its cosine with any earlier point of `order_N` is at least `similarity`,
    the paper's rule with 1 - eps. It is compared with earlier points whether or not those are
    copies themselves, so the answer depends on the order only, and is found tile by tile with
    O(TILE^2 + N) memory where the authors hold two dense N x N matrices.

    Args:
        vectors_ND: Unit-norm embeddings of one cluster.
        order_N: Positions in order of preference; of a group of copies the first survives.
        similarity: Cosine in (0, 1].

    Returns:
        int64 [N], positions into `vectors_ND`.
    """
    sorted_ND = vectors_ND[order_N].astype(np.float32)
    best_N = np.full(len(sorted_ND), -np.inf, np.float32)
    twin_N = np.full(len(sorted_ND), -1, np.int64)
    for column in range(0, len(sorted_ND), TILE):
        later = sorted_ND[column : column + TILE]
        for row in range(0, column + 1, TILE):
            earlier = sorted_ND[row : row + TILE]
            cosine = earlier @ later.T
            if row == column:
                cosine[np.tril_indices(len(later))] = -np.inf  # itself, and what comes after it
            at = cosine.argmax(axis=0)
            top = cosine[at, np.arange(len(later))]
            better = top > best_N[column : column + TILE]
            best_N[column : column + TILE][better] = top[better]
            twin_N[column : column + TILE][better] = row + at[better]
    found = best_N >= similarity
    result_N = np.full(len(sorted_ND), -1, np.int64)
    result_N[order_N[found]] = order_N[twin_N[found]]
    return result_N
