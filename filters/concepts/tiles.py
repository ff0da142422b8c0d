"""Cosines of rows with earlier rows, a tile at a time: memory for a few tiles, whatever N is.

Shape letters: N rows, D dimensions, L later and E earlier rows that are compared, B rows of a tile.
A row's rank is its position in the order; what is called later or earlier is so by rank.
"""

from collections.abc import Iterator
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from filters.concepts.direction import has_direction
from filters.concepts.widening import wide

TILE = 512  # a product of larger ones is no faster, and more of it is on the wrong side
PANEL = 8  # tiles of later rows that are held, so that an earlier one is read once for all of them
STEP = 64  # tiles are padded to multiples of it, so that every sum is made in the same way

Ranks = NDArray[np.int64]
Tile = tuple[Ranks, Ranks, NDArray[np.float32]]  # of its rows, of its columns, and their cosines


class Rows(Protocol):
    """Embeddings [N, D] that are read by slices: an array, an `np.memmap`, anything alike.

    With an order, or with visitors, positions are asked for too (`rows[array of int64]`).
    """

    @property
    def shape(self) -> tuple[int, ...]:
        """Return (N, D)."""
        ...

    def __getitem__(self, wanted: Any, /) -> Any:
        """Return float16 or float32 rows."""
        ...


class Tiles:
    """Rows in an order, compared a tile at a time.

    A sum of products is made in the same sequence wherever in a tile a row is, whatever the tile's
    size and however many threads work on it: tiles are padded to multiples of 64 rows and
    dimensions, below which a BLAS takes other ways (for one row a matrix-vector product, say). So
    equal rows have equal cosines, and ties are ties.

    Attributes:
        count: N.
        order_N: int64, row of each rank.
        valid_N: By rank; False for a row of length zero, or that is not finite.
    """

    def __init__(
        self, rows_ND: Rows, order: NDArray[np.integer[Any]] | None, *, tile: int = TILE
    ) -> None:
        """Read all rows once, to find those without a direction.

        Raises:
            ValueError: `order` does not name every row once, or a tile has no rows.
        """
        self.count, self._dim = rows_ND.shape
        if tile < 1:
            raise ValueError(f"tile: got {tile} rows, expected at least one")
        self._rows_ND, self._tile = rows_ND, tile
        self._order_N = None if order is None else checked_order(order, self.count)
        everyone = np.arange(self.count)
        self.order_N = everyone if self._order_N is None else self._order_N
        self._later, self._earlier, self._cosine = (np.empty(0, np.float32) for _ in range(3))
        self.valid_N = np.ones(self.count, bool)
        for at in range(0, self.count, tile):
            rank_B = everyone[at : at + tile]
            self.valid_N[rank_B] = has_direction(self.read(rank_B))

    def read(self, rank_B: Ranks) -> NDArray[Any]:
        """Return the rows of ascending ranks as they are, [B, D]."""
        if self._order_N is not None:
            return self._rows_ND[self._order_N[rank_B]]
        if len(rank_B) and rank_B[-1] - rank_B[0] + 1 == len(rank_B):
            return self._rows_ND[int(rank_B[0]) : int(rank_B[-1]) + 1]
        return self._rows_ND[rank_B]

    def compared(self, later_L: Ranks, earlier_E: Ranks) -> Iterator[Tile]:
        """Yield cosines tile by tile, of each row of one list with the rows of another before it.

        Args:
            later_L: Ascending ranks.
            earlier_E: Ascending ranks; may be the same, or share some.

        Yields:
            Ranks of the later rows of a tile, of the earlier ones, both ascending, and their
            cosines, float32 [later, earlier], contiguous, 0 where the second is not before the
            first; valid until the next tile. Tiles of one row come in ascending order of the
            earlier ones.
        """
        for part_B, early_B, cosine_LE in self._products(later_L, earlier_E, all_of=False):
            yield part_B, early_B, masked(cosine_LE, part_B, early_B)

    def crossed(self, one_L: Ranks, other_E: Ranks) -> Iterator[Tile]:
        """Yield cosines tile by tile, of each row of one list with each of another.

        Args:
            one_L: Ascending ranks.
            other_E: Ascending ranks of other rows.

        Yields:
            Ranks of the rows of a tile, of its columns, and their cosines; valid until the next.
        """
        yield from self._products(one_L, other_E, all_of=True)

    def _products(self, later_L: Ranks, earlier_E: Ranks, *, all_of: bool) -> Iterator[Tile]:
        """Yield tiles, all or those in which any row comes after any column."""
        tile, panel = self._tile, PANEL * self._tile
        for top in range(0, len(later_L), panel):
            panel_P = later_L[top : top + panel]
            parts = [panel_P[at : at + tile] for at in range(0, len(panel_P), tile)]
            self._later, later = self._padded(self._later, parts)
            before = len(earlier_E) if all_of else np.searchsorted(earlier_E, panel_P[-1])
            for left in range(0, int(before), tile):
                early_B = earlier_E[left : left + tile]
                self._earlier, (early_BD,) = self._padded(self._earlier, [early_B])
                for part_B, late_BD in zip(parts, later, strict=True):
                    if all_of or early_B[0] < part_B[-1]:
                        product_LE = self._product(late_BD, early_BD)
                        yield part_B, early_B, product_LE[: len(part_B), : len(early_B)]

    def _product(
        self, later_LD: NDArray[np.float32], earlier_ED: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        shape = len(later_LD), len(earlier_ED)
        self._cosine = _room(self._cosine, shape[0] * shape[1])
        cosine_LE = self._cosine[: shape[0] * shape[1]].reshape(shape)
        return np.matmul(later_LD, earlier_ED.T, out=cosine_LE)

    def _padded(
        self, buffer: NDArray[np.float32], parts: list[Ranks]
    ) -> tuple[NDArray[np.float32], list[NDArray[np.float32]]]:
        """Read parts into a buffer that is made larger if need be, with zeros around each."""
        width = -(-self._dim // STEP) * STEP
        heights = [-(-len(part) // STEP) * STEP for part in parts]
        buffer = _room(buffer, sum(heights) * width)
        padded, at = [], 0
        for part_B, height in zip(parts, heights, strict=True):
            rows_BD = buffer[at : at + height * width].reshape(height, width)
            rows_BD[: len(part_B), : self._dim] = wide(self.read(part_B))
            rows_BD[: len(part_B)][~self.valid_N[part_B]] = 0
            rows_BD[len(part_B) :] = 0
            rows_BD[:, self._dim :] = 0
            padded.append(rows_BD)
            at += height * width
        return buffer, padded


def masked(cosine_LE: NDArray[np.float32], later_L: Ranks, earlier_E: Ranks) -> NDArray[np.float32]:
    """Return cosines, contiguous, with 0 where a column does not come before the row."""
    if earlier_E[-1] >= later_L[0]:
        return cosine_LE * (earlier_E.astype(np.int32) < later_L.astype(np.int32)[:, None])
    return np.ascontiguousarray(cosine_LE)


def checked_order(order: NDArray[np.integer[Any]], count: int) -> NDArray[np.int64]:
    """Return an order as int64 [N].

    Raises:
        ValueError: It does not name each of N positions once.
    """
    order_N = np.asarray(order, np.int64)
    if not np.array_equal(np.sort(order_N), np.arange(count)):
        raise ValueError(
            f"order: got {len(order_N)} positions for {count} rows, expected each of 0 to "
            f"{count - 1} once"
        )
    return order_N


def _room(buffer: NDArray[np.float32], size: int) -> NDArray[np.float32]:
    return buffer if len(buffer) >= size else np.empty(size, np.float32)
