"""Copies by 64-bit hashes: equal ones, and those within so many bits, without comparing all pairs.

A row is a copy of an earlier one of the order, whether or not that is a copy itself; its twin is
the closest earlier row, of equally close ones the first.

Equal hashes are brought together by sorting. For hashes within b bits, rows that are not the first
of their hash are copies of it, and leave; what is left is distinct, and found by multi-index
hashing (Norouzi, Punjani, Fleet, "Fast exact search in Hamming space with multi-index hashing",
TPAMI 2014): cut into b + 1 bands, two hashes that differ in b bits agree in a whole band. Of
b + a bands they agree in a (Manku, Jain, Das Sarma, "Detecting near-duplicates for web crawling",
WWW 2007): more keys, but far fewer rows with the same one. Rows that share a key are compared, and
no pair is missed.

For a pool that no process holds: bring equal hashes together, and go on with the first of each
(`equal_copies`); give each row its `bands`, bring together what shares one, and answer there
(`near_in_groups`); of the answers to a row take the `closest`.

Shape letters: N rows, U distinct hashes, C keys of a row, P pairs of rows, or answers.
"""

from collections.abc import Iterator
from itertools import combinations
from math import comb
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from filters.concepts.tiles import checked_order
from filters.hashing import mixed

WIDTH = 64
PAIRS = 2**20  # compared at once: about 50 MB
MOST_AGREE = 6  # bands that must agree, at most
SORTING = 10  # what a row of a sort costs, in pairs
RANK_BITS = 48  # of a best pair so far, under its distance

Hashes = NDArray[np.uint64]
Positions = NDArray[np.integer[Any]]


class Copies(NamedTuple):
    """For each row the earlier one that it is a copy of.

    Attributes:
        distance_N: int8, bits in which the two differ, -1 where there is none.
        earlier_N: int64, position of that row, -1 where there is none.
    """

    distance_N: NDArray[np.int8]
    earlier_N: NDArray[np.int64]


def equal_copies(hash_N: Hashes, *, order: Positions | None = None) -> Copies:
    """Find for each row the first of the order with the same hash.

    Args:
        hash_N: uint64, of contents say; without rows that have none.
        order: Positions in order of preference, each once; the rows' own order by default.
    """
    order_N = _order(order, len(hash_N))
    first_N = _first_of_equals(hash_N[order_N])
    again_N = first_N != np.arange(len(hash_N))
    return _by_row(np.where(again_N, 0, -1), np.where(again_N, first_N, -1), order_N)


def near_copies(hash_N: Hashes, *, order: Positions | None = None, bits: int) -> Copies:
    """Find for each row the closest earlier one within `bits` bits; O(N) memory.

    Args:
        hash_N: uint64, perceptual hashes.
        order: Positions in order of preference, each once.
        bits: Most bits in which copies differ, from 0 to 63.

    Raises:
        ValueError: `bits` is out of range.
    """
    order_N = _order(order, len(hash_N))
    first_N = _first_of_equals(hash_N[order_N])
    rank_U = np.flatnonzero(first_N == np.arange(len(hash_N)))
    hash_U = hash_N[order_N][rank_U]
    best = _Best(len(hash_U))
    for mask in _masks(bits, _agree(len(hash_U), bits)):
        best.compare(hash_U & mask, hash_U, bits)
    distance_N, earlier_N = np.zeros(len(hash_N), np.int64), first_N.copy()
    distance_N[rank_U], near_U = best.distance_and_rank()
    earlier_N[rank_U] = np.where(near_U < 0, -1, rank_U[near_U])
    return _by_row(distance_N, earlier_N, order_N)


def bands(hash_N: Hashes, *, bits: int, agree: int = 1) -> Hashes:
    """Give each row keys of which any two rows within `bits` bits share at least one.

    Each key is made of `agree` of `bits + agree` bands and of which these are, and mixed, so that
    keys are spread evenly over 64 bits. More bands that agree make more keys and smaller groups:
    for N even hashes N^2 / 2^(64 agree / (bits + agree)) pairs a key. That different bands get the
    same key is as unlikely as for any 64-bit hash, and does no harm, since groups compare hashes.

    Args:
        hash_N: uint64.
        bits: Most bits in which copies differ, from 0 to 63.
        agree: Bands that must agree.

    Returns:
        uint64 [N, C], C = binomial(bits + agree, agree): for `agree` 1, bits + 1.

    Raises:
        ValueError: There are not so many bits.
    """
    keys = [
        mixed((hash_N & mask) + mixed(np.array([c], np.uint64)))
        for c, mask in enumerate(_masks(bits, agree))
    ]
    return np.stack(keys, axis=1)


def near_in_groups(
    key_N: Hashes, hash_N: Hashes, *, order: Positions | None = None, bits: int
) -> Copies:
    """Find for each row the closest earlier one within `bits` bits among rows of the same key.

    All pairs of a group are compared, a million at a time, however large it is: rows should be the
    first of their hash.

    Args:
        key_N: uint64, what `bands` gave; any number of groups.
        hash_N: uint64, perceptual hashes.
        order: Positions in order of preference, each once.
        bits: Most bits in which copies differ, from 0 to 63.
    """
    order_N = _order(order, len(hash_N))
    best = _Best(len(hash_N))
    best.compare(key_N[order_N], hash_N[order_N], bits)
    return _by_row(*best.distance_and_rank(), order_N)


def closest(
    row_P: NDArray[Any], distance_P: NDArray[np.int8], *preference_P: NDArray[Any]
) -> NDArray[np.int64]:
    """Choose among answers to the same row: the closest twin, of equally close ones the first.

    Args:
        row_P: Which row each answer is for.
        distance_P: Bits to its twin, as in `Copies`, but without rows that have none.
        preference_P: What orders twins, the most important first; smaller is earlier.

    Returns:
        int64, position of the answer to each row that has one, by ascending row.
    """
    sorted_P = np.lexsort((*preference_P[::-1], distance_P, row_P))
    rows_P = row_P[sorted_P]
    return sorted_P[np.concatenate([[True], rows_P[1:] != rows_P[:-1]])[: len(rows_P)]]


class _Best:
    """The closest earlier row so far, by rank."""

    def __init__(self, count: int) -> None:
        self._none = np.iinfo(np.int64).max
        self._code_N = np.full(count, self._none)  # distance, then rank: the smaller, the better

    def compare(self, key_N: Hashes, hash_N: Hashes, bits: int) -> None:
        """Compare all pairs of rows with the same key."""
        rank_N = np.argsort(key_N, kind="stable")  # within a group by rank
        sorted_N = hash_N[rank_N]
        for earlier_P, later_P in _pairs(key_N[rank_N]):
            distance_P = np.bitwise_count(sorted_N[earlier_P] ^ sorted_N[later_P])
            near = np.flatnonzero(distance_P <= bits)
            code = distance_P[near].astype(np.int64) << RANK_BITS | rank_N[earlier_P[near]]
            np.minimum.at(self._code_N, rank_N[later_P[near]], code)

    def distance_and_rank(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return distance and rank of the best, -1 where there is none."""
        has_N = self._code_N != self._none
        rank_N = self._code_N & ((1 << RANK_BITS) - 1)
        return np.where(has_N, self._code_N >> RANK_BITS, -1), np.where(has_N, rank_N, -1)


def _pairs(key_N: Hashes) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Yield all pairs of positions with equal keys, which lie together; so many at a time."""
    ends = np.append(np.flatnonzero(key_N[1:] != key_N[:-1]) + 1, len(key_N))
    end_N = np.repeat(ends, np.diff(ends, prepend=0)) if len(key_N) else ends
    start_P = np.arange(len(key_N))
    for lag in range(1, len(key_N)):
        start_P = start_P[start_P + lag < end_N[start_P]]
        if not len(start_P):
            return
        for at in range(0, len(start_P), PAIRS):
            yield start_P[at : at + PAIRS], start_P[at : at + PAIRS] + lag


def _masks(bits: int, agree: int) -> list[np.uint64]:
    """Return the bits of each key: `agree` of `bits + agree` bands, in every combination.

    Bit i belongs to band i modulo their number: neighbouring frequencies of a picture are alike, so
    a run of bits would tell less apart than bits from all over.
    """
    count = bits + agree
    if bits < 0 or agree < 0 or count > WIDTH or bits == WIDTH:
        raise ValueError(
            f"copies: got {bits} bits and {agree} bands that agree, expected at least 0 bits, at "
            f"most 63, and together at most {WIDTH}"
        )
    band = [sum(1 << i for i in range(WIDTH) if i % count == b) for b in range(count)]
    return [np.uint64(sum(chosen)) for chosen in combinations(band, agree)]


def _agree(count: int, bits: int) -> int:
    """Choose how many bands must agree, for the least work on evenly spread hashes.

    None, so all pairs, where hashes are few or bits many.
    """

    def work(agree: int) -> float:
        if agree + bits > WIDTH:
            return np.inf
        share = 2.0 ** -(WIDTH * agree / (bits + agree)) if agree else 1.0
        return comb(bits + agree, agree) * (SORTING + share * count / 2)

    return min(range(MOST_AGREE + 1), key=work)


def _first_of_equals(hash_N: Hashes) -> NDArray[np.int64]:
    _, first_U, unique_N = np.unique(hash_N, return_index=True, return_inverse=True)
    return first_U[unique_N]


def _order(order: Positions | None, count: int) -> NDArray[np.int64]:
    return np.arange(count) if order is None else checked_order(order, count)


def _by_row(
    distance_N: NDArray[np.int64], earlier_N: NDArray[np.int64], order_N: NDArray[np.int64]
) -> Copies:
    """Lay answers out by row, which are by rank."""
    distance_by_row_N, earlier_by_row_N = np.empty(len(order_N), np.int8), np.empty_like(order_N)
    distance_by_row_N[order_N] = distance_N
    earlier_by_row_N[order_N] = np.where(earlier_N < 0, -1, order_N[earlier_N])
    return Copies(distance_by_row_N, earlier_by_row_N)
