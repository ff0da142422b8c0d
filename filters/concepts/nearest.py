"""The nearest centroids of each point, the same ones whatever block or thread finds them.

A matrix product names candidates; where rounding could have changed their order, inner products in
float64 decide. So an answer depends on the point and the centroids alone (the last bit of a product
also on the kind of processor), and ties go to the lowest id.

Letters: N points, B points of a block, K centroids, D dimensions, W wanted, T = W + 1 looked at, F
points of a block that are too close to call, P pairs of such a point and a centroid.
"""

import threading
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from filters.concepts.direction import directed, norms
from filters.concepts.threads import in_threads
from filters.concepts.widening import Points, wide

BLOCK = 2048  # points at a time; with a tile of centroids their product is 16 MB
TILE = 2048
MANY_BLOCKS = 16
GPU_BLOCK = 65_536
GPU_DEVICES = ("nvidia[0-9]*", "kfd", "dxg")  # NVIDIA's, AMD's, and either in a Windows machine
SOME = 128  # points that are settled, or multiplied one by one, at a time
PAIRS = 2**14  # inner products in float64 at a time: 128 MB with 512 dimensions
HALF_ULP = 2.0**-24  # of float32: a product of D terms is off by at most D of these


def nearest(
    vectors_ND: Points,
    centroid_KD: NDArray[np.float32],
    *,
    wanted: int,
    index: Any = None,
    products: bool = True,
) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """Return the `wanted` centroids of largest inner product, best first, and those products.

    Args:
        vectors_ND: Points, best of unit norm, read block by block.
        centroid_KD: Centroids of unit norm.
        wanted: How many of them, W.
        index: A FAISS index of the centroids that looks for candidates; by default one on the GPUs
            that FAISS sees, and where there is none the processor multiplies.
        products: Whether the products are wanted; else all are NaN.

    Returns:
        int32 [N, W] and float32 [N, W]; -1 and NaN where there are no more centroids, and for a
        point without a direction: all zeros, or not finite.
    """
    index = gpu_index(centroid_KD) if index is None else index
    found = _Found(vectors_ND, centroid_KD, wanted, index, products)
    if index is None:
        close = list(in_threads(found.look, range(0, len(vectors_ND), found.size)))
    else:
        close = [found.look(start) for start in range(0, len(vectors_ND), found.size)]
    # Those of all blocks together: a product with a few rows takes as long as one with many.
    close_F = np.concatenate([np.zeros(0, np.int64), *close])
    for _ in in_threads(found.settle, np.split(close_F, range(SOME, len(close_F), SOME))):
        pass
    return found.cluster_NW, found.similarity_NW


def products_with(
    vectors_ND: Points, centroid_KD: NDArray[np.float32], cluster_N: NDArray[np.int32]
) -> NDArray[np.float32]:
    """Return each point's product with a centroid, float32 [N], the same bits as `nearest` does."""
    similarity_N = np.empty(len(vectors_ND), np.float32)

    def multiply(start: int) -> None:
        some = slice(start, start + BLOCK)
        block_BD = wide(vectors_ND[some])
        similarity_N[some] = _products(block_BD, centroid_KD, cluster_N[some, None])[:, 0]

    for _ in in_threads(multiply, range(0, len(vectors_ND), BLOCK)):
        pass
    return similarity_N


@cache
def _gpus() -> int:
    # Importing FAISS takes longer than many a search does.
    if not any(any(Path("/dev").glob(name)) for name in GPU_DEVICES):
        return 0
    import faiss

    return faiss.get_num_gpus()


def gpu_index(centroid_KD: NDArray[np.float32]) -> Any:
    """Return a FAISS index of the centroids on every GPU that FAISS sees, None without one."""
    if not _gpus():
        return None
    import faiss

    index = faiss.IndexFlatIP(centroid_KD.shape[1])
    index.add(np.ascontiguousarray(centroid_KD))
    return faiss.index_cpu_to_all_gpus(index)


class _Room(threading.local):
    """Memory that each thread uses again: fresh pages cost more than what is written there."""

    def __init__(self, dim: int, tile: int) -> None:
        self.block_BD = np.empty((BLOCK, dim), np.float32)
        self.value_BK = np.empty((BLOCK, tile), np.float32)


class _Found:
    """The nearest centroids of points, while they are looked for."""

    def __init__(
        self,
        vectors_ND: Points,
        centroid_KD: NDArray[np.float32],
        wanted: int,
        index: Any,
        products: bool,
    ) -> None:
        shape, clusters = (len(vectors_ND), wanted), len(centroid_KD)
        self.cluster_NW = np.full(shape, -1, np.int32)
        self.similarity_NW = np.full(shape, np.nan, np.float32)
        self._vectors_ND, self._centroid_KD = vectors_ND, centroid_KD
        self._wanted, self._index, self._products = min(wanted, clusters), index, products
        # Few points are dealt out to threads in smaller blocks, so that all have something to do.
        few = len(vectors_ND) < MANY_BLOCKS * BLOCK
        self.size = GPU_BLOCK if index is not None else BLOCK // 2 if few else BLOCK
        # With its columns side by side a matrix is packed for the product in half the time.
        starts = range(0, clusters if index is None else 0, TILE)
        self._tiles = [np.ascontiguousarray(centroid_KD[at : at + TILE].T) for at in starts]
        self._room = _Room(vectors_ND.shape[1], min(TILE, clusters))

    def look(self, start: int) -> NDArray[np.int64]:
        """Look for those of a block; return the points that are too close to call, [F]."""
        room_BD = self._room.block_BD if self._index is None else None
        block_BD = wide(self._vectors_ND[start : start + self.size], room_BD)
        norm_B = norms(block_BD)
        directed_B = directed(norm_B)
        if not directed_B.all():
            block_BD = np.where(directed_B[:, None], block_BD, 0)
        count = min(self._wanted + 1, len(self._centroid_KD))
        if self._index is None:
            value_BT, cluster_BT = _candidates(block_BD, self._tiles, count, self._room.value_BK)
        else:
            value_BT, cluster_BT = self._index.search(block_BD, count)
        gap_BT = value_BT[:, :-1] - value_BT[:, 1:]
        close_B = (gap_BT <= _margins(norm_B, block_BD.shape[1])[:, None]).any(axis=1)
        cluster_BW = cluster_BT[:, : self._wanted]
        cluster_BW[~directed_B] = -1
        self._write(slice(start, start + len(block_BD)), block_BD, cluster_BW)
        return start + np.flatnonzero(close_B & directed_B)

    def settle(self, at_F: NDArray[np.int64]) -> None:
        """Find those of points again, by float64."""
        block_FD = wide(self._vectors_ND[at_F])
        if len(at_F):
            cluster_FW = _settled(block_FD, self._centroid_KD, self._wanted)
            self._write(at_F, block_FD, cluster_FW)

    def _write(
        self, at_B: Any, block_BD: NDArray[np.float32], cluster_BW: NDArray[np.int64]
    ) -> None:
        self.cluster_NW[at_B, : self._wanted] = cluster_BW
        if self._products:
            similarity_BW = _products(block_BD, self._centroid_KD, cluster_BW)
            self.similarity_NW[at_B, : self._wanted] = similarity_BW


def _products(
    block_BD: NDArray[np.float32],
    centroid_KD: NDArray[np.float32],
    cluster_BW: NDArray[np.integer[Any]],
) -> NDArray[np.float32]:
    """Return products with centroids, NaN with -1; what is rounded never rises along a row.

    One by one, since a bit of a matrix product depends on the rows around it; and of a few points
    at a time, so that their centroids stay in a core's cache.
    """
    similarity_BW = np.empty(cluster_BW.shape, np.float32)
    with np.errstate(over="ignore", invalid="ignore"):
        for start in range(0, len(block_BD), SOME):
            some = slice(start, start + SOME)
            for w in range(cluster_BW.shape[1]):
                centroid_SD = centroid_KD[cluster_BW[some, w]]
                np.vecdot(block_BD[some], centroid_SD, out=similarity_BW[some, w])
    similarity_BW[cluster_BW < 0] = np.nan
    return np.minimum.accumulate(similarity_BW, axis=1)


def _margins(norm_B: NDArray[np.float64], dim: int) -> NDArray[np.float64]:
    """Return how far apart products have to be to be told apart.

    A product may be off by D half ulps of the norms' product (Higham, 2002, 3.5), and either of two
    compared, or of two made of the same numbers, is.
    """
    return 2 * dim * HALF_ULP * norm_B


def _candidates(
    block_BD: NDArray[np.float32],
    tiles: list[NDArray[np.float32]],
    count: int,
    room_BK: NDArray[np.float32],
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Return the largest products and their centroids, a tile of these at a time."""
    parts, start = [], 0
    for tile_DK in tiles:
        size = tile_DK.shape[1]
        product_BK = room_BK.ravel()[: len(block_BD) * size].reshape(len(block_BD), size)
        value_BT, at_BT = _largest(np.matmul(block_BD, tile_DK, out=product_BK), min(count, size))
        parts.append((value_BT, start + at_BT))
        start += size
    if len(parts) == 1:
        return parts[0]
    value_BC, at_BC = (np.concatenate(part, axis=1) for part in zip(*parts, strict=True))
    order_BT = np.argsort(-value_BC, axis=1, kind="stable")[:, :count]
    best_BT = np.take_along_axis(value_BC, order_BT, axis=1)
    return best_BT, np.take_along_axis(at_BC, order_BT, axis=1)


def _largest(
    value_BK: NDArray[np.float32], count: int
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Return the `count` largest of each row, best first, and where; overwrites the values.

    A pass for each is faster than a partial sort: numpy's argmax reads 4,000 values a microsecond.
    """
    flat = value_BK.reshape(-1)
    begin_B = np.arange(len(value_BK)) * value_BK.shape[1]
    found_BT = np.empty((len(value_BK), count), np.float32)
    at_BT = np.empty((len(value_BK), count), np.int64)
    for t in range(count):
        at_BT[:, t] = value_BK.argmax(axis=1)
        place_B = begin_B + at_BT[:, t]
        found_BT[:, t] = flat[place_B]
        flat[place_B] = -np.inf
    return found_BT, at_BT


def _settled(
    block_FD: NDArray[np.float32], centroid_KD: NDArray[np.float32], wanted: int
) -> NDArray[np.int64]:
    """Return the `wanted` best by float64 of the centroids that may be among them, int64 [F, W]."""
    value_FK = block_FD @ centroid_KD.T
    worst = len(centroid_KD) - wanted
    least_F = np.partition(value_FK, worst, axis=1)[:, worst]
    least_F = least_F - _margins(norms(block_FD), block_FD.shape[1])
    row_P, cluster_P = np.nonzero(value_FK >= least_F[:, None])
    product_P = np.empty(len(row_P))
    for start in range(0, len(row_P), PAIRS):
        some = slice(start, start + PAIRS)
        centroid_PD = centroid_KD[cluster_P[some]].astype(np.float64)
        product_P[some] = np.vecdot(block_FD[row_P[some]].astype(np.float64), centroid_PD)
    order_P = np.lexsort((cluster_P, -product_P, row_P))
    first_F = np.searchsorted(row_P, np.arange(len(block_FD)))  # `row_P` is ascending as it is
    return cluster_P[order_P][first_F[:, None] + np.arange(wanted)]
