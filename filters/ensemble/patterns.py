"""Votes of a row as one integer, so that a label model sees distinct patterns instead of rows.

Two bits per rule: 0 abstain, 1 drop, 2 keep. Counts of patterns are integers that add up over
shards, so a fit does not depend on how the pool is cut or on who finished first.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

MOST_RULES = 32  # of two bits each in 64


@dataclass(frozen=True, slots=True)
class PatternCounts:
    """How often each distinct vote pattern occurs.

    Attributes:
        votes_PM: int8 [P, M] of {-1, 0, 1}, in ascending order of their integer.
        count_P: int64 [P].
    """

    votes_PM: NDArray[np.int8]
    count_P: NDArray[np.int64]

    @property
    def rows(self) -> int:
        """Rows counted."""
        return int(self.count_P.sum())


def encode(votes_NM: NDArray[np.int8]) -> NDArray[np.uint64]:
    """Pack N rows of M votes into N integers.

    Raises:
        ValueError: More than `MOST_RULES` rules.
    """
    rules = votes_NM.shape[1]
    if rules > MOST_RULES:
        raise ValueError(f"votes: got {rules} rules, expected at most {MOST_RULES}; merge some")
    shift_M = np.arange(rules, dtype=np.uint64) * np.uint64(2)
    digit_NM = (votes_NM.astype(np.int64) + 1).astype(np.uint64)
    return (digit_NM << shift_M).sum(axis=1, dtype=np.uint64)


def decode(pattern_P: NDArray[np.uint64], *, rules: int) -> NDArray[np.int8]:
    """Unpack P integers into votes, int8 [P, M]."""
    shift_M = np.arange(rules, dtype=np.uint64) * np.uint64(2)
    digit_PM = (pattern_P[:, None] >> shift_M) & np.uint64(3)
    return digit_PM.astype(np.int8) - np.int8(1)


def count(votes_NM: NDArray[np.int8]) -> PatternCounts:
    """Count the distinct rows of a vote matrix."""
    pattern_P, count_P = np.unique(encode(votes_NM), return_counts=True)
    return PatternCounts(decode(pattern_P, rules=votes_NM.shape[1]), count_P.astype(np.int64))


def merge(parts: list[PatternCounts]) -> PatternCounts:
    """Add up the counts of shards; the order of the parts does not matter."""
    rules = parts[0].votes_PM.shape[1]
    pattern_N = np.concatenate([encode(part.votes_PM) for part in parts])
    pattern_P, position_N = np.unique(pattern_N, return_inverse=True)
    count_P = np.zeros(len(pattern_P), np.int64)
    np.add.at(count_P, position_N, np.concatenate([part.count_P for part in parts]))
    return PatternCounts(decode(pattern_P, rules=rules), count_P)
