"""Exactly n rows: against a plain sort, with ties, however the rows lie."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from filters.ensemble.budget import best, datacomp_fraction, rows_of

UID = st.integers(0, 2**128 - 1)
TIED = st.sampled_from([0.0, -0.0, 0.25, 0.5, 1.0])
ROWS = st.lists(st.tuples(TIED | st.floats(0, 1), UID), max_size=40, unique_by=lambda row: row[1])


def arrays(rows):
    uids = [(uid >> 64, uid & (2**64 - 1)) for _, uid in rows]
    return np.array([p for p, _ in rows], float), np.array(uids, np.uint64).reshape(-1, 2)


def sharded(rows, order, cuts):
    """Return a function that counts a digit of the rows, in another order, in many shards."""
    rows = [rows[i] for i in order]
    bounds = sorted({0, len(rows), *(c % (len(rows) + 1) for c in cuts)})
    parts = [arrays(rows[a:b]) for a, b in pairwise(bounds)]
    return lambda digit: sum(map(digit.count, parts or [arrays([])]))


def kept(cut, rows):
    return {rows[i][1] for i in np.flatnonzero(cut.keeps(*arrays(rows)))}


@settings(max_examples=80, deadline=None)
@given(ROWS, st.integers(0, 45), st.randoms(), st.lists(st.integers(0, 99), max_size=4))
def test_it_is_the_head_of_a_plain_sort(rows, number, random, cuts):
    order = random.sample(range(len(rows)), len(rows))
    best_first = sorted(rows, key=lambda row: (-row[0], row[1]))
    found = kept(best(sharded(rows, order, cuts), number), rows)
    assert found == {uid for _, uid in best_first[:number]}


@settings(max_examples=60, deadline=None)
@given(ROWS, st.floats(0, 1), st.lists(st.integers(0, 99), max_size=4))
def test_a_share_is_what_datacomp_keeps(rows, share, cuts):
    found = kept(datacomp_fraction(sharded(rows, range(len(rows)), cuts), share), rows)
    scores = np.array([p for p, _ in rows])
    n = int(len(scores) * share)
    if n >= len(scores):  # theirs raises here
        assert len(found) == len(rows)
        return
    threshold = -np.sort(-scores)[n]
    assert found == {uid for p, uid in rows if p >= threshold}


def test_many_ties_and_neighbouring_numbers():
    """Half of the rows have one p; the others differ in its last bits; uids share their heads."""
    rng = np.random.default_rng(0)
    low = rng.permutation(20_000).astype(np.uint64)
    uid_N2 = np.stack([np.full(20_000, 7, np.uint64), low], axis=1)
    p_N = np.full(20_000, 0.7)
    p_N[:10_000] += rng.integers(-300, 300, 10_000) * 2.0**-53
    parts = np.array_split(np.arange(20_000), 7)
    for number in (1, 4_999, 10_000, 15_001, 19_999, 20_000, 30_000):
        order = np.lexsort((low, -p_N))[:number]
        cut = best(lambda d: sum(d.count((p_N[part], uid_N2[part])) for part in parts), number)
        assert set(np.flatnonzero(cut.keeps(p_N, uid_N2))) == set(order), number


def test_few_passes_do():
    passes = []

    def counted(p_N):
        return lambda digit: passes.append(digit) or digit.count((p_N, uid_N2))

    rng = np.random.default_rng(1)
    uid_N2 = rng.integers(0, 2**63, (50_000, 2)).astype(np.uint64)
    best(counted(np.linspace(0, 1, 50_000)), 20_000)
    assert len(passes) <= 3
    passes.clear()
    best(counted(np.full(50_000, 0.25)), 20_000)
    assert len(passes) <= 4 + 3


def test_no_p_is_refused():
    uid_N2 = np.zeros((1, 2), np.uint64)
    with pytest.raises(ValueError, match="got a p of NaN"):
        best(lambda digit: digit.count((np.array([np.nan]), uid_N2)), 1)


@pytest.mark.parametrize(("budget", "rows"), [(0.5, 3), (0.999, 6), (1, 1), (1.0, 1), (5000, 5000)])
def test_a_budget_is_a_share_or_a_number(budget, rows):
    assert rows_of(budget, 7) == rows
