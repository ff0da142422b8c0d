"""How often two rules vote what together: all that triplets and the matrix models read.

Exact integers that add up over shards like patterns do, (M K)^2 of them whatever the number of
distinct patterns. Letters: N rows, P patterns, M rules, K classes.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from filters.ensemble.patterns import PatternCounts

AT_ONCE = 1 << 16  # patterns whose indicators are held


@dataclass(frozen=True, slots=True)
class Moments:
    """Counts of pairs of votes.

    Attributes:
        rows: N.
        pair_MKMK: int64 [M, K, M, K]; rows on which rule i votes a and rule j votes b. Its
            diagonal i = j, a = b has the votes of each rule.
        classes: K.
    """

    rows: int
    pair_MKMK: NDArray[np.int64]
    classes: int = 2

    @property
    def rules(self) -> int:
        """Rules, M."""
        return self.pair_MKMK.shape[0]

    @property
    def votes(self) -> NDArray[np.int64]:
        """Rows on which each rule votes each class, int64 [M, K]."""
        return np.einsum("iaia->ia", self.pair_MKMK)

    @classmethod
    def of(cls, counts: PatternCounts) -> "Moments":
        """Count the pairs of votes that the patterns hold."""
        rules, classes = counts.rules, counts.classes
        pair = np.zeros((rules * classes, rules * classes))
        for at in range(0, len(counts.count_P), AT_ONCE):
            votes_PM = counts.votes_PM[at : at + AT_ONCE]
            is_PMK = votes_PM[:, :, None] == np.arange(classes, dtype=np.int8)
            is_PX = is_PMK.reshape(len(votes_PM), -1).astype(np.float64)
            pair += (is_PX * counts.count_P[at : at + AT_ONCE, None]).T @ is_PX  # exact to 2**53
        shape = (rules, classes, rules, classes)
        return cls(counts.rows, pair.astype(np.int64).reshape(shape), classes)


def add(parts: Sequence[Moments]) -> Moments:
    """Add up the moments of shards; the order of the parts does not matter."""
    pair = np.zeros_like(parts[0].pair_MKMK)
    for part in parts:
        pair += part.pair_MKMK
    return Moments(sum(part.rows for part in parts), pair, parts[0].classes)
