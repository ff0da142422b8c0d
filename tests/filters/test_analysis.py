"""What is said of rules equals Snorkel's analysis, and plain counting over rows."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import binomtest

from filters.ensemble import (
    Bayes,
    Moments,
    analyse,
    count,
    count_labels,
    fit_label_model,
)

ROWS, RULES = 3000, 6


@pytest.fixture(scope="module")
def planted():
    """Rule 1 repeats rule 0 but for 2 %, rule 4 only drops, rule 5 never votes."""
    rng = np.random.default_rng(0)
    label = (rng.random(ROWS) < 0.7).astype(np.int64)
    right = rng.random((ROWS, RULES)) < (0.85, 0.85, 0.7, 0.25, 0.9, 0.5)
    votes = np.where(right, label[:, None], 1 - label[:, None]).astype(np.int8)
    votes[rng.random((ROWS, RULES)) < 0.3] = -1
    votes[:, 1] = np.where(rng.random(ROWS) < 0.02, 1 - np.abs(votes[:, 0]), votes[:, 0])
    votes[votes[:, 4] == 1, 4] = -1
    votes[:, 5] = -1
    return label, votes


def test_it_says_what_snorkel_says(planted):
    from snorkel.labeling import LFAnalysis

    label, votes = planted
    told = analyse(count(votes), labelled=count_labels(votes, label))
    snorkel = LFAnalysis(votes.astype(np.float64))
    assert [list(p) for p in told.polarity] == snorkel.lf_polarities()
    assert told.coverage_M == pytest.approx(snorkel.lf_coverages())
    assert told.overlap_M == pytest.approx(snorkel.lf_overlaps())
    assert told.conflict_M == pytest.approx(snorkel.lf_conflicts())
    assert 1 - told.abstain_rate == pytest.approx(snorkel.label_coverage())
    empirical = snorkel.lf_empirical_accuracies(label)
    assert told.empirical[:5] == pytest.approx(empirical[:5])
    assert np.isnan(told.empirical[5])  # where Snorkel says 0.5 of a rule that never voted


@pytest.mark.parametrize("classes", [2, 4])
def test_it_equals_counting_over_rows(classes):
    votes = np.random.default_rng(classes).integers(-1, classes, (500, 4)).astype(np.int8)
    label = np.random.default_rng(9).integers(0, classes, 500)
    told = analyse(
        count(votes, classes=classes), labelled=count_labels(votes, label, classes=classes)
    )
    voted = votes >= 0
    for i in range(4):
        others = np.delete(votes, i, 1)
        against = (others >= 0) & (others != votes[:, [i]])
        assert told.overlap_M[i] == np.mean(voted[:, i] & (others >= 0).any(1))
        assert told.conflict_M[i] == np.mean(voted[:, i] & against.any(1))
        assert told.right_M[i] == (votes[:, i] == label).sum()
        for j in range(4):
            both = voted[:, i] & voted[:, j]
            assert told.both_MM[i, j] == both.sum()
            assert told.agreement[i, j] == np.mean(votes[both, i] == votes[both, j])
    assert list(told.by_votes) == [(voted.sum(1) == n).sum() for n in range(5)]


def test_moments_alone_leave_out_what_they_cannot_tell(planted):
    _, votes = planted
    whole, told = analyse(count(votes)), analyse(Moments.of(count(votes)))
    assert (told.equal_MM == whole.equal_MM).all()
    assert (told.coverage_M == whole.coverage_M).all()
    assert np.isnan(told.overlap_M).all()
    assert (told.by_votes, told.p_keep_B) == (None, None)
    assert np.isnan(told.abstain_rate)


def test_groups_and_adversaries_are_found(planted):
    label, votes = planted
    told = analyse(count(votes), labelled=count_labels(votes, label))
    assert told.groups == ((0, 1),)
    assert told.adversarial == (3,)
    assert told.empirical[4] > told.chance_M[4]
    learned = analyse(count(votes), model=fit_label_model(votes, prior=0.7))
    assert learned.adversarial == (3,)
    mirrored = analyse(count(np.where(votes < 0, votes, 1 - votes).astype(np.int8)))
    assert mirrored.groups == told.groups


def test_rules_that_only_drop_are_no_group_for_agreeing():
    votes = np.full((100, 2), -1, np.int8)
    votes[:40, 0], votes[20:60, 1] = 0, 0
    told = analyse(count(votes))
    assert told.agreement[0, 1] == 1
    assert told.groups == ()


def test_a_rare_rule_that_only_drops_is_no_adversary_for_being_wrong_half_the_time():
    rng = np.random.default_rng(1)
    label = (rng.random(4000) < 0.8).astype(np.int64)
    votes = np.full((4000, 1), -1, np.int8)
    votes[rng.random(4000) < np.where(label == 1, 0.05, 0.15), 0] = 0
    told = analyse(count(votes), labelled=count_labels(votes, label))
    assert told.interval[0, 1] < 0.5
    assert told.adversarial == ()


def test_the_interval_is_wilsons(planted):
    label, votes = planted
    told = analyse(count(votes), labelled=count_labels(votes[:40], label[:40]))
    for m in range(RULES - 1):
        ends = binomtest(told.right_M[m], told.judged_M[m]).proportion_ci(method="wilson")
        assert tuple(told.interval[m]) == pytest.approx((ends.low, ends.high), abs=1e-12)


def test_what_a_fit_says_of_its_rules_holds(planted):
    _, votes = planted
    said = {"adversarial": [2], "groups": [[3, 4]]}
    told = analyse(count(votes), model=replace(fit_label_model(votes, prior=0.7), told=said))
    assert (told.adversarial, told.groups) == ((2,), ((3, 4),))
    by_columns = fit_label_model(votes, prior=0.7, columns=["a", "b", "c", "d", "c", "e"])
    assert analyse(count(votes), model=by_columns).groups == ((0, 1), (2, 4))


def test_log_odds_are_over_abstaining_and_for_the_own_class():
    evidence = (
        (0.5, 0.1),
        (2.0, 0.0),
        (0.0, 0.0),
    )  # abstain, drop, keep: natural logs of [bad, good]
    model = Bayes(
        kind="triplet", prior=(0.4, 0.6), accuracy=(0.8,), share=(0.5,), told={},
        evidence=(evidence,),
    )  # fmt: skip
    told = analyse(count(np.array([[0], [1], [-1]], np.int8)), model=model)
    assert told.log_odds_MK[0] == pytest.approx([2.0 - 0.4, 0.4])
    assert told.share_M[0] == 0.5
    dropping = analyse(count(np.array([[0], [-1]], np.int8)), model=model)
    assert np.isnan(dropping.log_odds_MK[0, 1])
    assert sum(told.p_keep_B) == 3


def test_what_is_of_other_rules_is_refused(planted):
    label, votes = planted
    model = fit_label_model(votes[:, :3])
    with pytest.raises(ValueError, match=r"got a label model of 3 rules.*expected 6"):
        analyse(count(votes), model=model)
    with pytest.raises(ValueError, match=r"got labels of 5 rules.*expected 6"):
        analyse(count(votes), labelled=count_labels(votes[:, :5], label))
