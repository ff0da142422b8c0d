"""Concept arithmetic against brute force, closed forms and planted clusters."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from filters.concepts import (
    Consensus,
    allocate,
    assign,
    complexity,
    duplicate_of,
    spherical_kmeans,
    targets,
)


def unit(vectors):
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float16)


def dense_copies(vectors, order, similarity):
    """The paper's rule on dense matrices."""
    ordered = vectors[order].astype(np.float32)
    upper = np.triu(ordered @ ordered.T, 1)
    upper[np.tril_indices(len(ordered))] = -1
    return set(order[np.flatnonzero(upper.max(axis=0) >= similarity)].tolist())


@pytest.mark.parametrize("count", [1, 2, 700, 2500])
@pytest.mark.parametrize("similarity", [0.5, 0.95, 0.999])
def test_duplicates_are_those_of_the_dense_rule(count, similarity):
    rng = np.random.default_rng(count)
    vectors = rng.normal(size=(count, 16))
    copies = rng.choice(count, count // 4)
    vectors[copies] = vectors[rng.choice(count, len(copies))] + rng.normal(
        size=(len(copies), 16), scale=0.05
    )
    vectors, order = unit(vectors), rng.permutation(count)
    twin = duplicate_of(vectors, order_N=order, similarity=similarity)
    assert set(np.flatnonzero(twin >= 0).tolist()) == dense_copies(vectors, order, similarity)
    rank = np.argsort(order)
    for i in np.flatnonzero(twin >= 0):
        assert rank[twin[i]] < rank[i]
        assert vectors[i].astype(np.float32) @ vectors[twin[i]].astype(np.float32) >= similarity


def test_a_lower_threshold_never_keeps_more():
    vectors, order = unit(np.random.default_rng(0).normal(size=(300, 4))), np.arange(300)
    left = [
        np.count_nonzero(duplicate_of(vectors, order_N=order, similarity=s) < 0)
        for s in (0.5, 0.8, 0.95, 0.99, 1.0)
    ]
    assert left == sorted(left)


def test_kmeans_finds_planted_concepts():
    rng = np.random.default_rng(0)
    truth = np.repeat(np.arange(5), 60)
    vectors = unit(np.eye(5, 16)[truth] + rng.normal(size=(300, 16), scale=0.05))
    centroids = spherical_kmeans(vectors, clusters=5, iterations=20, seed=0)
    found = assign(vectors, centroids)
    assert np.linalg.norm(centroids, axis=1) == pytest.approx(np.ones(5), abs=1e-5)
    assert len({(a, b) for a, b in zip(truth, found.cluster_N, strict=True)}) == 5
    similarity = vectors.astype(np.float32) @ centroids.T
    assert found.distance_N == pytest.approx(1 - similarity.max(1), abs=1e-6)


def test_more_clusters_than_points_and_identical_points_are_fine():
    same = unit(np.ones((3, 8)))
    assert len(spherical_kmeans(same, clusters=10, iterations=3, seed=0)) == 3
    with pytest.raises(ValueError, match="no embeddings"):
        spherical_kmeans(same[:0], clusters=2, iterations=3, seed=0)


def test_complexity_is_inter_times_intra_by_hand():
    centroids = np.eye(3, dtype=np.float32)
    centroids[2] = [0.6, 0.8, 0.0]
    intra = np.array([0.5, 0.25, np.nan])
    # distances: 0-1: 1.0, 0-2: 0.4, 1-2: 0.2; the nearest other one of each counts
    found = complexity(centroids, mean_distance_K=intra, neighbours=1)
    assert found == pytest.approx([0.4 * 0.5, 0.2 * 0.25, (0.2 + 0.05) / 2])
    everyone = complexity(centroids, mean_distance_K=intra, neighbours=20)
    assert everyone[:2] == pytest.approx([0.7 * 0.5, 0.6 * 0.25])


def test_targets_are_a_softmax():
    found = targets(np.array([0.0, 0.1]), total=100, temperature=0.1)
    assert found == pytest.approx([100 / (1 + np.e), 100 * np.e / (1 + np.e)])


def brute_force(target, lower, upper, total):
    ranges = [range(a, b + 1) for a, b in zip(lower, upper, strict=True)]
    fits = [q for q in itertools.product(*ranges) if sum(q) == total]
    return min(((np.array(q) - target) ** 2).sum() for q in fits)


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_quotas_are_the_nearest_integers_to_the_targets(data):
    concepts = data.draw(st.integers(1, 4))
    upper = np.array(data.draw(st.lists(st.integers(0, 6), min_size=concepts, max_size=concepts)))
    lower = np.minimum(upper, data.draw(st.integers(0, 2)))
    total = data.draw(st.integers(int(lower.sum()), int(upper.sum())))
    weights = st.lists(st.floats(0.01, 1), min_size=concepts, max_size=concepts)
    target = np.array(data.draw(weights))
    target = total * target / target.sum()
    quota = allocate(target, lower_K=lower, upper_K=upper, total=total)
    assert quota.sum() == total
    assert ((quota >= lower) & (quota <= upper)).all()
    best = brute_force(target, lower, upper, total)
    assert ((quota - target) ** 2).sum() <= best + 1e-6


def test_quotas_out_of_reach_are_refused():
    with pytest.raises(ValueError, match="got a total of 9, expected 0 to 4"):
        allocate(np.ones(2), lower_K=np.zeros(2, int), upper_K=np.full(2, 2), total=9)


def test_consensus_finds_the_caption_of_another_concept():
    rng = np.random.default_rng(0)
    concept = np.repeat(np.arange(4), 30)
    image = unit(np.eye(4, 32)[concept] + rng.normal(size=(120, 32), scale=0.1))
    text = unit(np.eye(4, 24)[concept] + rng.normal(size=(120, 24), scale=0.1))
    swapped = np.array([0, 40, 80, 110])
    text[swapped] = text[np.roll(swapped, 1)]
    score = Consensus(neighbours=5, best=3).agreement(image, text)
    right = np.delete(score, swapped)
    assert score[swapped].max() < right.min()


def by_brute_force(cfg, image, text):
    """Ask the nearest pictures one pair at a time; of those equally near the first."""
    image, text, found = image.astype(np.float64), text.astype(np.float64), []
    for i in range(len(image)):
        others = [(-(image[i] @ image[j]), j) for j in range(len(image)) if j != i]
        asked = sorted(others)[: cfg.neighbours]
        found.append(np.mean(sorted(text[i] @ text[j] for _, j in asked)[-cfg.best :]))
    return found


@pytest.mark.parametrize("tile", [1, 500, 2**22])
def test_consensus_is_that_of_a_loop_over_pairs_however_it_is_tiled(monkeypatch, tile):
    monkeypatch.setattr("filters.concepts.consensus.TILE", tile)
    rng = np.random.default_rng(0)
    image, text = unit(rng.normal(size=(60, 6))), unit(rng.normal(size=(60, 5)))
    image[20:50] = image[7]  # more that are equally near than are asked
    cfg = Consensus(neighbours=4, best=2)
    for rows in (60, 5, 4, 2):
        truth = by_brute_force(cfg, image[:rows], text[:rows])
        assert cfg.agreement(image[:rows], text[:rows]) == pytest.approx(truth, abs=1e-6)


def test_consensus_of_a_lone_pair_is_unknown():
    one = unit(np.ones((1, 4)))
    assert np.isnan(Consensus().agreement(one, one)).all()


def test_consensus_looks_in_as_many_clusters_as_its_sample_can_tell_apart():
    image = unit(np.random.default_rng(0).normal(size=(200, 8)))
    assert Consensus().cluster(image, pairs=200, seed=0).clusters == 1
    assert Consensus().cluster(image, pairs=4001, seed=0).clusters == 3
    assert Consensus(sample=200).cluster(image, pairs=10**10, seed=0).clusters == 5
    assert Consensus(sample=1).cluster(image[:1], pairs=10**10, seed=0).clusters == 1


@pytest.mark.parametrize("setting", [{"best": 0}, {"neighbours": 2}, {"sample": 0}])
def test_consensus_settings_out_of_range_are_refused(setting):
    with pytest.raises(ValueError, match=r"consensus\.(best|sample): got"):
        Consensus(**setting)
