"""Cut points are found where they were planted, whatever the share of junk and the sharding."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm
from sklearn.metrics import average_precision_score

from filters.ensemble import fit_label_model
from filters.ensemble.calibration import wilson
from filters.ensemble.cuts import (
    LEAST_LABELS,
    LEAST_ODDS,
    ONE_SIDED_95,
    Histogram,
    add_up,
    bin_edges,
    choose_cuts,
)
from filters.rules import Band

ROWS = 20_000
SPREAD = 1.0  # good rows are at 1, bad ones at -1: as likely to be good as all rows at 0


def planted(junk, *, seed=0, rows=ROWS):
    """A column that tells good from bad, the votes of four other rules, and the truth."""
    rng = np.random.default_rng(seed)
    good = rng.random(rows) >= junk
    value = rng.normal(np.where(good, 1.0, -1.0), SPREAD).astype(np.float32)
    right = rng.random((rows, 4)) < (0.65, 0.7, 0.75, 0.8)
    votes = np.where(right, good[:, None], ~good[:, None]).astype(np.int8)
    votes[rng.random(votes.shape) < 0.3] = -1
    return value, votes, good


def histogram(value, votes, *, prior, labels=None, edges=None):
    p = fit_label_model(votes, model="triplet", prior=prior).predict(votes)
    said = np.where((votes < 0).all(axis=1), -1, p > prior)
    labels = np.full(len(value), -1) if labels is None else labels
    edges = bin_edges(lambda: [value]) if edges is None else edges
    return Histogram.of(value, p, said, labels, edges=edges)


def best_cuts(junk):
    """The cuts of most information, by the densities that the rows were drawn from."""
    grid = np.linspace(-3, 3, 301)

    def told(good, bad, share):
        total = (1 - junk) * good + junk * bad
        right = share * (good if share == 1 - junk else bad) / total
        rest = np.log((1 - right) / (1 - share))
        return total * (right * np.log(right / share) + (1 - right) * rest)

    keep = told(norm.sf(grid - 1), norm.sf(grid + 1), 1 - junk)
    drop = told(norm.cdf(grid - 1), norm.cdf(grid + 1), junk)
    return grid[keep.argmax()], grid[drop.argmax()]


@pytest.mark.parametrize("junk", [0.1, 0.3, 0.45, 0.7])
@pytest.mark.parametrize("direction", ["high", "low"])
def test_cuts_are_found_where_votes_tell_most(junk, direction):
    sign = 1 if direction == "high" else -1
    value, votes, _ = planted(junk)
    cuts = choose_cuts(histogram(sign * value, votes, prior=1 - junk))
    keep, drop = best_cuts(junk)
    assert cuts.direction == direction
    assert sign * cuts.keep == pytest.approx(keep, abs=0.3)
    assert sign * cuts.drop == pytest.approx(drop, abs=0.35)
    assert sign * cuts.drop < 0 < sign * cuts.keep  # on either side of the true crossing


def test_the_bounds_hold_and_the_shares_are_those_of_the_band():
    value, votes, good = planted(0.4)
    cuts = choose_cuts(histogram(value, votes, prior=0.6))
    band = Band(name="b", column="c", keep=cuts.keep, drop=cuts.drop)
    cast = band.vote({"c": _series(value)})
    p = fit_label_model(votes, model="triplet", prior=0.6).predict(votes)
    voting = (votes >= 0).any(axis=1) & (cast >= 0)
    assert cuts.coverage == pytest.approx((cast >= 0).mean())
    assert cuts.overlap == pytest.approx(voting.mean())
    assert cuts.conflict == pytest.approx((voting & ((p > 0.6) != cast)).mean())
    for vote, bound in ((1, cuts.keep_right), (0, cuts.drop_right)):
        right = (good[cast == vote] == vote).mean()
        assert bound < right < bound + 0.05


@pytest.mark.parametrize("junk", [0.05, 0.5, 0.7])
def test_chosen_cuts_beat_fixed_quantiles(junk):
    """Quantiles of 0.15 and 0.4 suit a pool with about a quarter of junk."""
    value, votes, good = planted(junk, seed=1)
    cuts = choose_cuts(histogram(value, votes, prior=1 - junk))
    fixed = np.quantile(value, [0.4, 0.15])
    scores = []
    for keep, drop in ((cuts.keep, cuts.drop), fixed):
        band = Band(name="b", column="c", keep=keep, drop=drop).vote({"c": _series(value)})
        every = np.column_stack([votes, band])
        p = fit_label_model(every, model="triplet", prior=1 - junk).predict(every)
        scores.append(average_precision_score(~good, 1 - p))
    assert scores[0] > scores[1] + 0.005


def test_a_few_hundred_labels_do_as_well_where_the_others_know_nothing():
    value, votes, good = planted(0.4)
    labels = np.full(ROWS, -1)
    labels[:400] = good[:400]
    blind = np.full_like(votes, -1)
    blind[:, 0] = np.random.default_rng(0).integers(0, 2, ROWS)
    edges = bin_edges(lambda: [value])
    nothing = Histogram.of(value, np.full(ROWS, 0.6), blind[:, 0], labels * 0 - 1, edges=edges)
    assert choose_cuts(nothing) is None
    cuts = choose_cuts(Histogram.of(value, np.full(ROWS, 0.6), blind[:, 0], labels, edges=edges))
    assert cuts.labels == 400
    assert -1.2 < cuts.drop < 0.2
    assert -0.2 < cuts.keep < 1.2


def test_too_few_labels_are_left_aside():
    value, votes, good = planted(0.4)
    few = np.full(ROWS, -1)
    few[: LEAST_LABELS - 1] = good[: LEAST_LABELS - 1]
    with_few = choose_cuts(histogram(value, votes, prior=0.6, labels=few))
    assert with_few == choose_cuts(histogram(value, votes, prior=0.6))
    assert with_few.labels == 0


def test_a_column_that_knows_some_junk_alone_never_votes_keep():
    _, votes, good = planted(0.3)
    marked = np.where(good, 0.0, np.random.default_rng(0).random(ROWS) < 0.1).astype(np.float32)
    cuts = choose_cuts(histogram(marked, votes, prior=0.7))
    assert (cuts.direction, cuts.keep, cuts.drop) == ("low", None, 1.0)


def test_noise_gets_no_cuts():
    _, votes, _ = planted(0.3)
    noise = np.random.default_rng(9).random(ROWS).astype(np.float32)
    cuts = choose_cuts(histogram(noise, votes, prior=0.7))
    assert cuts is None or cuts.gain < 5e-4


def test_the_pair_of_cuts_is_the_best_of_all():
    """All pairs of cuts of seven values, compared in a loop over labelled rows."""
    value, _, good = planted(0.4, rows=300)
    value = np.clip(np.rint(value), -3, 3).astype(np.float32)
    nobody = np.full(300, -1)
    edges = bin_edges(lambda: [value])
    cuts = choose_cuts(Histogram.of(value, np.ones(300), nobody, good * 1, edges=edges))
    base, found = good.mean(), []
    for keep in [*range(-3, 4), np.inf]:
        for drop in [d for d in (-np.inf, *range(-3, 4)) if d < keep]:
            gain = 0.0
            for cast, right, share in (
                (value >= keep, good, base),
                (value <= drop, ~good, 1 - base),
            ):
                low = wilson(right[cast].sum(), cast.sum(), z=ONE_SIDED_95)[0] if cast.any() else 0
                if low / (1 - low) >= LEAST_ODDS * share / (1 - share):
                    rest = (1 - low) * np.log((1 - low) / (1 - share))
                    gain += cast.mean() * (low * np.log(low / share) + rest)
            found.append((gain, keep, drop))
    assert (cuts.gain, cuts.keep, cuts.drop) == pytest.approx(max(found))


@settings(max_examples=20, deadline=None)
@given(st.permutations(range(400)), st.integers(1, 5))
def test_sharding_and_order_do_not_show_in_a_single_bit(order, shards):
    value, votes, good = planted(0.4, rows=400)
    value[::7] = np.nan
    p = fit_label_model(votes, model="majority", prior=0.6).predict(votes)
    edges = bin_edges(lambda: [value], bins=8)
    rows = (value, p, (p > 0.6) * 1, good * 1)
    whole = Histogram.of(*rows, edges=edges)
    parts = [
        Histogram.of(*(array[part] for array in rows), edges=edges)
        for part in np.array_split(np.array(order), shards)
    ]
    added = add_up(parts)
    for name in Histogram.__slots__:
        np.testing.assert_array_equal(getattr(added, name), getattr(whole, name))
    assert added.count_B.sum() == np.isfinite(value).sum()
    assert choose_cuts(added) == choose_cuts(whole)


def test_edges_part_rows_evenly_and_are_finer_at_the_ends():
    value = np.arange(1, 6401, dtype=np.float32)
    edges = bin_edges(lambda: [value[:9], value[9:]], bins=64)
    assert set(range(100, 6400, 100)) <= set(edges.tolist())
    assert edges[:2].tolist() == [2, 4]
    assert len(bin_edges(lambda: [np.array([0, 1, 1, 0], np.float32)])) == 2
    assert len(bin_edges(lambda: [np.full(3, np.nan, np.float32)])) == 0
    with pytest.raises(ValueError, match="got 1 bins"):
        bin_edges(lambda: [value], bins=1)


def test_a_column_without_values_gets_no_cuts():
    value, votes, _ = planted(0.4, rows=100)
    assert choose_cuts(histogram(np.full_like(value, np.nan), votes, prior=0.6)) is None


def _series(value):
    import polars as pl

    return pl.Series(value)
