"""Which embeddings tell something: those that are finite and not zero.

Letters: N points, B points of a block, D dimensions.
"""

import numpy as np
from numpy.typing import NDArray

from filters.concepts.widening import Points, wide

BLOCK = 2048  # points at a time


def has_direction(vectors_ND: Points) -> NDArray[np.bool_]:
    """Mark points that are finite and not zero, bool [N]."""
    found_N = np.empty(len(vectors_ND), bool)
    for start in range(0, len(vectors_ND), BLOCK):
        block_BD = wide(vectors_ND[start : start + BLOCK])
        found_N[start : start + BLOCK] = directed(norms(block_BD))
    return found_N


def norms(block_BD: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the length of each row, float64 [B]; not finite where a row is not, or too long."""
    with np.errstate(over="ignore", invalid="ignore"):
        return np.sqrt(np.vecdot(block_BD, block_BD).astype(np.float64))


def directed(norm_B: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Mark the rows of these lengths that have a direction, bool [B]."""
    return np.isfinite(norm_B) & (norm_B > 0)
