"""Rows by concept and the cuts of concepts against a loop over masks and Python's own sort."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from filters.concepts.grouping import Cuts, cuts_of, first_of_each, grouped, keys

KINDS = ["hard", "easy", "random"]


def planted(seed, rows, concepts, ties):
    """Return concepts (-1 for some rows), distances of which many tie, and distinct uids."""
    rng = np.random.default_rng(seed)
    cluster = rng.integers(-1, concepts, rows).astype(np.int32)
    distance = (rng.integers(0, ties, rows) / ties * 2).astype(np.float32)
    number = rng.permutation(rows).astype(np.uint64)  # its bits in both halves of both words
    bits = [(0, 3, 33), (2, 3, 0), (4, 7, 40), (7, 2**20 - 1, 0)]
    parts = [((number >> np.uint64(a)) & np.uint64(m)) << np.uint64(b) for a, m, b in bits]
    return cluster, distance, np.stack([parts[0] | parts[1], parts[2] | parts[3]], axis=1)


def by_masks(cluster, key, uid, concepts):
    """One concept after the other, each sorted by Python."""
    return [
        sorted(
            np.flatnonzero(cluster == concept).tolist(),
            key=lambda row: (int(key[row]), int(uid[row, 0]), int(uid[row, 1])),
        )
        for concept in range(concepts)
    ]


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 2**32), st.integers(0, 200), st.integers(1, 12), st.sampled_from([1, 3, 1000])
)
def test_order_is_that_of_a_loop_over_masks(seed, rows, concepts, ties):
    cluster, distance, uid = planted(seed, rows, concepts, ties)
    for which in KINDS:
        key = keys(which, distance_N=distance, uid_N2=uid, seed=seed)
        groups = grouped(cluster, key, uid, concepts=concepts)
        expected = by_masks(cluster, key, uid, concepts)
        assert groups.order_N.tolist() == [row for rows in expected for row in rows]
        assert np.diff(groups.start_K).tolist() == [len(rows) for rows in expected]


@pytest.mark.parametrize(
    ("rows", "concepts", "ties"),
    [(20_000, 3, 50), (20_000, 3, 10**6), (20_000, 70_000, 9), (9000, 40, 1), (5000, 2000, 3)],
)
def test_large_and_small_concepts_are_sorted_alike(rows, concepts, ties):
    cluster, distance, uid = planted(0, rows, concepts, ties)
    cluster[: rows // 3] = 1  # one large one among them
    key = keys("hard", distance_N=distance, uid_N2=uid)
    groups = grouped(cluster, key, uid, concepts=concepts)
    order = np.lexsort((uid[:, 1], uid[:, 0], -distance, cluster))
    assert groups.order_N.tolist() == order[cluster[order] >= 0].tolist()
    assert groups.start_K[-1] == len(groups.order_N) == np.count_nonzero(cluster >= 0)


def test_keys_order_distances_and_leave_those_that_are_none_to_the_end():
    distance = np.array([0.5, -0.0, 0.0, 2.0, np.nan, -1e-7, 1e-40, -np.nan], np.float32)
    uid = np.zeros((8, 2), np.uint64)
    hard = keys("hard", distance_N=distance, uid_N2=uid)
    easy = keys("easy", distance_N=distance, uid_N2=uid)
    assert np.argsort(hard, kind="stable").tolist() == [3, 0, 6, 1, 2, 5, 4, 7]
    assert np.argsort(easy, kind="stable").tolist() == [5, 1, 2, 6, 0, 3, 4, 7]


def test_random_keys_are_spread_and_depend_on_uid_and_seed_alone():
    uid = np.stack([np.arange(40_000, dtype=np.uint64) % 7, np.arange(40_000, dtype=np.uint64)], 1)
    distance = np.zeros(40_000, np.float32)
    key = keys("random", distance_N=distance, uid_N2=uid, seed=3)
    again = keys("random", distance_N=distance[:9] + 1, uid_N2=uid[:9], seed=3)
    assert again.tolist() == key[:9].tolist()
    assert (keys("random", distance_N=distance, uid_N2=uid, seed=4) != key).mean() > 0.99
    counts = np.bincount(key >> np.uint32(28), minlength=16)  # 2,500 each, within 5 deviations
    assert np.abs(counts - 2500).max() < 5 * np.sqrt(2500)


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(KINDS), st.integers(0, 2**32), st.integers(1, 9), st.sampled_from([1, 2, 1000])
)
def test_shards_that_know_the_cuts_keep_the_first_of_each(which, seed, concepts, ties):
    cluster, distance, uid = planted(seed, 150, concepts, ties)
    rng = np.random.default_rng(seed)
    size = np.bincount(cluster[cluster >= 0], minlength=concepts)
    quota = rng.integers(0, size + 1)
    quota[rng.random(concepts) < 0.2] = 0
    full = rng.random(concepts) < 0.2
    quota[full] = size[full]
    key = keys(which, distance_N=distance, uid_N2=uid, seed=1)
    groups = grouped(cluster, key, uid, concepts=concepts)
    kept = first_of_each(groups, quota)
    masks = by_masks(cluster, key, uid, concepts)
    expected = [row for rows, q in zip(masks, quota, strict=True) for row in rows[:q]]
    assert kept.tolist() == expected
    cuts = cuts_of(groups, key, uid, quota_K=quota)
    assert cuts.kept_K.tolist() == quota.tolist()
    for rows in np.array_split(rng.permutation(150), 4):
        keeps = cuts.keeps(cluster[rows], key[rows], uid[rows])
        assert keeps.tolist() == np.isin(rows, expected).tolist()


def test_cuts_of_some_concepts_at_a_time_are_those_of_all():
    cluster, distance, uid = planted(5, 400, 8, 5)
    key = keys("easy", distance_N=distance, uid_N2=uid)
    quota = np.array([0, 3, 10, 999, 1, 0, 20, 5])
    whole = cuts_of(grouped(cluster, key, uid, concepts=8), key, uid, quota_K=quota)
    parts = []
    for first, last in ((0, 3), (3, 8)):
        rows = np.flatnonzero((cluster >= first) & (cluster < last))
        groups = grouped(cluster[rows] - first, key[rows], uid[rows], concepts=last - first)
        parts.append(cuts_of(groups, key[rows], uid[rows], quota_K=quota[first:last]))
    together = Cuts(
        *(np.concatenate([getattr(part, name) for part in parts]) for name in Cuts.__slots__)
    )
    for name in Cuts.__slots__:
        assert getattr(together, name).tolist() == getattr(whole, name).tolist()


def test_a_quota_of_nothing_keeps_nothing_even_of_the_least_place():
    uid = np.zeros((1, 2), np.uint64)
    key = np.zeros(1, np.uint32)
    cluster = np.zeros(1, np.int32)
    for which in KINDS:
        assert keys(which, distance_N=np.zeros(1, np.float32), uid_N2=uid).shape == (1,)
    groups = grouped(cluster, key, uid, concepts=2)
    for quota, kept in (([0, 0], []), ([1, 0], [0]), ([5, 5], [0])):
        assert first_of_each(groups, np.array(quota)).tolist() == kept
        cuts = cuts_of(groups, key, uid, quota_K=np.array(quota))
        assert cuts.keeps(cluster, key, uid).tolist() == [bool(kept)]
        assert cuts.keeps(np.array([1, -1], np.int32), key[[0, 0]], uid[[0, 0]]).tolist() == [
            False,
            False,
        ]


def test_no_rows():
    none = np.empty(0, np.int32), np.empty(0, np.uint32), np.empty((0, 2), np.uint64)
    groups = grouped(*none, concepts=3)
    assert groups.start_K.tolist() == [0, 0, 0, 0]
    assert cuts_of(groups, *none[1:], quota_K=np.ones(3, int)).keeps(*none).tolist() == []
