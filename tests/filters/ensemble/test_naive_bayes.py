"""Naive Bayes ends where a general optimiser ends, and finds what was planted."""

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.special import expit, log_softmax, logsumexp

from filters.ensemble import NaiveBayes, count, fit_label_model
from tests.filters.ensemble.planted import ONE_SIDED, planted, symmetric

TABLES = symmetric([0.85, 0.75, 0.8, 0.65], classes=3)
PRIOR = (0.2, 0.3, 0.5)


def objective(votes, times, theta, *, propensity, strength, start, prior, learn_prior):
    """Mean log-likelihood of rows and log priors, written down rule by rule and class by class."""
    rules, classes = votes.shape[1], len(prior)
    accuracy = expit(theta[: rules * classes]).reshape(rules, classes)
    rate = expit(theta[rules * classes : 2 * rules * classes]).reshape(rules, classes)
    coverage = times @ (votes >= 0) / times.sum()
    if propensity == "shared":
        rate = np.repeat(rate[:, :1], classes, axis=1)
    log_prior = log_softmax(theta[2 * rules * classes :]) if learn_prior else np.log(prior)
    log_rows = np.tile(log_prior, (len(votes), 1))
    penalty = strength * (np.array(prior) @ log_prior) if learn_prior else 0.0
    for m in range(rules):
        casts = sorted(set(votes[:, m]) - {-1})
        for k in range(classes):
            a, p = accuracy[m, k], rate[m, k]
            others = len([c for c in casts if c != k])
            if k not in casts:
                a = 0.0
            elif not others:
                a = 1.0
            else:
                pull = strength * prior[k] * coverage[m]
                penalty += pull * (start * np.log(a) + (1 - start) * np.log(1 - a))
            if propensity == "by_class":
                q = coverage[m]
                penalty += strength * prior[k] * (q * np.log(p) + (1 - q) * np.log(1 - p))
            chance = np.full(classes + 1, np.nan)
            chance[0] = 1 - p
            for c in casts:
                chance[1 + c] = p * (a if c == k else (1 - a) / others)
            log_rows[:, k] += np.log(chance[votes[:, m] + 1])
    return times @ logsumexp(log_rows, axis=1) / times.sum() + penalty


def fitted_theta(model, classes):
    """Read the parameters off a fitted model, as the objective takes them."""
    table = np.exp(np.array(model.evidence))
    rate = 1 - table[:, 0]
    right = np.einsum("mkk->mk", table[:, 1:]) / rate
    logit = [np.log(x / (1 - x)) for x in np.clip([right, rate], 1e-9, 1 - 1e-9)]
    return np.concatenate([*(x.ravel() for x in logit), np.log(model.prior)])


@pytest.mark.parametrize(
    ("classes", "propensity", "learn_prior"),
    [(2, "by_class", True), (2, "shared", False), (3, "by_class", False),
     (3, "shared", True)],
)  # fmt: skip
def test_it_ends_at_the_optimum(classes, propensity, learn_prior):
    if classes == 2:
        _, votes = planted(ONE_SIDED[:4], rows=200, prior=(0.4, 0.6))
        prior = (0.4, 0.6)
    else:
        _, votes = planted(TABLES[:3], rows=200, prior=PRIOR)
        prior = PRIOR
    method = NaiveBayes(propensity=propensity, learn_prior=learn_prior, tolerance=1e-10)
    model = fit_label_model(count(votes, classes=classes), model=method, prior=prior)
    assert model.told["converged"]
    options = {
        "propensity": propensity, "strength": method.strength, "start": method.accuracy,
        "prior": prior, "learn_prior": learn_prior,
    }  # fmt: skip
    patterns, times = np.unique(votes, axis=0, return_counts=True)
    size = 2 * votes.shape[1] * classes
    start = np.concatenate([np.full(size // 2, np.log(9)), np.zeros(size // 2), np.log(prior)])
    best = minimize(
        lambda theta: -objective(patterns, times, theta, **options), start, method="L-BFGS-B",
        options={"ftol": 1e-13, "gtol": 1e-7, "maxfun": 100_000},
    )  # fmt: skip
    value = objective(patterns, times, fitted_theta(model, classes), **options)
    assert value == pytest.approx(-best.fun, abs=1e-7)


@pytest.mark.parametrize("classes", [2, 3, 4])
@pytest.mark.parametrize("propensity", ["by_class", "shared"])
def test_planted_accuracies_are_found(classes, propensity):
    accuracies = [0.85, 0.75, 0.8, 0.7, 0.65, 0.75]
    prior = np.arange(2, classes + 2) / np.arange(2, classes + 2).sum()
    _, votes = planted(symmetric(accuracies, classes=classes), rows=20_000, prior=prior)
    model = fit_label_model(
        count(votes, classes=classes), model=NaiveBayes(propensity=propensity, learn_prior=True),
        prior=np.full(classes, 1 / classes),
    )  # fmt: skip
    assert model.accuracy == pytest.approx(accuracies, abs=0.03)
    assert model.prior == pytest.approx(prior, abs=0.03)


def test_one_sided_rules_speak_by_when_they_vote():
    labels, votes = planted(ONE_SIDED, rows=20_000, prior=(0.4, 0.6))
    by_class, shared = (
        fit_label_model(count(votes), model=NaiveBayes(propensity=propensity), prior=0.6)
        for propensity in ("by_class", "shared")
    )
    _, _, keep = by_class.evidence[3]
    assert keep[1] - keep[0] == pytest.approx(np.log(0.4 / 0.1), abs=0.2)
    _, _, keep = shared.evidence[3]
    assert keep[1] == keep[0]
    right = [np.mean((model.predict(votes) > 0.5) == labels) for model in (by_class, shared)]
    assert right[0] > right[1] + 0.02


def test_a_rule_of_one_class_of_three_is_modelled_as_it_is():
    one_class = [[0.95, 0.9, 0.4], [0, 0, 0], [0, 0, 0], [0.05, 0.1, 0.6]]
    tables = np.concatenate([TABLES, TABLES, [one_class]])
    _, votes = planted(tables, rows=20_000, prior=PRIOR)
    model = fit_label_model(count(votes, classes=3), model="naive_bayes", prior=PRIOR)
    assert np.exp(model.evidence[-1][3]) == pytest.approx([0.05, 0.1, 0.6], abs=0.03)
    assert model.evidence[-1][1] == model.evidence[-1][2] == (0, 0, 0)


def test_a_prior_that_outweighs_the_votes_leaves_the_accuracy_where_it_started():
    votes = np.array([[1, 1, 1, 0]] * 500 + [[0, 0, 0, 0]] * 499 + [[0, 0, 0, 1]], np.int8)
    strong = fit_label_model(
        count(votes), model=NaiveBayes(strength=1e6), prior=0.5, share_copies=False
    )
    right = np.exp(np.array(strong.evidence))[:, [1, 2], [0, 1]]
    assert right == pytest.approx(np.full((4, 2), 0.9), abs=1e-4)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"accuracy": 1.0}, "got 1.0, expected above 0 and below 1"),
        ({"strength": -0.1}, "got strength -0.1"),
        ({"most_steps": 0}, "most_steps 0"),
    ],
)
def test_numbers_that_make_no_sense_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        NaiveBayes(**settings)
