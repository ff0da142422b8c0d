"""Clusters inside clusters: what one k-means does with N K products, in N (K1 + K2).

Letters: N points, K clusters, U outer clusters, D dimensions, M points of an outer cluster.
"""

from dataclasses import dataclass
from functools import partial
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from filters.concepts.clustering import (
    Clustering,
    Concepts,
    Map,
    check_at_least_1,
    check_steps,
)
from filters.concepts.direction import has_direction
from filters.concepts.kmeans import Trained, assign, spherical_kmeans
from filters.concepts.starts import Start
from filters.concepts.widening import Points


@dataclass(frozen=True, kw_only=True, slots=True)
class TwoLevel(Clustering):
    """Super-clusters of everything, then a k-means of its own in each one.

    The idea of DeeperCluster (Caron et al., arXiv:1905.01278). Inner runs do not depend on each
    other, so `map` may spread them over machines. A super-cluster is split into more clusters the
    more points it has: one, and a share of the others by the largest remainder.

    Attributes:
        outer: Super-clusters, K1.
        inner: Clusters in each of them on average, K2; there are outer * inner in all.
        iterations: Steps at most, of each k-means.
        sample: Points that each cluster is trained on, on average.
        start: How points to start from are drawn.
        tolerance: Stop once a step lowers the inertia by no more than this share of it.
    """

    kind: Literal["two_level"] = "two_level"
    outer: int = 10
    inner: int = 10
    iterations: int = 25
    sample: int = 256
    start: Start = "sampled"
    tolerance: float = 1e-4

    def __post_init__(self) -> None:
        """Refuse settings that cluster nothing."""
        check_at_least_1(self.kind, outer=self.outer, inner=self.inner)
        check_steps(self.kind, self.iterations, self.sample, self.tolerance)

    @property
    def points(self) -> int:
        """How many points to train on."""
        return self.outer * self.inner * self.sample

    def train(self, sample_ND: Points, *, seed: int, map: Map = map) -> Concepts:  # noqa: A002
        """Train the super-clusters, then each one's clusters as an item of `map`."""
        directed_N = has_direction(sample_ND)
        if not directed_N.all():
            sample_ND = sample_ND[directed_N]
        run = partial(
            spherical_kmeans,
            iterations=self.iterations,
            start=self.start,
            tolerance=self.tolerance,
        )
        outer = run(sample_ND, clusters=self.outer, seed=seed)
        cluster_N = assign(sample_ND, outer.centroid_KD).cluster_N
        size_U = np.bincount(cluster_N, minlength=len(outer.centroid_KD))
        full = np.flatnonzero(size_U)  # nothing can be trained in one without points
        share = split(size_U[full], total=self.outer * self.inner)
        members = np.split(np.argsort(cluster_N, kind="stable"), np.cumsum(size_U[full])[:-1])
        jobs = (
            _Job(sample_ND[at_M], clusters=int(share[u]), seed=_seed(seed, u))
            for u, at_M in enumerate(members)
        )
        inner: list[Trained] = list(map(partial(_train, run), jobs))
        count = [len(trained.centroid_KD) for trained in inner]
        lost = sum(
            trained.inertia[-1] * size for trained, size in zip(inner, size_U[full], strict=True)
        )
        return Concepts(
            np.concatenate([trained.centroid_KD for trained in inner]),
            parents=(np.repeat(np.arange(len(full), dtype=np.int32), count),),
            upper=(outer.centroid_KD[full],),
            routed=True,
            inertia=float(lost / len(sample_ND)),
            mended=outer.mended + sum(trained.mended for trained in inner),
        )


@dataclass(frozen=True, slots=True)
class _Job:
    """The points of one super-cluster, and what is to become of them."""

    vectors_MD: Points
    clusters: int
    seed: int


def _train(run: partial[Trained], job: _Job) -> Trained:
    return run(job.vectors_MD, clusters=job.clusters, seed=job.seed)


def _seed(seed: int, u: int) -> int:
    return int(np.random.SeedSequence([seed, u]).generate_state(1, np.uint64)[0])


def split(size_U: NDArray[np.int64], *, total: int) -> NDArray[np.int64]:
    """Share `total` clusters: one for each size, the rest by the largest remainder, int64 [U].

    The rest goes in proportion to the points beyond the first, so that nobody gets more clusters
    than points. Ties of remainders go to the lowest id.

    Args:
        size_U: Points of each, at least 1.
        total: Taken as at least one each and at most all points.
    """
    beyond_U = size_U - 1
    rest = min(max(total, len(size_U)), int(size_U.sum())) - len(size_U)
    # Integers, since a share must not be rounded above its size.
    floor_U, remainder_U = np.divmod(rest * beyond_U, max(1, int(beyond_U.sum())))
    left = rest - int(floor_U.sum())
    floor_U[np.argsort(-remainder_U, kind="stable")[:left]] += 1
    return 1 + floor_U
