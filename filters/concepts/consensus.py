"""Does a caption say what is said of similar pictures? A second opinion on alignment, no training.

Letters: N pairs, k neighbours.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from filters.concepts.kmeans import assign, spherical_kmeans
from filters.extract.base import Column

CLUSTER_SIZE = 2000  # neighbours are sought inside a cluster: N * CLUSTER_SIZE products, not N * N
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
    """

    neighbours: int = 10
    best: int = 3
    column: ClassVar[Column] = Column(
        "consensus", "float32", "", "[-1, 1]", "caption against captions of similar pictures"
    )
    views: ClassVar[Mapping[str, Column]] = {}
    version: ClassVar[int] = 1

    def __post_init__(self) -> None:
        """Check that the numbers fit."""
        if not 1 <= self.best <= self.neighbours:
            raise ValueError(
                f"consensus.best: got {self.best}, expected 1 to consensus.neighbours "
                f"({self.neighbours})"
            )

    def fit(
        self,
        image_ND: NDArray[np.float16],
        text_ND: NDArray[np.float16],
        *,
        views: Mapping[str, NDArray[np.float16]],
        seed: int,
    ) -> dict[str, NDArray[np.float32]]:
        """Return the consensus of each pair, float32 [N]; NaN for a pair alone in its concept."""
        del views
        clusters = -(-len(image_ND) // CLUSTER_SIZE)
        trained = spherical_kmeans(image_ND, clusters=clusters, iterations=ITERATIONS, seed=seed)
        centroids = trained.centroid_KD
        cluster_N = assign(image_ND, centroids).cluster_N
        score_N = np.full(len(image_ND), np.nan, np.float32)
        for cluster in range(len(centroids)):
            members = np.flatnonzero(cluster_N == cluster)
            if len(members) > 1:
                score_N[members] = self._agreement(image_ND[members], text_ND[members])
        return {"consensus": score_N}

    def _agreement(
        self, image_ND: NDArray[np.float16], text_ND: NDArray[np.float16]
    ) -> NDArray[np.float32]:
        similarity_NN = image_ND.astype(np.float32) @ image_ND.astype(np.float32).T
        np.fill_diagonal(similarity_NN, -np.inf)
        k = min(self.neighbours, len(image_ND) - 1)
        neighbour_Nk = np.argpartition(-similarity_NN, k - 1, axis=1)[:, :k]
        text = text_ND.astype(np.float32)
        cosine_Nk = np.einsum("nkd,nd->nk", text[neighbour_Nk], text)
        return np.sort(cosine_Nk, axis=1)[:, -min(self.best, k) :].mean(axis=1)
