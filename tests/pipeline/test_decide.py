"""What is left of a planted pool: vetoes, then the ensemble's cut, or its budget to the pair."""

from collections import Counter

import numpy as np
import pytest

from filters.ensemble import Triplet, fit_label_model
from filters.rules import Band, Condition
from pipeline.columns.stages import Place
from pipeline.config import Ensemble
from pipeline.deciding.best import keep_best
from pipeline.deciding.screen import screen
from pipeline.ensemble import fit_votes, keep_probability
from pipeline.executors import run_local
from pipeline.folder import Folder
from pipeline.schema import Reason
from pipeline.votes import cast_votes
from tests.scored import planted, scored

RULES = (
    Band(name="x", column="x", keep=0.6, drop=0.3, by="quantile"),
    Band(name="y", column="y", keep=0.7, by="quantile"),
    Condition(name="short", columns=("words",), keep="words > 5", drop="words < 2"),
    Condition(name="one", columns=("words",), drop="words = 1", veto=True),
)
ROWS = 300


@pytest.fixture(scope="module")
def pool():
    """Return a pool whose rows 1 and 2 have the uid of row 0."""
    pool = planted(ROWS, seed=5)
    pool.uids[1] = pool.uids[2] = pool.uids[0]
    for values in pool.values.values():
        values[1] = values[2] = values[0]  # so that the order of shards does not matter
    return pool


@pytest.fixture(scope="module")
def cast(pool, tmp_path_factory):
    """Return (votes, place) of the pool in three shards."""
    return cast_in(tmp_path_factory.mktemp("votes"), pool)


def cast_in(home, pool, shards=3, order=None, changed=()):
    scores, found = scored(home, pool, shards=shards, order=order, changed=changed)
    store = Folder(str(home))
    votes = cast_votes(scores, RULES, shards=found, store=store, execute=run_local)
    return votes, Place(found, store, run_local)


def decided(cast, **settings):
    """Return uid -> reason of the good rows, in the order of shards, a list of pairs."""
    (votes, place), cfg = cast, Ensemble(
        model=Triplet(), prior=0.7, share_copies=False, **settings
    )  # fmt: skip
    _, scores = keep_probability(votes, fit_votes(votes, cfg, seed=0), cfg, place=place)
    left = keep_best(screen(scores, votes.rules, place=place), cfg, place=place)
    rows = []
    for shard in range(len(left.scores)):
        found = left.scores.good(shard, ["uid"]).column("uid").to_pylist()
        rows += zip(found, left.reasons(shard), strict=True)
    return rows


def by_hand(pool, cast):
    """Return uid -> (p, vetoed) of the good rows."""
    votes, _ = cast
    votes_NM = np.concatenate([votes.of(shard) for shard in range(3)])
    p_N = fit_label_model(votes_NM, model="triplet", prior=0.7, share_copies=False).predict(
        votes_NM
    )
    uids = [uid for uid, ok in zip(pool.uids, pool.is_ok, strict=True) if ok]
    return {u: (p, v) for u, p, v in zip(uids, p_N, votes_NM[:, 3] == 0, strict=True)}


def kept(rows):
    return {uid for uid, reason in rows if reason == Reason.OK}


@pytest.mark.parametrize("budget", [1, 17, 0.25, 0.5])
def test_a_budget_is_kept_to_the_pair_with_ties_by_uid(pool, cast, budget):
    rows = by_hand(pool, cast)
    number = int(budget * len(rows)) if budget < 1 else budget
    left = [(-p, uid) for uid, (p, vetoed) in rows.items() if not vetoed]
    assert len({p for p, _ in left}) < 20  # many ties
    found = decided(cast, budget=budget)
    assert kept(found) == {uid for _, uid in sorted(left)[:number]}
    reasons = Counter(reason for _, reason in found)
    assert reasons["over_budget"] == len(left) - number
    assert reasons["veto"] == len(rows) - len(left) > 0
    assert reasons["repeated_uid"] == 2
    assert sum(reasons.values()) == pool.is_ok.sum()


def test_a_budget_may_rank_by_a_column(pool, cast):
    ok = [i for i in np.flatnonzero(pool.is_ok) if i not in (1, 2)]
    vetoed = {uid for uid, (_, vetoed) in by_hand(pool, cast).items() if vetoed}
    x = {pool.uids[i]: pool.values["x"][i] for i in ok}
    left = sorted(
        (-np.nan_to_num(v, nan=-np.inf), uid) for uid, v in x.items() if uid not in vetoed
    )
    found = kept(decided(cast, budget=0.4, rank_by="x"))
    assert found == {uid for _, uid in left[: int(0.4 * len(ok))]}
    missing = kept(decided(cast, budget=len(left) - 1, rank_by="x"))
    (out,) = {uid for _, uid in left} - missing
    assert np.isnan(x[out])  # a pair without a value comes last


def test_a_budget_may_rank_by_a_hash(pool, cast):
    ok = [i for i in np.flatnonzero(pool.is_ok) if i not in (1, 2)]
    assert max(pool.values["phash"]) > 2**62  # float64 does not hold it
    found = decided(cast, budget=5, rank_by="phash")
    phash = {pool.uids[i]: pool.values["phash"][i] for i in ok}
    left = [uid for uid, reason in found if reason in ("ok", "over_budget")]
    assert kept(found) == set(sorted(left, key=phash.__getitem__)[-5:])


def test_a_budget_that_is_too_large_keeps_all_and_says_so(pool, cast, caplog):
    left = [uid for uid, (_, vetoed) in by_hand(pool, cast).items() if not vetoed]
    assert kept(decided(cast, budget=10_000)) == set(left)
    assert f"got {len(left)} pairs that no rule vetoes, expected at least the 10000" in caplog.text


def test_without_a_budget_the_cut_decides(pool, cast):
    rows = by_hand(pool, cast)
    found = kept(decided(cast, keep_above=0.6))
    assert found == {uid for uid, (p, vetoed) in rows.items() if p >= 0.6 and not vetoed}


@pytest.mark.parametrize("shards", [1, 2, 7])
def test_the_cut_of_the_pool_changes_no_reason(pool, cast, tmp_path, shards):
    order = np.random.default_rng(shards).permutation(ROWS)
    other = cast_in(tmp_path, pool, shards=shards, order=order)
    assert sorted(decided(other, budget=0.3)) == sorted(decided(cast, budget=0.3))


def test_uids_that_are_corrected_in_one_shard_count_in_all(tmp_path):
    pool = planted(ROWS, seed=5)
    pool.uids[-5] = pool.uids[0]  # of the last shard and the first one
    before = decided(cast_in(tmp_path / "run", pool), budget=0.3)
    assert Counter(reason for _, reason in before)["repeated_uid"] == 1
    pool.uids[:50] = [bytes([i]) + uid[1:] for i, uid in enumerate(pool.uids[:50])]
    after = decided(cast_in(tmp_path / "run", pool, changed=[0]), budget=0.3)
    assert after == decided(cast_in(tmp_path / "new", pool, changed=[0]), budget=0.3)
    assert Counter(reason for _, reason in after)["repeated_uid"] == 0


def test_a_second_time_opens_nothing(cast, monkeypatch):
    first = decided(cast, budget=0.3)
    for module in ("deciding.best", "deciding.screen"):
        monkeypatch.delattr(f"pipeline.{module}._reasons")
    monkeypatch.delattr("pipeline.ensemble._p_keep")
    assert decided(cast, budget=0.3) == first


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"budget": 7.5}, "budget: got 7.5, expected a share below 1 or a whole number"),
        ({"rank_by": "x"}, "rank_by: got 'x' without a budget"),
        ({"prior": "labels"}, "labels: got none, expected a file for a prior"),
    ],
)
def test_settings_that_make_no_sense(settings, message):
    with pytest.raises(ValueError, match=message):
        Ensemble(**settings)
