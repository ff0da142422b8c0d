"""The order is a function of (seed, epoch, index) and of nothing else."""

import numpy as np
import pytest

from training.input.order import Order, sample_rng


def test_every_epoch_shows_every_row_once():
    epoch, row = Order(7, seed=3).rows(0, 21)
    assert epoch.tolist() == [0] * 7 + [1] * 7 + [2] * 7
    for e in range(3):
        assert sorted(row[epoch == e].tolist()) == list(range(7))
    assert row[:7].tolist() != row[7:14].tolist()


def test_any_cut_of_the_sequence_gives_the_same_sequence():
    whole = Order(5, seed=1).rows(0, 40)[1]
    order = Order(5, seed=1)
    pieces = [order.rows(a, b)[1] for a, b in ((33, 40), (0, 3), (3, 17), (17, 33))]
    again = np.concatenate([pieces[1], pieces[2], pieces[3], pieces[0]])
    assert again.tolist() == whole.tolist()


def test_seeds_give_other_orders():
    assert Order(50, seed=0).rows(0, 50)[1].tolist() != Order(50, seed=1).rows(0, 50)[1].tolist()


def test_a_showing_has_its_own_generator():
    draws = {sample_rng(s, e, r).random() for s in range(3) for e in range(3) for r in range(3)}
    assert len(draws) == 27
    assert sample_rng(1, 2, 3).random() == sample_rng(1, 2, 3).random()


def test_an_empty_subset_is_refused():
    with pytest.raises(ValueError, match="pairs: got none"):
        Order(0, seed=0)
