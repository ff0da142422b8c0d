"""Near-duplicates against the dense rule of the paper, and the other modes row by row."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse.csgraph import connected_components
from threadpoolctl import threadpool_limits

from filters.concepts.similar import components, greedy_kept, max_similarity_to_earlier

ODD_TILE = 37  # so that a few hundred rows are many tiles, and the last one is cut


def planted(count, dim=16, *, seed=0):
    """Return unit rows; a quarter are copies of others, from exact to hardly alike."""
    rng = np.random.default_rng(seed)
    rows_ND = rng.normal(size=(count, dim))
    copies = rng.choice(count, count // 4, replace=False)
    noise = rng.choice([0.0, 0.03, 0.1, 0.3], (len(copies), 1))
    rows_ND[copies] = rows_ND[rng.choice(count, len(copies))]
    rows_ND[copies] += noise * rng.normal(size=(len(copies), dim))
    return (rows_ND / np.linalg.norm(rows_ND, axis=1, keepdims=True)).astype(np.float16)


def orders(rows_ND):
    """Return the orders of the paper: hard and easy first, and random."""
    mean_D = rows_ND.astype(np.float32).mean(axis=0)
    hard = np.argsort(rows_ND.astype(np.float32) @ mean_D, kind="stable")
    return hard, hard[::-1], np.random.default_rng(1).permutation(len(rows_ND))


def dense(rows_ND, order):
    """Compute M as in the paper: the whole matrix, its strict upper triangle, never below 0."""
    ordered_ND = rows_ND[order].astype(np.float64)
    upper_NN = np.triu(ordered_ND @ ordered_ND.T, 1)
    most_N = np.empty(len(order))
    most_N[order] = np.maximum(upper_NN.max(axis=0, initial=0.0), 0.0)
    return most_N


def links(rows_ND, order, similarity):
    """Return which rows are copies of which, by rank, and which of these come first."""
    ordered_ND = rows_ND[order].astype(np.float64)
    near_NN = ordered_ND @ ordered_ND.T > similarity
    return near_NN, np.tril(near_NN, -1)


@pytest.mark.parametrize("count", [1, 2, 64, 700])
@pytest.mark.parametrize("tile", [ODD_TILE, 256])
def test_the_largest_cosine_is_that_of_the_dense_rule(count, tile):
    rows_ND = planted(count)
    exact_NN = rows_ND.astype(np.float64) @ rows_ND.astype(np.float64).T
    for order in orders(rows_ND):
        found = max_similarity_to_earlier(rows_ND, order=order, tile=tile)
        most_N = dense(rows_ND, order)
        assert found.similarity_N == pytest.approx(most_N, abs=1e-6)
        for eps in (0.001, 0.05, 0.3):
            assert ((found.above(1 - eps).earlier_N >= 0) == (most_N > 1 - eps)).all()
        has = np.flatnonzero(found.earlier_N >= 0)
        assert (np.argsort(order)[found.earlier_N[has]] < np.argsort(order)[has]).all()
        assert exact_NN[has, found.earlier_N[has]] == pytest.approx(most_N[has], abs=1e-6)


@pytest.mark.parametrize("similarity", [0.5, 0.9, 0.999])
def test_greedy_is_the_rule_applied_row_by_row(similarity):
    rows_ND = planted(500)
    for order in orders(rows_ND):
        _, earlier_NN = links(rows_ND, order, similarity)
        kept_N = np.zeros(len(order), bool)
        for i in range(len(order)):
            kept_N[i] = not (earlier_NN[i] & kept_N).any()
        found = greedy_kept(rows_ND, order=order, similarity=similarity, tile=ODD_TILE)
        assert set(order[kept_N]) == set(np.flatnonzero(found.earlier_N < 0))
        removed = np.flatnonzero(found.earlier_N >= 0)
        assert (found.earlier_N[found.earlier_N[removed]] == -1).all()
        cosine_NN = rows_ND.astype(np.float64) @ rows_ND.astype(np.float64).T
        allowed_NN = np.argsort(order)[:, None] > np.argsort(order)
        allowed_NN &= found.earlier_N < 0
        best_N = np.where(allowed_NN, cosine_NN, -1).max(axis=1)
        assert found.similarity_N[removed] == pytest.approx(best_N[removed], abs=1e-6)


@pytest.mark.parametrize("similarity", [0.4, 0.7, 0.999])
def test_components_keep_the_first_of_each_connected_group(similarity):
    rows_ND = planted(500, dim=4 if similarity > 0.9 else 8)
    for order in orders(rows_ND):
        near_NN, _ = links(rows_ND, order, similarity)
        _, group_N = connected_components(near_NN)
        first_N = np.array([np.flatnonzero(group_N == g)[0] for g in group_N])
        found = components(rows_ND, order=order, similarity=similarity, tile=ODD_TILE)
        survivor_N = np.where(found.earlier_N < 0, np.arange(len(order)), found.earlier_N)
        assert (survivor_N[order] == order[first_N]).all()
        removed = np.flatnonzero(found.earlier_N >= 0)
        pairs = rows_ND[removed].astype(np.float64), rows_ND[found.earlier_N[removed]]
        assert found.similarity_N[removed] == pytest.approx((pairs[0] * pairs[1]).sum(1), abs=1e-6)


def kept(mode, rows_ND, order, similarity):
    if mode is max_similarity_to_earlier:
        found = mode(rows_ND, order=order, tile=ODD_TILE).above(similarity)
    else:
        found = mode(rows_ND, order=order, similarity=similarity, tile=ODD_TILE)
    return set(np.flatnonzero(found.earlier_N < 0).tolist())


def test_what_the_modes_keep_is_nested_and_grows_with_the_threshold():
    rows_ND, thresholds = planted(300, dim=4), (0.3, 0.8, 0.95, 0.99, 0.9999)
    order = np.random.default_rng(2).permutation(300)
    every = {
        mode: [kept(mode, rows_ND, order, s) for s in thresholds]
        for mode in (components, max_similarity_to_earlier, greedy_kept)
    }
    fewest, some, most = every.values()
    assert all(a <= b <= c for a, b, c in zip(fewest, some, most, strict=True))
    assert any(a < b < c for a, b, c in zip(fewest, some, most, strict=True))
    for of_mode in (fewest, some):
        assert all(a <= b for a, b in pairwise(of_mode))


def test_greedy_may_keep_at_a_low_threshold_what_it_removes_at_a_higher_one():
    angle = np.deg2rad([0, 35, 60])  # cosines 0.82 and 0.91 to the next, 0.5 between the ends
    rows_ND = np.stack([np.cos(angle), np.sin(angle)], axis=1).astype(np.float32)
    assert kept(greedy_kept, rows_ND, None, 0.8) == {0, 2}
    assert kept(greedy_kept, rows_ND, None, 0.9) == {0, 1}


def test_a_cosine_of_exactly_the_threshold_is_no_copy():
    rows_ND = np.array([[1, 0], [0.5, 0.75], [1, 0]], np.float32)
    for mode in (components, max_similarity_to_earlier, greedy_kept):
        assert kept(mode, rows_ND, None, 0.5) == {0, 1}
        assert kept(mode, rows_ND, None, np.nextafter(np.float32(0.5), 0)) == {0}


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 150), st.sampled_from([13, 64, 100]))
def test_neither_tiles_nor_where_a_row_lies_change_a_bit(seed, count, tile):
    rng = np.random.default_rng(seed)
    rows_ND = planted(count, dim=int(rng.integers(1, 200)), seed=seed)
    order = rng.permutation(count)
    plain = max_similarity_to_earlier(rows_ND, order=order)
    tiled = max_similarity_to_earlier(rows_ND, order=order, tile=tile)
    assert plain.similarity_N.tobytes() == tiled.similarity_N.tobytes()
    assert plain.earlier_N.tolist() == tiled.earlier_N.tolist()
    moved = rng.permutation(count)  # row i comes to lie where moved[i] says
    shuffled_ND = np.empty_like(rows_ND)
    shuffled_ND[moved] = rows_ND
    found = max_similarity_to_earlier(shuffled_ND, order=moved[order], tile=tile)
    assert found.similarity_N[moved].tobytes() == plain.similarity_N.tobytes()
    expected_N = np.where(plain.earlier_N < 0, -1, moved[plain.earlier_N])
    assert found.earlier_N[moved].tolist() == expected_N.tolist()


@pytest.mark.parametrize("dim", [40, 100, 513])
def test_threads_change_no_bit_and_of_equal_rows_the_first_is_the_twin(dim):
    rows_ND = planted(150, dim=dim)
    rows_ND = rows_ND[np.random.default_rng(0).integers(0, 150, 600)]  # each about four times
    found = []
    for threads in (1, 2):
        with threadpool_limits(threads):
            found.append(max_similarity_to_earlier(rows_ND, tile=200))
    assert found[0].similarity_N.tobytes() == found[1].similarity_N.tobytes()
    _, first_N, group_N = np.unique(rows_ND, axis=0, return_index=True, return_inverse=True)
    again = np.flatnonzero(first_N[group_N] < np.arange(600))
    assert (found[0].above(0.9995).earlier_N[again] == first_N[group_N][again]).all()


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 120), st.floats(0, 1))
def test_visitors_meet_members_but_not_each_other(seed, count, share):
    rng = np.random.default_rng(seed)
    rows_ND, order = planted(count, seed=seed), rng.permutation(count)
    visitor_N = rng.random(count) < share
    rank_N = np.argsort(order)
    cosine_NN = rows_ND.astype(np.float32) @ rows_ND.astype(np.float32).T
    barred_NN = (rank_N[:, None] <= rank_N) | (visitor_N[:, None] & visitor_N)
    expected_N = np.where(barred_NN, 0, cosine_NN).max(axis=1, initial=0)
    found = max_similarity_to_earlier(rows_ND, order=order, visitor_N=visitor_N, tile=ODD_TILE)
    assert found.similarity_N == pytest.approx(expected_N, abs=1e-6)
    has = np.flatnonzero(found.earlier_N >= 0)
    assert not barred_NN[has, found.earlier_N[has]].any()
    assert cosine_NN[has, found.earlier_N[has]] == pytest.approx(expected_N[has], abs=1e-6)


def test_clusters_that_exchange_visitors_miss_nothing():
    rows_ND = planted(300)
    cluster_N = np.random.default_rng(3).integers(0, 2, 300)
    best_N = np.zeros(300, np.float32)
    for cluster in (0, 1):
        found = max_similarity_to_earlier(rows_ND, visitor_N=cluster_N != cluster, tile=ODD_TILE)
        best_N = np.maximum(best_N, found.similarity_N)
    assert (best_N == max_similarity_to_earlier(rows_ND, tile=ODD_TILE).similarity_N).all()


def test_of_equally_similar_members_and_visitors_the_first_is_the_twin():
    rows_ND = np.ones((4, 1), np.float16)
    for visitors in ([0], [1], [0, 1]):
        visitor_N = np.isin(np.arange(4), visitors)
        assert max_similarity_to_earlier(rows_ND, visitor_N=visitor_N).earlier_N[2:].tolist() == [
            0, 0,
        ]  # fmt: skip


@pytest.mark.parametrize("mode", [components, max_similarity_to_earlier, greedy_kept])
def test_rows_without_a_direction_are_nobodys_copy(mode):
    rows_ND = np.repeat(np.eye(1, 4, dtype=np.float32), 9, axis=0)
    rows_ND[[0, 3]] = 0
    rows_ND[[1, 4], 1] = np.nan
    rows_ND[5, 2] = np.inf
    settings = {} if mode is max_similarity_to_earlier else {"similarity": 0.9}
    found = mode(rows_ND, tile=2, **settings)
    assert np.flatnonzero(np.isnan(found.similarity_N)).tolist() == [0, 1, 3, 4, 5]
    assert found.above(0.9).earlier_N.tolist() == [-1, -1, -1, -1, -1, -1, 2, 2, 2]
    assert len(mode(rows_ND[:0], **settings).earlier_N) == 0


def test_rows_are_read_from_a_file_as_they_are_from_memory(tmp_path):
    rows_ND = planted(400)
    (tmp_path / "rows").write_bytes(rows_ND.tobytes())
    stored_ND = np.memmap(tmp_path / "rows", np.float16, "r", shape=rows_ND.shape)
    order = np.random.default_rng(0).permutation(400)
    visitor_N = np.arange(400) % 3 == 0
    for options in ({}, {"order": order}, {"visitor_N": visitor_N}):
        found, expected = (
            max_similarity_to_earlier(source, tile=ODD_TILE, **options)
            for source in (stored_ND, rows_ND)
        )
        assert found.earlier_N.tolist() == expected.earlier_N.tolist()


class Slices:
    """Rows that remember the largest piece that was asked for."""

    def __init__(self, rows_ND):
        self.rows_ND, self.shape, self.largest = rows_ND, rows_ND.shape, 0

    def __getitem__(self, wanted):
        piece = self.rows_ND[wanted]
        self.largest = max(self.largest, len(piece))
        return piece


@pytest.mark.parametrize("mode", [components, max_similarity_to_earlier, greedy_kept])
def test_no_more_than_a_tile_is_read_at_a_time(mode):
    rows = Slices(planted(500))
    settings = {} if mode is max_similarity_to_earlier else {"similarity": 0.5}
    mode(rows, tile=ODD_TILE, **settings)
    assert rows.largest == ODD_TILE


def test_what_cannot_be_asked_is_refused():
    rows_ND = planted(3)
    with pytest.raises(ValueError, match="order: got 2 positions for 3 rows, expected each of 0 t"):
        max_similarity_to_earlier(rows_ND, order=np.arange(2))
    with pytest.raises(ValueError, match="order: got 3 positions"):
        max_similarity_to_earlier(rows_ND, order=np.array([0, 0, 1]))
    with pytest.raises(ValueError, match="tile: got 0 rows"):
        max_similarity_to_earlier(rows_ND, tile=0)
    for mode in (greedy_kept, components):
        with pytest.raises(ValueError, match=r"similarity: got 1.0, expected a cosine from 0"):
            mode(rows_ND, similarity=1.0)
