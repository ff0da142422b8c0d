"""Quotas against brute force, exact fractions, a quadratic solver and their invariances."""

import heapq
import itertools
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize

from filters.concepts.quotas import allocate

NUMBERS = st.floats(-3, 9)


@st.composite
def problems(draw, most=6, numbers=NUMBERS):
    """Return targets, bounds and a total that they admit."""
    concepts = draw(st.integers(1, most))
    lists = {"min_size": concepts, "max_size": concepts}
    target = np.array(draw(st.lists(numbers, **lists)), float)
    upper = np.array(draw(st.lists(st.integers(0, 7), **lists)))
    lower = np.minimum(upper, draw(st.lists(st.integers(-1, 3), **lists)))
    return target, lower, upper, draw(st.integers(int(lower.sum()), int(upper.sum())))


def solve(target, lower, upper, total):
    """The real solution, in fractions: the shift is between two points where one meets a bound."""
    rows = [(Fraction(t), int(a), int(b)) for t, a, b in zip(target, lower, upper, strict=True)]

    def filled(shift):
        return [min(max(t + shift, a), b) for t, a, b in rows]

    points = sorted({bound - t for t, a, b in rows for bound in (a, b)})
    for left, right in itertools.pairwise([points[0] - 1, *points, points[-1] + 1]):
        low, high = sum(filled(left)), sum(filled(right))
        if low <= total <= high:
            rise = (total - low) / (high - low) if high > low else 0
            return filled(left + rise * (right - left))
    raise AssertionError


def rounded(real, upper, total):
    """Floors, and the units that are left to the largest fractions, ties to the lowest id."""
    whole = [x.numerator // x.denominator for x in real]
    ranked = sorted(range(len(real)), key=lambda j: (whole[j] - real[j], j))
    free = [j for j in ranked if whole[j] < upper[j] and whole[j] != real[j]]
    for j in free[: total - sum(whole)]:
        whole[j] += 1
    return whole


def loss(quota, target):
    return ((np.asarray(quota, float) - target) ** 2).sum()


@settings(max_examples=150, deadline=None)
@given(problems(numbers=st.integers(-40, 90).map(lambda n: n / 8)))
def test_quotas_are_the_rounded_real_solution_ties_and_all(problem):
    target, lower, upper, total = problem  # eighths, so that fractions tie often
    quota = allocate(target, lower=lower, upper=upper, total=total)
    assert quota.dtype == np.int64
    assert quota.tolist() == rounded(solve(*problem), upper, total)


@settings(max_examples=100, deadline=None)
@given(problems(most=4))
def test_no_other_integers_are_nearer(problem):
    target, lower, upper, total = problem
    quota = allocate(target, lower=lower, upper=upper, total=total)
    assert quota.sum() == total
    assert ((lower <= quota) & (quota <= upper)).all()
    every = itertools.product(*(range(a, b + 1) for a, b in zip(lower, upper, strict=True)))
    assert loss(quota, target) <= min(loss(q, target) for q in every if sum(q) == total) + 1e-9


@pytest.mark.parametrize("seed", range(4))
def test_the_real_solution_is_that_of_a_solver(seed):
    rng = np.random.default_rng(seed)
    upper = rng.integers(1, 60, 6)
    lower = np.minimum(rng.integers(0, 4, 6), upper)
    target = rng.normal(20, 15, 6)
    total = int(rng.integers(lower.sum(), upper.sum() + 1))
    found = minimize(
        lambda q: 0.5 * loss(q, target),
        x0=lower + (total - lower.sum()) / (upper - lower).sum() * (upper - lower),
        jac=lambda q: q - target,
        bounds=list(zip(lower, upper, strict=True)),
        constraints={"type": "eq", "fun": lambda q: q.sum() - total},
        method="SLSQP",
        options={"ftol": 1e-14},
    )
    real = np.array([float(x) for x in solve(target, lower, upper, total)])
    assert found.x == pytest.approx(real, abs=1e-5)
    quota = allocate(target, lower=lower, upper=upper, total=total)
    assert (np.abs(quota - real) < 1).all()


@settings(max_examples=100, deadline=None)
@given(problems())
def test_one_more_in_total_takes_from_none(problem):
    target, lower, upper, total = problem
    if total == upper.sum():
        return
    less = allocate(target, lower=lower, upper=upper, total=total)
    more = allocate(target, lower=lower, upper=upper, total=total + 1)
    assert sorted(more - less) == [0] * (len(target) - 1) + [1]


@settings(max_examples=60, deadline=None)
@given(problems(), st.randoms(use_true_random=False))
def test_the_order_of_concepts_does_not_matter(problem, random):
    target, lower, upper, total = problem
    target = np.round(target * 64) / 64 + np.arange(len(target)) / 1024  # no two fractions tie
    order = np.array(random.sample(range(len(target)), len(target)))
    quota = allocate(target, lower=lower, upper=upper, total=total)
    shuffled = allocate(target[order], lower=lower[order], upper=upper[order], total=total)
    assert shuffled.tolist() == quota[order].tolist()


def test_units_go_one_by_one_to_whom_they_cost_least():
    rng = np.random.default_rng(0)
    target, upper = rng.random(3000) ** 6 * 40, rng.integers(0, 30, 3000)
    total = 9000
    costs = [(0.5 - t, j) for j, t in enumerate(target) if upper[j]]
    heapq.heapify(costs)
    given_ = np.zeros(3000, int)
    for _ in range(total):
        cost, j = heapq.heappop(costs)
        given_[j] += 1
        if given_[j] < upper[j]:
            heapq.heappush(costs, (cost + 1, j))
    quota = allocate(target, lower=np.zeros(3000, int), upper=upper, total=total)
    assert quota.tolist() == given_.tolist()


@pytest.mark.parametrize("concepts", [1, 7, 5000])
@pytest.mark.parametrize("total", [0, 1, 4_999, 5_120_000_001, 12_800_000_000])
def test_pools_of_billions_and_targets_of_many_magnitudes(concepts, total):
    rng = np.random.default_rng(concepts)
    weight = 10.0 ** rng.uniform(-300, 0, concepts)
    size = 1 + rng.multinomial(12_800_000_000 - concepts, rng.dirichlet(np.ones(concepts)))
    target = total * weight / weight.sum()
    lower = np.minimum(size - 1, 1 if total >= concepts else 0)
    quota = allocate(target, lower=lower, upper=size, total=total)
    assert int(quota.sum()) == total
    assert ((lower <= quota) & (quota <= size)).all()
    target_F = [Fraction(t) for t in target]  # what the last unit cost, and what the next would
    last = [q - t for q, t, a in zip(quota.tolist(), target_F, lower, strict=True) if q > a]
    following = [q - t for q, t, b in zip(quota.tolist(), target_F, size, strict=True) if q < b]
    if last and following:
        assert max(last) - Fraction(1, 2) <= min(following) + Fraction(1, 2) + Fraction(1, 2**25)


def test_surplus_of_a_full_concept_is_spread_evenly():
    # 50 too many for the first: 25 more for each of the others, not 37.5 and 12.5 as in proportion
    quota = allocate([100, 30, 10], lower=[0, 0, 0], upper=[50, 99, 99], total=140)
    assert quota.tolist() == [50, 55, 35]


def test_ties_go_to_the_lowest_id():
    quota = allocate([2.5, 0.5, 1.5, 0.5], lower=0, upper=9, total=7)
    assert quota.tolist() == [3, 1, 2, 1]
    assert allocate(np.full(5, 0.4), lower=0, upper=1, total=2).tolist() == [1, 1, 0, 0, 0]


@pytest.mark.parametrize(
    ("total", "expected"), [(6, [5, 0, 1, 0, 0, 0]), (10, [5, 0, 2, 1, 1, 1]), (5, [5] + [0] * 5)]
)
def test_a_target_of_another_order_breaks_no_bound(total, expected):
    # so far apart that a unit is half a pair: four share what is left, no fraction tells them apart
    target = [2.0**58, -(2.0**58), 0, 0, 0, 0]
    quota = allocate(target, lower=0, upper=[5, 9, 9, 9, 9, 9], total=total)
    assert quota.tolist() == expected


def test_only_differences_of_targets_matter():
    args = {"lower": 0, "upper": np.array([3, 9, 9]), "total": 11}
    assert (
        allocate([1, 2, 5], **args).tolist()
        == allocate([1e6 + 1, 1e6 + 2, 1e6 + 5], **args).tolist()
        == [2, 3, 6]
    )


@pytest.mark.parametrize("kind", [np.int8, np.int32, np.uint64])
def test_bounds_of_any_integers(kind):
    upper = np.array([3, 100], kind)
    assert allocate([50, 50], lower=np.zeros(2, kind), upper=upper, total=90).tolist() == [3, 87]
    endless = np.full(2, np.iinfo(np.uint64).max)
    assert allocate([1, 2], lower=[0, 0], upper=endless, total=9).tolist() == [4, 5]


def test_no_concepts():
    assert allocate([], lower=[], upper=[], total=0).tolist() == []


@pytest.mark.parametrize(
    ("target", "lower", "upper", "total", "message"),
    [
        ([1.0, 1.0], [0, 0], [2, 2], 9, "got a total of 9, expected 0 to 4"),
        ([1.0, 1.0], [1, 1], [2, 2], 1, "got a total of 1, expected 2 to 4"),
        ([1.0, 1.0], [3, 0], [2, 9], 5, "lower bounds below upper ones"),
        ([1.0, np.nan], [0, 0], [2, 2], 2, "got a target of nan, expected"),
        ([1.0, -np.inf], [0, 0], [2, 2], 2, "got a target of -inf, expected"),
        ([1e20, 1.0], [0, 0], [2, 2], 2, r"got a target of 1e\+20, expected"),
        ([1.0], [0, 0], [2, 2], 2, "expected as many"),
        ([[1.0]], [0], [2], 2, r"got targets of shape \(1, 1\), expected one for each"),
        ([1.0], [0.5], [2], 2, "got bounds of float64, expected integers"),
        ([1.0], [-(2**50)], [2], 2, "got a bound of -1125899906842624, expected"),
        ([1.0], [0], [2**62], 2**50, "got a total of 1125899906842624, expected 0 to"),
    ],
)
def test_what_has_no_answer_is_refused(target, lower, upper, total, message):
    with pytest.raises(ValueError, match=message):
        allocate(target, lower=lower, upper=upper, total=total)
