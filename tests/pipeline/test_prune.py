"""Near-copies go and quotas hold, on planted concepts."""

import numpy as np
import pytest

from pipeline.config import Concepts
from pipeline.prune import copies, prune

SETTINGS = {"clusters": 4, "neighbours": 2, "temperature": 0.1}


@pytest.fixture
def planted():
    """Return 200 embeddings of four concepts; every tenth is a copy of the one before it."""
    rng = np.random.default_rng(0)
    concept = np.arange(200) % 4
    vectors = np.eye(4, 32)[concept] + rng.normal(size=(200, 32), scale=0.08)
    copies = np.arange(9, 200, 10)
    vectors[copies] = vectors[copies - 4] + rng.normal(size=(20, 32), scale=0.001)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors.astype(np.float16), copies, rng.random(200)


def unlike(count):
    return np.random.default_rng(1).integers(0, 2**64, count, np.uint64)


def test_of_two_copies_the_likelier_stays(planted):
    vectors, copies, p_keep = planted
    found = prune(vectors, unlike(200), p_keep_N=p_keep, cfg=Concepts(**SETTINGS), seed=0)
    worse = np.where(p_keep[copies] < p_keep[copies - 4], copies, copies - 4)
    assert sorted(np.flatnonzero(found.twin_N >= 0)) == sorted(worse)
    better = np.where(p_keep[copies] < p_keep[copies - 4], copies - 4, copies)
    assert (found.twin_N[worse] == better).all()
    assert not found.over_quota_N.any()


def test_quotas_keep_the_hardest_and_add_up(planted):
    vectors, _, p_keep = planted
    cfg = Concepts(**SETTINGS, keep=0.5, duplicate_similarity=1.0)
    found = prune(vectors, unlike(200), p_keep_N=p_keep, cfg=cfg, seed=0)
    kept = ~found.over_quota_N
    assert kept.sum() == found.quota_K.sum() == 100
    assert (np.bincount(found.concept_N[kept], minlength=4) == found.quota_K).all()
    for concept in range(4):
        mine = found.concept_N == concept
        if kept[mine].any() and not kept[mine].all():
            hardest = found.distance_N[mine & kept].min()
            assert hardest >= found.distance_N[mine & ~kept].max()


def test_one_pair_and_identical_pairs(planted):
    one = planted[0][:1]
    alone = prune(one, unlike(1), p_keep_N=np.ones(1), cfg=Concepts(), seed=0)
    assert alone.twin_N.tolist() == [-1]
    same = np.repeat(one, 5, axis=0)
    found = prune(same, unlike(5), p_keep_N=np.ones(5), cfg=Concepts(clusters=2), seed=0)
    assert np.count_nonzero(found.twin_N < 0) == 1


@pytest.mark.parametrize("bits", [0, 1, 4, 9])
def test_copies_are_those_within_so_many_bits(bits):
    rng = np.random.default_rng(0)
    hashes = rng.integers(0, 2**64, 120, np.uint64)
    for i in range(60, 120):  # copies of the first half, 0 to 11 bits off
        flipped = hashes[i - 60]
        for bit in rng.choice(64, i % 12, replace=False):
            flipped ^= np.uint64(1) << np.uint64(bit)
        hashes[i] = flipped
    twin = copies(hashes, order_N=np.arange(120), bits=bits)
    distance = np.bitwise_count(hashes[:, None] ^ hashes[None, :])
    for i in range(120):
        assert (twin[i] >= 0) == bool((distance[i, :i] <= bits).any())
