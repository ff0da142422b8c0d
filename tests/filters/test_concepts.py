"""Concept arithmetic against brute force and planted clusters."""

import numpy as np
import pytest

from filters.concepts import (
    Consensus,
    assign,
    spherical_kmeans,
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
