"""All of deciding, in shards, is what the same rules say of the whole pool at once."""

import hashlib
from contextlib import suppress
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from filters.concepts import Flat, Hierarchical, TwoLevel
from filters.extract.caption import CaptionStatistics
from filters.rules import Condition
from pipeline.config import Curation, Data, Ensemble
from pipeline.deciding.decide import decide
from pipeline.executors import run_local
from pipeline.executors.local import Local
from pipeline.settings import Balance, Concepts, Dedup
from tests.pipeline.by_hand import decided_by_hand
from tests.pipeline.concepts.pools import Planted, written

ROWS = 140
RULES = (Condition(name="one", columns=("x",), drop="x < 0", veto=True),)
ENTRIES = ["dog", "cat", "red", "red cat", "the"]
SEEDS = 6


def pool_of(rng):
    """Return groups of near-copies, some without a direction, some of one uid, many ties."""
    group = rng.integers(0, ROWS // 3, ROWS)
    centre_GD = rng.normal(size=(ROWS // 3, 8))
    vector_ND = centre_GD[group] + rng.choice([0, 0.1, 0.3], ROWS)[:, None] * rng.normal(
        size=(ROWS, 8)
    )
    vector_ND /= np.linalg.norm(vector_ND, axis=1)[:, None]
    vector_ND[rng.random(ROWS) < 0.04] = 0
    vector_ND[rng.random(ROWS) < 0.02] = np.nan
    phash_G = rng.integers(0, 2**63, ROWS // 3).astype(np.uint64)
    flips_N = np.bitwise_or.reduce(
        np.uint64(1) << rng.integers(0, 64, (3, ROWS)).astype(np.uint64), axis=0
    )
    x = rng.normal(size=ROWS).astype(np.float32)
    x[rng.random(ROWS) < 0.1] = np.nan
    values = {
        "image_embedding": vector_ND.astype(np.float16),
        "phash": phash_G[group] ^ np.where(rng.random(ROWS) < 0.7, flips_N, 0).astype(np.uint64),
        "content": rng.integers(0, 3 * ROWS, ROWS).astype(np.uint64),
        "x": x,
        "p_keep": rng.integers(0, 12, ROWS) / 12,
        "votes_0": np.where(rng.random(ROWS) < 0.1, 1, 0).astype(np.uint64),  # 1 drops
    }
    uids = [hashlib.md5(rng.bytes(8)).digest()[:14] + bytes(2) for _ in range(ROWS)]
    for again in rng.choice(ROWS, 4, replace=False):  # a uid twice, but for that equal
        other = int(rng.integers(ROWS))
        uids[again] = uids[other]
        for column in values.values():
            column[again] = column[other]
    words = ["the dog", "a cat", "red", "a red cat,", "nothing"]
    caption = {uid: " ".join(rng.choice(words, 2)) for uid in sorted(set(uids))}
    is_ok = np.ones(ROWS, bool)
    is_ok[[i for i, uid in enumerate(uids) if uids.count(uid) == 1 and rng.random() < 0.1]] = False
    return Planted(uids, is_ok, values, tuple(caption[uid] for uid in uids))


def settings_of(rng):
    def one_of(*values):
        return values[rng.integers(len(values))]

    def clustering():
        return one_of(
            Flat(clusters=one_of(1, 4, 300)),
            TwoLevel(outer=one_of(1, 3, 300), inner=2),
            Hierarchical(levels=one_of((8,), (12, 3), (300, 5, 2)), steps=1),
        )

    mode = one_of("any_earlier", "any_earlier", "any_earlier", "greedy_kept", "components")
    share = mode == "any_earlier" and one_of(True, False)
    dedup = Dedup(
        content=one_of(True, False), copy_bits=one_of(-1, 0, 3), mode=mode,
        keep=one_of(0.0001, 0.6, 0.9999) if share else 0.0,
        similarity=1.0 if share else one_of(0.5, 0.97, 1.0),
        prefer=one_of("p_keep", "hard", "easy", "random"),
        borders=mode == "any_earlier" and one_of(True, False), first=one_of(True, False),
        cluster=clustering(),
    )  # fmt: skip
    concepts = Concepts(
        keep=one_of(0.0001, 0.5, 0.9999, 1.0), cluster=clustering(), minimum=one_of(0, 1, 3),
        by=one_of("density", "uniform", "size", "ssp", "balanced"), balance=one_of(0.0, 0.5, 1.0),
        which=one_of("hard", "easy", "random"), neighbours=one_of(1, 20),
    )  # fmt: skip
    budget = one_of(0.0, 1.0, 0.5, 1000.0)
    ensemble = Ensemble(
        budget=budget, rank_by=one_of("", "x") if budget else "", keep_above=one_of(0.0, 0.4)
    )
    balance = Balance(
        metadata=one_of("", "entries.txt"), threshold=one_of(1, 5), tail=one_of(0.0, 0.6)
    )
    return Curation(
        seed=int(rng.integers(100)), data=Data(shards=("pool",)), extract=(CaptionStatistics(),),
        rules=RULES, dedup=dedup, concepts=concepts, ensemble=ensemble, balance=balance,
    )  # fmt: skip


@pytest.mark.parametrize("seed", range(SEEDS))
def test_deciding_in_shards_is_deciding_at_once(seed, tmp_path):
    rng = np.random.default_rng(seed)
    pool, cfg = pool_of(rng), settings_of(rng)
    (tmp_path / "entries.txt").write_text("\n".join(ENTRIES))
    remaining, place = written(
        tmp_path, pool, shards=int(rng.integers(1, 5)), order=rng.permutation(ROWS)
    )
    decisions = decide(
        remaining.scores, RULES, cfg, place=place, weights=lambda name: tmp_path / name
    )
    assert decisions.rows == ROWS
    assert decisions.reasons == count(decisions)
    by_hand = decided_by_hand(pool, cfg, ENTRIES if cfg.balance.metadata else [])
    assert decided_of(decisions) == by_hand


class Killed(Local):
    """Ends in the middle of what is done for the so manieth time."""

    def __init__(self, after):
        self.after = after

    def map(self, function, shared, items, *, weights):
        for found in super().map(function, shared, items, weights=weights):
            self.after -= 1
            if not self.after:
                raise InterruptedError("killed")
            yield found


def test_a_run_that_goes_on_decides_the_same_and_leaves_nothing(tmp_path):
    pool, cfg = pool_of(np.random.default_rng(3)), settings_of(np.random.default_rng(4))
    remaining, place = written(tmp_path, pool, shards=2)
    (tmp_path / "entries.txt").write_text("\n".join(ENTRIES))

    def attempt(execute):
        at = replace(place, execute=execute)
        return decide(remaining.scores, RULES, cfg, place=at, weights=lambda name: tmp_path / name)

    ended = 0
    for after in range(2, 40, 6):
        with suppress(InterruptedError):
            attempt(Killed(after))
            continue
        ended += 1
        assert not list(tmp_path.glob("scratch/*"))
    assert ended > 3
    assert decided_of(attempt(run_local)) == decided_by_hand(pool, cfg, ENTRIES)


def decided_of(decisions):
    """Return uid -> (reason, concept, twin) of the good rows, each uid once."""
    found = {}
    for table in decisions.tables(["uid", "reason", "concept", "twin"]):
        for row in table.to_pylist():
            if row["reason"] not in ("decode_error", "repeated_uid"):
                concept = -1 if row["concept"] is None else row["concept"]
                found[row["uid"]] = row["reason"], concept, row["twin"]
    return found


def count(decisions):
    tables = pa.concat_tables(decisions.tables(["reason"]))
    counted = tables.column("reason").value_counts().to_pylist()
    return dict(sorted((item["values"], item["counts"]) for item in counted))
