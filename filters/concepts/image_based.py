"""DataComp's image-based filter: pictures whose concept some target picture has, too.

Gadre et al., DataComp (arXiv:2304.14108, section 3.2): of 100,000 centroids, those count that are
nearest to a picture of ImageNet; a picture stays if one of these is nearest to it.

Letters: N pictures, K centroids, T target pictures, D dimensions.
"""

import numpy as np
from numpy.typing import NDArray

from filters.concepts.direction import has_direction
from filters.concepts.products import tiles


def nearest(
    vectors_ND: NDArray[np.floating], centroid_KD: NDArray[np.floating]
) -> NDArray[np.int64]:
    """Return the centroid of the largest inner product, int64 [N], the first of equals; -1: none.

    Centroids are taken as they are: DataComp's are those of a k-means by distance, not of unit
    norm, and are compared by inner product all the same. Memory does not depend on K.

    Args:
        vectors_ND: One without an embedding (zeros, or not finite) is nearest to none.
        centroid_KD: Rows that are not finite are nearest to nothing.
    """
    best_N = np.full(len(vectors_ND), -np.inf, np.float32)
    nearest_N = np.full(len(vectors_ND), -1, np.int64)
    for rows, others, product in tiles(vectors_ND, centroid_KD):
        np.nan_to_num(product, copy=False, nan=-np.inf)
        at_n = product.argmax(axis=1)
        value_n = product[np.arange(len(at_n)), at_n]
        better_n = value_n > best_N[rows]
        best_N[rows] = np.where(better_n, value_n, best_N[rows])
        nearest_N[rows] = np.where(better_n, at_n + others.start, nearest_N[rows])
    return np.where(has_direction(vectors_ND), nearest_N, -1)


def wanted(target_TD: NDArray[np.floating], centroid_KD: NDArray[np.floating]) -> NDArray[np.bool_]:
    """Tell which centroids are nearest to a target picture, bool [K]."""
    wanted_K = np.zeros(len(centroid_KD), bool)
    found_T = nearest(target_TD, centroid_KD)
    wanted_K[found_T[found_T >= 0]] = True
    return wanted_K
