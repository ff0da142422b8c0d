"""Complexity and sums of distances against brute force and hand-made cases."""

import numpy as np
import pytest

from filters.concepts import density
from filters.concepts.density import Spread, complexity, distance_to_nearest, fixed_point


def brute(centroids, intra, neighbours):
    unit = centroids / np.linalg.norm(centroids, axis=1, keepdims=True)
    values = []
    for j in range(len(unit)):
        others = sorted(1 - float(unit[j] @ unit[c]) for c in range(len(unit)) if c != j)
        values.append(np.mean(others[:neighbours]) * intra[j])
    return np.array(values)


@pytest.mark.parametrize("neighbours", [1, 3, 20, 500])
@pytest.mark.parametrize("cells", [1, 100, 2**24])
def test_complexity_is_that_of_brute_force_block_by_block(neighbours, cells, monkeypatch):
    monkeypatch.setattr(density, "BLOCK_CELLS", cells)
    rng = np.random.default_rng(neighbours)
    centroids = rng.normal(size=(37, 12)).astype(np.float32)  # not of unit norm
    intra = rng.random(37)
    found = complexity(centroids, mean_distance_K=intra, neighbours=neighbours)
    assert found == pytest.approx(brute(centroids.astype(float), intra, neighbours), abs=1e-9)


def test_a_twin_counts_as_a_neighbour_and_the_centroid_itself_does_not():
    centroids = np.eye(3, dtype=np.float32)[[0, 0, 1]]
    assert distance_to_nearest(centroids, neighbours=1) == pytest.approx([0, 0, 1])
    assert distance_to_nearest(centroids, neighbours=2) == pytest.approx([0.5, 0.5, 1])


def test_concepts_without_members_have_the_mean_of_the_rest():
    centroids = np.eye(4, dtype=np.float32)
    found = complexity(centroids, mean_distance_K=np.array([0.5, np.nan, 0, 0.1]), neighbours=2)
    assert found == pytest.approx([0.5, 0.2, 0, 0.1])
    assert (
        complexity(centroids, mean_distance_K=np.full(4, np.nan), neighbours=2).tolist() == [1] * 4
    )
    assert complexity(centroids[:1], mean_distance_K=np.array([0.3]), neighbours=9).tolist() == [1]


@pytest.mark.parametrize(("neighbours", "spoilt"), [(0, 1.0), (2, np.nan)])
def test_what_has_no_neighbours_is_refused(neighbours, spoilt):
    centroids = np.eye(3, dtype=np.float32)
    centroids[0, 0] = spoilt
    with pytest.raises(ValueError, match=f"3 centroids and {neighbours} neighbours, expected"):
        distance_to_nearest(centroids, neighbours=neighbours)


def test_sums_do_not_depend_on_rows_or_shards():
    rng = np.random.default_rng(0)
    cluster = rng.integers(-1, 5, 4000).astype(np.int32)
    distance = rng.random(4000, np.float32) ** 5 * 2
    distance[cluster < 0] = np.nan
    whole = Spread.of(cluster, distance, concepts=6)
    for shards in (2, 7):
        order = rng.permutation(4000)
        parts = [
            Spread.of(cluster[rows], distance[rows], concepts=6)
            for rows in np.array_split(order, shards)
        ]
        together = sum(parts[1:], start=parts[0])
        assert together.sum_K.tolist() == whole.sum_K.tolist()
        assert together.size_K.tolist() == whole.size_K.tolist()
    mean = [distance[cluster == j].astype(float).mean() for j in range(5)]
    assert whole.mean[:5] == pytest.approx(mean, abs=2e-9)
    assert np.isnan(whole.mean[5])


def test_sums_of_blocks_are_exact(monkeypatch):
    monkeypatch.setattr(density, "BLOCK_ROWS", 3)
    distance = np.array([2, 0.1, 0.3, 0.7, 1.9, 0.2, 1e-9, 1e-8], np.float32)
    spread = Spread.of(np.zeros(8, np.int32), distance, concepts=1)
    assert spread.sum_K.tolist() == [sum(round(float(d) * 2**28) for d in distance)]


def test_the_largest_pool_in_one_concept_does_not_overflow():
    largest = fixed_point(np.array([2.0, 7.0, -1e-7], np.float32)).tolist()
    assert largest == [2**29, 2**29, 0]
    rows = 2**34 - 1
    spread = Spread(np.array([rows]), np.array([rows * largest[0]]))
    assert spread.mean == pytest.approx([2.0])


def test_a_distance_that_is_none_is_refused():
    with pytest.raises(ValueError, match="got NaN in 1 of 2 rows, expected numbers"):
        fixed_point(np.array([0.5, np.nan], np.float32))
