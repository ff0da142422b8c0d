"""Counts and moments of votes are what counting by hand gives, however the votes are cut."""

from collections import Counter
from typing import get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from filters.ensemble import (
    AnyMethod,
    Moments,
    PatternCounts,
    Tally,
    add,
    count,
    count_labels,
    fit_label_model,
    merge,
)
from filters.ensemble.patterns import decode, distinct, encode

METHODS = [cls() for cls in get_args(AnyMethod)]
BY_KIND = {"argvalues": METHODS, "ids": [method.kind for method in METHODS]}
# Rules and classes: none, a table, 32 bits, 64 bits, and two to four words.
SHAPES = [(0, 2), (1, 2), (10, 2), (20, 2), (33, 2), (64, 2), (6, 4), (27, 4), (64, 4), (64, 9)]


def cast(rows, rules, *, classes=2, kinds=None, seed=0):
    """Random votes, of at most `kinds` different patterns."""
    rng = np.random.default_rng(seed)
    votes = rng.integers(-1, classes, (kinds or rows, rules)).astype(np.int8)
    return votes if kinds is None else votes[rng.integers(0, kinds, rows)]


def by_hand(votes):
    """Patterns in ascending order, the last rule weighing most, and how often each occurs."""
    found = Counter(map(tuple, votes.tolist()))
    return [(list(p), found[p]) for p in sorted(found, key=lambda p: p[::-1])]


def pairs_by_hand(votes, classes):
    is_vote = np.stack([votes == k for k in range(classes)], axis=2).astype(int)
    return np.einsum("nia,njb->iajb", is_vote, is_vote)


def same(left, right):
    arrays = ("votes_PM", "count_P") if isinstance(left, PatternCounts) else ("pair_MKMK",)
    return (
        type(left) is type(right)
        and (left.rows, left.classes) == (right.rows, right.classes)
        and all(getattr(left, a).tobytes() == getattr(right, a).tobytes() for a in arrays)
    )


@pytest.mark.parametrize(("rules", "classes"), SHAPES)
@pytest.mark.parametrize("kinds", [None, 40])
def test_counts_are_those_by_hand(rules, classes, kinds):
    votes = cast(700, rules, classes=classes, kinds=kinds)
    counts = count(votes, classes=classes)
    assert counts.rows == 700
    assert list(zip(counts.votes_PM.tolist(), counts.count_P.tolist(), strict=True)) == by_hand(
        votes
    )


@pytest.mark.parametrize(("rules", "classes"), SHAPES)
def test_moments_are_those_by_hand(rules, classes):
    votes = cast(300, rules, classes=classes, kinds=90)
    expected = pairs_by_hand(votes, classes)
    of_votes = Moments.of_votes(votes, classes=classes)
    assert (of_votes.pair_MKMK == expected).all()
    assert same(Moments.of(count(votes, classes=classes)), of_votes)


def test_moments_of_large_counts_lose_no_row():
    votes = cast(200, 5)
    occurs = np.random.default_rng(0).integers(1, 1 << 50, len(votes))
    moments = Moments.of(PatternCounts(votes, occurs))
    keep = [sum(int(n) for n, vote in zip(occurs, votes[:, m], strict=True) if vote == 1)
            for m in range(5)]  # fmt: skip
    assert moments.votes[:, 1].tolist() == keep


def test_a_pool_larger_than_a_chunk_is_counted_whole():
    votes = cast(50_001, 4)  # three chunks and a row
    assert count(votes).count_P.tolist() == [n for _, n in by_hand(votes)]
    assert (Moments.of_votes(votes).pair_MKMK == pairs_by_hand(votes, 2)).all()


@settings(max_examples=40, deadline=None)
@given(
    st.integers(0, 64), st.sampled_from([1, 2, 4, 9, 127]), st.integers(0, 60), st.integers(0, 99)
)
def test_integers_stand_for_votes(rules, classes, rows, seed):
    votes = cast(rows, rules, classes=classes, seed=seed)
    key = encode(votes, classes=classes)
    assert (decode(key, rules=rules, classes=classes) == votes).all()
    patterns, position = distinct(key)
    assert (patterns[position] == key).all()
    assert len(patterns) == len({tuple(row) for row in key.tolist()})


@settings(max_examples=30, deadline=None)
@given(
    st.sampled_from([(3, 2), (20, 2), (33, 2), (64, 2), (5, 4), (40, 4)]),
    st.sampled_from([1, 2, 7]),
    st.sampled_from([1, 30, 10_000]),
    st.integers(0, 99),
)
def test_no_cut_or_order_changes_a_byte(shape, shards, most_patterns, seed):
    rules, classes = shape
    votes = cast(200, rules, classes=classes, kinds=60, seed=seed)
    rng = np.random.default_rng(seed)
    cuts = np.array_split(rng.permutation(votes), shards)
    counts = count(votes, classes=classes)
    assert same(merge([count(c, classes=classes) for c in cuts]), counts)
    assert same(add([Moments.of_votes(c, classes=classes) for c in cuts]), Moments.of(counts))

    total = Tally(classes=classes, most_patterns=most_patterns)
    for c in cuts:
        part = Tally(classes=classes, most_patterns=most_patterns)
        part.add(c)
        total.add(part.total() if rng.random() < 0.5 else c)
    few = len(counts.count_P) <= most_patterns
    assert same(total.total(), counts if few else Moments.of(counts))


@pytest.mark.parametrize("most_patterns", [2_000, 500_000])
def test_a_tally_merges_what_waits(most_patterns, monkeypatch):
    monkeypatch.setattr("filters.ensemble.tally.FEW_PATTERNS", 100)
    votes = cast(5_000, 9)
    tally = Tally(most_patterns=most_patterns)
    for part in np.array_split(votes, 25):
        tally.add(part)
    counts = count(votes)
    assert 2_000 < len(counts.count_P) < 500_000
    assert same(tally.total(), counts if most_patterns == 500_000 else Moments.of(counts))
    tally.add(votes[:1])
    assert tally.total().rows == 5_001


@pytest.fixture(scope="module")
def known():
    """Six rules that are right on 70 of 100 of their votes, and labels of some rows."""
    rng = np.random.default_rng(0)
    good = rng.random(2_000) < 0.6
    right = np.where(rng.random((2_000, 6)) < 0.7, good[:, None], ~good[:, None])
    votes = np.where(rng.random((2_000, 6)) < 0.7, right, -1).astype(np.int8)
    return votes, count_labels(votes[:400], good[:400].astype(np.int64))


@pytest.mark.parametrize("method", **BY_KIND)
def test_no_cut_changes_a_saved_model(known, method):
    votes, labelled = known
    saved = set()
    for shards in (1, 2, 7):
        tally = Tally()
        for part in np.array_split(np.random.default_rng(shards).permutation(votes), shards)[::-1]:
            tally.add(part)
        fitted = fit_label_model(tally.total(), model=method, prior=0.6, labelled=labelled)
        saved.add(fitted.to_json())
    assert len(saved) == 1


@pytest.mark.parametrize("method", **BY_KIND)
def test_moments_fit_what_patterns_fit(known, method):
    votes, labelled = known
    tally = Tally(most_patterns=10)
    tally.add(votes)
    if method.needs_counts:
        with pytest.raises(ValueError, match="too many distinct vote patterns"):
            fit_label_model(tally.total(), model=method, prior=0.6, labelled=labelled)
        return
    fitted = [
        fit_label_model(statistics, model=method, prior=0.6, labelled=labelled)
        for statistics in (tally.total(), count(votes))
    ]
    assert fitted[0].to_json() == fitted[1].to_json()


@pytest.mark.parametrize("method", **BY_KIND)
def test_a_row_gets_the_same_bits_in_any_company(known, method):
    votes, labelled = known
    model = fit_label_model(count(votes), model=method, prior=0.6, labelled=labelled)
    whole = model.predict_proba(votes)
    for rows in (slice(0, 1), slice(0, 3), slice(7, 1_700), slice(None, None, -1)):
        assert model.predict_proba(votes[rows]).tobytes() == whole[rows].tobytes()
    assert model.predict_proba(np.asfortranarray(votes)).tobytes() == whole.tobytes()
    assert model.predict(votes).tobytes() == whole[:, -1].tobytes()


def test_a_stretch_of_rows_at_a_time_changes_no_bit(known, monkeypatch):
    votes, _ = known
    model = fit_label_model(count(votes), model="triplet", prior=0.6)
    whole = model.predict_proba(votes)
    monkeypatch.setattr("filters.ensemble.model.LOOKED_UP", 300)
    monkeypatch.setattr("filters.ensemble.model.AT_ONCE", 70)
    assert model.predict_proba(votes).tobytes() == whole.tobytes()


@pytest.mark.parametrize(
    ("votes", "message"),
    [
        (np.full((3, 2), 2, np.int8), "got 2, expected -1 for abstain or a class from 0 to 1"),
        (np.array([[0, 127]], np.int8), "got 127, expected"),
        (np.array([[1, 0], [-2, 0]], np.int8), "got -2, expected"),
        (np.array([[257, 0]]), "got 257, expected"),
        (np.zeros((2, 65), np.int8), "got 65 rules, expected at most 64"),
        (np.zeros(3, np.int8), r"got int8 of shape \(3,\), expected int8 \[rows, rules\]"),
        (np.zeros((2, 3)), "got float64 of shape"),
    ],
)
def test_bad_votes_are_refused(votes, message):
    for read in (count, Moments.of_votes, Tally().add):
        with pytest.raises(ValueError, match=message):
            read(votes)


def test_more_classes_than_a_vote_can_name_are_refused():
    assert count(cast(9, 3, classes=127), classes=127).rows == 9
    with pytest.raises(ValueError, match="got 128 classes, expected at most 127"):
        count(cast(9, 3), classes=128)


def test_parts_of_different_rules_are_refused():
    tally = Tally()
    tally.add(cast(5, 3))
    for call in (
        lambda: merge([count(cast(5, 3)), count(cast(5, 4))]),
        lambda: add([Moments.of_votes(cast(5, 3)), Moments.of_votes(cast(5, 4))]),
        lambda: tally.add(cast(5, 4)),
    ):
        with pytest.raises(ValueError, match="got rules of classes 3 of 2 and 4 of 2"):
            call()
    with pytest.raises(ValueError, match="got 4 classes, expected 2"):
        tally.add(count(cast(5, 3, classes=4), classes=4))
    for call in (lambda: merge([]), lambda: add([]), Tally().total):
        with pytest.raises(ValueError, match="got no parts"):
            call()


def test_no_rows_and_no_rules(known):
    votes, _ = known
    model = fit_label_model(count(votes), model="triplet", prior=0.6)
    assert model.predict_proba(votes[:0]).shape == (0, 2)
    assert model.predict(votes[:0]).shape == (0,)
    tally = Tally()
    for part in (votes[:0], votes, votes[:0]):
        tally.add(part)
    assert same(tally.total(), count(votes))
    assert Moments.of(count(votes[:0])).rows == 0
    with pytest.raises(ValueError, match=r"got shape \(2000, 5\), expected \[rows, 6\]"):
        model.predict(votes[:, :5])
    with pytest.raises(ValueError, match="got no rows"):
        fit_label_model(votes[:0], model="majority")
    with pytest.raises(ValueError, match="got 0 rules that vote"):
        fit_label_model(votes[:, :0], model="majority")
