"""The rows of each concept in the order in which they are kept, and where each concept is cut.

A row's place in its concept is (key, uid): the key is made of its distance or of its uid, the least
comes first. Whoever has all rows of a concept finds its cut; with the cuts of all concepts each
shard decides for its own rows.
Letters: N rows, K concepts.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from filters.hashing import hashed

Which = Literal["hard", "easy", "random"]
LAST = np.uint32((1 << 32) - 1)
WORD, ONES = np.uint64(32), np.uint64(LAST)  # half of 64 bits: how many, and the lower ones
BLOCK_ROWS = 1024


@dataclass(frozen=True, slots=True)
class Grouped:
    """Rows by concept, in each by (key, uid).

    Attributes:
        order_N: Positions of the rows, int64; those of no concept (-1) are not in it.
        start_K: Where each concept begins in it and, one more, where the last one ends,
            int64 [K + 1].
    """

    order_N: NDArray[np.int64]
    start_K: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Cuts:
    """The last place that each concept keeps.

    Attributes:
        key_K: Its key, uint32.
        uid_K2: Its uid, uint64 [K, 2], the high word first.
        kept_K: Rows up to it, int64; with 0 the rest means nothing.
    """

    key_K: NDArray[np.uint32]
    uid_K2: NDArray[np.uint64]
    kept_K: NDArray[np.int64]

    def keeps(
        self,
        cluster_N: NDArray[np.int32],
        key_N: NDArray[np.uint32],
        uid_N2: NDArray[np.uint64],
    ) -> NDArray[np.bool_]:
        """Tell for each of N rows whether it is kept, bool [N]; rows of no concept are not."""
        last_N, uid_last_N2 = self.key_K[cluster_N], self.uid_K2[cluster_N]
        high_N, low_N = uid_N2[:, 0], uid_N2[:, 1]
        up_to_N = (high_N < uid_last_N2[:, 0]) | (
            (high_N == uid_last_N2[:, 0]) & (low_N <= uid_last_N2[:, 1])
        )
        inside_N = (key_N < last_N) | ((key_N == last_N) & up_to_N)
        return inside_N & (cluster_N >= 0) & (self.kept_K[cluster_N] > 0)


def keys(
    which: Which,
    *,
    distance_N: NDArray[np.float32],
    uid_N2: NDArray[np.uint64],
    seed: int = 0,
) -> NDArray[np.uint32]:
    """Return the key of each row, uint32 [N]; rows of the least keys are kept.

    Args:
        which: `hard`, the farthest from the centroid first; `easy`, the nearest first; `random`, in
            the order of a hash of the uid.
        distance_N: A row whose distance is NaN comes last, but for `random`.
        uid_N2: 128 bits, the high word first.
        seed: Of `random`.
    """
    if which == "random":
        hash_N = hashed(uid_N2, salt=f"quota:{seed}")
        return (hash_N >> WORD).astype(np.uint32)
    near_N = np.asarray(distance_N, np.float32) + np.float32(0)  # -0 becomes 0
    bits_N = near_N.view(np.int32)
    key_N = (bits_N ^ ((bits_N >> 31) | np.int32(-(1 << 31)))).view(np.uint32)  # rises with it
    if which == "hard":
        np.invert(key_N, out=key_N)
    if np.isnan(near_N).any():
        key_N[np.isnan(near_N)] = LAST
    return key_N


def grouped(
    cluster_N: NDArray[np.int32],
    key_N: NDArray[np.uint32],
    uid_N2: NDArray[np.uint64],
    *,
    concepts: int,
) -> Grouped:
    """Sort rows by (concept, key, uid), fewer than 2^32 of them.

    A counting sort by concept, then each concept by key, and what still ties by the words of its
    uid.
    """
    from scipy.sparse import coo_array

    shape = (concepts, max(1, len(cluster_N)))
    row_N = np.flatnonzero(cluster_N >= 0)
    if len(row_N) < len(cluster_N):
        cluster_N, key_N = cluster_N[row_N], key_N[row_N]
    cells = coo_array((key_N, (cluster_N, row_N)), shape=shape)
    cells.has_canonical_format = True  # no cell twice: there is nothing to add up
    by_concept = cells.tocsr()
    start_K = by_concept.indptr.astype(np.int64)
    order_N, tied_N = _sort_runs(by_concept.indices, by_concept.data, start_K)
    at_n, start_R = _ties(tied_N)
    for column, shift in ((0, WORD), (0, 0), (1, WORD), (1, 0)):
        if not len(at_n):
            break
        row_n = order_N[at_n]
        word_n = (uid_N2[row_n, column] >> np.uint64(shift)).astype(np.uint32)
        order_N[at_n], tied_n = _sort_runs(row_n, word_n, start_R)
        still_n, start_R = _ties(tied_n)
        at_n = at_n[still_n]
    return Grouped(order_N, start_K)


def first_of_each(groups: Grouped, quota_K: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the positions of the first rows of each concept, in their order.

    Args:
        groups: From `grouped`.
        quota_K: How many; all of a concept that has fewer.
    """
    size_K = np.diff(groups.start_K)
    rank_N = np.arange(len(groups.order_N)) - np.repeat(groups.start_K[:-1], size_K)
    return groups.order_N[rank_N < np.repeat(quota_K, size_K)]


def cuts_of(
    groups: Grouped,
    key_N: NDArray[np.uint32],
    uid_N2: NDArray[np.uint64],
    *,
    quota_K: NDArray[np.int64],
) -> Cuts:
    """Return the last place that each concept keeps, of rows of whole concepts.

    Args:
        groups: From `grouped`, of the same keys and uids.
        key_N: See `keys`.
        uid_N2: 128 bits, the high word first.
        quota_K: How many; all of a concept that has fewer.
    """
    kept_K = np.clip(quota_K, 0, np.diff(groups.start_K))
    some_K = kept_K > 0
    last_k = groups.order_N[(groups.start_K[:-1] + kept_K - 1)[some_K]]
    key_K, uid_K2 = np.zeros(len(kept_K), np.uint32), np.zeros((len(kept_K), 2), np.uint64)
    key_K[some_K], uid_K2[some_K] = key_N[last_k], uid_N2[last_k]
    return Cuts(key_K, uid_K2, kept_K)


def _sort_runs(
    row_n: NDArray[np.integer], key_n: NDArray[np.uint32], start_R: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Sort each of R runs of rows by key; tell also which tie with the one before, bool [n].

    A row is one integer, (key, row); those of a run, or of some small ones, fit a processor's
    cache while they are sorted.
    """
    place_n = key_n.astype(np.uint64)
    place_n <<= WORD
    place_n |= row_n.astype(np.uint64)
    edges = _blocks(start_R)
    for first, last in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True):
        block = place_n[start_R[first] : start_R[last]]
        if last - first == 1:
            block.sort()
        else:
            _sort_together(block, np.diff(start_R[first : last + 1]))
    tied_n = np.zeros(len(row_n), bool)
    np.less_equal(place_n[1:] ^ place_n[:-1], ONES, out=tied_n[1:])
    tied_n[start_R[start_R < len(row_n)]] = False
    place_n &= ONES
    return place_n.view(np.int64), tied_n


def _sort_together(block_b: NDArray[np.uint64], size_r: NDArray[np.int64]) -> None:
    """Sort several runs in place: as (run, key, position in the block), 16, 32 and 16 bits."""
    place_b = np.repeat(np.arange(len(size_r), dtype=np.uint64), size_r) << np.uint64(48)
    place_b |= (block_b >> WORD) << np.uint64(16)
    place_b |= np.arange(len(block_b), dtype=np.uint64)
    place_b.sort()
    block_b[:] = block_b[(place_b & np.uint64(0xFFFF)).view(np.int64)]


def _blocks(start_R: NDArray[np.int64]) -> NDArray[np.int64]:
    """Cut runs into blocks: a large one alone, small ones with others, 2^16 runs and rows at most.

    Returns the first run of each and, one more, the number of runs, int64.
    """
    runs = len(start_R) - 1
    if not runs:
        return np.zeros(1, np.int64)
    block_R = (start_R[:-1] + np.arange(runs)) // BLOCK_ROWS
    large_R = np.diff(start_R) > BLOCK_ROWS
    new_R = (block_R[1:] != block_R[:-1]) | large_R[1:] | large_R[:-1]
    return np.concatenate([[0], np.flatnonzero(new_R) + 1, [runs]])


def _ties(tied_n: NDArray[np.bool_]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return where rows tie with the one before or after, and where among those a run begins."""
    in_a_tie_n = tied_n.copy()
    in_a_tie_n[:-1] |= tied_n[1:]
    at_n = np.flatnonzero(in_a_tie_n)
    return at_n, np.append(np.flatnonzero(~tied_n[at_n]), len(at_n))
