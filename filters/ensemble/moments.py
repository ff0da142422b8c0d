"""How often two rules vote what together: all that triplets and the matrix models read.

Exact integers that add up over shards like patterns do, (M K)^2 of them whatever the number of
distinct patterns. Letters: N rows, C rows of a chunk, B words of 64 rows, P distinct patterns,
M rules, K classes, X and Y any of the M K votes.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from filters.ensemble.patterns import PatternCounts, columns, rows_and_rules, same_votes


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
        return cls(counts.rows, _weighted(counts), counts.classes)

    @classmethod
    def of_votes(cls, votes_NM: NDArray[np.int8], *, classes: int = 2) -> "Moments":
        """Count the pairs of votes of N rows, without looking for patterns.

        Raises:
            ValueError: As `encode` does.
        """
        return cls(len(votes_NM), _pairs(votes_NM, classes=classes), classes)


def add(parts: Sequence[Moments]) -> Moments:
    """Add up the moments of shards; the order of the parts does not matter.

    Raises:
        ValueError: There are no parts, or they are not of the same rules and classes.
    """
    _, classes = same_votes([(part.rules, part.classes) for part in parts])
    pair = np.zeros_like(parts[0].pair_MKMK)
    for part in parts:
        pair += part.pair_MKMK
    return Moments(sum(part.rows for part in parts), pair, classes)


def _weighted(counts: PatternCounts) -> NDArray[np.int64]:
    """Count pairs of votes of patterns that occur count_P times, int64 [M, K, M, K].

    A count is a sum of powers of two, so the patterns whose count has a power in it are counted
    like rows and weighed by it: each is read as often as its count has bits set, once or twice.
    """
    pair_MKMK = _pairs(counts.votes_PM[:0], classes=counts.classes)
    for bit in range(int(counts.count_P.max(initial=0)).bit_length()):
        has_P = (counts.count_P >> bit) & 1 == 1
        pair_MKMK += _pairs(counts.votes_PM[has_P], classes=counts.classes) << bit
    return pair_MKMK


def _pairs(votes_NM: NDArray[np.int8], *, classes: int) -> NDArray[np.int64]:
    """Count pairs of votes of N rows by counting bits, int64 [M, K, M, K].

    A product of matrices would be exact too, and on idle cores as fast; but its threads wait for
    each other, and on shared cores that took a hundred times as long.
    """
    _, rules = rows_and_rules(votes_NM)
    width = rules * classes
    pair_XX = np.zeros((width, width), np.int64)
    class_K1 = np.arange(1, classes + 1, dtype=np.uint8)[:, None]
    for _, digit_MC in columns(votes_NM, classes=classes):
        is_XC = (digit_MC[:, None] == class_K1).reshape(width, digit_MC.shape[1])
        word_XB = _packed(is_XC)
        for x in range(width):
            both_YB = np.bitwise_count(word_XB[x:] & word_XB[x])
            pair_XX[x, x:] += both_YB.sum(axis=1, dtype=np.int64)
    pair_XX += np.triu(pair_XX, 1).T
    return pair_XX.reshape(rules, classes, rules, classes)


def _packed(is_XC: NDArray[np.bool_]) -> NDArray[np.uint64]:
    """Pack rows of flags into words of 64, zeros at the end."""
    width, size = is_XC.shape
    byte_XB = np.zeros((width, -(-size // 64) * 8), np.uint8)
    byte_XB[:, : -(-size // 8)] = np.packbits(is_XC, axis=1)
    return byte_XB.view(np.uint64)
