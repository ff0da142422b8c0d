"""64 bits for a row, the same wherever it lies and whoever asks first; for draws and for keys.

Letters: N rows, W words.
"""

import hashlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

ODD = np.uint64(0x9E3779B97F4A7C15)
FIRST, SECOND = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)


def mixed(word_N: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Return SplitMix64 of each number (Steele et al., 2014), a permutation that looks random."""
    word_N = word_N + ODD
    word_N ^= word_N >> np.uint64(30)
    word_N *= FIRST
    word_N ^= word_N >> np.uint64(27)
    word_N *= SECOND
    word_N ^= word_N >> np.uint64(31)
    return word_N


def hashed(word_NW: NDArray[np.uint64], *, salt: str = "") -> NDArray[np.uint64]:
    """Mix the words of each row into 64 bits, uint64 [N].

    Args:
        word_NW: uint64, such as uids as two numbers, which may well be in order.
        salt: What it is for, and a seed; other salts give numbers that know nothing of these.
    """
    bits_N = np.zeros(len(word_NW), np.uint64)
    if salt:
        bits_N = mixed(bits_N + np.uint64(hash_text(salt)))
    for word_N in word_NW.T:
        bits_N = mixed(bits_N + word_N)
    return bits_N


def uniform(word_NW: NDArray[np.uint64], *, salt: str) -> NDArray[np.float64]:
    """Draw a number in [0, 1) for each row, float64 [N]: the high 53 bits of `hashed`."""
    return (hashed(word_NW, salt=salt) >> np.uint64(11)).astype(np.float64) * 2.0**-53


def hash_text(text: str) -> int:
    """Return 64 bits of BLAKE2b that stand for a text."""
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big")


def hash_contents(value_ND: NDArray[Any]) -> NDArray[np.uint64]:
    """Return 64 bits of BLAKE2b over the bytes of each row, uint64 [N]."""
    rows = np.ascontiguousarray(value_ND).view(np.uint8)
    each = b"".join(hashlib.blake2b(row, digest_size=8).digest() for row in rows)
    return np.frombuffer(each, "<u8").astype(np.uint64)
