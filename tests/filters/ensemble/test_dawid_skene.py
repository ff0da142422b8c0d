"""Dawid-Skene on patterns against the plain rule on rows, published figures, planted truths."""

import numpy as np
import pytest

from filters.ensemble import DawidSkene, count, fit_label_model
from tests.filters.ensemble.planted import ONE_SIDED, planted, symmetric
from tests.filters.tennis import dev_labelled, train_counts


def plain(votes_NM, classes, *, missing=False, prior=None, tolerance=1e-5):
    """Run the textbook on rows, with products: steps, prior [K], tables [M, K, K + 1]."""
    symbols = np.arange(classes + 1) == (votes_NM + 1)[..., None]
    if missing:
        symbols[..., 0] = False
    posterior = symbols[..., 1:].sum(axis=1).astype(float)
    posterior[posterior.sum(axis=1) == 0] = 1.0
    posterior /= posterior.sum(axis=1, keepdims=True)
    before, step = None, -1
    while True:
        step += 1
        pi = posterior.mean(axis=0) if prior is None else np.array(prior)
        tables = np.einsum("nk,nmx->mkx", posterior, symbols)
        tables /= tables.sum(axis=2, keepdims=True)
        posterior = np.tile(pi, (len(votes_NM), 1))
        for m in range(votes_NM.shape[1]):
            for k in range(classes):
                posterior[:, k] *= np.prod(tables[m, k] ** symbols[:, m], axis=1)
        posterior /= posterior.sum(axis=1, keepdims=True)
        if before and abs(pi - before[0]).sum() < tolerance > abs(tables - before[1]).sum():
            break
        before = pi, tables
    return step, pi, tables, posterior


def tables(model):
    return np.exp(np.array(model.evidence)).transpose(0, 2, 1)


CASES = {
    "two classes": (symmetric([0.8, 0.7, 0.75, 0.6], classes=2), (0.3, 0.7)),
    "one-sided": (ONE_SIDED, (0.35, 0.65)),
    "three classes": (symmetric([0.8, 0.7, 0.75, 0.6], classes=3), (0.2, 0.5, 0.3)),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("abstain", ["symbol", "missing"])
@pytest.mark.parametrize("held", [False, True])
def test_patterns_give_what_the_plain_rule_gives_on_rows(case, abstain, held):
    table, prior = CASES[case]
    _, votes = planted(table, rows=600, prior=prior)
    classes = len(prior)
    step, pi, expected, posterior = plain(
        votes, classes, missing=abstain == "missing", prior=prior if held else None
    )
    method = DawidSkene(abstain=abstain, learn_prior=not held)
    start = prior if held else np.full(classes, 1 / classes)
    if held:  # the plain rule's start where nobody votes is the uniform one
        votes = votes[(votes >= 0).any(axis=1)]
        step, pi, expected, posterior = plain(
            votes, classes, missing=abstain == "missing", prior=prior
        )
    model = fit_label_model(count(votes, classes=classes), model=method, prior=start)
    assert not model.told["renamed"]
    assert model.told["steps"] == step
    assert model.prior == pytest.approx(pi, abs=1e-6)
    cast = np.array(
        [[(votes[:, m] == x - 1).any() for x in range(classes + 1)] for m in range(votes.shape[1])]
    )
    first = 1 if abstain == "missing" else 0
    seen = np.broadcast_to(cast[:, None], expected.shape)[..., first:]
    assert tables(model)[..., first:][seen] == pytest.approx(expected[..., first:][seen], abs=1e-6)
    voted = (votes >= 0).any(axis=1)
    assert model.predict_proba(votes)[voted] == pytest.approx(posterior[voted], abs=1e-6)


def test_tennis_rally_has_the_figures_of_the_benchmark():
    model = fit_label_model(train_counts(), model=DawidSkene(learn_prior=True), prior=0.5)
    assert (model.told["steps"], model.told["converged"]) == (21, True)
    assert model.prior == pytest.approx([0.556, 0.444], abs=5e-4)
    dev = dev_labelled()
    says = model.predict(dev.votes_PM) > 0.5
    hits, alarms = dev.count_PK[says, 1].sum(), dev.count_PK[says, 0].sum()
    right = hits + dev.count_PK[~says, 0].sum()
    assert 100 * right / 746 == pytest.approx(89.28, abs=0.005)
    assert 200 * hits / (hits + alarms + dev.of_class[1]) == pytest.approx(86.80, abs=0.005)


@pytest.mark.parametrize("classes", [2, 3, 4])
def test_planted_tables_are_found(classes):
    table = symmetric([0.85, 0.75, 0.8, 0.7, 0.65, 0.75], classes=classes)
    prior = np.arange(2, classes + 2) / np.arange(2, classes + 2).sum()
    _, votes = planted(table, rows=20_000, prior=prior)
    model = fit_label_model(
        count(votes, classes=classes), model=DawidSkene(learn_prior=True),
        prior=np.full(classes, 1 / classes),
    )  # fmt: skip
    assert model.prior == pytest.approx(prior, abs=0.03)
    assert tables(model).transpose(0, 2, 1) == pytest.approx(table, abs=0.05)
    assert model.accuracy == pytest.approx([0.85, 0.75, 0.8, 0.7, 0.65, 0.75], abs=0.03)


def test_one_sided_rules_speak_if_abstaining_is_a_symbol():
    labels, votes = planted(ONE_SIDED, rows=20_000, prior=(0.4, 0.6))
    symbol, missing = (
        fit_label_model(count(votes), model=DawidSkene(abstain=abstain), prior=0.6)
        for abstain in ("symbol", "missing")
    )
    keep = np.array([symbol.evidence[3][2], missing.evidence[3][2]])
    assert keep[0, 1] - keep[0, 0] == pytest.approx(np.log(0.4 / 0.1), abs=0.2)
    assert keep[1, 1] - keep[1, 0] == pytest.approx(0, abs=1e-9)  # it says one thing of all
    right = [np.mean((model.predict(votes) > 0.5) == labels) for model in (symbol, missing)]
    assert right[0] > right[1] + 0.02


def test_a_given_prior_is_held():
    _, votes = planted(CASES["two classes"][0], rows=2000, prior=(0.3, 0.7))
    model = fit_label_model(count(votes), model="dawid_skene", prior=0.55)
    assert model.prior == pytest.approx((0.45, 0.55), abs=1e-15)


def test_a_class_without_votes_dies_out_and_nothing_is_undefined():
    _, votes = planted(CASES["two classes"][0], rows=2000, prior=(0.3, 0.7))
    votes = votes[(votes >= 0).any(axis=1)]
    three = fit_label_model(
        count(votes, classes=3), model=DawidSkene(learn_prior=True), prior=(1 / 3,) * 3
    )
    assert three.told["died_out"] == [2]
    two = fit_label_model(count(votes), model=DawidSkene(learn_prior=True), prior=0.5)
    p = three.predict_proba(votes)
    assert p[:, :2] == pytest.approx(two.predict_proba(votes), abs=1e-9)
    assert (p[:, 2] == 0).all()


APART = {"prior": 0.5, "share_copies": False}


def test_smoothing_keeps_a_rare_symbol_from_ruling_a_class_out():
    votes = np.array([[1, 1, 1, 1]] * 500 + [[0, 0, 0, -1]] * 500, np.int8)
    at_once = fit_label_model(count(votes), model="dawid_skene", **APART)
    smooth = fit_label_model(count(votes), model=DawidSkene(smoothing=10.0), **APART)
    row = np.array([[-1, -1, -1, 1]], np.int8)
    assert at_once.predict(row) != pytest.approx(0.5)
    # The only rule that is asked voted keep on 500 of 500 good rows and no bad one; ten rows of
    # either class are added, on which it votes on average, keep on 5.
    keep = np.exp(np.array(smooth.evidence)[3, 2])
    assert keep == pytest.approx([5 / 510, 505 / 510], abs=1e-3)


def test_it_says_that_it_was_stopped():
    _, votes = planted(CASES["two classes"][0], rows=500, prior=(0.3, 0.7))
    model = fit_label_model(count(votes), model=DawidSkene(most_steps=2), prior=0.5)
    assert (model.told["steps"], model.told["converged"]) == (2, False)


def test_classes_are_called_what_rules_call_them():
    """Rules of this kind lead the climb away from the names of its start."""
    rng = np.random.default_rng(0)
    method = DawidSkene(learn_prior=True, tolerance=1e-3, most_steps=1000)
    turned = 0
    for _ in range(25):
        prior = rng.uniform(0.05, 0.95)
        table = rng.dirichlet([1, 1, 1], (rng.integers(3, 8), 2)).transpose(0, 2, 1)
        if (table[:, 2, 1] - table[:, 2, 0] + table[:, 1, 0] - table[:, 1, 1]).sum() < 0:
            continue  # rules that are wrong by and large cannot be told from right ones
        _, votes = planted(table, rows=1000, prior=(1 - prior, prior), seed=rng)
        model = fit_label_model(count(votes), model=method, prior=prior)
        rate = tables(model)
        assert (rate[:, 1, 2] - rate[:, 0, 2] + rate[:, 0, 1] - rate[:, 1, 1]).sum() > 0
        turned += model.told["renamed"]
    assert turned


@pytest.mark.parametrize(
    "settings", [{"smoothing": -1.0}, {"smoothing": np.nan}, {"tolerance": 0.0}, {"most_steps": 0}]
)
def test_numbers_that_make_no_sense_are_refused(settings):
    with pytest.raises(ValueError, match="expected at least 0, above 0, at least 1"):
        DawidSkene(**settings)
