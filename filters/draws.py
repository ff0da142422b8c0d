"""One random number for every uid: the same wherever a row lies, and whoever asks first."""

import hashlib

import numpy as np
from numpy.typing import NDArray

ODD = np.uint64(0x9E3779B97F4A7C15)
FIRST, SECOND = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)


def drawn(uid_N2: NDArray[np.uint64], *, seed: int, what: str) -> NDArray[np.uint64]:
    """Draw 64 bits for each uid: SplitMix64's finaliser (Steele et al., 2014) after each word.

    Args:
        uid_N2: The two words of each uid, uint64 [N, 2]; they may well be in order.
        seed: The config's.
        what: What the draw is for: draws of other names do not know of each other.
    """
    start = hashlib.blake2b(f"{what}\0{seed}".encode(), digest_size=8).digest()
    bits_N = np.full(len(uid_N2), int.from_bytes(start, "little"), np.uint64)
    for word_N in np.asarray(uid_N2, np.uint64).T:
        bits_N = bits_N + word_N + ODD
        bits_N = (bits_N ^ (bits_N >> np.uint64(30))) * FIRST
        bits_N = (bits_N ^ (bits_N >> np.uint64(27))) * SECOND
        bits_N ^= bits_N >> np.uint64(31)
    return bits_N


def uniform_of(uid_N2: NDArray[np.uint64], *, seed: int, what: str) -> NDArray[np.float64]:
    """Draw a number in [0, 1) for each uid, float64 [N]: the high 53 of the bits `drawn`."""
    return (drawn(uid_N2, seed=seed, what=what) >> np.uint64(11)).astype(np.float64) * 2.0**-53
