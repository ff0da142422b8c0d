"""Calibration by hand, by brute force and by scikit-learn."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest
from sklearn import metrics
from sklearn.calibration import calibration_curve

from filters.ensemble import count_labels, fit_label_model
from filters.ensemble.calibration import (
    Outcomes,
    brier_score,
    log_loss,
    reliability,
    wilson,
)  # fmt: skip

STRATEGY = {"width": "uniform", "count": "quantile"}


@pytest.fixture(scope="module")
def rows():
    """Values of p that are too sure: true log-odds are half of what p says, plus 0.3."""
    rng = np.random.default_rng(0)
    logit = rng.normal(0, 3, 5000)
    label = (rng.random(5000) < 1 / (1 + np.exp(-0.5 * logit - 0.3))).astype(int)
    return 1 / (1 + np.exp(-logit)), label


@pytest.mark.parametrize("by", STRATEGY)
@pytest.mark.parametrize("bins", [1, 5, 10, 20])
def test_the_curve_is_scikit_learn_s(rows, by, bins):
    curve = reliability(Outcomes.of(*rows), bins=bins, by=by)
    share, mean = calibration_curve(rows[1], rows[0], n_bins=bins, strategy=STRATEGY[by])
    np.testing.assert_allclose(curve.share_B, share)
    np.testing.assert_allclose(curve.mean_B, mean)
    assert curve.count_B.sum() == 5000


def test_scores_are_scikit_learn_s(rows):
    outcomes = Outcomes.of(*rows)
    assert brier_score(outcomes) == pytest.approx(metrics.brier_score_loss(rows[1], rows[0]))
    assert log_loss(outcomes) == pytest.approx(metrics.log_loss(rows[1], rows[0]))


def test_errors_by_hand():
    outcomes = Outcomes.of(np.array([0.1, 0.1, 0.9, 0.9, 0.9]), np.array([0, 1, 1, 1, 0]))
    curve = reliability(outcomes, bins=2)
    np.testing.assert_array_equal(curve.count_B, [2, 3])
    assert curve.expected_error == pytest.approx((2 * 0.4 + 3 * (0.9 - 2 / 3)) / 5)
    assert curve.greatest_error == pytest.approx(0.4)


def test_equal_p_share_a_bin_and_empty_bins_are_left_out():
    p = np.r_[np.full(90, 0.25), np.linspace(0.3, 0.9, 10)]
    curve = reliability(Outcomes.of(p, np.zeros(100, int)), bins=10, by="count")
    assert curve.count_B.tolist() == [90, 10]
    assert len(reliability(Outcomes.of(p[:90], np.ones(90, int))).count_B) == 1


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 20), st.booleans()), min_size=1, max_size=40), st.data())
def test_bins_are_what_a_loop_over_rows_finds(pairs, data):
    p = np.array([tenth / 20 for tenth, _ in pairs])
    label = np.array([int(good) for _, good in pairs])
    order = np.array(data.draw(st.permutations(range(len(pairs)))))
    curve = reliability(Outcomes.of(p[order], label[order]), bins=4)
    edges = [-1, 0.25, 0.5, 0.75, 1]
    inside = [(p > low) & (p <= high) for low, high in itertools.pairwise(edges)]
    inside = [rows for rows in inside if rows.any()]
    np.testing.assert_allclose(curve.mean_B, [p[rows].mean() for rows in inside])
    np.testing.assert_allclose(curve.share_B, [label[rows].mean() for rows in inside])
    gaps = [abs(p[rows].mean() - label[rows].mean()) * rows.mean() for rows in inside]
    assert curve.expected_error == pytest.approx(sum(gaps))


@pytest.mark.parametrize(("hits", "trials"), [(0, 5), (5, 5), (3, 17), (500, 1000)])
def test_wilson_is_scipy_s(hits, trials):
    low, high = wilson(np.array([hits]), np.array([trials]))
    expected = binomtest(hits, trials).proportion_ci(method="wilson")
    assert (low[0], high[0]) == pytest.approx((expected.low, expected.high))
    assert [x[0] for x in wilson(np.array([0]), np.array([0]))] == [0, 1]


def test_patterns_give_the_same_as_rows():
    rng = np.random.default_rng(0)
    votes = rng.integers(-1, 2, (500, 3)).astype(np.int8)
    label = (rng.random(500) < 0.6).astype(int)
    model = fit_label_model(votes, model="majority", prior=0.4)
    by_pattern = Outcomes.of_patterns(model, count_labels(votes, label))
    by_row = Outcomes.of(model.predict(votes), label)
    for name in ("p_V", "keep_V", "count_V"):
        np.testing.assert_array_equal(getattr(by_pattern, name), getattr(by_row, name))


@pytest.mark.parametrize(
    ("p", "label"), [([], []), ([1.5], [1]), ([float("nan")], [0]), ([0.5], [2])]
)
def test_rows_that_are_no_outcomes_are_refused(p, label):
    with pytest.raises(ValueError, match="calibration: got"):
        Outcomes.of(np.array(p), np.array(label, int))


def test_no_bins_are_refused(rows):
    with pytest.raises(ValueError, match="got 0 bins"):
        reliability(Outcomes.of(*rows), bins=0)
