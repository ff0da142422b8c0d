import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from pipeline.pools.near_copies import count_near, first_of_each

# Few bits, so that near and far both happen.
hashes = arrays(np.uint64, st.integers(0, 30), elements=st.integers(0, 2**12 - 1))


def distance(one: np.uint64, other: np.uint64) -> int:
    return (int(one) ^ int(other)).bit_count()


@given(hashes, hashes, st.integers(0, 6))
@settings(max_examples=50, deadline=None)
def test_counts_equal_comparing_one_by_one(hash_N, hash_M, radius):
    expected = [sum(distance(n, m) <= radius for m in hash_M) for n in hash_N]
    assert count_near(hash_N, hash_M, radius=radius).tolist() == expected


@given(hashes, st.integers(0, 6))
@settings(max_examples=50, deadline=None)
def test_kept_ones_are_apart_and_cover_the_rest(hash_N, radius):
    kept = hash_N[first_of_each(hash_N, radius=radius)]
    assert all(distance(a, b) > radius for i, a in enumerate(kept) for b in kept[:i])
    assert count_near(hash_N, kept, radius=radius).all()


def test_tiles_do_not_change_the_answer():
    rng = np.random.default_rng(0)
    hash_N = rng.integers(0, 2**63, 5000, dtype=np.uint64)
    near = count_near(hash_N, hash_N[[0, 2047, 2048, 4999]])
    assert near.nonzero()[0].tolist() == [0, 2047, 2048, 4999]
