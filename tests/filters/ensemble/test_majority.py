"""Votes counted by hand, by Snorkel, and by a loop over them."""

from itertools import product

import numpy as np
import pytest
from snorkel.labeling.model import MajorityLabelVoter

from filters.ensemble import Majority, WeightedMajority, count, count_labels, fit_label_model
from tests.filters.ensemble.planted import planted, symmetric


def every_pattern(rules, classes):
    return np.array(list(product(range(-1, classes), repeat=rules)), np.int8)


@pytest.mark.parametrize("classes", [2, 3, 4])
def test_winners_are_those_of_snorkel(classes):
    votes = every_pattern(4, classes)
    votes = votes[(votes >= 0).any(axis=1)]  # there all classes tie, where we give the prior
    counts = count(votes, classes=classes)
    prior = np.full(classes, 1 / classes)
    model = fit_label_model(counts, model=Majority(ties="winners"), prior=prior)
    expected = MajorityLabelVoter(cardinality=classes).predict_proba(votes.astype(int))
    assert (model.predict_proba(votes) == expected).all()


@pytest.mark.parametrize("weights", [(), (0.5, 2.0, 0.0, 1.25)])
def test_votes_count_as_their_class_and_their_rule_do(weights):
    votes, prior = every_pattern(4, 3), np.array([0.2, 0.3, 0.5])
    weighted = fit_label_model(
        count(votes, classes=3), model=WeightedMajority(weights=weights), prior=prior
    )
    for row, got in zip(votes, weighted.predict_proba(votes), strict=True):
        sums = np.zeros(3)
        for vote, weight in zip(row, weights or (1, 1, 1, 1), strict=True):
            if vote >= 0:
                sums[vote] += prior[vote] * weight
        assert got == pytest.approx(sums / sums.sum() if sums.sum() else prior, abs=1e-15)


def test_shares_do_not_depend_on_the_prior_but_where_nobody_votes():
    votes = np.array([[1, 1, 0], [0, 0, 1], [-1, -1, -1], [1, 0, -1]], np.int8)
    p = fit_label_model(count(votes), model="majority", prior=0.9).predict(votes)
    assert p == pytest.approx([2 / 3, 1 / 3, 0.9, 0.5])


def test_labels_weigh_rules_by_log_odds_over_a_guess():
    votes = np.array([[0, 1, 1, -1], [1, 1, 0, -1], [2, 1, -1, -1], [0, 0, -1, -1]], np.int8)
    labels = np.array([0, 1, 2, 0])
    known = count_labels(votes, labels, classes=3)
    prior = np.full(3, 1 / 3)
    model = fit_label_model(
        count(votes, classes=3), model="weighted_majority", labelled=known, prior=prior
    )
    # right of votes: 4 of 4, 2 of 4, 0 of 2, none
    smoothed = np.array([5 / 7, 3 / 7, 1 / 5])
    assert model.accuracy[:3] == pytest.approx(smoothed)
    assert np.isnan(model.accuracy[3])
    assert model.weight == pytest.approx([*np.log([2 * 5 / 2, 2 * 3 / 4]), 0, 0])
    assert model.told["weights"] == "labels"
    assert model.told["without_a_say"] == [2, 3]
    # only rules without a say have voted
    assert model.predict_proba(np.array([[-1, -1, 0, 1]], np.int8))[0] == pytest.approx(prior)


@pytest.mark.parametrize("classes", [2, 3, 4])
def test_a_few_labels_tell_the_good_rules_from_the_others(classes):
    prior = (1 / classes,) * classes
    guess = 1 / classes
    tables = symmetric([0.9, 0.85, *[guess] * 5], classes=classes, coverage=0.9)
    labels, votes = planted(tables, rows=4000, prior=prior)
    known = count_labels(votes[:200], labels[:200], classes=classes)
    right = {}
    for kind in ("majority", "weighted_majority"):
        model = fit_label_model(
            count(votes, classes=classes), model=kind, prior=prior, labelled=known
        )
        right[kind] = np.mean(model.predict_proba(votes[200:]).argmax(axis=1) == labels[200:])
    assert right["weighted_majority"] > right["majority"] + 0.05


@pytest.mark.parametrize("weights", [(-1.0, 1.0), (0.0, 0.0), (float("nan"), 1.0)])
def test_weights_that_are_none_are_refused(weights):
    with pytest.raises(ValueError, match="expected numbers of at least 0, and one above it"):
        WeightedMajority(weights=weights)


def test_weights_of_other_rules_are_refused():
    with pytest.raises(ValueError, match="got 3, expected one of each of 2 rules"):
        fit_label_model(
            count(every_pattern(2, 2)), model=WeightedMajority(weights=(1.0,) * 3), prior=0.5
        )
