"""Votes of hand-made columns, one rule at a time."""

import numpy as np
import polars as pl
import pytest

from filters.quantiles import quantile
from filters.rules import Band, Condition

COLUMNS = {
    "x": pl.Series("x", [0.0, 1.0, 2.0, 3.0, None, float("nan")], strict=False),
    "word": pl.Series("word", ["en", "de", "en", "fr", None, "en"]),
}


def votes(rule):
    return rule.vote(COLUMNS).tolist()


def test_a_band_keeps_drops_and_abstains():
    assert votes(Band(name="r", column="x", keep=2.0, drop=0.5)) == [0, -1, 1, 1, -1, -1]


def test_a_low_band_is_its_mirror():
    low = Band(name="r", column="x", direction="low", keep=1.0, drop=3.0)
    assert votes(low) == [1, 1, -1, 0, -1, -1]


def test_a_one_sided_band_never_votes_the_other_way():
    assert votes(Band(name="r", column="x", drop=1.0)) == [0, 0, -1, -1, -1, -1]


def test_quantiles_become_values_of_the_whole_pool():
    shards = [np.array([5, 1], np.float32), np.array([3, 2, 4], np.float32)]
    rule = Band(name="r", column="x", keep=0.8, drop=0.2, by="quantile")
    assert rule.quantiles == (("x", 0.8), ("x", 0.2))
    resolved = rule.resolve({at: quantile(lambda: shards, at[1]) for at in rule.quantiles})
    assert (resolved.drop, resolved.keep, resolved.by) == (1.0, 4.0, "value")


def test_a_pool_of_one_value_resolves_to_equal_cuts_and_keeps():
    rule = Band(name="r", column="x", keep=0.8, drop=0.2, by="quantile")
    resolved = rule.resolve(dict.fromkeys(rule.quantiles, 1.0))
    assert resolved.vote({"x": pl.Series([1.0])}).tolist() == [1]


def test_conditions_are_sql_and_drop_wins():
    rule = Condition(name="r", columns=("x", "word"), keep="x >= 1", drop="word = 'fr'")
    assert votes(rule) == [-1, 1, 1, 0, -1, -1]  # NaN is as null


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Band(name="r", column="x"), "neither keep nor drop"),
        (lambda: Band(name="r", column="x", keep=1.0, drop=2.0), "keep above drop"),
        (lambda: Band(name="r", column="x", direction="low", keep=2.0, drop=1.0), "keep below"),
        (lambda: Band(name="r", column="x", keep=3.0, by="quantile"), "got quantile 3.0"),
        (lambda: Condition(name="r", columns=("x",)), "neither keep nor drop"),
        (lambda: Condition(name="r", columns=("x",), drop="x <"), "expected an SQL condition"),
        (lambda: Condition(name="r", columns=("x",), drop="y > 1"), r"columns = \['x', 'y'\]"),
    ],
)
def test_a_rule_that_makes_no_sense_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        (Band(name="r", column="word", keep=1.0), "is no number"),
        (Condition(name="r", columns=("x",), keep="x - 1"), "expected a comparison"),
        (Condition(name="r", columns=("word",), drop="word > 5"), "suits its columns"),
    ],
)
def test_a_rule_that_does_not_suit_its_column_is_refused(rule, message):
    with pytest.raises(ValueError, match=message):
        votes(rule)


def test_a_cut_meets_what_a_column_of_less_precision_stored_for_it():
    stored = {"x": pl.Series([0.28, 0.281, 0.35], dtype=pl.Float32)}  # 0.28 is a bit more in it
    assert Band(name="r", column="x", keep=0.35, drop=0.28).vote(stored).tolist() == [0, -1, 1]


def test_a_condition_does_not_hold_where_a_number_is_nan():
    rule = Condition(name="r", columns=("x",), keep="x > 0.5", drop="NOT x > 0.5")
    columns = {"x": pl.Series([0.9, float("nan"), None, 0.1], dtype=pl.Float32)}
    assert rule.vote(columns).tolist() == [1, -1, -1, 0]


def test_a_band_has_numbers_for_cut_points():
    with pytest.raises(ValueError, match="rule 'r': got keep nan and drop None, expected numbers"):
        Band(name="r", column="x", keep=float("nan"))
