"""Probabilities in, one class out, and what to do where several are equally likely.

Letters: N rows, K classes.
"""

from collections.abc import Sequence
from hashlib import sha1
from typing import Literal

import numpy as np
from numpy.typing import NDArray

LEAST_CLASSES = 2
TOLERANCE = 1e-5  # Snorkel's and WRENCH's: probabilities that differ by less tie

Ties = Literal["abstain", "row", "uid"]


def predict_classes(
    proba_NK: NDArray[np.floating],
    *,
    ties: Ties = "abstain",
    uid_N: Sequence[bytes] | NDArray[np.bytes_] = (),
) -> NDArray[np.int64]:
    """Return the most likely class of each row.

    Args:
        proba_NK: float [N, K].
        ties: What to do where several classes are as likely as the most likely one. "abstain" is
            -1. "row" takes the one at the place sha1(row number in decimal) mod the number of
            them, in ascending order: Snorkel's `probs_to_preds` and WRENCH's metrics, so published
            numbers need it. "uid" hashes the pair's uid instead, so that no decision depends on
            how the pool is sharded.
        uid_N: N uids, for "uid"; zero bytes at the end do not count (NumPy drops them).

    Returns:
        int64 [N], classes, or -1 for abstain.

    Raises:
        ValueError: There are fewer than two classes, no finite probabilities, or not N uids.
    """
    if proba_NK.shape[1] < LEAST_CLASSES:
        raise ValueError(f"ties: got probabilities {proba_NK.shape}, expected [N, 2 or more]")
    if not np.isfinite(proba_NK).all():
        raise ValueError("ties: got probabilities that are not finite, expected finite ones")
    if ties == "uid" and len(uid_N) != len(proba_NK):
        raise ValueError(f"ties: got {len(uid_N)} uids, expected one of each of {len(proba_NK)}")
    is_tied_NK = proba_NK.max(axis=1, keepdims=True) - proba_NK < TOLERANCE
    class_N = is_tied_NK.argmax(axis=1)
    several_N = is_tied_NK.sum(axis=1) > 1
    if ties == "abstain":
        class_N[several_N] = -1
        return class_N
    for row in np.flatnonzero(several_N):
        tied = np.flatnonzero(is_tied_NK[row])
        name = str(row).encode() if ties == "row" else bytes(uid_N[int(row)]).rstrip(b"\0")
        class_N[row] = tied[int.from_bytes(sha1(name, usedforsecurity=False).digest()) % len(tied)]
    return class_N
