"""Copies by hash against all pairs compared."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from filters.concepts.copies import (
    PAIRS,
    bands,
    closest,
    equal_copies,
    near_copies,
    near_in_groups,
)


def planted(count, *, seed=0):
    """Return hashes of which half are others with 0 to 11 bits flipped."""
    rng = np.random.default_rng(seed)
    hash_N = rng.integers(0, 2**64, count, np.uint64)
    for i in rng.choice(count, count // 2, replace=False):
        flipped = hash_N[rng.integers(count)]
        for bit in rng.choice(64, rng.integers(12), replace=False):
            flipped ^= np.uint64(1) << np.uint64(bit)
        hash_N[i] = flipped
    return hash_N


def brute_force(hash_N, order, bits):
    """Compare all pairs: the closest earlier one within so many bits, of equals the first."""
    distance_N, earlier_N = np.full(len(hash_N), -1), np.full(len(hash_N), -1)
    for rank in range(1, len(order)):
        apart = [int(hash_N[order[rank]] ^ hash_N[j]).bit_count() for j in order[:rank]]
        if min(apart) <= bits:
            distance_N[order[rank]] = min(apart)
            earlier_N[order[rank]] = order[apart.index(min(apart))]
    return distance_N.tolist(), earlier_N.tolist()


def as_lists(copies):
    return copies.distance_N.tolist(), copies.earlier_N.tolist()


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.integers(0, 60), st.sampled_from([0, 1, 4, 9, 20, 40, 63]))
def test_near_copies_are_those_of_all_pairs(seed, count, bits):
    hash_N, order = planted(count, seed=seed), np.random.default_rng(seed).permutation(count)
    expected = brute_force(hash_N, order, bits)
    assert as_lists(near_copies(hash_N, order=order, bits=bits)) == expected
    assert as_lists(near_copies(hash_N[order], bits=bits)) == brute_force(
        hash_N[order], np.arange(count), bits
    )


@pytest.mark.parametrize(("count", "bits"), [(1500, 0), (1500, 4), (1500, 8)])
def test_banding_misses_nothing_where_it_is_used(count, bits):
    """Here bands must agree, which all pairs of a few dozen hashes do not show."""
    hash_N = planted(count)
    apart_NN = np.bitwise_count(hash_N[:, None] ^ hash_N).astype(int)
    apart_NN[np.triu_indices(count)] = 99
    found = near_copies(hash_N, bits=bits)
    near_N = apart_NN.min(axis=1) <= bits
    assert found.distance_N.tolist() == np.where(near_N, apart_NN.min(axis=1), -1).tolist()
    assert found.earlier_N.tolist() == np.where(near_N, apart_NN.argmin(axis=1), -1).tolist()
    assert near_N.sum() > count // 50


@pytest.mark.parametrize("agree", [0, 1, 2, 3])
@pytest.mark.parametrize("bits", [0, 1, 4, 8])
def test_groups_of_shared_keys_answer_as_the_whole_does(bits, agree):
    hash_N, order = planted(200), np.random.default_rng(5).permutation(200)
    key_NC = bands(hash_N, bits=bits, agree=agree)
    row_P, distance_P, earlier_P = [], [], []
    place = np.random.default_rng(6).integers(0, 3, 2**16)  # which of three tasks has which key
    rank_N = np.argsort(order)
    for task in range(3):
        row, column = np.nonzero(place[key_NC >> np.uint64(48)] == task)
        found = near_in_groups(
            key_NC[row, column], hash_N[row], order=np.argsort(rank_N[row]), bits=bits
        )
        has = np.flatnonzero(found.earlier_N >= 0)
        row_P.extend(row[has])
        distance_P.extend(found.distance_N[has])
        earlier_P.extend(row[found.earlier_N[has]])
    row_P, earlier_P = np.array(row_P), np.array(earlier_P)
    best = closest(row_P, np.array(distance_P), rank_N[earlier_P])
    merged = np.full((2, 200), -1)
    merged[:, row_P[best]] = np.array(distance_P)[best], earlier_P[best]
    assert tuple(merged.tolist()) == brute_force(hash_N, order, bits)


def test_there_is_a_key_for_each_choice_of_bands():
    hash_N = planted(50)
    assert bands(hash_N, bits=4).shape == (50, 5)
    assert bands(hash_N, bits=4, agree=2).shape == (50, 15)
    assert bands(hash_N[:0], bits=4).shape == (0, 5)
    assert len(np.unique(bands(np.zeros(2, np.uint64), bits=4))) == 5
    assert bands(hash_N, bits=4).dtype == np.uint64


def test_a_group_of_any_size_is_compared_in_pieces():
    count = 1500  # more pairs than are held at once
    assert count * (count - 1) // 2 > PAIRS
    hash_N = np.arange(count).astype(np.uint64) << np.uint64(20)
    found = near_in_groups(np.zeros(count, np.uint64), hash_N, bits=1)
    ones = np.bitwise_count(np.arange(count))
    assert (found.distance_N[1:] == 1).all()
    assert found.earlier_N[ones == 1].tolist() == [0] * 11
    top = np.arange(1, count)
    assert (np.bitwise_count(found.earlier_N[1:] ^ top) == 1).all()
    assert (found.earlier_N[1:] == top ^ (1 << np.log2(top).astype(int))).all()


def test_of_equal_contents_the_first_of_the_order_is_the_twin():
    content_N = np.array([7, 2**64 - 1, 7, 2**64 - 1, 7, 1], np.uint64)
    assert as_lists(equal_copies(content_N)) == ([-1, -1, 0, 0, 0, -1], [-1, -1, 0, 1, 0, -1])
    backwards = equal_copies(content_N, order=np.arange(6)[::-1])
    assert backwards.earlier_N.tolist() == [4, 3, 4, -1, -1, -1]
    assert as_lists(equal_copies(content_N[:0])) == ([], [])


def test_of_answers_the_closest_counts_and_then_the_preferred():
    row = np.array([3, 3, 1, 1, 1, 9])
    distance = np.array([2, 1, 4, 4, 4, 0], np.int8)
    better, uid = np.array([0, 5, 2, 1, 1, 0]), np.array([0, 0, 0, 8, 7, 0])
    assert closest(row, distance, better, uid).tolist() == [4, 1, 5]
    assert closest(row[:0], distance[:0], uid[:0]).tolist() == []


def test_more_bits_never_keep_more():
    kept = [np.count_nonzero(near_copies(planted(400), bits=b).earlier_N < 0) for b in range(13)]
    assert kept == sorted(kept, reverse=True)
    assert len(set(kept)) > 5


@pytest.mark.parametrize(("bits", "agree"), [(-1, 1), (64, 0), (60, 5), (4, -1)])
def test_bits_that_there_are_not_are_refused(bits, agree):
    with pytest.raises(ValueError, match=f"copies: got {bits} bits and {agree} bands"):
        bands(planted(3), bits=bits, agree=agree)
