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
    spherical_kmeans,
    targets,
)


def unit(vectors):
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float16)


def test_kmeans_finds_planted_concepts():
    rng = np.random.default_rng(0)
    truth = np.repeat(np.arange(5), 60)
    vectors = unit(np.eye(5, 16)[truth] + rng.normal(size=(300, 16), scale=0.05))
    centroids = spherical_kmeans(vectors, clusters=5, iterations=20, seed=0).centroid_KD
    found = assign(vectors, centroids)
    assert np.linalg.norm(centroids, axis=1) == pytest.approx(np.ones(5), abs=1e-5)
    assert len({(a, b) for a, b in zip(truth, found.cluster_N, strict=True)}) == 5
    similarity = vectors.astype(np.float32) @ centroids.T
    assert found.distance_N == pytest.approx(1 - similarity.max(1), abs=1e-6)


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
    quota = allocate(target, lower=lower, upper=upper, total=total)
    assert quota.sum() == total
    assert ((quota >= lower) & (quota <= upper)).all()
    best = brute_force(target, lower, upper, total)
    assert ((quota - target) ** 2).sum() <= best + 1e-6


def test_quotas_out_of_reach_are_refused():
    with pytest.raises(ValueError, match="got a total of 9, expected 0 to 4"):
        allocate(np.ones(2), lower=np.zeros(2, int), upper=np.full(2, 2), total=9)


def test_consensus_finds_the_caption_of_another_concept():
    rng = np.random.default_rng(0)
    concept = np.repeat(np.arange(4), 30)
    image = unit(np.eye(4, 32)[concept] + rng.normal(size=(120, 32), scale=0.1))
    text = unit(np.eye(4, 24)[concept] + rng.normal(size=(120, 24), scale=0.1))
    swapped = np.array([0, 40, 80, 110])
    text[swapped] = text[np.roll(swapped, 1)]
    score = Consensus(neighbours=5, best=3).fit(image, text, views={}, seed=0)["consensus"]
    right = np.delete(score, swapped)
    assert score[swapped].max() < right.min()


def test_consensus_of_a_lone_pair_is_unknown():
    one = unit(np.ones((1, 4)))
    assert np.isnan(Consensus().fit(one, one, views={}, seed=0)["consensus"]).all()
