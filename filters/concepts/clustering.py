"""How a pool is cut into concepts: settings in, centroids out."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from filters.concepts.kmeans import Clusters, assign, spherical_kmeans

Map = Callable[[Callable[[Any], Any], Iterable[Any]], Iterable[Any]]


@dataclass(frozen=True, slots=True)
class Concepts:
    """K clusters.

    Attributes:
        centroid_KD: Unit-norm centroids, float32.
        parents: Parent of each cluster, level by level, int32.
    """

    centroid_KD: NDArray[np.float32]
    parents: tuple[NDArray[np.int32], ...] = ()

    @property
    def clusters(self) -> int:
        """K."""
        return len(self.centroid_KD)

    def assign(self, vectors_ND: NDArray[np.float16]) -> Clusters:
        """Assign each point to its nearest clusters."""
        return assign(vectors_ND, self.centroid_KD)

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """Return everything as arrays by name."""
        return {"centroid_KD": self.centroid_KD}

    @classmethod
    def from_arrays(cls, arrays: dict[str, NDArray[Any]]) -> "Concepts":
        """Return what `to_arrays` was asked of."""
        return cls(arrays["centroid_KD"])


@dataclass(frozen=True, kw_only=True, slots=True)
class Flat:
    """One k-means.

    Attributes:
        clusters: K.
        iterations: Most steps.
        sample: Points that a cluster is trained on, on average.
    """

    kind: Literal["flat"] = "flat"
    clusters: int = 100
    iterations: int = 25
    sample: int = 256

    @property
    def rows(self) -> int:
        """Points to train on."""
        return self.clusters * self.sample

    def train(self, sample_ND: NDArray[np.float16], *, seed: int, map: Map = map) -> Concepts:  # noqa: A002
        """Find the centroids of a sample."""
        del map
        centroid_KD = spherical_kmeans(
            sample_ND, clusters=self.clusters, iterations=self.iterations, seed=seed
        )
        return Concepts(centroid_KD)


AnyClustering = Flat
