"""The nearest centroids of each point, the same ones whatever block or thread finds them.

A matrix product names candidates; where rounding could have changed their order, inner products in
float64 decide. So an answer depends on the point and the centroids alone (the last bit of a product
also on the kind of processor), and ties go to the lowest id.

Letters: N points, B points of a block, K centroids, D dimensions, W wanted, T = W + 1 looked at, F
points of a block that are too close to call, P pairs of such a point and a centroid.
"""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import ThreadpoolController

BLOCK = 1024  # points at a time; with a tile of centroids their product is 8 MB
TILE = 2048
GPU_BLOCK = 65_536
PAIRS = 2**14  # inner products in float64 at a time: 128 MB with 512 dimensions
HALF_ULP = 2.0**-24  # of float32: a product of D terms is off by at most D of these

Points = NDArray[np.float16] | NDArray[np.float32]
Item = TypeVar("Item")
Result = TypeVar("Result")


def nearest(
    vectors_ND: Points, centroid_KD: NDArray[np.float32], *, wanted: int, index: Any = None
) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """Return the `wanted` centroids of largest inner product, best first, and those products.

    Args:
        vectors_ND: Points, best of unit norm, read block by block.
        centroid_KD: Centroids of unit norm.
        wanted: How many of them, W.
        index: A FAISS index of the centroids that looks for candidates; by default one on the GPUs
            that FAISS sees, and where there is none the processor multiplies.

    Returns:
        int32 [N, W] and float32 [N, W]; -1 and NaN where there are no more centroids, and for a
        point without a direction: all zeros, or not finite.
    """
    cluster_NW = np.full((len(vectors_ND), wanted), -1, np.int32)
    similarity_NW = np.full((len(vectors_ND), wanted), np.nan, np.float32)
    index = gpu_index(centroid_KD) if index is None else index
    size = BLOCK if index is None else GPU_BLOCK

    def look(start: int) -> None:
        block_BD = _wide(vectors_ND[start : start + size])
        some = slice(start, start + len(block_BD))
        cluster_BW, similarity_BW = _nearest(block_BD, centroid_KD, wanted, index)
        cluster_NW[some, : cluster_BW.shape[1]] = cluster_BW
        similarity_NW[some, : cluster_BW.shape[1]] = similarity_BW

    starts = range(0, len(vectors_ND), size)
    for _ in in_threads(look, starts) if index is None else map(look, starts):
        pass
    return cluster_NW, similarity_NW


def has_direction(vectors_ND: Points) -> NDArray[np.bool_]:
    """Mark points that are finite and not zero, bool [N]."""
    found_N = np.empty(len(vectors_ND), bool)
    for start in range(0, len(vectors_ND), BLOCK):
        block_BD = _wide(vectors_ND[start : start + BLOCK])
        found_N[start : start + BLOCK] = _directed(_norms(block_BD))
    return found_N


def in_threads(task: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
    """Yield the task's results in order, with as many threads as the matrix product may take.

    Each thread multiplies alone: many small products side by side are faster than one after the
    other in many threads, and the rest of the work is spread too.
    """
    control = _threadpools()
    threads = max([p["num_threads"] for p in control.info() if p["user_api"] == "blas"], default=1)
    if threads == 1:
        yield from map(task, items)
        return
    with control.limit(limits=1, user_api="blas"), ThreadPoolExecutor(threads) as pool:
        yield from pool.map(task, items)


@cache
def _threadpools() -> ThreadpoolController:
    return ThreadpoolController()


@cache
def _gpus() -> int:
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


def _nearest(
    block_BD: NDArray[np.float32], centroid_KD: NDArray[np.float32], wanted: int, index: Any
) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """Return what `nearest` does, for one block."""
    norm_B = _norms(block_BD)
    directed_B = _directed(norm_B)
    if not directed_B.all():
        block_BD = np.where(directed_B[:, None], block_BD, 0)
    look_at = min(wanted + 1, len(centroid_KD))
    wanted = min(wanted, len(centroid_KD))
    if index is None:
        value_BT, cluster_BT = _candidates(block_BD, centroid_KD, look_at)
    else:
        value_BT, cluster_BT = index.search(block_BD, look_at)
    # A product may be off by D half ulps of the norms' product (Higham, 2002, 3.5), and either of
    # two compared, or of two made of the same numbers, is.
    margin_B = 2 * block_BD.shape[1] * HALF_ULP * norm_B
    cluster_BW = cluster_BT[:, :wanted].astype(np.int32)
    close_B = (value_BT[:, :-1] - value_BT[:, 1:] <= margin_B[:, None]).any(axis=1) & directed_B
    for close in np.split(np.flatnonzero(close_B), range(BLOCK // 8, close_B.sum(), BLOCK // 8)):
        least_F = value_BT[close, wanted - 1] - margin_B[close]
        cluster_BW[close] = _settled(block_BD[close], centroid_KD, least_F, wanted)
    # Again and one by one, since a bit of a matrix product depends on the rows around it.
    similarity_BW = np.stack(
        [np.vecdot(block_BD, centroid_KD[cluster_B]) for cluster_B in cluster_BW.T], axis=1
    )
    similarity_BW = np.minimum.accumulate(similarity_BW, axis=1)  # rounded, two may have swapped
    cluster_BW[~directed_B], similarity_BW[~directed_B] = -1, np.nan
    return cluster_BW, similarity_BW


def _wide(block_BD: Points) -> NDArray[np.float32]:
    """Return float32; by way of float64, which numpy makes of float16 in half the time."""
    by_way = np.float64 if block_BD.dtype == np.float16 else np.float32
    return np.ascontiguousarray(block_BD.astype(by_way, copy=False), np.float32)


def _norms(block_BD: NDArray[np.float32]) -> NDArray[np.float64]:
    with np.errstate(over="ignore", invalid="ignore"):
        return np.sqrt(np.vecdot(block_BD, block_BD).astype(np.float64))


def _directed(norm_B: NDArray[np.float64]) -> NDArray[np.bool_]:
    return np.isfinite(norm_B) & (norm_B > 0)


def _candidates(
    block_BD: NDArray[np.float32], centroid_KD: NDArray[np.float32], count: int
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Return the largest products and their centroids, a tile of these at a time."""
    best_BT, at_BT = _largest(block_BD @ centroid_KD[:TILE].T, count)
    for start in range(TILE, len(centroid_KD), TILE):
        tile_KD = centroid_KD[start : start + TILE]
        value_BT, more_BT = _largest(block_BD @ tile_KD.T, min(count, len(tile_KD)))
        value_BT = np.concatenate([best_BT, value_BT], axis=1)
        more_BT = np.concatenate([at_BT, start + more_BT], axis=1)
        order_BT = np.argsort(-value_BT, axis=1, kind="stable")[:, :count]
        best_BT = np.take_along_axis(value_BT, order_BT, axis=1)
        at_BT = np.take_along_axis(more_BT, order_BT, axis=1)
    return best_BT, at_BT


def _largest(
    value_BK: NDArray[np.float32], count: int
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Return the `count` largest of each row, best first, and where; overwrites the values.

    A pass for each is faster than a partial sort: numpy's argmax reads 4,000 values a microsecond.
    """
    row_B = np.arange(len(value_BK))
    found_BT = np.empty((len(value_BK), count), np.float32)
    at_BT = np.empty((len(value_BK), count), np.int64)
    for t in range(count):
        at_BT[:, t] = value_BK.argmax(axis=1)
        found_BT[:, t] = value_BK[row_B, at_BT[:, t]]
        value_BK[row_B, at_BT[:, t]] = -np.inf
    return found_BT, at_BT


def _settled(
    block_FD: NDArray[np.float32],
    centroid_KD: NDArray[np.float32],
    least_F: NDArray[np.float32],
    wanted: int,
) -> NDArray[np.int64]:
    """Return the `wanted` best by float64 of centroids with at least such a product, int64 [F, W].

    This product is another one and may differ in the last bits; so much the margin allows for.
    """
    row_P, cluster_P = np.nonzero(block_FD @ centroid_KD.T >= least_F[:, None])
    product_P = np.empty(len(row_P))
    for start in range(0, len(row_P), PAIRS):
        some = slice(start, start + PAIRS)
        centroid_PD = centroid_KD[cluster_P[some]].astype(np.float64)
        product_P[some] = np.vecdot(block_FD[row_P[some]].astype(np.float64), centroid_PD)
    order_P = np.lexsort((cluster_P, -product_P, row_P))
    first_F = np.searchsorted(row_P, np.arange(len(block_FD)))  # `row_P` is ascending as it is
    return cluster_P[order_P][first_F[:, None] + np.arange(wanted)]
