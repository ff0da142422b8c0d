"""Votes of a row as one integer, so that a label model sees distinct patterns instead of rows.

Vote x of rule m is the digit x + 1 at place m, in the fewest bits that hold K + 1 values: with two
classes 0 is abstain, 1 drop, 2 keep. Counts of patterns are integers that add up over shards, so a
fit does not depend on how the pool is cut or on who finished first.
Letters: N rows, P distinct patterns, M rules, K classes, W words.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

MOST_RULES = 64
WORD_BITS = 64


@dataclass(frozen=True, slots=True)
class PatternCounts:
    """How often each distinct vote pattern occurs.

    Attributes:
        votes_PM: int8 [P, M] of {-1, 0, ..., K - 1}, in ascending order of their integer.
        count_P: int64 [P].
        classes: K.
    """

    votes_PM: NDArray[np.int8]
    count_P: NDArray[np.int64]
    classes: int = 2

    @property
    def rows(self) -> int:
        """Rows counted."""
        return int(self.count_P.sum())

    @property
    def rules(self) -> int:
        """Rules, M."""
        return self.votes_PM.shape[1]


def encode(votes_NM: NDArray[np.int8], *, classes: int = 2) -> NDArray[np.uint64]:
    """Pack N rows of M votes into N integers of W words of 64 bits, the first rules lowest.

    Returns:
        uint64 [N, W], the low word first.

    Raises:
        ValueError: More than `MOST_RULES` rules.
    """
    rows, rules = votes_NM.shape
    if rules > MOST_RULES:
        raise ValueError(f"votes: got {rules} rules, expected at most {MOST_RULES}; merge some")
    bits, per_word = _layout(classes)
    key_NW = np.zeros((rows, max(1, -(-rules // per_word))), np.uint64)
    for m in range(rules):
        word, place = divmod(m, per_word)
        digit_N = (votes_NM[:, m] + np.int8(1)).astype(np.uint64)
        key_NW[:, word] |= digit_N << np.uint64(place * bits)
    return key_NW


def decode(key_PW: NDArray[np.uint64], *, rules: int, classes: int = 2) -> NDArray[np.int8]:
    """Unpack P integers into votes, int8 [P, M]."""
    bits, per_word = _layout(classes)
    votes_PM = np.empty((len(key_PW), rules), np.int8)
    for m in range(rules):
        word, place = divmod(m, per_word)
        digit_P = (key_PW[:, word] >> np.uint64(place * bits)) & np.uint64((1 << bits) - 1)
        votes_PM[:, m] = digit_P.astype(np.int8) - np.int8(1)
    return votes_PM


def count(votes_NM: NDArray[np.int8], *, classes: int = 2) -> PatternCounts:
    """Count the distinct rows of a vote matrix."""
    return _counted(
        encode(votes_NM, classes=classes),
        np.ones(len(votes_NM), np.int64),
        rules=votes_NM.shape[1],
        classes=classes,
    )


def merge(parts: Sequence[PatternCounts]) -> PatternCounts:
    """Add up the counts of shards; the order of the parts does not matter."""
    rules, classes = parts[0].rules, parts[0].classes
    key_NW = np.concatenate([encode(part.votes_PM, classes=classes) for part in parts])
    count_N = np.concatenate([part.count_P for part in parts])
    return _counted(key_NW, count_N, rules=rules, classes=classes)


def _counted(
    key_NW: NDArray[np.uint64], count_N: NDArray[np.int64], *, rules: int, classes: int
) -> PatternCounts:
    key_PW, position_N = distinct(key_NW)
    count_P = np.zeros(len(key_PW), np.int64)
    np.add.at(count_P, position_N, count_N)
    return PatternCounts(decode(key_PW, rules=rules, classes=classes), count_P, classes)


def distinct(key_NW: NDArray[np.uint64]) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
    """Return the P distinct integers in ascending order, and the place of each of the N in them."""
    if key_NW.shape[1] == 1:
        key_P, position_N = np.unique(key_NW[:, 0], return_inverse=True)
        return key_P[:, None], position_N
    order_N = np.lexsort(key_NW.T)
    sorted_NW = key_NW[order_N]
    is_new_N = np.ones(len(order_N), bool)
    is_new_N[1:] = (sorted_NW[1:] != sorted_NW[:-1]).any(axis=1)
    position_N = np.empty(len(order_N), np.int64)
    position_N[order_N] = np.cumsum(is_new_N) - 1
    return sorted_NW[is_new_N], position_N


def _layout(classes: int) -> tuple[int, int]:
    """Return the bits of a vote, and the votes of a word."""
    bits = classes.bit_length()
    return bits, WORD_BITS // bits
