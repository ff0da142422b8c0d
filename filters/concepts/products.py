"""Products of all rows with all others, a tile at a time, the same bits wherever a row lies.

Letters: N rows, M others, D dimensions.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

ROWS, OTHERS = 256, 4096  # of a tile: 4 MB, beside 8 MB of others with 512 dimensions


def tiles(
    vectors_ND: NDArray[np.floating], others_MD: NDArray[np.floating]
) -> Iterator[tuple[slice, slice, NDArray[np.float32]]]:
    """Yield rows, others and their inner products, float32 [rows, others], to be written over.

    A matrix product takes another way through its sums at the edges of a block, so rows are filled
    up to blocks of one size: what a row gives does not depend on which rows it comes with (as far
    as the library's kernels treat the rows of a block alike, which a test looks at).

    Args:
        vectors_ND: Any float type.
        others_MD: The same; may be a memory map, a tile of it is read once.
    """
    for start in range(0, len(others_MD), OTHERS):
        others = slice(start, min(start + OTHERS, len(others_MD)))
        other_DM = np.asarray(others_MD[others], np.float32).T
        for first in range(0, len(vectors_ND), ROWS):
            rows = slice(first, min(first + ROWS, len(vectors_ND)))
            block = np.zeros((ROWS, vectors_ND.shape[1]), np.float32)
            block[: rows.stop - first] = vectors_ND[rows]
            with np.errstate(invalid="ignore"):  # of rows that are no embeddings
                product = block @ other_DM
            yield rows, others, product[: rows.stop - first]
