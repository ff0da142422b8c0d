"""What people say of a few rows, counted by vote pattern.

Letters: N rows, P patterns, M rules, K classes.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from filters.ensemble.patterns import decode, distinct, encode


@dataclass(frozen=True, slots=True)
class Labelled:
    """How often each class is the label of each distinct vote pattern.

    Attributes:
        votes_PM: int8 [P, M], in ascending order of their integer.
        count_PK: int64 [P, K].
    """

    votes_PM: NDArray[np.int8]
    count_PK: NDArray[np.int64]

    @property
    def classes(self) -> int:
        """Classes, K."""
        return self.count_PK.shape[1]

    @property
    def of_class(self) -> NDArray[np.int64]:
        """Labels of each class, int64 [K]."""
        return self.count_PK.sum(axis=0)

    @property
    def judged(self) -> NDArray[np.int64]:
        """Votes of each rule on labelled rows by vote and label, int64 [M, K, K]."""
        is_KPM = [(self.votes_PM == k).astype(np.int64) for k in range(self.classes)]
        return np.stack([is_PM.T @ self.count_PK for is_PM in is_KPM], axis=1)


def count_labels(
    votes_NM: NDArray[np.int8], label_N: NDArray[np.integer], *, classes: int = 2
) -> Labelled:
    """Count N labelled rows.

    Args:
        votes_NM: int8 [N, M].
        label_N: Classes, in {0, ..., K - 1}; with two, 1 is keep.
        classes: K.

    Raises:
        ValueError: A label is no class.
    """
    if len(label_N) and not 0 <= label_N.min() <= label_N.max() < classes:
        raise ValueError(
            f"labels: got {label_N.min()} to {label_N.max()}, expected classes 0 to {classes - 1}"
        )
    key_PW, position_N = distinct(encode(votes_NM, classes=classes))
    cell_N = position_N * classes + label_N
    count_PK = np.bincount(cell_N, minlength=len(key_PW) * classes).reshape(-1, classes)
    return Labelled(decode(key_PW, rules=votes_NM.shape[1], classes=classes), count_PK)
