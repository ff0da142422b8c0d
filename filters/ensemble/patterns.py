"""Votes of a row as one integer, so that a label model sees distinct patterns instead of rows.

Vote x of rule m is the digit x + 1 at place m of a number in base K + 1: with two classes 0 is
abstain, 1 drop, 2 keep, and 40 rules fit a word of 64 bits. Counts of patterns are integers that
add up over shards, so a fit does not depend on how the pool is cut or on who finished first.
Letters: N rows, C rows of a chunk, P distinct patterns, M rules, K classes, W words.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

MOST_RULES = 64
MOST_CLASSES = 127  # of an int8
AT_ONCE = 1 << 14  # rows that are turned into columns together: they stay in the cache
MOST_TABLE = 1 << 22  # integers below this are counted in a table, larger ones sorted
ROOM = 8  # places of that table that a row may cost

Keys = NDArray[np.integer]


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


def encode(votes_NM: NDArray[np.int8], *, classes: int = 2) -> Keys:
    """Turn N rows of M votes into N integers of W words, the first rules lowest.

    Returns:
        [N, W], the low word first; uint32 if 32 bits hold them (two classes: 20 rules), or uint64.

    Raises:
        ValueError: More than `MOST_RULES` rules, a vote that is neither -1 nor a class, or no
            matrix of signed integers.
    """
    rows, rules = rows_and_rules(votes_NM)
    if classes > MOST_CLASSES:
        raise ValueError(f"votes: got {classes} classes, expected at most {MOST_CLASSES}")
    base, first_W = classes + 1, _first_rules(rules, classes)
    small = base**rules <= 1 << 32
    key_NW = np.zeros((rows, len(first_W)), np.uint32 if small else np.uint64)
    for start, digit_MC in columns(votes_NM, classes=classes):
        key_CW = key_NW[start : start + digit_MC.shape[1]]
        for w, (first, end) in enumerate(pairwise([*first_W, rules])):
            key_CW[:, w] = _number(digit_MC[first:end], base, key_NW.dtype)
    return key_NW


def decode(key_PW: Keys, *, rules: int, classes: int = 2) -> NDArray[np.int8]:
    """Turn P integers back into votes, int8 [P, M]."""
    first_W = _first_rules(rules, classes)
    base = key_PW.dtype.type(classes + 1)
    votes_PM = np.empty((len(key_PW), rules), np.int8)
    for start in range(0, len(key_PW), AT_ONCE):
        key_CW = key_PW[start : start + AT_ONCE]
        votes_MC = np.empty((rules, len(key_CW)), np.int8)
        for w, (first, end) in enumerate(pairwise([*first_W, rules])):
            left_C = key_CW[:, w]
            for m in range(first, end):
                above_C = left_C // base
                votes_MC[m] = left_C - above_C * base
                left_C = above_C
        votes_PM[start : start + AT_ONCE] = votes_MC.T - np.int8(1)
    return votes_PM


def columns(
    votes_NM: NDArray[np.integer], *, classes: int
) -> Iterator[tuple[int, NDArray[np.uint8]]]:
    """Yield the digits x + 1 of a chunk of rows, uint8 [M, C], after the chunk's first row.

    Raises:
        ValueError: As `encode` does.
    """
    rows, _ = rows_and_rules(votes_NM)
    for start in range(0, rows, AT_ONCE):
        chunk_CM = votes_NM[start : start + AT_ONCE]
        if chunk_CM.size:
            low, high = int(chunk_CM.min()), int(chunk_CM.max())
            if low < -1 or high >= classes:
                raise ValueError(
                    f"votes: got {low if low < -1 else high}, expected -1 for abstain or a class "
                    f"from 0 to {classes - 1}; make it abstain, or raise the number of classes"
                )
        digit_MC = np.ascontiguousarray(chunk_CM.T.astype(np.int8, copy=False))
        yield start, (digit_MC + np.int8(1)).view(np.uint8)


def rows_and_rules(votes_NM: NDArray[np.integer]) -> tuple[int, int]:
    """Return rows and rules of a vote matrix.

    Raises:
        ValueError: As `encode` does.
    """
    if votes_NM.ndim != 2 or votes_NM.dtype.kind != "i":  # noqa: PLR2004 - rows and rules
        raise ValueError(
            f"votes: got {votes_NM.dtype} of shape {votes_NM.shape}, expected int8 [rows, rules]"
        )
    if votes_NM.shape[1] > MOST_RULES:
        raise ValueError(
            f"votes: got {votes_NM.shape[1]} rules, expected at most {MOST_RULES}; merge some"
        )
    return votes_NM.shape


def count(votes_NM: NDArray[np.int8], *, classes: int = 2) -> PatternCounts:
    """Count the distinct rows of a vote matrix.

    Raises:
        ValueError: As `encode` does.
    """
    key_PW, count_P = _count(encode(votes_NM, classes=classes))
    votes_PM = decode(key_PW, rules=votes_NM.shape[1], classes=classes)
    return PatternCounts(votes_PM, count_P, classes)


def merge(parts: Sequence[PatternCounts]) -> PatternCounts:
    """Add up the counts of shards; the order of the parts does not matter.

    Raises:
        ValueError: There are no parts, or they are not of the same rules and classes.
    """
    rules, classes = same_votes([(part.rules, part.classes) for part in parts])
    key_NW = np.concatenate([encode(part.votes_PM, classes=classes) for part in parts])
    key_PW, position_N = distinct(key_NW)
    count_P = np.zeros(len(key_PW), np.int64)
    np.add.at(count_P, position_N, np.concatenate([part.count_P for part in parts]))
    return PatternCounts(decode(key_PW, rules=rules, classes=classes), count_P, classes)


def same_votes(parts: Sequence[tuple[int, int]]) -> tuple[int, int]:
    """Return the rules and classes that all parts have.

    Raises:
        ValueError: There are no parts, or they differ.
    """
    if not parts:
        raise ValueError("votes: got no parts to add up, expected at least one")
    if len(set(parts)) > 1:
        some = " and ".join(f"{rules} of {classes}" for rules, classes in sorted(set(parts))[:2])
        raise ValueError(
            f"votes: got rules of classes {some}, expected the same in all parts; count the shards "
            "with one set of rules"
        )
    return parts[0]


def distinct(key_NW: Keys) -> tuple[Keys, NDArray[np.int64]]:
    """Return the P distinct integers in ascending order, and the place of each of the N in them."""
    rows, words = key_NW.shape
    key_P, position_N = _distinct(key_NW[:, -1])
    if words == 1:
        return key_P[:, None], position_N
    for w in reversed(range(words - 1)):  # place among the higher words, then in this one
        low_Q, low_N = _distinct(key_NW[:, w])
        _, position_N = _distinct(position_N * len(low_Q) + low_N)  # below N^2, so it fits
    row_P = np.zeros(int(position_N.max(initial=-1)) + 1, np.int64)
    row_P[position_N] = np.arange(rows)  # any row of a pattern: they are equal
    return key_NW[row_P], position_N


def _count(key_NW: Keys) -> tuple[Keys, NDArray[np.int64]]:
    """Return the P distinct integers in ascending order, and how often each occurs."""
    if key_NW.shape[1] > 1:
        key_PW, position_N = distinct(key_NW)
        return key_PW, np.bincount(position_N, minlength=len(key_PW))
    key_N = key_NW[:, 0]
    if _fits_table(key_N):
        count_T = np.bincount(key_N.astype(np.int64))
        key_P = np.flatnonzero(count_T)
        return key_P.astype(key_N.dtype)[:, None], count_T[key_P]
    sorted_N = np.sort(key_N)
    first_P = np.flatnonzero(_is_new(sorted_N))
    return sorted_N[first_P][:, None], np.diff(first_P, append=len(sorted_N))


def _distinct(key_N: Keys) -> tuple[Keys, NDArray[np.int64]]:
    if _fits_table(key_N):
        place_N = key_N.astype(np.int64)  # what NumPy looks places up by
        seen_T = np.zeros(int(key_N.max()) + 1, bool)
        seen_T[place_N] = True
        return np.flatnonzero(seen_T).astype(key_N.dtype), np.take(np.cumsum(seen_T) - 1, place_N)
    order_N = np.argsort(key_N)
    sorted_N = key_N[order_N]
    is_new_N = _is_new(sorted_N)
    position_N = np.empty(len(key_N), np.int64)
    position_N[order_N] = np.cumsum(is_new_N) - 1
    return sorted_N[is_new_N], position_N


def _fits_table(key_N: Keys) -> bool:
    return len(key_N) > 0 and int(key_N.max()) < min(MOST_TABLE, ROOM * len(key_N))


def _is_new(sorted_N: Keys) -> NDArray[np.bool_]:
    is_new_N = np.ones(len(sorted_N), bool)
    np.not_equal(sorted_N[1:], sorted_N[:-1], out=is_new_N[1:])
    return is_new_N


def _number(digit_MC: NDArray[np.uint8], base: int, dtype: np.dtype) -> Keys:
    """Return the number that a column's digits are, the first lowest.

    As many digits as a byte holds come together first: bytes are added up several at a time.
    """
    per_byte = next(n for n in range(7, 0, -1) if base**n <= 1 << 8)
    number_C = np.zeros(digit_MC.shape[1], dtype)
    for first in reversed(range(0, len(digit_MC), per_byte)):
        some_MC = digit_MC[first : first + per_byte]
        byte_C = np.zeros_like(number_C, np.uint8)
        for digit_C in some_MC[::-1]:
            byte_C *= np.uint8(base)
            byte_C += digit_C
        number_C *= dtype.type(base ** len(some_MC))
        number_C += byte_C
    return number_C


def _first_rules(rules: int, classes: int) -> list[int]:
    """Return the first rule of each word: as many rules to a word as 64 bits hold."""
    per_word = 1
    while (classes + 1) ** (per_word + 1) <= 1 << 64:
        per_word += 1
    return list(range(0, max(rules, 1), per_word))
