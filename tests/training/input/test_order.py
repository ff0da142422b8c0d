"""The order is a function of (seed, position) and of nothing else, and keeps its promises."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from training.input.bijection import permuted
from training.input.order import Order, drawn_captions, sample_rng
from training.input.showings import Showings


def classes(often, sizes):
    """Return so many pairs that are shown so often, rows in order, and how often each is."""
    showings = Showings(np.array(often), np.concatenate([[0], np.cumsum(sizes)]))
    return showings, dict(enumerate(np.repeat(often, sizes).tolist()))


@pytest.mark.parametrize(("n", "ways"), [(3, 6), (4, 24), (5, 120)])
def test_all_orders_of_few_are_equally_likely(n, ways):
    draws = 100 * ways
    key = np.repeat(np.arange(draws, dtype=np.uint64) * np.uint64(7919), n)
    orders = permuted(np.tile(np.arange(n), draws), n, key).reshape(draws, n)
    found, count = np.unique(orders, axis=0, return_counts=True)
    assert len(found) == ways
    chi_square = ((count - 100) ** 2 / 100).sum()
    assert chi_square < ways - 1 + 4 * (2 * (ways - 1)) ** 0.5


@pytest.mark.parametrize("n", [1, 2, 63, 64, 65, 1000])
def test_a_permutation_has_every_number_once(n):
    place = permuted(np.arange(n), n, 5)
    assert sorted(place.tolist()) == list(range(n))
    assert (permuted(np.arange(n), n, 6) == place).mean() < 0.1 or n < 4


def test_every_row_is_as_likely_at_every_place():
    orders = np.stack([Order(6, seed=seed).rows(0, 12)[1] for seed in range(600)])
    for place in range(12):
        count = np.bincount(orders[:, place], minlength=6)
        assert ((count - 100) ** 2 / 100).sum() < 5 + 5 * 10**0.5


def test_every_epoch_shows_every_row_once():
    epoch, row = Order(7, seed=3).rows(0, 21)
    assert epoch.tolist() == [0] * 7 + [1] * 7 + [2] * 7
    for e in range(3):
        assert sorted(row[epoch == e].tolist()) == list(range(7))
    assert row[:7].tolist() != row[7:14].tolist()


@settings(max_examples=25, deadline=None)
@given(
    often=st.sets(st.integers(1, 8), min_size=1, max_size=3).map(sorted),
    sizes=st.lists(st.integers(1, 60), min_size=3, max_size=3),
    batch=st.integers(1, 50),
    seed=st.integers(0, 9),
    cut=st.lists(st.integers(0, 400), min_size=2, max_size=2).map(sorted),
)
def test_copies_are_all_shown_and_never_two_in_a_batch(often, sizes, batch, seed, cut):
    showings, copies = classes(often, sizes[: len(often)])
    shown = sum(copies.values())
    if shown // max(often) < batch:
        with pytest.raises(
            ValueError, match=f"got {batch}, expected at most {shown // max(often)}"
        ):
            Order(showings, seed=seed, batch_size=batch)
        return
    order = Order(showings, seed=seed, batch_size=batch)
    whole = -(-3 * shown // batch) * batch
    lap, row = order.rows(0, whole)
    for first in range(0, whole, batch):
        assert len(set(row[first : first + batch].tolist())) == batch
    for first in range(0, 3 * shown, shown):
        assert Counter(row[first : first + shown].tolist()) == copies
    assert len(set(zip(lap.tolist(), row.tolist(), strict=True))) == whole
    fresh = Order(showings, seed=seed, batch_size=batch)  # has seen nothing of what was before
    assert fresh.rows(*cut)[1].tolist() == order.rows(0, 400)[1][slice(*cut)].tolist()


def test_a_billion_pairs_are_shown_from_anywhere():
    order = Order(10**9, seed=0, batch_size=4096)
    border = 10**9 // 4096 * 4096
    lap, row = order.rows(border, border + 4096)
    assert set(lap.tolist()) == {0, 1}
    assert len(set(row.tolist())) == 4096
    assert (row.min() < 10**7) & (row.max() > 99 * 10**7)
    assert order.rows(border + 7, border + 9)[1].tolist() == row[7:9].tolist()
    halves = Counter((order.rows(10**11, 10**11 + 4096)[1] < 5 * 10**8).tolist())
    assert abs(halves[True] - 2048) < 4 * 32


def test_seeds_give_other_orders():
    assert Order(50, seed=0).rows(0, 50)[1].tolist() != Order(50, seed=1).rows(0, 50)[1].tolist()


def test_captions_are_drawn_evenly_and_for_each_showing_anew():
    lap, row = np.repeat(np.arange(3), 1000), np.tile(np.arange(1000), 3)
    number = drawn_captions(0, lap, row, captions=4)
    assert all(abs(c - 750) < 120 for c in np.bincount(number, minlength=4))
    assert 0.15 < (number[:1000] == number[1000:2000]).mean() < 0.35
    assert drawn_captions(0, lap[5:7], row[5:7], captions=4).tolist() == number[5:7].tolist()


def test_a_showing_has_its_own_generator():
    draws = {sample_rng(s, e, r).random() for s in range(3) for e in range(3) for r in range(3)}
    assert len(draws) == 27
    assert sample_rng(1, 2, 3).random() == sample_rng(1, 2, 3).random()


def test_an_empty_subset_is_refused():
    with pytest.raises(ValueError, match="pairs: got none"):
        Order(0, seed=0)
