"""What concepts should have and have at least, by hand and by closed forms."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from filters.concepts.grouping import first_of_each, grouped, keys
from filters.concepts.shares import lower_bounds, quotas_of, targets

SETTINGS = {"temperature": 0.1, "balance": 0.0, "minimum": 1}


def test_targets_are_a_softmax():
    value = np.array([0.3, 0.1, 0.25])
    weight = np.exp(value / 0.1)
    found = targets(value, total=90, temperature=0.1)
    assert found == pytest.approx(90 * weight / weight.sum())


@pytest.mark.parametrize("temperature", [1e-300, 1e-5, 1e300])
def test_targets_of_any_temperature_add_up(temperature):
    found = targets(np.array([0.5, 0.1, 0.5]), total=12_800_000_000, temperature=temperature)
    assert found.sum() == pytest.approx(12_800_000_000)
    assert found[1] == pytest.approx(0 if temperature < 1 else found[0])


@pytest.mark.parametrize(("value", "temperature"), [(np.nan, 0.1), (0.2, 0.0), (0.2, np.nan)])
def test_targets_of_what_is_no_number_are_refused(value, temperature):
    with pytest.raises(ValueError, match=f"a temperature of {temperature}, expected none"):
        targets(np.array([0.1, value]), total=9, temperature=temperature)


@pytest.mark.parametrize(
    ("total", "balance", "minimum", "expected"),
    [
        (40, 0.0, 1, [1, 1, 0, 0]),  # the paper's: min(1, size - 1)
        (40, 0.0, 0, [0, 0, 0, 0]),
        (40, 0.5, 1, [5, 2, 0, 0]),  # floor(0.5 * 40 / 4)
        (40, 0.5, 7, [7, 2, 0, 0]),
        (3, 0.0, 9, [1, 1, 0, 0]),  # 2 each would be 4
        (1, 0.0, 9, [0, 0, 0, 0]),
        (0, 0.5, 1, [0, 0, 0, 0]),
        (70, 0.0, 10**20, [59, 2, 0, 0]),  # as many as there are
    ],
)
def test_lower_bounds_give_way_to_the_total(total, balance, minimum, expected):
    size = np.array([60, 3, 1, 0])
    found = lower_bounds(size, total=total, balance=balance, minimum=minimum)
    assert found.tolist() == expected


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(["density", "uniform", "size", "ssp"]),
    st.lists(st.integers(0, 20), min_size=1, max_size=8),
    st.floats(0, 1),
    st.floats(0, 1),
    st.integers(0, 30),
)
def test_every_kind_keeps_the_total_within_its_bounds(by, sizes, keep, balance, minimum):
    size = np.array(sizes)
    total = int(keep * size.sum())
    above = np.diff(np.minimum(np.cumsum([0, *sizes]), total))  # the first concepts are the hardest
    quota = quotas_of(
        by, size_K=size, complexity_K=np.linspace(0.1, 0.4, len(size)), above_K=above,
        total=total, temperature=0.1, balance=balance, minimum=minimum,
    )  # fmt: skip
    lower = lower_bounds(size, total=total, balance=balance, minimum=minimum)
    assert quota.sum() == total
    assert ((lower <= quota) & (quota <= size)).all()
    if by == "ssp" and balance == minimum == 0:
        assert quota.tolist() == above.tolist()


def test_kinds_by_hand():
    size, complexity = np.array([40, 10, 30]), np.array([0.1, 0.1, 0.1 + 0.1 * np.log(2)])
    quotas = {
        by: quotas_of(
            by, size_K=size, complexity_K=complexity, above_K=np.array([20, 0, 20]), total=40,
            **SETTINGS,
        ).tolist()
        for by in ("density", "uniform", "size", "ssp")
    }  # fmt: skip
    assert quotas == {
        "density": [10, 10, 20],
        "uniform": [15, 10, 15],  # 13.3 each, and what the second cannot have to the others
        "size": [20, 5, 15],
        "ssp": [20, 1, 19],  # one for the second, taken from both; the lower id keeps its half
    }


def test_ssp_without_a_minimum_keeps_the_hardest_of_all():
    rng = np.random.default_rng(0)
    cluster = rng.integers(0, 6, 500).astype(np.int32)
    distance = rng.integers(0, 50, 500).astype(np.float32) / 64 + cluster / 1000  # no ties across
    uid = np.stack([np.zeros(500, np.uint64), rng.permutation(500).astype(np.uint64)], axis=1)
    hardest = np.lexsort((uid[:, 1], -distance.astype(np.float32)))[:200]
    quota = quotas_of(
        "ssp", size_K=np.bincount(cluster, minlength=6), complexity_K=np.ones(6),
        above_K=np.bincount(cluster[hardest], minlength=6), total=200, temperature=0.1,
        balance=0.0, minimum=0,
    )  # fmt: skip
    key = keys("hard", distance_N=distance, uid_N2=uid)
    kept = first_of_each(grouped(cluster, key, uid, concepts=6), quota)
    assert sorted(kept.tolist()) == sorted(hardest.tolist())


def test_ssp_without_counts_is_refused():
    with pytest.raises(ValueError, match="got no counts, expected members above the global cut"):
        quotas_of("ssp", size_K=np.ones(2, int), complexity_K=np.ones(2), total=1, **SETTINGS)
