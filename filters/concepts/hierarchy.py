"""A tree of clusters from the bottom up, whose centroids spread evenly over what there is.

Letters: N points (of the pool, or centroids of the level below), K clusters, D dimensions.
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from filters.concepts.clustering import (
    Clustering,
    Concepts,
    Map,
    check_steps,
)
from filters.concepts.direction import has_direction
from filters.concepts.kmeans import Trained, assign, spherical_kmeans
from filters.concepts.starts import Start
from filters.concepts.widening import Points


@dataclass(frozen=True, kw_only=True, slots=True)
class Hierarchical(Clustering):
    """Hierarchical k-means with resampling (Vo et al., arXiv:2405.15613, sections 3.2 and 3.3).

    The first level clusters points, each further one the centroids of the level below. On every
    level the following is done `steps` times: of each cluster the points nearest to its centroid
    are taken, k-means on these starts afresh, and all points are assigned again. Since every
    cluster brings as many points, however large it is, centroids move from where points are dense
    to where they are rare.

    Where we differ: clusters are spherical, k-means stops when it no longer improves, starts from
    k-means|| where the authors take k-means++ (from sampled points it stays near where it started,
    and resampling hardly moves a centroid), and `nearest` is a share of the mean cluster size, the
    authors' being near 0.5.

    Attributes:
        levels: Clusters of each level, from the bottom up, each fewer than those below.
        steps: Resamplings of each level; 0 is plain hierarchical k-means.
        nearest: Points taken of each cluster, as a share of the mean cluster size.
        iterations: Steps of k-means at most.
        sample: Points that each cluster of the first level is trained on, on average.
        start: How points to start from are drawn.
        tolerance: Stop once a step lowers the inertia by no more than this share of it.
    """

    kind: Literal["hierarchical"] = "hierarchical"
    levels: tuple[int, ...] = (100, 10)
    steps: int = 10
    nearest: float = 0.5
    iterations: int = 25
    sample: int = 256
    start: Start = "parallel"
    tolerance: float = 1e-4

    def __post_init__(self) -> None:
        """Refuse settings that make no tree."""
        falling = all(below > above for below, above in pairwise(self.levels))
        if not self.levels or min(self.levels) < 1 or not falling:
            raise ValueError(
                f"{self.kind}: got levels = {list(self.levels)}, expected at least one, each "
                "smaller than the one before and at least 1"
            )
        if self.steps < 0 or not 0 < self.nearest <= 1:
            raise ValueError(
                f"{self.kind}: got steps = {self.steps} and nearest = {self.nearest}, expected "
                "steps from 0 on and nearest above 0, at most 1"
            )
        check_steps(self.kind, self.iterations, self.sample, self.tolerance)

    @property
    def points(self) -> int:
        """How many points to train on."""
        return self.levels[0] * self.sample

    def train(self, sample_ND: Points, *, seed: int, map: Map = map) -> Concepts:  # noqa: A002
        """Train level upon level; each needs the one before, so there is nothing to spread."""
        del map
        directed_N = has_direction(sample_ND)
        points = sample_ND if directed_N.all() else sample_ND[directed_N]
        trained = []
        for clusters in self.levels:
            trained.append(self._level(points, clusters, seed))
            points = trained[-1].centroid_KD
        first = trained[0]
        return Concepts(
            first.centroid_KD,
            parents=tuple(
                assign(below.centroid_KD, above.centroid_KD).cluster_N
                for below, above in pairwise(trained)
            ),
            upper=tuple(level.centroid_KD for level in trained[1:]),
            inertia=first.inertia[-1],
            mended=sum(level.mended for level in trained),
        )

    def _level(self, points_ND: Points, clusters: int, seed: int) -> Trained:
        """Cluster one level's points; the seed may be the same, for the points are others."""
        trained = self._kmeans(points_ND, clusters, seed)
        for _ in range(self.steps):
            clusters = len(trained.centroid_KD)
            count = max(1, round(self.nearest * len(points_ND) / clusters))
            at = central(points_ND, trained.centroid_KD, count=count)
            trained = self._kmeans(points_ND[at], clusters, seed)
        return trained

    def _kmeans(self, points_ND: Points, clusters: int, seed: int) -> Trained:
        return spherical_kmeans(
            points_ND, clusters=clusters, iterations=self.iterations, seed=seed,
            start=self.start, tolerance=self.tolerance,
        )  # fmt: skip


def central(
    points_ND: Points, centroid_KD: NDArray[np.float32], *, count: int
) -> NDArray[np.int64]:
    """Return the positions of the `count` points of each cluster nearest to its centroid.

    A cluster with fewer has them all. Ties go to the earlier point.
    """
    clusters = assign(points_ND, centroid_KD)
    order_N = np.lexsort((clusters.distance_N, clusters.cluster_N))
    cluster_N = clusters.cluster_N[order_N]
    rank_N = np.arange(len(order_N)) - np.searchsorted(cluster_N, cluster_N)
    return order_N[rank_N < count]
