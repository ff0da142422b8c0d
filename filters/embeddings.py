"""What counts as an embedding: a null is read as zeros, and a model may give anything."""

import numpy as np
from numpy.typing import NDArray


def usable(embedding_ND: NDArray[np.float16]) -> NDArray[np.bool_]:
    """Tell which rows are embeddings, bool [N]: finite, and not all zeros."""
    return np.logical_and(np.isfinite(embedding_ND).all(axis=1), embedding_ND.any(axis=1))
