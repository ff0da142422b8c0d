"""Exactly n rows of the highest p, ties by uid, out of shards that are never held together.

A row's place is the integer (1 - p, uid) of 64 + 128 bits. Its digits are found from the highest
down: a pass counts one digit, 16 bits, of the rows whose higher digits are those found so far.
Counts of shards add up, so how rows are sharded and ordered changes nothing. It ends as soon as the
rows left are all wanted, which takes about three passes for values of p that differ, and four and
two or three more where many rows have the same p.
Letters: N rows.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

DIGIT_BITS = 16
WORD_BITS = 64
WORDS = 3  # of a place: p, and the two halves of the uid
ONES = (1 << WORD_BITS) - 1
SIGN = np.uint64(1 << 63)

Rows = tuple[NDArray[np.float64], NDArray[np.uint64]]  # p [N]; uid [N, 2], the high word first
Count = Callable[["Digit"], NDArray[np.int64]]


@dataclass(frozen=True, slots=True)
class Digit:
    """What a pass counts: a digit of the rows whose places begin with what was found so far.

    Attributes:
        found: The words of the place so far.
        word: Which of them the digit is in.
        shift: How far up.
    """

    found: tuple[int, int, int]
    word: int
    shift: int

    def count(self, rows: Rows) -> NDArray[np.int64]:
        """Count the values of this digit among some rows, int64 [65,536]; counts add up.

        Raises:
            ValueError: A p is NaN.
        """
        keys = _keys(rows)
        at_N = np.ones(len(keys[0]), bool)
        for key_N, last in zip(keys[: self.word], self.found[: self.word], strict=True):
            at_N &= key_N == np.uint64(last)
        key_n, above = keys[self.word][at_N], self.shift + DIGIT_BITS
        if above < WORD_BITS:
            key_n = key_n[key_n >> np.uint64(above) == np.uint64(self.found[self.word] >> above)]
        digit_n = (key_n >> np.uint64(self.shift)) & np.uint64((1 << DIGIT_BITS) - 1)
        return np.bincount(digit_n.astype(np.int64), minlength=1 << DIGIT_BITS)


@dataclass(frozen=True, slots=True)
class Cut:
    """The last place that is kept.

    Attributes:
        words: Of 64 bits: p, then the two of the uid.
    """

    words: tuple[int, int, int]

    def keeps(self, p_N: NDArray[np.float64], uid_N2: NDArray[np.uint64]) -> NDArray[np.bool_]:
        """Tell for each of N rows whether it is kept, bool [N]."""
        keeps_N = np.ones(len(p_N), bool)  # where all words are equal
        for key_N, last in zip(_keys((p_N, uid_N2))[::-1], self.words[::-1], strict=True):
            keeps_N = (key_N < np.uint64(last)) | ((key_N == np.uint64(last)) & keeps_N)
        return keeps_N


EVERYTHING = Cut((ONES, ONES, ONES))
NOTHING = Cut((0, 0, 0))  # no row is there: that would be a p of NaN


def best(count: Count, rows: int) -> Cut:
    """Return the cut that keeps exactly so many rows, those of the highest p; ties by least uid.

    Args:
        count: Called once for each pass; returns `Digit.count` of all rows, added up over shards:
            p in [0, 1], or any score, and uids. Each uid occurs once in all shards together.
        rows: How many; all, if there are fewer.
    """
    if rows < 1:
        return NOTHING
    return _cut_at(count, rows, words=WORDS)


def datacomp_fraction(count: Count, share: float) -> Cut:
    """Return the cut of DataComp's "top fraction", ties and all (arXiv:2304.14108, its code).

    With n = int(N share) the threshold is the (n + 1)-th highest score, and scores at the threshold
    are kept: n + 1 rows and all ties. Where there is no (n + 1)-th, as for a share of 1, their code
    ends in an error; here everything is kept. Use it to reproduce their subsets, `best` otherwise.

    Args:
        count: As for `best`; uids are not looked at.
        share: Of the rows, in [0, 1].
    """
    rows = int(count(Digit((0, 0, 0), 0, WORD_BITS - DIGIT_BITS)).sum())
    return _cut_at(count, int(rows * share) + 1, words=1)


def rows_of(budget: float, rows: int) -> int:
    """Return the rows of a budget: below 1 it is a share of so many, rounded down, else a number.

    >>> rows_of(0.3, 10), rows_of(7, 10), rows_of(1, 10)
    (3, 7, 1)
    """
    return math.floor(budget * rows) if budget < 1 else int(budget)


def _cut_at(count: Count, rank: int, *, words: int) -> Cut:
    """Find the place of a rank, from 1 on, by its first words; what follows them is all ones."""
    found = [ONES] * WORDS
    for word in range(words):
        found[word] = 0
        for shift in range(WORD_BITS - DIGIT_BITS, -1, -DIGIT_BITS):
            count_B = count(Digit((found[0], found[1], found[2]), word, shift))
            up_to_B = np.cumsum(count_B)
            if up_to_B[-1] < rank:
                return EVERYTHING
            digit = int(np.searchsorted(up_to_B, rank))
            rank -= int(up_to_B[digit] - count_B[digit])
            found[word] |= digit << shift
            if rank == count_B[digit]:  # the rest of this digit is kept whatever follows
                found[word] |= (1 << shift) - 1
                found[word + 1 :] = [ONES] * (WORDS - word - 1)
                return Cut((found[0], found[1], found[2]))
    return Cut((found[0], found[1], found[2]))


def _keys(rows: Rows) -> tuple[NDArray[np.uint64], ...]:
    """Return the words of N places: the highest p has the lowest."""
    p_N, uid_N2 = rows
    if np.isnan(p_N).any():
        raise ValueError("budget: got a p of NaN, expected a number for every row")
    bits_N = (np.asarray(p_N, np.float64) + 0.0).view(np.uint64)  # -0 becomes 0
    ascending_N = np.where(bits_N & SIGN, ~bits_N, bits_N | SIGN)
    return ~ascending_N, uid_N2[:, 0], uid_N2[:, 1]
