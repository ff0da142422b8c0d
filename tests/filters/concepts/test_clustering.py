"""Clusterings against what they are made of, brute force, and points crowded in one place."""

import dataclasses
from concurrent.futures import ProcessPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from filters.concepts import (
    Concepts,
    Flat,
    Hierarchical,
    TwoLevel,
    assign,
    spherical_kmeans,
)
from filters.concepts.hierarchy import central
from filters.concepts.two_level import split

ALL = [
    Flat(clusters=12, iterations=4),
    TwoLevel(outer=4, inner=3, iterations=4),
    Hierarchical(levels=(12, 4, 2), steps=2, iterations=4),
]
FLAWED = [
    (lambda: Flat(clusters=0), "flat: got clusters = 0, expected at least 1"),
    (lambda: Flat(tolerance=-1.0), "flat: got tolerance = -1.0"),
    (lambda: TwoLevel(inner=0), "two_level: got inner = 0"),
    (lambda: TwoLevel(sample=0), "two_level: got sample = 0"),
    (lambda: Hierarchical(levels=(4, 4)), r"hierarchical: got levels = \[4, 4\]"),
    (lambda: Hierarchical(levels=()), r"hierarchical: got levels = \[\]"),
    (lambda: Hierarchical(nearest=0.0), "got steps = 10 and nearest = 0.0"),
]


def unit(vectors, dtype=np.float16):
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(dtype)


def points(rows=1500, dim=16, seed=0):
    return unit(np.random.default_rng(seed).normal(size=(rows, dim)))


def same(one, other):
    return all(
        a.tobytes() == b.tobytes()
        for a, b in zip(dataclasses.astuple(one), dataclasses.astuple(other), strict=True)
    )


@pytest.mark.parametrize("clustering", ALL, ids=lambda c: c.kind)
def test_a_clustering_trains_stores_and_assigns(clustering):
    vectors = points()
    vectors[7] = 0
    concepts = clustering.train(vectors, seed=5)
    assert concepts.clusters == 12
    assert clustering.points == 12 * 256
    sizes = [concepts.clusters, *(len(level) for level in concepts.upper)]
    assert [len(parent) for parent in concepts.parents] == sizes[:-1]
    assert all(
        parent.max() < size for parent, size in zip(concepts.parents, sizes[1:], strict=True)
    )
    found = concepts.assign(vectors)
    assert found.cluster_N[7] == found.second_N[7] == -1
    assert np.bincount(np.delete(found.cluster_N, 7), minlength=12).all()
    again = Concepts.from_arrays(concepts.to_arrays())
    assert same(again.assign(vectors), found)
    assert (again.routed, again.inertia, again.mended, len(again.parents)) == (
        concepts.routed, concepts.inertia, concepts.mended, len(concepts.parents),
    )  # fmt: skip


@pytest.mark.parametrize("clustering", ALL, ids=lambda c: c.kind)
def test_neither_order_nor_processes_change_a_bit(clustering):
    vectors = points()
    order = np.random.default_rng(0).permutation(len(vectors))
    concepts = clustering.train(vectors, seed=5)
    with ProcessPoolExecutor(1) as pool:
        spread = clustering.train(vectors[order], seed=5, map=pool.map)
    if clustering.kind == "hierarchical":  # it clusters centroids too, which are float32
        for one, other in zip(
            concepts.to_arrays().values(), spread.to_arrays().values(), strict=True
        ):
            assert one == pytest.approx(other, abs=1e-6)
    else:
        assert all(
            one.tobytes() == other.tobytes()
            for one, other in zip(
                concepts.to_arrays().values(), spread.to_arrays().values(), strict=True
            )
        )
    assert same(
        concepts.assign(vectors[order]),
        type(found := concepts.assign(vectors))(*(v[order] for v in dataclasses.astuple(found))),
    )


@pytest.mark.parametrize("clustering", ALL, ids=lambda c: c.kind)
def test_few_and_equal_points_are_fine(clustering):
    equal = np.repeat(points(1), 30, axis=0)
    concepts = clustering.train(equal, seed=0)
    assert concepts.clusters == 1
    assert (concepts.assign(equal).cluster_N == 0).all()
    few = clustering.train(points(3), seed=0)
    assert 1 <= few.clusters <= 3
    with pytest.raises(ValueError, match="no embeddings"):
        clustering.train(equal[:0], seed=0)


def test_flat_is_k_means():
    vectors = points()
    trained = spherical_kmeans(vectors, clusters=12, iterations=4, seed=5)
    concepts = ALL[0].train(vectors, seed=5)
    assert (concepts.centroid_KD == trained.centroid_KD).all()
    assert same(concepts.assign(vectors), assign(vectors, trained.centroid_KD))


def test_two_levels_are_k_means_inside_k_means():
    vectors = points()
    concepts = ALL[1].train(vectors, seed=5)
    outer = spherical_kmeans(vectors, clusters=4, iterations=4, seed=5).centroid_KD
    assert (concepts.upper[0] == outer).all()
    inside = assign(vectors, outer)
    found = concepts.assign(vectors)
    parent = concepts.parents[0]
    assert (np.diff(parent) >= 0).all()
    assert np.bincount(parent).tolist() == split(np.bincount(inside.cluster_N), total=12).tolist()
    distance = 1 - vectors.astype(np.float64) @ concepts.centroid_KD.T.astype(np.float64)
    for row in range(0, len(vectors), 7):
        own = np.flatnonzero(parent == inside.cluster_N[row])
        own = own[np.argsort(distance[row, own], kind="stable")]
        across = np.flatnonzero(parent == inside.second_N[row])
        rest = np.concatenate([own[1:], across])
        assert found.cluster_N[row] == own[0]
        assert found.second_N[row] == rest[distance[row, rest].argmin()]
        assert found.distance_N[row] == pytest.approx(distance[row, own[0]], abs=1e-6)
        assert found.second_distance_N[row] == pytest.approx(distance[row, rest].min(), abs=1e-6)


def test_inner_runs_see_the_points_of_their_super_cluster_only():
    """Two caps far apart: every cluster's centroid lies in the cap of its parent."""
    rng = np.random.default_rng(0)
    cap = np.repeat([0, 1], [600, 200])
    vectors = unit(np.eye(2, 8)[cap] * 3 + rng.normal(size=(800, 8)) * 0.3)
    concepts = TwoLevel(outer=2, inner=10).train(vectors, seed=0)
    of_cap = {int(c): int(concepts.upper[0][c, :2].argmax()) for c in (0, 1)}
    assert set(of_cap.values()) == {0, 1}
    assert concepts.centroid_KD[:, :2].argmax(axis=1).tolist() == [
        of_cap[p] for p in concepts.parents[0].tolist()
    ]
    assert sorted(np.bincount(concepts.parents[0]).tolist()) == [5, 15]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(1, 50), min_size=1, max_size=8), st.integers(0, 200))
def test_split_is_exact_and_in_proportion(sizes, total):
    sizes = np.array(sizes)
    share = split(sizes, total=total)
    assert share.sum() == min(max(total, len(sizes)), sizes.sum())
    assert ((share >= 1) & (share <= sizes)).all()
    fair = 1 + (share.sum() - len(sizes)) * (sizes - 1) / max(1, (sizes - 1).sum())
    assert (abs(share - fair) < 1).all()


def test_central_points_are_the_nearest_of_each_cluster():
    vectors = points(300)
    centroids = unit(vectors[:7].astype(float), np.float32)
    found = assign(vectors, centroids)
    at = central(vectors, centroids, count=5)
    for k in range(7):
        members = np.flatnonzero(found.cluster_N == k)
        members = members[np.argsort(found.distance_N[members], kind="stable")]
        assert set(at[found.cluster_N[at] == k]) == set(members[:5])


def test_the_tree_is_what_its_levels_say():
    concepts = ALL[2].train(points(), seed=5)
    assert [len(level) for level in concepts.upper] == [4, 2]
    below = [concepts.centroid_KD, *concepts.upper]
    for parent, children, above in zip(concepts.parents, below[:-1], below[1:], strict=True):
        assert (parent == assign(children, above).cluster_N).all()
    assert not concepts.routed


def test_without_resampling_it_is_k_means_of_centroids():
    vectors = points()
    concepts = Hierarchical(levels=(12, 4), steps=0, iterations=4).train(vectors, seed=5)
    settings_ = {"iterations": 4, "seed": 5, "start": "parallel"}
    first = spherical_kmeans(vectors, clusters=12, **settings_).centroid_KD
    second = spherical_kmeans(first, clusters=4, **settings_).centroid_KD
    assert (concepts.centroid_KD == first).all()
    assert (concepts.upper[0] == second).all()


def test_resampling_moves_centroids_from_the_crowd():
    """Of 3,000 points nine tenths lie in one narrow cap; resampled centroids leave it."""
    rng = np.random.default_rng(0)
    crowd = rng.normal(size=(2700, 6)) * 0.15 + np.eye(6)[0] * 2
    vectors = unit(np.concatenate([crowd, rng.normal(size=(300, 6))]))

    def in_the_crowd(steps):
        clustering = Hierarchical(levels=(40,), steps=steps)
        return [(clustering.train(vectors, seed=s).centroid_KD[:, 0] > 0.9).sum() for s in range(3)]

    assert max(in_the_crowd(6)) < min(in_the_crowd(0)) / 2


@pytest.mark.parametrize(("make", "says"), FLAWED)
def test_settings_that_cluster_nothing_are_refused(make, says):
    with pytest.raises(ValueError, match=says):
        make()
