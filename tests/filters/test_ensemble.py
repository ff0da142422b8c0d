"""Label models recover planted rules, and depend on counts of votes alone."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from filters.ensemble import count, fit_label_model, merge
from filters.ensemble.patterns import decode, encode

# P(keep | good), P(drop | good), P(keep | bad), P(drop | bad) of each rule.
BALANCED = [(0.6, 0.2, 0.2, 0.6)] * 5
ONE_SIDED = [
    (0.3, 0.1, 0.05, 0.8), (0.5, 0.1, 0.2, 0.5), (0.0, 0.02, 0.0, 0.15), (0.0, 0.01, 0.0, 0.3),
    (0.4, 0.0, 0.1, 0.0),
]  # fmt: skip
ADVERSARIAL = [*[(0.7, 0.2, 0.2, 0.7)] * 3, (0.2, 0.7, 0.7, 0.2)]


def planted(rules, *, rows, prior, seed=0):
    rng = np.random.default_rng(seed)
    good = rng.random(rows) < prior
    votes = []
    for keep_good, drop_good, keep_bad, drop_bad in rules:
        keep, drop = np.where(good, keep_good, keep_bad), np.where(good, drop_good, drop_bad)
        u = rng.random(rows)
        votes.append(np.where(u < keep, 1, np.where(u < keep + drop, 0, -1)))
    return good, np.stack(votes, 1).astype(np.int8)


@pytest.mark.parametrize("rules", [BALANCED, ONE_SIDED, ADVERSARIAL])
def test_triplets_recover_the_planted_log_odds(rules):
    _, votes = planted(rules, rows=200_000, prior=0.75)
    model = fit_label_model(count(votes), model="triplet", prior=0.75)
    for (_, drop_2, keep_2), (keep_good, drop_good, keep_bad, drop_bad) in zip(
        model.evidence, rules, strict=True
    ):
        drop, keep = drop_2[1] - drop_2[0], keep_2[1] - keep_2[0]
        if drop_good:
            assert drop == pytest.approx(np.log(drop_good / drop_bad), abs=0.25)
        if keep_good:
            assert keep == pytest.approx(np.log(keep_good / keep_bad), abs=0.25)
        if keep_good == keep_bad == 0:
            assert keep == 0.0


def test_triplets_recover_accuracies_and_beat_majority():
    rules = [(0.85, 0.15, 0.15, 0.85), *[(0.6, 0.4, 0.4, 0.6)] * 3]
    good, votes = planted(rules, rows=50_000, prior=0.5)
    counts = count(votes)
    triplet = fit_label_model(counts, model="triplet", prior=0.5)
    assert triplet.accuracy == pytest.approx([0.85, 0.6, 0.6, 0.6], abs=0.02)
    majority = fit_label_model(counts, model="majority", prior=0.5)
    right = [np.mean((m.predict(votes) > 0.5) == good) for m in (triplet, majority)]
    assert right[0] > right[1] + 0.02


def test_majority_counts_votes():
    votes = np.array([[1, 1, 0], [0, 0, 1], [-1, -1, -1], [1, 0, -1]], np.int8)
    p = fit_label_model(count(votes), model="majority", prior=0.5).predict(votes)
    assert p == pytest.approx([2 / 3, 1 / 3, 0.5, 0.5])


@pytest.mark.parametrize("model", ["majority", "triplet"])
def test_a_row_without_votes_gets_the_prior(model):
    _, votes = planted(BALANCED, rows=2000, prior=0.7)
    fitted = fit_label_model(count(votes), model=model, prior=0.7)
    assert fitted.predict(np.full((1, 5), -1, np.int8)) == pytest.approx([0.7])


def test_swapping_the_classes_mirrors_the_posterior():
    _, votes = planted(BALANCED, rows=5000, prior=0.6)
    mirrored = np.where(votes < 0, votes, 1 - votes).astype(np.int8)
    p = fit_label_model(count(votes), model="triplet", prior=0.6).predict(votes)
    q = fit_label_model(count(mirrored), model="triplet", prior=0.4).predict(mirrored)
    assert p == pytest.approx(1 - q)


def test_duplicating_every_row_and_an_abstaining_rule_change_nothing():
    _, votes = planted(BALANCED, rows=3000, prior=0.6)
    p = fit_label_model(count(votes), model="triplet", prior=0.6).predict(votes)
    twice = np.concatenate([votes, votes])
    again = fit_label_model(count(twice), model="triplet", prior=0.6).predict(votes)
    assert again == pytest.approx(p, abs=1e-12)
    wider = np.concatenate([votes, np.full((len(votes), 1), -1, np.int8)], axis=1)
    wide = fit_label_model(count(wider), model="triplet", prior=0.6)
    assert wide.predict(wider) == pytest.approx(p, abs=1e-12)
    assert np.isnan(wide.accuracy[-1])


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 7), st.integers(0, 1000))
def test_sharding_and_order_change_no_bit(shards, seed):
    _, votes = planted(BALANCED, rows=500, prior=0.6, seed=seed)
    whole = fit_label_model(count(votes), model="triplet", prior=0.6)
    shuffled = np.random.default_rng(seed).permutation(votes)
    parts = [count(part) for part in np.array_split(shuffled, shards)]
    cut = fit_label_model(merge(parts[::-1]), model="triplet", prior=0.6)
    assert cut == whole
    assert cut.predict(votes).tobytes() == whole.predict(votes).tobytes()


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 64), st.integers(0, 1000))
def test_patterns_pack_and_unpack(rules, seed):
    votes = np.random.default_rng(seed).integers(-1, 2, (20, rules)).astype(np.int8)
    assert (decode(encode(votes), rules=rules) == votes).all()


@pytest.mark.parametrize(
    ("votes", "options", "message"),
    [
        (np.zeros((0, 3), np.int8), {}, "got no rows"),
        (np.array([[1, 0, 1]] * 4, np.int8), {}, "got 0 rules whose votes vary"),
        (np.array([[1, 0, 1]] * 4, np.int8), {"prior": 1.0}, "got prior 1.0"),
        (np.zeros((2, 65), np.int8), {}, "got 65 rules"),
    ],
)
def test_what_cannot_be_fitted_is_refused(votes, options, message):
    with pytest.raises(ValueError, match=message):
        fit_label_model(count(votes), **{"model": "triplet", "prior": 0.5, **options})
