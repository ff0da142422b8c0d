"""Balanced quotas against a table, a plain loop and what must hold whatever the tree."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from filters.concepts import balanced_quotas

SIZES = np.array([5, 5, 1, 9, 30, 0, 2])


@pytest.mark.parametrize(
    ("total", "level"), [(0, 0), (3, 0), (7, 1), (20, 4), (40, 18), (52, 30), (99, 30)]
)
def test_the_level_is_the_largest_that_fits(total, level):
    quota = balanced_quotas(SIZES, (), total=total)
    assert quota.sum() == min(total, 52)
    extra = quota - np.minimum(level, SIZES)
    assert set(extra.tolist()) <= {0, 1}
    assert (extra[level >= SIZES] == 0).all()


def test_repeats_multiply_what_there_is():
    quota = balanced_quotas(np.array([2, 10]), (), total=14, repeats=3)
    assert quota.tolist() == [6, 8]


def test_the_odd_one_goes_by_hash_and_by_seed():
    winners = {
        seed: np.flatnonzero(balanced_quotas(np.full(50, 9), (), total=105, seed=seed) == 3)
        for seed in range(20)
    }
    assert all(len(ids) == 5 for ids in winners.values())
    assert len({tuple(ids) for ids in winners.values()}) == 20
    assert len(set(np.concatenate(list(winners.values())).tolist())) > 30  # not always the same


def plainly(size, children, total):
    """Largest q with sum(min(q, size)) <= total, tried one by one."""
    if size[children].sum() <= total:
        return max(size[children], default=0)
    q = 0
    while np.minimum(q + 1, size[children]).sum() <= total:
        q += 1
    return q


@st.composite
def trees(draw):
    """Sizes at the bottom, and up to three levels above."""
    size = draw(st.lists(st.integers(0, 40), min_size=1, max_size=30))
    parents, below = [], len(size)
    for _ in range(draw(st.integers(0, 3))):
        above = draw(st.integers(1, max(1, below)))
        ids = draw(st.lists(st.integers(0, above - 1), min_size=below, max_size=below))
        parents.append(np.array(ids, np.int32))
        below = above
    return np.array(size), tuple(parents)


@settings(max_examples=80, deadline=None)
@given(trees(), st.integers(0, 700), st.integers(1, 3), st.integers(0, 5))
def test_every_level_is_as_even_as_sizes_allow(tree, total, repeats, seed):
    size, parents = tree
    quota = balanced_quotas(size, parents, total=total, repeats=repeats, seed=seed)
    assert quota.sum() == min(total, repeats * size.sum())
    size = size * repeats
    assert ((quota >= 0) & (quota <= size)).all()
    for level in range(len(parents) + 1):
        top = level == len(parents)
        parent = np.zeros(len(size), int) if top else parents[level]
        for p in np.unique(parent):
            children = np.flatnonzero(parent == p)
            q = plainly(size, children, quota[children].sum())
            extra = quota[children] - np.minimum(q, size[children])
            assert set(extra.tolist()) <= {0, 1}
        above = 1 if top else int(parent.max()) + 1
        if level + 1 < len(parents):
            above = len(parents[level + 1])
        size, quota = (np.bincount(parent, v, above).astype(int) for v in (size, quota))


@settings(max_examples=30, deadline=None)
@given(trees(), st.integers(0, 300))
def test_nothing_is_lost_by_asking_for_more(tree, total):
    size, parents = tree
    less = balanced_quotas(size, parents, total=total)
    more = balanced_quotas(size, parents, total=total + 1)
    assert more.sum() - less.sum() in (0, 1)
    if not parents:
        assert (more >= less).all()


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="got a total of -1, 1 repeats"):
        balanced_quotas(SIZES, (), total=-1)
    with pytest.raises(ValueError, match="got parents of 3 clusters at level 0, expected 7"):
        balanced_quotas(SIZES, (np.zeros(3, np.int32),), total=1)
