"""Quantiles are order statistics, exactly, whatever the sharding."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from filters.quantiles import quantile, quantiles

FLOATS = st.floats(width=32, allow_nan=True, allow_infinity=True)


@settings(max_examples=50, deadline=None)
@given(st.lists(FLOATS, min_size=1, max_size=60), st.floats(0, 1), st.integers(1, 5))
def test_it_is_the_sorted_value_at_the_rank(values, share, shards):
    parts = np.array_split(np.array(values, np.float32), shards)
    found = quantile(lambda: iter(parts), share)
    real = np.sort(np.array([v for v in values if not np.isnan(v)], np.float32))
    if not len(real):
        assert np.isnan(found)
        return
    expected = real[max(1, int(np.ceil(share * len(real)))) - 1]
    assert found == expected


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9, 1.0])
def test_it_agrees_with_numpy_on_many_values(share):
    values = np.random.default_rng(0).normal(size=10_001).astype(np.float32)
    expected = np.quantile(values, share, method="inverted_cdf")
    assert quantile(lambda: [values[:77], values[77:]], share) == expected


def test_many_at_once_are_what_each_is_alone():
    values = np.random.default_rng(1).normal(size=1001).astype(np.float32)
    shares = [0.5, 0.0, 0.001, 0.999, 1.0, 0.5]
    found = quantiles(lambda: [values[:500], values[500:]], shares)
    assert found == [quantile(lambda: [values], share) for share in shares]
    assert np.isnan(quantiles(list, shares)).all()
