"""What every method that learns from labels shares: folds of counts, and accuracies.

Labelled rows of one vote pattern and one label are alike, so folds are cut from counts. Letters: P
patterns, M rules, K classes, F folds.
"""

import numpy as np
from numpy.typing import NDArray

from filters.ensemble.labelled import Labelled

FOLDS = 5


def require_each_class(labelled: Labelled, *, least: int, kind: str) -> None:
    """Refuse labels that lack a class.

    Raises:
        ValueError: A class has fewer labels than `least`.
    """
    of_class = labelled.of_class
    if of_class.min() < least:
        rare = int(of_class.argmin())
        raise ValueError(
            f"labels: got {of_class[rare]} of class {rare}, expected at least {least} of each for "
            f"model {kind!r} (one for each fold); label more pairs"
        )


def deal(labelled: Labelled, *, folds: int = FOLDS) -> NDArray[np.int64]:
    """Deal labelled rows into folds, in turn, class by class and in the order of the patterns.

    Returns:
        int64 [F, P, K]; their sum over F is the counts. Depends on the counts alone.
    """
    count_KP = labelled.count_PK.T
    end_KP = np.cumsum(count_KP).reshape(count_KP.shape)
    start_KP = end_KP - count_KP
    # Of the numbers below n, those that are f modulo F: ceil((n - f) / F).
    parts = [-((f - end_KP) // folds) + (f - start_KP) // folds for f in range(folds)]
    return np.stack(parts).transpose(0, 2, 1)


def accuracies(labelled: Labelled) -> tuple[float, ...]:
    """Return the share of each rule's votes that the labels agree with, NaN where it has none."""
    judged_MKK = labelled.judged
    right_M, cast_M = np.einsum("mkk->m", judged_MKK), judged_MKK.sum(axis=(1, 2))
    share_M = right_M / np.where(cast_M > 0, cast_M, np.nan)
    return tuple(share_M.tolist())


def shares(labelled: Labelled) -> NDArray[np.float64]:
    """Return the share of the labels that each class has, float64 [K]."""
    return labelled.of_class / labelled.of_class.sum()


def asked(votes_PM: NDArray[np.int8], classes: int) -> NDArray[np.bool_]:
    """Return which vote each rule casts, bool [P, M K]; an abstention is none of them."""
    is_PMK = votes_PM[:, :, None] == np.arange(classes, dtype=np.int8)
    return is_PMK.reshape(len(votes_PM), -1)
