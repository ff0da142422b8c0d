"""Near-copies by the distance of perceptual hashes. N and M count hashes."""

import numpy as np
from numpy.typing import NDArray

# Bits, of 64. Resized and re-encoded copies differ by 0 to 4; on openclipart pairs at 6 are still the
# same motif (a clock at another hour, a button in another colour), many at 8 no longer are.
RADIUS = 6
TILE = 2048  # hashes compared at once: 2048 x 1000 distances are 16 MB


def near_any(
    hash_N: NDArray[np.uint64], hash_M: NDArray[np.uint64], *, radius: int = RADIUS
) -> NDArray[np.bool_]:
    """Tell for each of N hashes whether one of the M lies within `radius` bits; bool [N]."""
    near_N = np.zeros(len(hash_N), np.bool_)
    if not len(hash_M):
        return near_N
    for start in range(0, len(hash_N), TILE):
        tile = hash_N[start : start + TILE, None]
        near_N[start : start + TILE] = (np.bitwise_count(tile ^ hash_M) <= radius).any(1)
    return near_N


def first_of_each(hash_N: NDArray[np.uint64], *, radius: int = RADIUS) -> NDArray[np.bool_]:
    """Keep a hash unless an earlier kept one lies within `radius` bits; bool [N]."""
    kept_N = np.zeros(len(hash_N), np.bool_)
    kept = np.empty_like(hash_N)
    count = 0
    for i, value in enumerate(hash_N):
        if not (np.bitwise_count(kept[:count] ^ value) <= radius).any():
            kept[count], kept_N[i] = value, True
            count += 1
    return kept_N
