"""Near-copies go and quotas hold, on planted concepts."""

import numpy as np
import pytest

from pipeline.config import Concepts
from pipeline.prune import prune

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


def test_of_two_copies_the_likelier_stays(planted):
    vectors, copies, p_keep = planted
    found = prune(vectors, p_keep_N=p_keep, cfg=Concepts(**SETTINGS), seed=0)
    worse = np.where(p_keep[copies] < p_keep[copies - 4], copies, copies - 4)
    assert sorted(np.flatnonzero(found.twin_N >= 0)) == sorted(worse)
    better = np.where(p_keep[copies] < p_keep[copies - 4], copies - 4, copies)
    assert (found.twin_N[worse] == better).all()
    assert not found.over_quota_N.any()


def test_quotas_keep_the_hardest_and_add_up(planted):
    vectors, _, p_keep = planted
    cfg = Concepts(**SETTINGS, keep=0.5, duplicate_similarity=1.0)
    found = prune(vectors, p_keep_N=p_keep, cfg=cfg, seed=0)
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
    assert prune(one, p_keep_N=np.ones(1), cfg=Concepts(), seed=0).twin_N.tolist() == [-1]
    same = np.repeat(one, 5, axis=0)
    found = prune(same, p_keep_N=np.ones(5), cfg=Concepts(clusters=2), seed=0)
    assert np.count_nonzero(found.twin_N < 0) == 1
