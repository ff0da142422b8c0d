"""Votes as a stage: what rules say of planted columns, however the pool lies and whoever stops."""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from filters.ensemble import Majority
from filters.rules import Band, Condition
from pipeline.config import Ensemble
from pipeline.ensemble import fit_votes
from pipeline.executors.local import Local
from pipeline.folder import Folder
from pipeline.health import strike, verify
from pipeline.labels import Labels
from pipeline.votes import cast_votes
from tests.scored import planted, scored
from tests.stopping import Stopped

RULES = (
    Band(name="x", column="x", keep=0.6, drop=0.3, by="quantile"),
    Band(name="y", column="y", keep=0.7, by="quantile"),
    Condition(name="short", columns=("words",), keep="words > 5", drop="words < 2"),
    Band(name="low", column="x", direction="low", drop=1.5),
)
ROWS, SHARDS = 400, 20  # two tasks


class Counting(Local):
    """A for-loop that knows how many tasks it was given, and may end before the last."""

    def __init__(self, stop_after=None):
        self.stop_after, self.done = stop_after, []

    def map(self, function, shared, items, *, weights):
        for item in items:
            result = function(shared, weights, item)
            if function.__name__ == "_cast_some":
                self.done.append(item)
            yield result
            if len(self.done) == self.stop_after:
                raise Stopped


@pytest.fixture(autouse=True)
def two_tasks(monkeypatch):
    """Have a task do several shards of pools as small as these."""
    monkeypatch.setattr("pipeline.executors.tasks.FEW", 2)


@pytest.fixture(scope="module")
def pool():
    return planted(ROWS)


@pytest.fixture(scope="module")
def ready(pool, tmp_path_factory):
    """Return scores and shards of the pool."""
    return scored(tmp_path_factory.mktemp("pool"), pool, shards=SHARDS)


def cast(home, ready, *, rules=RULES, execute=None, labels=None):
    scores, shards = ready
    return cast_votes(
        scores, rules, shards=shards, store=Folder(str(home)), execute=execute or Counting(),
        labels=labels,
    )  # fmt: skip


def tables(home):
    return {p.name: p.read_bytes() for p in home.glob("scores/votes-*/*")}


def of_all(votes):
    return np.concatenate([votes.of(shard) for shard in range(len(votes.scores))])


def expected(pool):
    """Return the votes by hand, with numpy's own quantiles."""
    x, y, words = (pool.values[name][pool.is_ok].astype(float) for name in ("x", "y", "words"))
    cut = lambda v, q: np.quantile(v[~np.isnan(v)], q, method="inverted_cdf")  # noqa: E731
    said = lambda keep, drop: np.where(keep, 1, np.where(drop, 0, -1))  # noqa: E731
    no = np.zeros(len(x), bool)
    columns = (said(x >= cut(x, 0.6), x <= cut(x, 0.3)), said(y >= cut(y, 0.7), no),
               said(words > 5, words < 2), said(no, x >= 1.5))  # fmt: skip
    return np.stack(columns, axis=1)


def labels_of(pool, rows, wrong=()):
    order = sorted(rows, key=lambda row: pool.uids[row])
    uids = [pool.uids[row] for row in order] + list(wrong)
    target = pool.is_good[order].astype(float)
    return Labels(np.array(uids, "S16"), target, np.ones(len(uids), bool))


def test_votes_and_counts_are_those_by_hand(pool, ready, tmp_path):
    votes = cast(tmp_path, ready)
    by_hand = expected(pool)
    assert of_all(votes).tolist() == by_hand.tolist()
    patterns, how_often = np.unique(by_hand, axis=0, return_counts=True)
    counted = {
        tuple(v): n
        for v, n in zip(votes.counts.votes_PM.tolist(), votes.counts.count_P, strict=True)
    }
    assert counted == {tuple(v): n for v, n in zip(patterns.tolist(), how_often, strict=True)}
    assert votes.scores.columns[-1] == "votes_0"
    assert list(verify(Folder(str(tmp_path)))) == []


@pytest.mark.parametrize("shards", [1, 2, 7])
def test_the_cut_of_the_pool_and_its_order_change_no_bit(pool, ready, tmp_path, shards):
    labels = labels_of(pool, range(0, ROWS, 3))
    fit = lambda votes: fit_votes(votes, Ensemble(), seed=0).to_json()  # noqa: E731
    reference = cast(tmp_path / "a", ready, labels=labels)
    order = np.random.default_rng(shards).permutation(ROWS)
    other = scored(tmp_path / "b", pool, shards=shards, order=order)
    found = cast(tmp_path / "b", other, labels=labels)
    assert found.rules == reference.rules
    assert fit(found) == fit(reference)
    assert found.counts.count_P.tolist() == reference.counts.count_P.tolist()
    assert (found.labelled.count_PK == reference.labelled.count_PK).all()
    assert found.without_votes == reference.without_votes


def test_what_is_stored_is_only_counted(ready, tmp_path):
    first = cast(tmp_path, ready)
    before = {p: p.stat().st_mtime_ns for p in tmp_path.glob("scores/votes-*/*")}
    assert len(before) == SHARDS + 1
    again = cast(tmp_path, ready)
    assert {p: p.stat().st_mtime_ns for p in tmp_path.glob("scores/votes-*/*")} == before
    assert again.rules == first.rules
    assert again.counts.votes_PM.tolist() == first.counts.votes_PM.tolist()
    assert again.counts.count_P.tolist() == first.counts.count_P.tolist()


def test_stopped_in_the_middle_and_resumed_by_others(ready, tmp_path):
    whole = cast(tmp_path / "whole", ready)
    with pytest.raises(Stopped):
        cast(tmp_path / "cut", ready, execute=Counting(stop_after=1))
    done = {p: p.stat().st_mtime_ns for p in tmp_path.glob("cut/scores/votes-*/*.parquet")}
    assert len(done) == SHARDS // 2
    resumed = cast(tmp_path / "cut", ready)
    assert {p: p.stat().st_mtime_ns for p in done} == done
    assert tables(tmp_path / "cut") == tables(tmp_path / "whole")
    assert resumed.counts.count_P.tolist() == whole.counts.count_P.tolist()


def test_a_table_without_a_record_is_made_again(ready, tmp_path):
    """Killed between the two: a table is there, cut off, and the ledger knows nothing of it."""
    with pytest.raises(Stopped):
        cast(tmp_path, ready, execute=Counting(stop_after=1))
    (stage,) = (tmp_path / "scores").glob("votes-*")
    (stage / "00019-20.parquet").write_bytes(b"PAR1 half a tab")
    cast(tmp_path / "whole", ready)
    cast(tmp_path, ready)
    assert tables(tmp_path) == tables(tmp_path / "whole")


@pytest.mark.parametrize("damage", ["truncated", "gone", "other bits"])
def test_a_damaged_table_is_found_and_made_again(ready, tmp_path, damage):
    cast(tmp_path, ready)
    before = tables(tmp_path)
    path = next(tmp_path.glob("scores/votes-*/00003*.parquet"))
    if damage == "gone":
        path.unlink()
    elif damage == "truncated":
        path.write_bytes(path.read_bytes()[:-20])
    else:
        path.write_bytes(next(tmp_path.glob("scores/votes-*/00004*.parquet")).read_bytes())
    ((defect, record),) = verify(Folder(str(tmp_path)))
    assert path.name in defect
    if damage != "other bits":  # which `verify` alone can tell
        with pytest.raises(ValueError, match=rf"{path.name}.*thresher verify"):
            cast(tmp_path, ready)
    strike(Folder(str(tmp_path)), [record])
    cast(tmp_path, ready)
    assert tables(tmp_path) == before
    assert list(verify(Folder(str(tmp_path)))) == []


def test_damaged_cut_points_are_found_again(ready, tmp_path):
    first = cast(tmp_path, ready)
    (path,) = tmp_path.glob("scores/votes-*/rules.json")
    path.write_bytes(path.read_bytes()[:-9])
    assert cast(tmp_path, ready).rules == first.rules


def test_a_changed_rule_is_another_stage_and_the_old_votes_stay(pool, ready, tmp_path):
    cast(tmp_path, ready)
    before = set(tmp_path.glob("scores/votes-*/*"))
    changed = (*RULES[:3], replace(RULES[3], drop=1.6))
    votes = cast(tmp_path, ready, rules=changed)
    after = set(tmp_path.glob("scores/votes-*/*"))
    assert before < after
    assert len(after) == 2 * len(before)
    drops = pool.values["x"][pool.is_ok] >= np.float32(1.6)
    assert (of_all(votes)[:, 3] == 0).tolist() == drops.tolist()


def test_an_added_shard_moves_the_cut_points_of_all(pool, ready, tmp_path):
    half = replace(pool, uids=pool.uids[:200], is_ok=pool.is_ok[:200])
    half = replace(half, values={name: v[:200] for name, v in pool.values.items()})
    few = cast(tmp_path, scored(tmp_path, half, shards=2))
    assert of_all(few).tolist() == expected(half).tolist()
    votes = cast(tmp_path, ready)
    assert of_all(votes).tolist() == expected(pool).tolist()
    assert votes.counts.rows == pool.is_ok.sum()
    assert few.rules != votes.rules


def test_labels_are_counted_by_pattern(pool, ready, tmp_path):
    rows = np.random.default_rng(3).permutation(ROWS)[:90]
    votes = cast(tmp_path, ready, labels=labels_of(pool, rows))
    good = rows[pool.is_ok[rows]]
    assert votes.without_votes == len(rows) - len(good) > 0
    by_row = dict(zip(np.flatnonzero(pool.is_ok), expected(pool).tolist(), strict=True))
    by_hand = {}
    for row in good:
        by_hand.setdefault(tuple(by_row[row]), [0, 0])[int(pool.is_good[row])] += 1
    found = zip(votes.labelled.votes_PM.tolist(), votes.labelled.count_PK.tolist(), strict=True)
    assert {tuple(v): n for v, n in found} == by_hand


def test_a_prior_from_labels_counts_those_that_were_shown_at_random(pool, ready, tmp_path):
    labels = labels_of(pool, np.flatnonzero(pool.is_ok)[:90])
    is_keep = labels.target_N == 1
    is_random = is_keep & (np.cumsum(is_keep) <= 5) | ~is_keep & (np.cumsum(~is_keep) <= 13)
    cfg = Ensemble(model=Majority(), prior="labels", labels="handed over")
    prior = lambda random_N: fit_votes(  # noqa: E731
        cast(tmp_path, ready, labels=replace(labels, random_N=random_N)), cfg, seed=0
    ).prior[1]
    assert prior(is_random) == pytest.approx((5 + 1) / (18 + 2))
    assert prior(np.ones(90, bool)) == pytest.approx((is_keep.sum() + 1) / (90 + 2))
    with pytest.raises(ValueError, match="got no label of a pair that has votes and was chosen"):
        prior(np.zeros(90, bool))


def test_labels_of_pairs_that_are_not_there_are_refused(pool, ready, tmp_path):
    labels = labels_of(pool, range(20), wrong=[b"\xff" * 16])
    labels = replace(labels, target_N=np.ones(21))
    with pytest.raises(ValueError, match=r"got 1 uids that this run does not have, such as f{32}"):
        cast(tmp_path, ready, labels=labels)


@pytest.mark.parametrize("rules", [1, 33, 64])
def test_many_rules_and_pools_without_a_good_row_in_a_shard(pool, tmp_path, rules):
    many = [Band(name=f"{i}", column="words", keep=float(i), drop=i - 1.0) for i in range(rules)]
    broken = replace(pool, is_ok=pool.is_ok & (np.arange(ROWS) >= 30))  # all of the first shard
    votes = cast(tmp_path, scored(tmp_path, broken, shards=20), rules=many)
    words = pl.Series("words", pool.values["words"][broken.is_ok])
    by_hand = np.stack([rule.vote({"words": words}) for rule in many], axis=1)
    assert (of_all(votes) == by_hand).all()
    assert len(votes.of(0)) == 0


def test_more_rules_than_can_be_counted_are_refused(ready, tmp_path):
    many = [Band(name=f"{i}", column="words", keep=float(i)) for i in range(65)]
    with pytest.raises(ValueError, match="got 65 rules, expected at most 64"):
        cast(tmp_path, ready, rules=many)
