"""Stacks fitted on labels: parity with references, planted truth, and an exact round trip."""

import builtins
import json

import numpy as np
import pytest
from pydantic import TypeAdapter
from scipy.optimize import lsq_linear
from sklearn.ensemble import GradientBoostingClassifier
from sklearn.linear_model import LogisticRegression

from filters.ensemble import Labelled, count, count_labels, fit_label_model
from filters.ensemble.forms import Linear, Trees
from filters.ensemble.methods import Boosted, LeastSquares, Logistic
from filters.ensemble.methods.supervised import accuracies, deal

KINDS = (LeastSquares(), Logistic(), Boosted(trees=20))
NAMES = [method.kind for method in KINDS]


def planted(rows, *, prior=0.5, rules=5, seed=0):
    """Votes of rules that are right in 55 % to 85 % of the rows, the last one a copy; labels."""
    rng = np.random.default_rng(seed)
    label = (rng.random(rows) < prior).astype(np.int64)
    right = rng.random((rows, rules)) < np.linspace(0.55, 0.85, rules)
    votes = np.where(right, label[:, None], 1 - label[:, None])
    votes[rng.random((rows, rules)) < 0.3] = -1
    return np.hstack([votes, votes[:, :1]]).astype(np.int8), label


@pytest.fixture(scope="module")
def pool():
    return planted(1000)


def fit(pool, model, *, prior=0.5, labels=None):
    votes, label = pool
    known = count_labels(votes[:labels], label[:labels])
    return fit_label_model(votes, model=model, prior=prior, labelled=known)


def one_hot(votes):
    return (votes[:, :, None] == np.arange(2)).reshape(len(votes), -1).astype(float)


def log_loss(p, label):
    return -np.log(np.where(label == 1, p, 1 - p)).mean()


def test_folds_share_out_every_label_of_every_pattern_evenly(pool):
    labelled = count_labels(*pool)
    dealt = deal(labelled, folds=5)
    np.testing.assert_array_equal(dealt.sum(axis=0), labelled.count_PK)
    assert dealt.min() >= 0
    assert np.ptp(dealt.sum(axis=1), axis=0).max() <= 1
    rows = np.repeat(np.arange(labelled.count_PK.size), labelled.count_PK.T.ravel())
    by_hand = [np.bincount(rows[f::5], minlength=labelled.count_PK.size) for f in range(5)]
    for found, expected in zip(dealt, by_hand, strict=True):
        np.testing.assert_array_equal(found.T.ravel(), expected)


def test_accuracies_are_those_of_the_votes_that_were_cast():
    votes = np.array([[1, -1, -1], [0, 0, -1], [1, 0, -1], [1, 1, -1]], np.int8)
    found = accuracies(count_labels(votes, np.array([1, 1, 0, 1])))
    assert found[:2] == pytest.approx((2 / 4, 2 / 3))
    assert np.isnan(found[2])


@pytest.mark.parametrize("kind", KINDS, ids=NAMES)
def test_order_of_rows_does_not_show_in_a_single_bit(pool, kind):
    votes, label = pool
    order = np.random.default_rng(1).permutation(len(label))
    one = fit((votes, label), kind, labels=None)
    other = fit((votes[order], label[order]), kind, labels=None)
    assert one.to_json() == other.to_json()


@pytest.mark.parametrize("kind", KINDS, ids=NAMES)
def test_a_row_without_votes_gets_the_prior(pool, kind):
    model = fit(pool, kind, prior=0.3)
    assert model.predict(np.full((1, 6), -1, np.int8))[0] == 0.3


@pytest.mark.parametrize("kind", KINDS, ids=NAMES)
def test_it_beats_the_mean_of_votes_on_rows_it_has_not_seen(kind):
    train, test = planted(600, seed=3), planted(3000, seed=4)
    model = fit(train, kind)
    mean = fit_label_model(train[0], model="majority", prior=0.5, share_copies=False).predict(
        test[0]
    )
    assert log_loss(model.predict(test[0]), test[1]) < 0.6
    right = [((p > 0.5) == test[1]).mean() for p in (model.predict(test[0]), mean)]
    assert right[0] > right[1] + 0.02


@pytest.mark.parametrize("kind", KINDS, ids=NAMES)
def test_a_pool_with_another_prior_than_the_labels_is_shifted(kind):
    votes, label = planted(6000, prior=0.2, seed=5)
    half = planted(1000, prior=0.5, seed=6)
    known = count_labels(*half)
    model = fit_label_model(votes, model=kind, prior=0.2, labelled=known)
    told_nothing = fit_label_model(votes, model=kind, prior=0.5, labelled=known)
    assert model.predict(votes).mean() == pytest.approx(0.2, abs=0.03)
    assert log_loss(model.predict(votes), label) < log_loss(told_nothing.predict(votes), label)


@pytest.mark.parametrize("negative", [True, False])
def test_least_squares_is_the_bounded_optimum_over_rows(pool, negative):
    votes, label = pool
    votes = np.hstack([votes[:, :-1], 1 - votes[:, :1]]).astype(np.int8)  # one that is wrong
    votes[votes > 1] = -1
    method = LeastSquares(negative=negative, l2=2.0)
    model = fit((votes, label), method)
    assert isinstance(model, Linear)
    signed = np.where(votes < 0, 0, votes - 0.5)
    # Two classes, so each row is fitted twice: of one class a ridge of half as many rows.
    design = np.vstack([np.column_stack([signed, np.ones(len(votes))]), np.eye(6, 7)])
    low = np.full(7, -np.inf if negative else 0.0)
    low[-1] = -np.inf
    found = lsq_linear(design, np.concatenate([label, np.zeros(6)]), (low, np.inf), tol=1e-14)
    np.testing.assert_allclose(model.weight, found.x[:-1], atol=1e-8)
    assert model.bias[1] == pytest.approx(found.x[-1], abs=1e-8)
    assert (min(model.weight) < 0) == negative


def test_least_squares_counts_votes_when_labels_are_too_few(pool):
    votes, _ = pool
    few = fit(pool, "least_squares", labels=49)
    majority = fit_label_model(votes, model="majority", prior=0.5, share_copies=False)
    np.testing.assert_array_equal(few.predict(votes), majority.predict(votes))
    assert "49 labels" in few.told["fallback"]
    assert "fallback" not in fit(pool, "least_squares", labels=50).told


def test_the_logistic_optimum_is_scikit_learn_s(pool):
    votes, label = pool
    l2 = 0.01
    model = fit(pool, Logistic(l2=l2), prior=float(label.mean()))
    # Two columns of weights that are each other's negative: half the log-odds each.
    reference = LogisticRegression(C=2 / (l2 * len(label)), tol=1e-12, max_iter=1000)
    reference.fit(one_hot(votes), label)
    p = model.posterior(votes)[:, 1]
    np.testing.assert_allclose(p, reference.predict_proba(one_hot(votes))[:, 1], atol=1e-6)
    table = np.array(model.evidence)
    votes_MK = (table[:, 1:] - table[:, :1])[:, :, 1] - (table[:, 1:] - table[:, :1])[:, :, 0]
    np.testing.assert_allclose(votes_MK.ravel(), reference.coef_[0], atol=1e-5)


def test_cross_validation_takes_a_stronger_penalty_for_fewer_labels(pool):
    few, many = fit(pool, "logistic", labels=60), fit(pool, "logistic")
    assert few.told["l2"] > many.told["l2"]
    curve = {float(penalty): loss for penalty, loss in many.told["curve"].items()}
    assert min(curve, key=curve.get) == pytest.approx(many.told["l2"], rel=1e-2)


def test_boosted_trees_say_what_scikit_learn_says(pool):
    votes, label = pool
    model = fit(pool, Boosted(trees=30), prior=float(label.mean()))
    assert isinstance(model, Trees)
    reference = GradientBoostingClassifier(
        n_estimators=model.told["rounds"], min_weight_fraction_leaf=5 / len(label), random_state=0
    )
    reference.fit(one_hot(votes), label)
    p = model.posterior(votes)[:, 1]
    np.testing.assert_allclose(p, reference.predict_proba(one_hot(votes))[:, 1], atol=1e-9)


def test_boosted_trees_find_votes_that_matter_together():
    rng = np.random.default_rng(0)
    votes = rng.integers(0, 2, (1000, 3)).astype(np.int8)
    label = (votes[:, 0] ^ votes[:, 1]).astype(np.int64)
    p = {kind: fit((votes, label), kind).predict(votes) for kind in ("boosted", "logistic")}
    assert ((p["boosted"] > 0.5) == label).all()
    assert np.ptp(p["logistic"]) < 0.2  # no sum over rules says more than chance


@pytest.mark.parametrize(("kind", "form"), [(KINDS[0], Linear), (KINDS[2], Trees)])
def test_a_stack_says_the_same_to_the_bit_after_a_round_trip(pool, kind, form):
    votes, _ = pool
    model = fit(pool, kind, prior=0.37)
    stored = json.loads(model.to_json())
    assert stored.pop("form") == form.__name__
    again = TypeAdapter(form).validate_python(stored)
    assert again == model
    np.testing.assert_array_equal(again.predict(votes), model.predict(votes))


@pytest.mark.parametrize("kind", KINDS, ids=NAMES)
def test_three_classes(kind):
    rng = np.random.default_rng(0)
    label = rng.integers(0, 3, 600)
    votes = np.where(rng.random((600, 4)) < 0.7, label[:, None], rng.integers(0, 3, (600, 4)))
    known = count_labels(votes.astype(np.int8), label, classes=3)
    counts = count(votes.astype(np.int8), classes=3)
    model = fit_label_model(counts, model=kind, prior=[1 / 3] * 3, labelled=known)
    p = model.predict_proba(votes.astype(np.int8))
    np.testing.assert_allclose(p.sum(axis=1), 1)
    assert (p.argmax(axis=1) == label).mean() > 0.85


def test_stored_trees_that_lead_nowhere_are_refused(pool):
    stored = json.loads(fit(pool, KINDS[2]).to_json())
    del stored["form"]
    stored["yes"][stored["root"][1]] = 0
    with pytest.raises(ValueError, match=r"that leads to .* expected nodes behind it"):
        TypeAdapter(Trees).validate_python(stored)


def test_a_class_without_labels_is_refused(pool):
    votes, _ = pool
    known = count_labels(votes[:20], np.r_[np.ones(17, int), np.zeros(3, int)])
    for kind in ("logistic", "boosted"):
        with pytest.raises(ValueError, match="got 3 of class 0, expected at least 5 of each"):
            fit_label_model(votes, model=kind, prior=0.5, labelled=known)


def test_boosted_without_its_library_says_how_to_install_it(pool, monkeypatch):
    real = builtins.__import__

    def without(name, *args, **kwargs):
        if name.partition(".")[0] == "sklearn":
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ValueError, match=r'pip install "thresher\[boost\]"'):
        fit(pool, "boosted")


@pytest.mark.parametrize(
    "make",
    [lambda: LeastSquares(l2=-1.0), lambda: Logistic(l2=-1.0), lambda: Boosted(depth=0)],
)
def test_settings_that_fit_nothing_are_refused(make):
    with pytest.raises(ValueError, match="expected"):
        make()


def test_labels_alone_are_read(pool):
    votes, label = pool
    known = count_labels(votes, label)
    assert isinstance(known, Labelled)
    for kind in KINDS[:2]:
        first = fit_label_model(votes, model=kind, prior=0.5, labelled=known)
        second = fit_label_model(votes[:100], model=kind, prior=0.5, labelled=known)
        np.testing.assert_array_equal(first.predict(votes), second.predict(votes))
