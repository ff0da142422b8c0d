"""K-means against FAISS, brute force and planted clusters; nothing depends on order or threads."""

import dataclasses

import faiss
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from threadpoolctl import threadpool_limits

from filters.concepts import assign, spherical_kmeans
from filters.concepts.kmeans import _mend, _Sums
from filters.concepts.nearest import nearest, products_with
from filters.concepts.starts import keys, start_from


def unit(vectors, dtype=np.float16):
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(dtype)


def planted(rows, dim=32, centres=40, spread=0.15, seed=0):
    """Points around centres, of which some are crowded and some are not."""
    rng = np.random.default_rng(seed)
    share = rng.dirichlet(np.ones(centres))
    centre = unit(rng.normal(size=(centres, dim)), float)
    noise = rng.normal(size=(rows, dim), scale=spread)
    return unit(centre[rng.choice(centres, rows, p=share)] + noise)


def brute(vectors, centroids):
    """Nearest and second nearest in float64, ties to the lowest id."""
    similarity = vectors.astype(np.float64) @ centroids.astype(np.float64).T
    order = np.argsort(-similarity.round(13), axis=1, kind="stable")[:, :2]
    return order, 1 - np.take_along_axis(similarity, order, axis=1)


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
@pytest.mark.parametrize(
    ("rows", "clusters", "dim"), [(1, 2, 3), (2500, 33, 17), (1025, 2, 512), (300, 4097, 8)]
)
def test_assign_is_brute_force(rows, clusters, dim, dtype):
    rng = np.random.default_rng(rows)
    vectors = unit(rng.normal(size=(rows, dim)), dtype)
    centroids = unit(rng.normal(size=(clusters, dim)), np.float32)
    found = assign(vectors, centroids)
    order, distance = brute(vectors, centroids)
    assert (found.cluster_N == order[:, 0]).all()
    assert (found.second_N == order[:, 1]).all()
    assert found.distance_N == pytest.approx(distance[:, 0], abs=1e-6)
    assert found.second_distance_N == pytest.approx(distance[:, 1], abs=1e-6)
    assert [v.dtype for v in dataclasses.astuple(found)] == [np.int32, np.float32] * 2


def test_ties_go_to_the_lowest_id_and_near_ties_to_the_nearer():
    rng = np.random.default_rng(0)
    point = unit(rng.normal(size=(1, 64)), np.float32)
    aside = unit(rng.normal(size=(1, 64)), np.float32)
    # All within float32's rounding of each other: only float64 can tell.
    near = np.repeat(point, 6, axis=0) - aside * np.array([[0, 3, 1, 3, 1, 2]]).T * np.float32(1e-5)
    vectors = np.concatenate([unit(rng.normal(size=(700, 64)), np.float32), point])
    found = assign(vectors, near)
    order, _ = brute(vectors, near)
    assert (found.cluster_N == order[:, 0]).all()
    assert (found.second_N == order[:, 1]).all()
    equal = assign(vectors, np.repeat(point, 5, axis=0))
    assert (equal.cluster_N == 0).all()
    assert (equal.second_N == 1).all()


def test_rows_without_a_direction_belong_nowhere():
    vectors = unit(np.random.default_rng(0).normal(size=(9, 8)))
    vectors[2], vectors[5, 3], vectors[7, 0] = 0, np.nan, np.inf
    good = np.delete(vectors, [2, 5, 7], axis=0)
    found = assign(vectors, good[:3].astype(np.float32))
    assert found.cluster_N[[2, 5, 7]].tolist() == found.second_N[[2, 5, 7]].tolist() == [-1] * 3
    assert np.isnan(found.distance_N[[2, 5, 7]]).all()
    assert np.isfinite(np.delete(found.distance_N, [2, 5, 7])).all()
    left_out = spherical_kmeans(vectors, clusters=3, iterations=5, seed=0)
    assert (left_out.centroid_KD == spherical_kmeans(
        good, clusters=3, iterations=5, seed=0).centroid_KD).all()  # fmt: skip
    with pytest.raises(ValueError, match="no embeddings to cluster among 2"):
        spherical_kmeans(np.zeros((2, 8), np.float16), clusters=2, iterations=3, seed=0)


def test_one_cluster_has_no_second():
    vectors = unit(np.random.default_rng(0).normal(size=(5, 8)))
    found = assign(vectors, spherical_kmeans(vectors, clusters=1, iterations=3, seed=0).centroid_KD)
    assert (found.second_N == -1).all()
    assert np.isnan(found.second_distance_N).all()


def test_a_faiss_index_finds_the_same_bits():
    vectors = planted(3000)
    centroids = unit(vectors[:50].astype(float), np.float32)
    index = faiss.IndexFlatIP(centroids.shape[1])
    index.add(centroids)
    for ours, theirs in zip(
        nearest(vectors, centroids, wanted=2),
        nearest(vectors, centroids, wanted=2, index=index),
        strict=True,
    ):
        assert np.array_equal(ours, theirs)


def test_steps_are_those_of_faiss():
    vectors = planted(6000, spread=0.3)
    rng = np.random.default_rng(1)
    initial = unit(vectors[rng.choice(len(vectors), 60, replace=False)].astype(float), np.float32)
    ours = spherical_kmeans(
        vectors, clusters=60, iterations=12, seed=0, tolerance=0, initial=initial
    )
    theirs = faiss.Kmeans(
        vectors.shape[1], 60, niter=12, spherical=True,
        min_points_per_centroid=1, max_points_per_centroid=len(vectors),
    )  # fmt: skip
    theirs.train(vectors.astype(np.float32), init_centroids=initial)
    assert ours.mended == sum(step["nsplit"] for step in theirs.iteration_stats) == 0
    assert ours.inertia == pytest.approx(1 - np.array(theirs.obj) / len(vectors), rel=1e-4)
    centroids = np.asarray(theirs.centroids)
    order, distance = brute(vectors, centroids)
    clear = distance[:, 1] - distance[:, 0] > 1e-4
    assert clear.mean() > 0.99
    assert (assign(vectors, ours.centroid_KD).cluster_N == order[:, 0])[clear].all()


@pytest.mark.parametrize("start", ["sampled", "parallel"])
def test_planted_concepts_are_found(start):
    rng = np.random.default_rng(0)
    truth = np.repeat(np.arange(5), 60)
    vectors = unit(np.eye(5, 16)[truth] + rng.normal(size=(300, 16), scale=0.05))
    trained = spherical_kmeans(vectors, clusters=5, iterations=20, seed=4, start=start)
    found = assign(vectors, trained.centroid_KD)
    assert np.linalg.norm(trained.centroid_KD, axis=1) == pytest.approx(np.ones(5), abs=1e-6)
    assert len(set(zip(truth, found.cluster_N, strict=True))) == 5
    assert trained.inertia[-1] == pytest.approx(found.distance_N.mean(), rel=0.02)


@pytest.mark.parametrize("start", ["sampled", "parallel"])
def test_neither_order_nor_threads_change_a_bit(start):
    vectors = planted(5000)
    settings_ = {"clusters": 70, "iterations": 8, "seed": 3, "start": start}
    with threadpool_limits(2):
        trained = spherical_kmeans(vectors, **settings_)
        found = assign(vectors, trained.centroid_KD)
    order = np.random.default_rng(0).permutation(len(vectors))
    with threadpool_limits(1):
        again = spherical_kmeans(vectors[order], **settings_)
        shuffled = assign(vectors[order], again.centroid_KD)
    assert trained.centroid_KD.tobytes() == again.centroid_KD.tobytes()
    assert trained.inertia == again.inertia
    for one, other in zip(dataclasses.astuple(found), dataclasses.astuple(shuffled), strict=True):
        assert one[order].tobytes() == other.tobytes()


def test_threads_do_not_change_a_bit_of_float32_either():
    vectors = planted(3000).astype(np.float32) * np.float32(1.0001)
    with threadpool_limits(2):
        one = spherical_kmeans(vectors, clusters=30, iterations=5, seed=0, start="parallel")
    with threadpool_limits(1):
        other = spherical_kmeans(vectors, clusters=30, iterations=5, seed=0, start="parallel")
    assert one.centroid_KD.tobytes() == other.centroid_KD.tobytes()


@settings(max_examples=25, deadline=None)
@given(
    distinct=st.integers(1, 6), copies=st.integers(1, 5), clusters=st.integers(1, 9),
    start=st.sampled_from(["sampled", "parallel"]), seed=st.integers(0, 99),
)  # fmt: skip
def test_there_are_no_more_clusters_than_distinct_points(distinct, copies, clusters, start, seed):
    vectors = unit(np.random.default_rng(seed).normal(size=(distinct, 5)))
    vectors = np.tile(vectors, (copies, 1))
    first = start_from(vectors, clusters=clusters, seed=seed, start=start)
    assert len(np.unique(first, axis=0)) == len(first) == min(clusters, distinct)
    trained = spherical_kmeans(vectors, clusters=clusters, iterations=4, seed=seed, start=start)
    assert len(trained.centroid_KD) == len(first)
    if clusters >= distinct:
        assert assign(vectors, trained.centroid_KD).distance_N == pytest.approx(0, abs=2e-3)


def test_keys_are_of_values_not_of_types_or_signs_of_zero():
    vectors = np.array([[0.5, 0.0, -1.0], [0.5, -0.0, -1.0], [0.5, 0.25, -1.0]], np.float16)
    key = keys(vectors, seed=0)
    assert key[0] == key[1] != key[2]
    assert (keys(vectors.astype(np.float32), seed=0) == key).all()
    assert not (keys(vectors, seed=1) == key).any()


def test_every_point_is_as_likely_a_start():
    vectors = np.repeat(unit(np.random.default_rng(0).normal(size=(20, 4))), 2, axis=0)
    drawn = [start_from(vectors, clusters=5, seed=s, start="sampled") for s in range(400)]
    times = [sum((first == row).all(axis=1).sum() for first in drawn) for row in vectors[::2]]
    assert sum(times) == 2000
    assert min(times) > 65  # 100 expected, standard deviation 8.7
    assert max(times) < 135


def test_parallel_starts_lower_than_sampled():
    vectors = planted(4000, centres=80, spread=0.05)
    at_start = {
        start: np.mean([
            spherical_kmeans(vectors, clusters=80, iterations=1, seed=s, start=start).inertia[0]
            for s in range(3)
        ])
        for start in ("sampled", "parallel")
    }  # fmt: skip
    assert at_start["parallel"] < 0.5 * at_start["sampled"]


def test_empty_clusters_get_the_farthest_points_of_the_largest():
    vectors = np.zeros((9, 3), np.float16)
    vectors[:4, 0] = 1  # the largest, but all the same
    vectors[4:7] = unit(np.array([[0, 1, 0.1], [0, 1, 0.5], [0, 1, 0]]))
    vectors[7:] = unit(np.array([[0, 0, 1], [0, 0.2, 1]]))
    centroids = np.array(
        [[-1, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1], [-1, 0, 0.1], [-1, 0.1, 0]], np.float32
    )
    cluster = nearest(vectors, centroids, wanted=1)[0][:, 0]
    assert cluster.tolist() == [1] * 4 + [2] * 3 + [3] * 2
    assert _mend(vectors, cluster, centroids) == 2
    assert cluster.tolist() == [1] * 4 + [2, 0, 2] + [3, 4]
    assert centroids[0] == pytest.approx(vectors[5], abs=1e-3)
    assert centroids[4] == pytest.approx(vectors[8], abs=1e-3)
    trained = spherical_kmeans(vectors, clusters=6, iterations=9, seed=0, initial=centroids)
    assert trained.mended == 1  # the one that was left
    assert (np.bincount(assign(vectors, trained.centroid_KD).cluster_N, minlength=6) > 0).all()


def test_sums_of_what_moved_are_sums_of_all():
    rng = np.random.default_rng(0)
    vectors = planted(500)
    sums = _Sums(vectors, 7, is_exact=True)
    cluster = rng.integers(0, 7, 500).astype(np.int32)
    for moved in (0, 3, 100, 400):
        cluster[rng.choice(500, moved, replace=False)] = 6  # in the end cluster 0 may be empty
        anew = _Sums(vectors, 7, is_exact=False).of(cluster)
        assert np.array_equal(sums.of(cluster), anew)
        by_hand = [vectors[cluster == k].astype(np.float64).sum(axis=0) for k in range(7)]
        assert np.array_equal(anew, np.array(by_hand))


def test_products_told_apart_are_those_told_with_the_nearest():
    vectors = planted(2500)
    vectors[7] = 0
    centroids = unit(vectors[:40].astype(float) + 1e-3, np.float32)
    cluster, product = nearest(vectors, centroids, wanted=2)
    alone, none = nearest(vectors, centroids, wanted=2, products=False)
    assert np.array_equal(alone, cluster)
    assert np.isnan(none).all()
    found = products_with(vectors, centroids, cluster[:, 0])
    assert np.array_equal(found, product[:, 0], equal_nan=True)


def test_training_stops_when_it_no_longer_improves():
    vectors = planted(2000)
    long = spherical_kmeans(vectors, clusters=20, iterations=200, seed=0, tolerance=0)
    assert 3 < long.steps < 200
    assert list(long.inertia[1:]) <= list(long.inertia[:-1])
    short = spherical_kmeans(vectors, clusters=20, iterations=200, seed=0, tolerance=0.01)
    assert short.steps < long.steps
    assert short.inertia == long.inertia[: short.steps]
    falls = -np.diff(short.inertia) / short.inertia[1:]
    assert (falls[:-1] > 0.01).all()
    assert falls[-1] <= 0.01


def test_numbers_out_of_range_are_refused():
    with pytest.raises(ValueError, match="got 0 clusters and 3 iterations"):
        spherical_kmeans(np.ones((2, 2), np.float16), clusters=0, iterations=3, seed=0)
