"""Does a caption say what is said of similar pictures? A second opinion on alignment, no training.

Letters: N pairs, k neighbours.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from filters.concepts.clustering import Concepts, Flat
from filters.extract.base import Column

CLUSTER_SIZE = 2000  # neighbours are sought inside a cluster: N * CLUSTER_SIZE products, not N * N
TRAINED_ON = 40  # pictures of a sample for each cluster, at least
LARGEST = 16_000  # pairs that ask each other: 55 MB of embeddings, and so many products a pair
TILE = 2**22  # products at a time, 32 MB
ITERATIONS = 10


@dataclass(frozen=True, kw_only=True, slots=True)
class Consensus:
    """Agreement of a caption with the captions of the nearest pictures.

    The mean of the `best` highest cosines between the caption and the captions of the `neighbours`
    nearest pictures in its concept. A caption that belongs to another picture agrees with few of
    them. The mean over all neighbours is worse, since even good neighbours are described in many
    ways (measured on openclipart, LOG.md).

    Attributes:
        neighbours: Pictures asked.
        best: How many of them have to agree.
        sample: Pictures that clusters are found on, at most; those with the lowest hashes of uids.
    """

    neighbours: int = 10
    best: int = 3
    sample: int = 200_000
    column: ClassVar[Column] = Column(
        "consensus", "float32", "", "[-1, 1]", "caption against captions of similar pictures"
    )
    views: ClassVar[Mapping[str, Column]] = {}
    version: ClassVar[int] = 3

    def __post_init__(self) -> None:
        """Check that the numbers fit."""
        if not 1 <= self.best <= self.neighbours:
            raise ValueError(
                f"consensus.best: got {self.best}, expected 1 to consensus.neighbours "
                f"({self.neighbours})"
            )
        if self.sample < 1:
            raise ValueError(f"consensus.sample: got {self.sample}, expected at least 1")

    @property
    def largest(self) -> int:
        """Pairs of a cluster that ask each other; a larger one is cut at random."""
        return LARGEST

    def cluster(self, image_ND: NDArray[np.float16], *, pairs: int, seed: int) -> Concepts:
        """Find clusters of about `CLUSTER_SIZE` pairs of a pool on a sample of its pictures.

        Where the sample is too small for so many, they are fewer and larger.
        """
        clusters = min(-(-pairs // CLUSTER_SIZE), max(1, self.sample // TRAINED_ON))
        return Flat(clusters=clusters, iterations=ITERATIONS).train(image_ND, seed=seed)

    def agreement(
        self, image_ND: NDArray[np.float16], text_ND: NDArray[np.float16]
    ) -> NDArray[np.float32]:
        """Return the consensus of N pairs that ask each other, float32 [N]; NaN for a lone one.

        Of pictures that are equally near, the first ones are asked. Products of float16 add up in
        float64 without rounding, so that neither tiles nor threads show.
        """
        score_N = np.full(len(image_ND), np.nan, np.float32)
        k = min(self.neighbours, len(image_ND) - 1)
        if k < 1:
            return score_N
        image, text = image_ND.astype(np.float64), text_ND.astype(np.float64)
        step = max(1, TILE // len(image))
        for start in range(0, len(image), step):
            tile = slice(start, start + step)
            similarity_TN = image[tile] @ image.T
            here = np.arange(len(similarity_TN))
            similarity_TN[here, start + here] = -np.inf
            neighbour_Tk = _nearest(similarity_TN, k)
            cosine_Tk = (text[neighbour_Tk] * text[tile, None]).sum(axis=2)
            score_N[tile] = np.sort(cosine_Tk, axis=1)[:, -min(self.best, k) :].mean(axis=1)
        return score_N


def _nearest(similarity_TN: NDArray[np.float64], k: int) -> NDArray[np.int64]:
    """Return the columns of the k largest of each row, int64 [T, k]; of equal ones the first."""
    wanted = similarity_TN.shape[1] - k
    least_T1 = np.partition(similarity_TN, wanted, axis=1)[:, wanted, None]
    above_TN, equal_TN = similarity_TN > least_T1, similarity_TN == least_T1
    room_T1 = k - np.count_nonzero(above_TN, axis=1, keepdims=True)
    chosen_TN = above_TN | (equal_TN & (np.cumsum(equal_TN, axis=1, dtype=np.int32) <= room_T1))
    return np.nonzero(chosen_TN)[1].reshape(-1, k)
