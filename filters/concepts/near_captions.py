"""Near-duplicate captions from their MinHashes by banding (locality-sensitive hashing).

Shape letters: N captions, U different signatures, H hashes of a signature, P pairs.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

PAIRS = 2**18  # compared at once: 128 MB for 64 hashes


def near_caption_of(
    signature_NH: NDArray[np.uint32], *, bands: int = 16, similarity: float = 0.7
) -> NDArray[np.int64]:
    """Find for each caption the first earlier one that says nearly the same; -1 if there is none.

    A pair counts if a whole band of its signatures is equal and at least a share `similarity` of
    all hashes. The first happens with the probability 1 - (1 - J^r)^bands at a Jaccard similarity J
    and r = H / bands hashes a band (Leskovec et al., Mining of Massive Datasets, 3.4): with
    64 hashes in 16 bands 0.64 at J = 0.5, 0.986 at 0.7, 0.9998 at 0.8. Equal signatures are told
    apart once, so that a million copies of a caption cost no more than one; different captions in
    one band (one phrase that thousands begin with) are all compared with each other.

    Args:
        signature_NH: MinHashes in order of preference; of near copies the first survives.
        bands: Divides H.
        similarity: Least share of equal hashes in (0, 1].

    Returns:
        int64 [N], positions into `signature_NH`.

    Raises:
        ValueError: H hashes do not make so many bands.
    """
    hashes = signature_NH.shape[1]
    if bands < 1 or hashes % bands:
        raise ValueError(
            f"near captions: got {bands} bands for {hashes} hashes, expected a divisor of {hashes}"
        )
    first_U, unique_N = _distinct(signature_NH)
    signature_UH = signature_NH[first_U]
    near_U = np.arange(len(first_U))  # among the distinct ones, itself if no earlier one is near
    for band_UR in np.split(signature_UH, bands, axis=1):
        for earlier_P, later_P in _pairs(_rows_as_bytes(band_UR)):
            equal_P = (signature_UH[earlier_P] == signature_UH[later_P]).mean(axis=1)
            found_P = equal_P >= similarity
            np.minimum.at(near_U, later_P[found_P], earlier_P[found_P])
    result_N = first_U[near_U[unique_N]]
    return np.where(result_N == np.arange(len(signature_NH)), -1, result_N)


def _rows_as_bytes(values_UR: NDArray[np.uint32]) -> NDArray[np.void]:
    width = values_UR.shape[1] * values_UR.itemsize
    return np.ascontiguousarray(values_UR).view(f"V{width}")[:, 0]


def _distinct(signature_NH: NDArray[np.uint32]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return where each distinct signature is first, ascending, and which one every row has."""
    _, first_U, unique_N = np.unique(
        _rows_as_bytes(signature_NH), return_index=True, return_inverse=True
    )
    order_U = np.argsort(first_U)
    return first_U[order_U], np.argsort(order_U)[unique_N]


def _pairs(band_U: NDArray[np.void]) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Yield all pairs of rows with an equal band, the earlier row first, so many at a time."""
    order_U = np.argsort(band_U, kind="stable")
    bucket_U = np.cumsum(np.concatenate([[False], band_U[order_U][1:] != band_U[order_U][:-1]]))
    start_P = np.arange(len(order_U))
    for lag in range(1, len(order_U)):
        start_P = start_P[start_P + lag < len(order_U)]
        start_P = start_P[bucket_U[start_P] == bucket_U[start_P + lag]]
        if not len(start_P):
            return
        for at in range(0, len(start_P), PAIRS):
            some_P = start_P[at : at + PAIRS]
            yield order_U[some_P], order_U[some_P + lag]
