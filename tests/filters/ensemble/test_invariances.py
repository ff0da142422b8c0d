"""What must not change a label model of any method: order, shards, copies, names, silence."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from filters.ensemble import (
    DawidSkene,
    Majority,
    NaiveBayes,
    WeightedMajority,
    count,
    fit_label_model,
    merge,
)
from tests.filters.ensemble.planted import ONE_SIDED, planted, symmetric

METHODS = [
    Majority(),
    Majority(ties="winners"),
    WeightedMajority(),
    DawidSkene(),
    DawidSkene(learn_prior=True),
    DawidSkene(abstain="missing"),
    DawidSkene(abstain="missing", learn_prior=True),
    NaiveBayes(),
    NaiveBayes(learn_prior=True),
    NaiveBayes(propensity="shared"),
    NaiveBayes(propensity="shared", learn_prior=True),
]
SMOOTHED = [DawidSkene(smoothing=5.0), DawidSkene(smoothing=5.0, learn_prior=True)]
ACCURACIES = [0.85, 0.6, 0.75, 0.7, 0.55]
PRIORS = {2: (0.35, 0.65), 3: (0.2, 0.5, 0.3), 4: (0.1, 0.2, 0.3, 0.4)}
VOTES = {2: planted(ONE_SIDED, rows=500, prior=PRIORS[2])[1]} | {
    k: planted(symmetric(ACCURACIES, classes=k), rows=500, prior=PRIORS[k])[1] for k in (3, 4)
}


def fit(votes, method, *, classes=2, prior=None):
    counts = count(votes, classes=classes)
    return fit_label_model(counts, model=method, prior=prior or PRIORS[classes])


@pytest.mark.parametrize("method", METHODS + SMOOTHED, ids=repr)
@pytest.mark.parametrize("classes", [2, 3, 4])
def test_other_names_of_the_classes_give_other_names(method, classes):
    votes, names = VOTES[classes], np.roll(np.arange(classes), 1)
    renamed = np.where(votes < 0, votes, names[votes]).astype(np.int8)
    prior = np.array(PRIORS[classes])[np.argsort(names)]
    p = fit(votes, method, classes=classes).predict_proba(votes)
    q = fit(renamed, method, classes=classes, prior=prior.tolist()).predict_proba(renamed)
    assert q[:, names] == pytest.approx(p, abs=1e-9)


@pytest.mark.parametrize("method", METHODS + SMOOTHED, ids=repr)
@settings(max_examples=4, deadline=None)
@given(classes=st.sampled_from([2, 3]), shards=st.integers(1, 7), seed=st.integers(0, 1000))
def test_order_and_shards_change_no_bit(method, classes, shards, seed):
    votes = VOTES[classes][:150]
    whole = fit(votes, method, classes=classes)
    shuffled = np.random.default_rng(seed).permutation(votes)
    parts = [count(part, classes=classes) for part in np.array_split(shuffled, shards)]
    cut = fit_label_model(merge(parts[::-1]), model=method, prior=PRIORS[classes])
    assert cut.to_json() == whole.to_json()
    assert cut.predict_proba(votes).tobytes() == whole.predict_proba(votes).tobytes()


@pytest.mark.parametrize("method", METHODS, ids=repr)
@pytest.mark.parametrize("times", [2, 3])
def test_copies_of_all_rows_change_nothing(method, times):
    votes = VOTES[2]
    p = fit(votes, method).predict(votes)
    assert fit(np.repeat(votes, times, axis=0), method).predict(votes) == pytest.approx(p, abs=1e-9)


@pytest.mark.parametrize("method", METHODS + SMOOTHED, ids=repr)
@pytest.mark.parametrize("at", [0, 2, 5])
def test_a_rule_that_never_votes_changes_nothing(method, at):
    votes = VOTES[2]
    wider = np.insert(votes, at, -1, axis=1)
    model = fit(wider, method)
    assert model.predict(wider) == pytest.approx(fit(votes, method).predict(votes), abs=1e-12)
    assert np.isnan(model.accuracy[at])


@pytest.mark.parametrize("method", METHODS + SMOOTHED, ids=repr)
def test_the_order_of_rules_does_not_matter(method):
    votes, order = VOTES[2], np.array([3, 1, 4, 0, 2])
    p, q = fit(votes, method), fit(votes[:, order], method)
    assert q.predict(votes[:, order]) == pytest.approx(p.predict(votes), abs=1e-9)
    assert q.accuracy == pytest.approx(np.array(p.accuracy)[order], abs=1e-9, nan_ok=True)


@pytest.mark.parametrize("method", METHODS + SMOOTHED, ids=repr)
@pytest.mark.parametrize("classes", [2, 3, 4])
def test_a_row_without_votes_gets_the_prior_and_rows_add_up(method, classes):
    votes = VOTES[classes]
    model = fit(votes, method, classes=classes)
    silent = np.full((1, votes.shape[1]), -1, np.int8)
    assert tuple(model.predict_proba(silent)[0]) == model.prior
    held = not getattr(method, "learn_prior", False)
    assert (model.prior == PRIORS[classes]) is held
    p = model.predict_proba(votes)
    assert p.sum(axis=1) == pytest.approx(1)
    assert (p >= 0).all()


@pytest.mark.parametrize("method", METHODS, ids=repr)
def test_pure_silence_and_one_row_are_no_trouble(method):
    one = np.array([[1, -1, 0]], np.int8)
    assert np.isfinite(fit(one, method).predict(one)).all()
    agreed = np.array([[1, 1, 1]] * 9, np.int8)
    model = fit(agreed, method)
    assert 0 <= model.predict(agreed)[0] <= 1
    unseen = np.array([[0, 0, 0], [0, -1, 1]], np.int8)
    assert np.isfinite(model.predict(unseen)).all()


@pytest.mark.parametrize("method", [WeightedMajority(), DawidSkene(), NaiveBayes()], ids=repr)
def test_with_many_classes_a_row_alone_has_the_bits_that_it_has_among_others(method):
    accuracies = symmetric(ACCURACIES, classes=9)
    _, votes = planted(accuracies, rows=300, prior=(1 / 9,) * 9)
    model = fit(votes, method, classes=9, prior=(0.04, 0.2, 0.06, 0.1, 0.1, 0.1, 0.15, 0.05, 0.2))
    p = model.predict_proba(votes)
    alone = [model.predict_proba(votes[row : row + 1])[0].tolist() for row in range(100)]
    assert alone == p[:100].tolist()
