"""What breaks label models elsewhere: the prior, copies, opposites, few votes, one-sided rules."""

import numpy as np
import pytest
from snorkel.labeling.model import LabelModel as Snorkel

from filters import ensemble
from filters.ensemble import Labelled, LatentClass, Moments, count, fit_label_model, merge
from filters.ensemble.groups import groups

ROWS = 5000
SKEWED = [(a * 0.8, (1 - a) * 0.8, (1 - a) * 0.8, a * 0.8) for a in (0.8, 0.75, 0.7, 0.7, 0.65)]
FOUR = [(a, 1 - a, 1 - a, a) for a in (0.85, 0.8, 0.75, 0.7)]
ONE_SIDED = [
    (0.5, 0.0, 0.1, 0.0), (0.4, 0.0, 0.15, 0.0), (0.3, 0.0, 0.1, 0.0), (0.6, 0.0, 0.3, 0.0),
    (0.0, 0.1, 0.0, 0.4), (0.0, 0.15, 0.0, 0.5),
]  # fmt: skip


def cast(rules, *, prior, rows=ROWS, seed=0):
    """Votes of rules (P(keep | good), P(drop | good), P(keep | bad), P(drop | bad))."""
    rng = np.random.default_rng(seed)
    good = rng.random(rows) < prior
    votes = np.empty((rows, len(rules)), np.int8)
    for m, (keep_good, drop_good, keep_bad, drop_bad) in enumerate(rules):
        keep, drop = np.where(good, keep_good, keep_bad), np.where(good, drop_good, drop_bad)
        u = rng.random(rows)
        votes[:, m] = np.where(u < keep, 1, np.where(u < keep + drop, 0, -1))
    return good, votes


def with_copies(*, flipped=0.0, opposite=(), seed=0):
    """Four good rules, and one of accuracy 0.60 five times."""
    good, own = cast([*FOUR, (0.6, 0.4, 0.4, 0.6)], prior=0.5, seed=seed)
    votes = own[:, [0, 1, 2, 3, 4, 4, 4, 4, 4]]
    rng = np.random.default_rng(seed + 1)
    votes[:, 4:] ^= rng.random((ROWS, 5)) < flipped
    votes[:, list(opposite)] ^= 1
    return good, votes


COLUMNS = (*"abcd", *["cut"] * 5)


def with_cuts(*, seed=0):
    """Four good rules, and five cuts of one column that knows little."""
    good, own = cast(FOUR, prior=0.4, seed=seed)
    column = 0.5 * good + np.random.default_rng(seed + 1).standard_normal(len(good))
    cuts = np.stack([column > at for at in (-0.5, -0.1, 0.1, 0.4, 0.8)], axis=1)
    return good, np.concatenate([own, cuts], axis=1).astype(np.int8)


def right(p, good):
    return float(((p >= 0.5) == good).mean())


def snorkel(votes, prior=0.5):
    model = Snorkel(cardinality=2, verbose=False)
    model.fit(votes, class_balance=[1 - prior, prior], seed=0, progress_bar=False, n_epochs=100)
    return model.predict_proba(votes)[:, 1]


def ours(votes, **options):
    return fit_label_model(count(votes), **options)


def test_a_skewed_prior_is_estimated_where_a_uniform_one_is_worse_than_voting():
    good, votes = cast(SKEWED, prior=0.1)
    model = ours(votes)
    assert model.told["prior"]["origin"] == "estimated"
    assert model.prior[1] == pytest.approx(0.1, abs=0.03)
    assert right(model.predict(votes), good) > right(snorkel(votes), good) + 0.015
    assert right(model.predict(votes), good) > right(snorkel(votes, prior=0.1), good) - 0.005


@pytest.mark.parametrize("copies", [{}, {"flipped": 0.05}, {"opposite": (5, 7)}])
def test_copies_do_not_outvote_four_better_rules(copies):
    good, votes = with_copies(**copies)
    model = ours(votes)
    assert model.told["groups"] == [[4, 5, 6, 7, 8]]
    assert sum(model.share[4:]) == pytest.approx(1.0, abs=0.25)
    assert model.share[:4] == (1.0,) * 4
    assert right(snorkel(votes), good) < 0.65
    assert right(model.predict(votes), good) > 0.89  # 0.904 is the best there can be


def test_copies_of_a_rule_change_nothing():
    _, votes = cast([*FOUR, (0.6, 0.4, 0.4, 0.6)], prior=0.5)
    once, five = votes, votes[:, [0, 1, 2, 3, 4, 4, 4, 4, 4]]
    assert ours(five).predict(five) == pytest.approx(ours(once).predict(once), abs=1e-9)
    alone = ours(five, model="triplet", prior=0.5).predict(five)
    assert alone == pytest.approx(ours(once, model="triplet", prior=0.5).predict(once), abs=1e-9)
    # Of pairs of votes alone as well.
    assert (
        alone.tolist()
        == fit_label_model(Moments.of(count(five)), model="triplet", prior=0.5)
        .predict(five)
        .tolist()
    )


def test_sharding_and_order_of_rows_change_no_bit():
    _, votes = with_cuts()
    whole = ours(votes, columns=COLUMNS)
    shuffled = np.random.default_rng(2).permutation(votes)
    parts = [count(part) for part in np.array_split(shuffled, 5)]
    assert fit_label_model(merge(parts[::-1]), columns=COLUMNS) == whole
    silent = np.insert(votes, 3, -1, axis=1)
    wide = ours(silent, columns=(*"abcs", *COLUMNS[3:]))
    assert wide.predict(silent) == pytest.approx(whole.predict(votes), abs=1e-9)
    assert np.isnan(wide.accuracy[3])


def test_cuts_of_one_column_are_one_group():
    good, votes = with_cuts()
    model = ours(votes, columns=COLUMNS)
    assert model.told["groups"] == [[4, 5, 6, 7, 8]]
    assert all(0.2 <= share < 0.5 for share in model.share[4:])
    assert right(snorkel(votes), good) < 0.7
    assert right(model.predict(votes), good) > right(ours(votes[:, :4]).predict(votes[:, :4]), good)


def test_excellent_rules_that_are_independent_are_not_merged():
    rules = [(a, 1 - a, 1 - a, a) for a in (0.98, 0.97, 0.7, 0.65, 0.6)]
    _, votes = cast(rules, prior=0.5)
    assert (votes[:, 0] == votes[:, 1]).mean() > 0.94
    assert all(len(group) == 1 for group in groups(Moments.of(count(votes))))


def test_an_adversarial_rule_is_used_the_other_way_round_and_named():
    rules = [(a * 0.8, (1 - a) * 0.8, (1 - a) * 0.8, a * 0.8) for a in (0.75, 0.7, 0.7, 0.65, 0.2)]
    good, votes = cast(rules, prior=0.5)
    model = ours(votes)
    assert model.told["adversarial"] == [4]
    assert model.accuracy[4] == pytest.approx(0.2, abs=0.03)
    majority = ours(votes, model="majority", prior=0.5)
    assert right(model.predict(votes), good) > right(majority.predict(votes), good) + 0.1
    only = np.array([[-1, -1, -1, -1, 1]], np.int8)
    assert model.predict(only)[0] < 0.3


def test_one_sided_rules_are_modelled_as_such():
    good, votes = cast(ONE_SIDED, prior=0.3, rows=20_000)
    model = ours(votes)
    assert model.prior[1] == pytest.approx(0.3, abs=0.04)
    assert model.told["adversarial"] == []
    assert right(model.predict(votes), good) > right(snorkel(votes), good) + 0.05
    assert right(model.predict(votes), good) > right(snorkel(votes, prior=0.3), good)
    keeps = np.where(np.eye(6, dtype=bool)[:4], 1, -1).astype(np.int8)
    assert (model.predict(keeps) > 0.3).all()  # a keep vote does not speak for drop
    several = np.array([[1, 1, -1, -1, -1, -1]], np.int8)
    assert model.predict(several)[0] > 0.5


def test_rules_that_hardly_ever_vote_stay_near_what_rules_are():
    accuracies = (0.85, 0.8, 0.75, 0.7, 0.65)
    rules = [(a * 0.01, (1 - a) * 0.01, (1 - a) * 0.01, a * 0.01) for a in accuracies]
    good, votes = cast(rules, prior=0.5, rows=20_000)
    with pytest.raises(ValueError, match=r"do not tell it; say which share.* ensemble\.prior = 0"):
        ours(votes)
    model = ours(votes, prior=0.5)
    assert all(0.55 < accuracy < 0.9 for accuracy in model.accuracy)
    voted = (votes >= 0).any(axis=1)
    best = fit_label_model(count(votes), model="majority", prior=0.5).predict(votes)
    assert right(model.predict(votes)[voted], good[voted]) > right(best[voted], good[voted]) - 0.01


def test_rules_without_a_value_on_the_same_rows_are_not_a_class():
    rules = [(a * 0.8, (1 - a) * 0.8, (1 - a) * 0.8, a * 0.8) for a in (0.75, 0.7, 0.7, 0.7, 0.8)]
    good, votes = cast(rules, prior=0.4, rows=20_000)
    votes[np.random.default_rng(1).random(len(votes)) < 0.1, :3] = -1
    model = ours(votes)
    assert model.told["abstains_tell"] == [3, 4]
    assert model.prior[1] == pytest.approx(0.4, abs=0.05)
    assert right(model.predict(votes), good) > 0.8


def test_abstains_tell_where_they_come_one_by_one():
    rules = [(0.3, 0.1, 0.2, 0.65), (0.7, 0.2, 0.1, 0.4), (0.35, 0.15, 0.2, 0.5), *FOUR[2:]]
    good, votes = cast(rules, prior=0.3)
    model = ours(votes)
    assert model.told["abstains_tell"] == [0, 1, 2]
    silent = ours(votes, model="triplet", prior=0.3)
    assert right(model.predict(votes), good) > right(silent.predict(votes), good) + 0.01


def test_the_prior_of_labels_is_smoothed():
    _, votes = cast(SKEWED, prior=0.1)
    labelled = Labelled(votes[:2], np.array([[3, 0], [4, 1]]))
    model = ours(votes, prior="labels", labelled=labelled)
    assert model.prior == pytest.approx((0.8, 0.2))
    assert model.told["prior"]["origin"] == "labels"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"model": "majority", "prior": "labels"},
            r'got no labels, expected some for prior = "labels"',
        ),
        ({"model": "majority", "prior": "uniform"}, "got prior 'uniform', expected a number"),
        ({"model": "majority", "prior": 0.0}, "got prior 0.0, expected a number between 0 and 1"),
        ({"model": "majority"}, "got 2 rules that vote and are no copies"),
        ({}, r"got 2 rules that vote and 2 that vote like one of them, expected at least 3"),
    ],
)
def test_what_nobody_can_know_is_asked_for(options, message):
    _, own = cast(FOUR[:2], prior=0.5, rows=500)
    with pytest.raises(ValueError, match=message):
        ours(own[:, [0, 1, 1, 0]], **options)


def test_pairs_of_votes_tell_no_prior():
    _, votes = cast(SKEWED, prior=0.1, rows=500)
    with pytest.raises(
        ValueError, match=r"too many distinct vote patterns .* to estimate the prior"
    ):
        fit_label_model(Moments.of(count(votes)), model="triplet")


def test_three_classes_are_recovered():
    rng = np.random.default_rng(0)
    label = rng.choice(3, ROWS, p=(0.5, 0.3, 0.2))
    wrong = (label[:, None] + rng.integers(1, 3, (ROWS, 6))) % 3
    votes = np.where(rng.random((ROWS, 6)) < 0.7, label[:, None], wrong).astype(np.int8)
    model = fit_label_model(count(votes[:, [0, 1, 2, 3, 4, 5, 5]], classes=3), model=LatentClass())
    assert model.prior == pytest.approx((0.5, 0.3, 0.2), abs=0.03)
    assert model.accuracy == pytest.approx([0.7] * 7, abs=0.04)
    assert model.share == pytest.approx([1] * 5 + [0.5] * 2)


@pytest.mark.parametrize(
    ("method", "settings"),
    [
        (LatentClass, {"precision": 0.0}),
        (LatentClass, {"precision": 1.0}),
        (LatentClass, {"precision": float("nan")}),
        (LatentClass, {"pseudo_votes": -1.0}),
        (LatentClass, {"pseudo_votes": float("inf")}),
        (LatentClass, {"most_steps": 0}),
        (ensemble.Snorkel, {"lr": float("nan")}),
        (ensemble.Snorkel, {"l2": float("inf")}),
    ],
)
def test_settings_that_fit_nothing_are_refused(method, settings):
    ((name, value),) = settings.items()
    with pytest.raises(ValueError, match=rf"got .*{name} {value}.*, expected "):
        method(**settings)
