"""Near-duplicates among embeddings (SemDeDup, Abbas et al., arXiv:2303.09540), in three modes.

A row is removed where its similarity M with what came before it is above a threshold, strictly:
M > 1 - eps, as in the authors' code. They hold two dense N x N matrices, and cut a cluster that is
too large for them into pieces that are never compared with each other; here it is gone through in
tiles, so nothing is missed and memory does not grow with N * N.

The modes differ in what a row is compared with, and what they keep is nested, the largest last:
`components` keeps the first row of each group that chains of copies connect,
`max_similarity_to_earlier` (the authors' rule) what is like no earlier row, whether or not that was
removed itself, `greedy_kept` what is like no earlier row that is kept. A higher threshold keeps
what a lower one keeps and more in the first two; in `greedy_kept` a row may be kept at a low
threshold, where another covers for it, and not at a higher one, where that other row stays.

Shape letters: N rows, D dimensions, L later and E earlier rows of a tile.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from filters.concepts.tiles import TILE, Ranks, Rows, Tiles, masked

Positions = NDArray[np.integer[Any]]


class Earlier(NamedTuple):
    """For each row an earlier one: the most similar, or the one that it is a copy of.

    Attributes:
        similarity_N: float32, cosine with that row; 0 where there is none, NaN for a row of length
            zero or that is not finite, which is nobody's copy and of which nobody is a copy.
        earlier_N: int64, position of that row, -1 where there is none.
    """

    similarity_N: NDArray[np.float32]
    earlier_N: NDArray[np.int64]

    def above(self, similarity: float) -> "Earlier":
        """Forget rows that are not similar enough: `earlier_N` is -1 but for what is removed."""
        removed_N = self.similarity_N > similarity
        left_N = np.where(np.isnan(self.similarity_N), np.float32(np.nan), np.float32(0))
        return Earlier(
            np.where(removed_N, self.similarity_N, left_N), np.where(removed_N, self.earlier_N, -1)
        )


def max_similarity_to_earlier(
    embeddings_ND: Rows,
    *,
    order: Positions | None = None,
    visitor_N: NDArray[np.bool_] | None = None,
    tile: int = TILE,
) -> Earlier:
    """Find for each row the most similar of all earlier ones: SemDeDup's M (section 3).

    It serves every threshold: compute it once, then cut, or take a quantile. As in the authors'
    code M is never below 0: a row with a positive cosine to none, as the first, has 0.

    Args:
        embeddings_ND: Unit-norm float16 or float32, read by slices; may be larger than memory.
        order: Positions in order of preference, each once; the rows' own order by default.
        visitor_N: Rows of neighbouring clusters. They are compared with earlier members and members
            with earlier visitors, but not with each other, which their own clusters see to. What a
            row gets in its own cluster and where it visits is merged by the larger similarity,
            ties to the earlier one; then borders between clusters that exchange visitors hide
            nothing.
        tile: Rows compared at a time; changes the memory, not the result.

    Returns:
        The largest cosine of each row; of equally similar earlier ones the first of `order`.

    Raises:
        ValueError: `order` does not name every row once, or `tile` is no size.
    """
    tiles = Tiles(embeddings_ND, order, tile=tile)
    best = _Best(tiles)
    everyone = np.arange(tiles.count)
    if visitor_N is None:
        best.see(everyone, everyone)
        return best.result()
    visits_N = np.asarray(visitor_N, bool)[tiles.order_N]
    members, visitors = everyone[~visits_N], everyone[visits_N]
    best.see(members, members)
    best.meet(visitors, members)
    return best.result()


def greedy_kept(
    embeddings_ND: Rows, *, order: Positions | None = None, similarity: float, tile: int = TILE
) -> Earlier:
    """Go through rows in order, keep each that is not a copy of one kept before.

    Args:
        embeddings_ND: Unit-norm float16 or float32, read by slices.
        order: Positions in order of preference, each once.
        similarity: Cosine in [0, 1) above which a row is a copy.
        tile: Rows compared at a time.

    Returns:
        For each removed row the most similar one of those kept before it, ties to the first; -1 for
        kept rows.

    Raises:
        ValueError: As `max_similarity_to_earlier`, or `similarity` is out of range.
    """
    _check_threshold(similarity)
    tiles = Tiles(embeddings_ND, order, tile=tile)
    best, everyone = _Best(tiles), np.arange(tiles.count)
    kept = everyone[:0]
    for at in range(0, tiles.count, tile):
        later_L = everyone[at : at + tile]
        best.see(later_L, kept)
        kept_L = ~(best.similarity_N[later_L] > similarity)
        for _, _, cosine_LL in tiles.compared(later_L, later_L):
            kept_L = _kept_inside(cosine_LL > similarity, kept_L)
            np.multiply(cosine_LL, kept_L, out=cosine_LL)
            best.update(later_L, later_L, cosine_LL)
        kept = np.concatenate([kept, later_L[kept_L]])
    return best.result().above(similarity)


def components(
    embeddings_ND: Rows, *, order: Positions | None = None, similarity: float, tile: int = TILE
) -> Earlier:
    """Keep the first row of each group that is connected by copies of copies.

    Args:
        embeddings_ND: Unit-norm float16 or float32, read by slices.
        order: Positions in order of preference, each once.
        similarity: Cosine in [0, 1) above which two rows are connected.
        tile: Rows compared at a time.

    Returns:
        For each removed row the survivor of its group, to which its cosine may be lower than
        `similarity`; -1 for survivors.

    Raises:
        ValueError: As `greedy_kept`.
    """
    _check_threshold(similarity)
    tiles = Tiles(embeddings_ND, order, tile=tile)
    everyone = np.arange(tiles.count)
    root_N = everyone.copy()  # rank of an earlier row of the group, its own if there is none
    for later_L, earlier_E, cosine_LE in tiles.compared(everyone, everyone):
        copy_LE = cosine_LE > similarity
        row = np.flatnonzero(copy_LE.any(axis=1))
        column = np.flatnonzero(copy_LE[row].any(axis=0))
        _connect(root_N, later_L[row], earlier_E[column], copy_LE[np.ix_(row, column)])
    root_N = _first_of(root_N, everyone)
    best = _Best(tiles)
    removed = np.flatnonzero(root_N != everyone)
    for at in range(0, len(removed), tile):
        some_B = removed[at : at + tile]
        survivors, which_B = np.unique(root_N[some_B], return_inverse=True)
        first_BD = np.asarray(tiles.read(survivors), np.float32)[which_B]
        rows_BD = np.asarray(tiles.read(some_B), np.float32)
        best.similarity_N[some_B] = np.einsum("bd,bd->b", rows_BD, first_BD)
    best.earlier_N[removed] = root_N[removed]
    return best.result()


class _Best:
    """The best so far, by rank."""

    def __init__(self, tiles: Tiles) -> None:
        self._tiles = tiles
        self.similarity_N = np.zeros(tiles.count, np.float32)
        self.earlier_N = np.full(tiles.count, -1, np.int64)

    def see(self, later_L: Ranks, earlier_E: Ranks) -> None:
        """Compare the rows of two lists."""
        for tile in self._tiles.compared(later_L, earlier_E):
            self.update(*tile)

    def meet(self, one_L: Ranks, other_E: Ranks) -> None:
        """Compare each row of one list with each of another, of either with those before it."""
        for row_L, column_E, cosine_LE in self._tiles.crossed(one_L, other_E):
            if column_E[0] < row_L[-1]:
                self.update(row_L, column_E, masked(cosine_LE, row_L, column_E))
            if row_L[0] < column_E[-1]:
                self.update(column_E, row_L, masked(cosine_LE.T, column_E, row_L))

    def update(self, later_L: Ranks, earlier_E: Ranks, cosine_LE: NDArray[np.float32]) -> None:
        """Take over what is better in a tile: more similar, or as similar and earlier."""
        at_L = cosine_LE.argmax(axis=1)  # the first of equals; contiguous, so as cheap as max
        top_L, twin_L = cosine_LE[np.arange(len(at_L)), at_L], earlier_E[at_L]
        best_L = self.similarity_N[later_L]
        tied_L = (top_L == best_L) & (twin_L < self.earlier_N[later_L])
        better_L = (top_L > best_L) | tied_L
        self.similarity_N[later_L[better_L]] = top_L[better_L]
        self.earlier_N[later_L[better_L]] = twin_L[better_L]

    def result(self) -> Earlier:
        """Lay it out by row."""
        order_N = self._tiles.order_N
        similarity_N, earlier_N = np.empty_like(self.similarity_N), np.empty_like(self.earlier_N)
        similarity_N[order_N] = np.where(self._tiles.valid_N, self.similarity_N, np.float32(np.nan))
        earlier_N[order_N] = np.where(self.earlier_N >= 0, order_N[self.earlier_N], -1)
        return Earlier(similarity_N, earlier_N)


def _check_threshold(similarity: float) -> None:
    if not 0 <= similarity < 1:
        raise ValueError(f"similarity: got {similarity}, expected a cosine from 0 to below 1")


def _kept_inside(copy_LL: NDArray[np.bool_], open_L: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Decide the rows of a tile in turn; only those with an earlier copy among them need a turn."""
    kept_L = open_L.copy()
    for i in np.flatnonzero(open_L & copy_LL.any(axis=1)):
        kept_L[i] = not (copy_LL[i, :i] & kept_L[:i]).any()
    return kept_L


def _connect(root_N: Ranks, later_L: Ranks, earlier_E: Ranks, copy_LE: NDArray[np.bool_]) -> None:
    """Make groups one that a pair of copies connects; a group's root is its first row.

    Each row's first link out of its group is taken at a time, so that a tile of nothing but copies
    is no million links; what is left to connect at least halves each time.
    """
    while True:
        one_L, other_E = _first_of(root_N, later_L), _first_of(root_N, earlier_E)
        new_LE = copy_LE & (one_L[:, None] != other_E)
        row = np.flatnonzero(new_LE.any(axis=1))
        if not len(row):
            return
        _join(root_N, one_L[row], other_E[new_LE[row].argmax(axis=1)])


def _join(root_N: Ranks, one_P: Ranks, other_P: Ranks) -> None:
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    nodes, ends = np.unique(np.concatenate([one_P, other_P]), return_inverse=True)
    links = tuple(ends.reshape(2, -1))
    graph = coo_array((np.ones(len(one_P), bool), links), (len(nodes), len(nodes)))
    count, label = connected_components(graph, directed=False)
    first = np.full(count, len(root_N))
    np.minimum.at(first, label, nodes)
    root_N[nodes] = first[label]


def _first_of(root_N: Ranks, rank_P: Ranks) -> Ranks:
    """Follow roots to the first row of each one's group."""
    at_P = root_N[rank_P]
    while not np.array_equal(above_P := root_N[at_P], at_P):
        at_P = above_P
    return at_P
