"""A keyed permutation of [0, n) that is computed, never stored.

A Feistel network on as many bits as n needs; what falls outside goes through it again until it is
inside ("cycle walking", Black and Rogaway, 2002). Its domain is less than 2n, so that takes less
than two passes on average. Letters: N numbers, each with its own n and key.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from filters.hashing import ODD, mixed

ROUNDS = 24  # an even number; with 12, permutations of 5 numbers are not equally likely


def permuted(value_N: ArrayLike, count: ArrayLike, key: ArrayLike) -> NDArray[np.int64]:
    """Return where each number goes, int64 [N].

    Args:
        value_N: Each in [0, count).
        count: n of each number, or of all, at least 1.
        key: uint64; numbers of one key and count are permuted.
    """
    value_N = np.array(value_N, np.uint64)
    count_N = np.broadcast_to(np.asarray(count, np.uint64), value_N.shape)
    key_N = np.broadcast_to(np.asarray(key, np.uint64), value_N.shape)
    low_N = (_bits(count_N) + np.uint64(1)) // np.uint64(2)
    high_N = _bits(count_N) - low_N
    left = np.arange(len(value_N))
    while len(left):
        some = value_N[left]
        value_N[left] = some = _once(some, low_N[left], high_N[left], key_N[left])
        left = left[some >= count_N[left]]
    return value_N.astype(np.int64)


def _once(
    value_N: NDArray[np.uint64],
    low_bits_N: NDArray[np.uint64],
    high_bits_N: NDArray[np.uint64],
    key_N: NDArray[np.uint64],
) -> NDArray[np.uint64]:
    """Permute all numbers of `low_bits + high_bits` bits: each half is changed by the other."""
    one = np.uint64(1)
    low_mask_N, high_mask_N = (one << low_bits_N) - one, (one << high_bits_N) - one
    low_N, high_N = value_N & low_mask_N, value_N >> low_bits_N
    for _ in range(ROUNDS // 2):
        key_N = key_N + ODD
        low_N = low_N ^ (mixed(high_N + key_N) & low_mask_N)
        key_N = key_N + ODD
        high_N = high_N ^ (mixed(low_N + key_N) & high_mask_N)
    return (high_N << low_bits_N) | low_N


def _bits(count_N: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Return how many bits numbers below each count have, at least 1."""
    largest = np.maximum(count_N, np.uint64(2)) - np.uint64(1)
    # float64 rounds large numbers up, which may cost a bit too many, but never one too few.
    return np.frexp(largest.astype(np.float64))[1].astype(np.uint64)
