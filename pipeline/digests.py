"""64 bits for a row, the same wherever it lies: what a sample or a fold is chosen by."""

import hashlib
from typing import Any

import numpy as np
from numpy.typing import NDArray


def mixed(word_NW: NDArray[np.uint64], *, seed: int = 0) -> NDArray[np.uint64]:
    """Mix W words a row into 64 bits, uint64 [N] (SplitMix64's finaliser); for uids in order."""
    mixed_N = np.full(len(word_NW), seed % 2**64, np.uint64)
    for word_N in word_NW.T:
        mixed_N = mixed_N + word_N + np.uint64(0x9E3779B97F4A7C15)
        mixed_N = (mixed_N ^ (mixed_N >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        mixed_N = (mixed_N ^ (mixed_N >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        mixed_N ^= mixed_N >> np.uint64(31)
    return mixed_N


def digests(value_ND: NDArray[Any]) -> NDArray[np.uint64]:
    """Return 64 bits of BLAKE2b over the bytes of each row, uint64 [N]."""
    rows = np.ascontiguousarray(value_ND).view(np.uint8)
    each = b"".join(hashlib.blake2b(row, digest_size=8).digest() for row in rows)
    return np.frombuffer(each, "<u8").astype(np.uint64)
