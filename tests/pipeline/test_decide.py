"""What the ensemble keeps of a planted pool: a cut, or a budget to the pair; vetoes before both."""

import hashlib

import numpy as np
import pytest

from filters.ensemble import Triplet, fit_label_model
from filters.rules import Band, Condition
from pipeline.config import Concepts, Ensemble
from pipeline.decide import decide
from pipeline.ensemble import fit_votes
from pipeline.executors import run_local
from pipeline.folder import Folder
from pipeline.schema import Reason
from pipeline.subset import write_subset
from pipeline.votes import cast_votes
from tests.scored import planted, scored

RULES = (
    Band(name="x", column="x", keep=0.6, drop=0.3, by="quantile"),
    Band(name="y", column="y", keep=0.7, by="quantile"),
    Condition(name="short", columns=("words",), keep="words > 5", drop="words < 2"),
    Condition(name="one", columns=("words",), drop="words = 1", veto=True),
)
ALL = Concepts(clusters=3, copy_bits=-1, duplicate_similarity=1.0)
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
def votes(pool, tmp_path_factory):
    return cast(pool, tmp_path_factory.mktemp("votes"))


def cast(pool, home, shards=3, order=None):
    scores, found = scored(home, pool, shards=shards, order=order)
    return cast_votes(scores, RULES, shards=found, store=Folder(str(home)), execute=run_local)


def decided(votes, **settings):
    cfg = Ensemble(model=Triplet(), prior=0.7, share_copies=False, **settings)
    model = fit_votes(votes, cfg, seed=0)
    return decide(votes, lambda s: model.predict(votes.of(s)), ensemble=cfg, concepts=ALL, seed=0)


def by_hand(pool, votes):
    """Return uid -> (p, vetoed) of the good rows."""
    votes_NM = np.concatenate([votes.of(shard) for shard in range(3)])
    p_N = fit_label_model(votes_NM, model="triplet", prior=0.7, share_copies=False).predict(
        votes_NM
    )
    uids = [uid for uid, ok in zip(pool.uids, pool.is_ok, strict=True) if ok]
    return {u: (p, v) for u, p, v in zip(uids, p_N, votes_NM[:, 3] == 0, strict=True)}


def reasons(decisions):
    table = decisions.table
    return list(
        zip(table.column("uid").to_pylist(), table.column("reason").to_pylist(), strict=True)
    )


@pytest.mark.parametrize("budget", [1, 17, 0.25, 0.5])
def test_a_budget_is_kept_to_the_pair_with_ties_by_uid(pool, votes, budget):
    rows = by_hand(pool, votes)
    number = int(budget * len(rows)) if budget < 1 else budget
    left = [(-p, uid) for uid, (p, vetoed) in rows.items() if not vetoed]
    assert len({p for p, _ in left}) < 20  # many ties
    best = {uid for _, uid in sorted(left)[:number]}
    found = decided(votes, budget=budget)
    assert {uid for uid, reason in reasons(found) if reason == Reason.OK} == best
    assert found.reasons["ok"] == number
    assert found.reasons["over_budget"] == len(left) - number
    assert found.reasons["veto"] == len(rows) - len(left) > 0
    assert found.reasons["repeated_uid"] == 2
    assert sum(found.reasons.values()) == ROWS


def test_a_budget_that_is_too_large_keeps_all_and_says_so(pool, votes, caplog):
    left = [uid for uid, (_, vetoed) in by_hand(pool, votes).items() if not vetoed]
    found = decided(votes, budget=10_000)
    assert found.reasons["ok"] == len(left)
    assert f"got {len(left)} pairs that no rule vetoes, expected at least the 10000" in caplog.text


def test_without_a_budget_the_cut_decides(pool, votes):
    rows = by_hand(pool, votes)
    found = decided(votes, keep_above=0.6)
    kept = {uid for uid, reason in reasons(found) if reason == Reason.OK}
    assert kept == {uid for uid, (p, vetoed) in rows.items() if p >= 0.6 and not vetoed}


@pytest.mark.parametrize("shards", [1, 2, 7])
def test_the_cut_of_the_pool_changes_no_byte_of_the_subset(pool, votes, tmp_path, shards):
    order = np.random.default_rng(shards).permutation(ROWS)
    other = cast(pool, tmp_path, shards=shards, order=order)
    files = []
    for which in (votes, other):
        folder = tmp_path / str(len(files))
        digest = write_subset(Folder(str(folder)), decided(which, budget=0.3))
        files.append([(folder / n).read_bytes() for n in ("subset.npy", "subset.parquet")])
        assert digest == hashlib.sha256(files[-1][0]).hexdigest()
    assert files[0] == files[1]


def test_a_row_has_its_votes_and_its_p_and_a_broken_one_has_none(pool, votes):
    table = decided(votes).table
    votes_NM = np.concatenate([votes.of(shard) for shard in range(3)])
    for m, rule in enumerate(RULES):
        column = table.column(f"vote:{rule.name}")
        assert column.is_null().to_pylist() == (~pool.is_ok).tolist()
        assert column.drop_null().to_pylist() == votes_NM[:, m].tolist()
    assert table.column("p_keep").is_null().to_pylist() == (~pool.is_ok).tolist()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"budget": 7.5}, "budget: got 7.5, expected a share below 1 or a whole number"),
        ({"prior": "labels"}, "labels: got none, expected a file for a prior"),
    ],
)
def test_settings_that_make_no_sense(settings, message):
    with pytest.raises(ValueError, match=message):
        Ensemble(**settings)
