"""Uniform numbers that depend on a uid alone: what is chosen by them, any sharding chooses."""

import hashlib

import numpy as np
from numpy.typing import NDArray


def hash_uids(uid_N2: NDArray[np.uint64], *, salt: str = "") -> NDArray[np.uint64]:
    """Mix each uid into 64 bits (SplitMix64's finaliser), as uids may well be in order.

    Args:
        uid_N2: uint64 [N, 2], uids as two numbers.
        salt: What it is for, and a seed; other salts give numbers that know nothing of these.
    """
    words = [*uid_N2.T]
    if salt:
        words = [np.full(len(uid_N2), salted(salt), np.uint64), *words]
    mixed_N = np.zeros(len(uid_N2), np.uint64)
    for word_N in words:
        mixed_N = mixed_N + word_N + np.uint64(0x9E3779B97F4A7C15)
        mixed_N = (mixed_N ^ (mixed_N >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        mixed_N = (mixed_N ^ (mixed_N >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        mixed_N ^= mixed_N >> np.uint64(31)
    return mixed_N


def salted(salt: str) -> int:
    """Return 64 bits that stand for a text."""
    return int.from_bytes(hashlib.blake2b(salt.encode(), digest_size=8).digest(), "big")
