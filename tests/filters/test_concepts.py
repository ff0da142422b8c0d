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
