"""Ways of clustering a pool into concepts, what they have in common, and the plain one.

Letters: N points, K clusters, D dimensions, U clusters of a level above.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from math import inf
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from filters.concepts.kmeans import Clusters, assign, spherical_kmeans
from filters.concepts.routed import assign_routed
from filters.concepts.starts import Start
from filters.concepts.widening import Points

Map = Callable[[Callable[[Any], Any], Iterable[Any]], Iterable[Any]]


@dataclass(frozen=True, slots=True)
class Concepts:
    """Trained clusters, and the tree above them.

    Attributes:
        centroid_KD: Unit-norm centroids of the clusters that points belong to, float32 [K, D].
        parents: Parent of each cluster among those of the next level up, int32 [K], then of each
            of those, and so on; empty without levels above.
        upper: Unit-norm centroids of the levels above, in that order, float32 [U, D].
        routed: A point is compared only with the children of the nearest cluster of `upper[0]`
            (`assign_routed`); then `parents[0]` is ascending.
        inertia: Mean distance of the points trained on to their centroids, before the last step.
        mended: How often a cluster that had lost all its points was given a new one.
    """

    centroid_KD: NDArray[np.float32]
    parents: tuple[NDArray[np.int32], ...] = ()
    upper: tuple[NDArray[np.float32], ...] = ()
    routed: bool = False
    inertia: float = 0.0
    mended: int = 0

    @property
    def clusters(self) -> int:
        """K."""
        return len(self.centroid_KD)

    def assign(self, vectors_ND: Points) -> Clusters:
        """Assign each point to its cluster; a point without a direction to none (`Clusters`)."""
        if not self.routed:
            return assign(vectors_ND, self.centroid_KD)
        return assign_routed(
            vectors_ND,
            outer_UD=self.upper[0],
            parent_K=self.parents[0],
            centroid_KD=self.centroid_KD,
        )

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """Return everything as arrays by name, to be stored."""
        named = {
            "centroid": self.centroid_KD,
            "routed": np.array(self.routed),
            "inertia": np.array(self.inertia, np.float64),
            "mended": np.array(self.mended, np.int64),
        }
        named |= {f"parent_{level}": parent_K for level, parent_K in enumerate(self.parents)}
        return named | {f"upper_{level}": upper_UD for level, upper_UD in enumerate(self.upper)}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> "Concepts":
        """Make it from what `to_arrays` returned."""
        levels = sum(name.startswith("parent_") for name in arrays)
        return cls(
            centroid_KD=arrays["centroid"],
            parents=tuple(arrays[f"parent_{level}"] for level in range(levels)),
            upper=tuple(arrays[f"upper_{level}"] for level in range(levels)),
            routed=bool(arrays["routed"]),
            inertia=float(arrays["inertia"]),
            mended=int(arrays["mended"]),
        )


class Clustering(ABC):
    """A way of clustering, with its settings; subclass it as a frozen keyword-only dataclass."""

    @property
    @abstractmethod
    def kind(self) -> str:
        """Name in a config: a field `kind: Literal["x"] = "x"`."""

    @property
    @abstractmethod
    def points(self) -> int:
        """How many points to train on: so many of a larger pool are drawn by the caller."""

    @abstractmethod
    def train(self, sample_ND: Points, *, seed: int, map: Map = map) -> Concepts:  # noqa: A002
        """Train it on all points given; deterministic.

        Args:
            sample_ND: Unit-norm points.
            seed: Of the starts.
            map: Runs parts that do not depend on each other: given a function and its arguments,
                returns the results in order. Both can be pickled.

        Raises:
            ValueError: There are no points with a direction.
        """


@dataclass(frozen=True, kw_only=True, slots=True)
class Flat(Clustering):
    """One k-means (`spherical_kmeans`): N K inner products a step.

    Attributes:
        clusters: K.
        iterations: Steps at most.
        sample: Points that each cluster is trained on, on average.
        start: How points to start from are drawn.
        tolerance: Stop once a step lowers the inertia by no more than this share of it.
    """

    kind: Literal["flat"] = "flat"
    clusters: int = 100
    iterations: int = 25
    sample: int = 256
    start: Start = "sampled"
    tolerance: float = 1e-4

    def __post_init__(self) -> None:
        """Refuse settings that cluster nothing."""
        check_at_least_1(self.kind, clusters=self.clusters)
        check_steps(self.kind, self.iterations, self.sample, self.tolerance)

    @property
    def points(self) -> int:
        """How many points to train on."""
        return self.clusters * self.sample

    def train(self, sample_ND: Points, *, seed: int, map: Map = map) -> Concepts:  # noqa: A002
        """Train it in one piece."""
        del map
        trained = spherical_kmeans(
            sample_ND, clusters=self.clusters, iterations=self.iterations, seed=seed,
            start=self.start, tolerance=self.tolerance,
        )  # fmt: skip
        return Concepts(trained.centroid_KD, inertia=trained.inertia[-1], mended=trained.mended)


def check_at_least_1(kind: str, **settings: int) -> None:
    """Refuse whole numbers below 1.

    Raises:
        ValueError: There is one.
    """
    for name, value in settings.items():
        if value < 1:
            raise ValueError(f"{kind}: got {name} = {value}, expected at least 1")


def check_steps(kind: str, iterations: int, sample: int, tolerance: float) -> None:
    """Refuse settings of k-means that do not train.

    Raises:
        ValueError: There is one.
    """
    check_at_least_1(kind, iterations=iterations, sample=sample)
    if not 0 <= tolerance < inf:
        raise ValueError(f"{kind}: got tolerance = {tolerance}, expected a number from 0 on")
