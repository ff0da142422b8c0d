"""Half of the choice is blind to everything but the uid, the other half is where rules waver."""

import hashlib

import numpy as np
import pytest

from pipeline.labelling.answers import RANDOM, UNCERTAIN
from pipeline.labelling.choice import choose, cut_of
from tests.pipeline.labelling.conftest import NO_PICTURE, NO_VOTES, ROWS, RULES, TWICE


def uids(choices, chosen):
    return [c.uid for c in choices if c.chosen == chosen]


def shuffled(table):
    return table.take(np.random.default_rng(3).permutation(len(table)))


def test_the_random_half_is_the_first_by_keyed_hash(decisions):
    table, _ = decisions
    choices = choose(table, RULES, count=20, seed=7)
    rows = [i for i in range(ROWS) if i not in (NO_VOTES, TWICE, NO_PICTURE)]
    known = [table.column("uid")[i].as_py() for i in rows]
    key = (7).to_bytes(8, "big")
    by_hash = sorted(known, key=lambda u: hashlib.blake2b(u, key=key, digest_size=8).digest())
    assert uids(choices, RANDOM) == by_hash[:10]
    assert [c.chosen for c in choices] == [RANDOM, UNCERTAIN] * 10
    assert len({c.uid for c in choices}) == 20


def test_nothing_depends_on_the_order_of_rows(decisions):
    table, _ = decisions
    chosen = [(c.uid, c.chosen) for c in choose(table, RULES, count=30, seed=0)]
    assert [(c.uid, c.chosen) for c in choose(shuffled(table), RULES, count=30, seed=0)] == chosen
    assert [(c.uid, c.chosen) for c in choose(table, RULES, count=30, seed=1)] != chosen


def test_a_larger_count_adds_to_the_random_half(decisions):
    table, _ = decisions
    few = uids(choose(table, RULES, count=10, seed=0), RANDOM)
    assert uids(choose(table, RULES, count=40, seed=0), RANDOM)[:5] == few


def test_the_uncertain_half_is_nearest_to_the_cut_or_most_torn_a_pattern_at_a_time(decisions):
    table, _ = decisions
    choices = choose(table, RULES, count=20, seed=0)
    taken = set(uids(choices, RANDOM))
    by_uid = {
        row["uid"]: row for i, row in enumerate(table.to_pylist())
        if i not in (NO_VOTES, TWICE, NO_PICTURE)
    }  # fmt: skip
    cut = cut_of(table)
    assert cut == min(row["p_keep"] for row in table.to_pylist() if row["reason"] == "ok")

    def votes(uid):
        return tuple(by_uid[uid][f"vote:{rule}"] for rule in RULES)

    def distance(uid):
        return abs(by_uid[uid]["p_keep"] - cut)

    def torn(uid):
        return min(votes(uid).count(0), votes(uid).count(1)), -distance(uid)

    rest, chosen = by_uid.keys() - taken, uids(choices, UNCERTAIN)
    assert len({votes(uid) for uid in chosen}) == len(chosen)
    assert distance(chosen[0]) == min(map(distance, rest))
    left = [uid for uid in rest if votes(uid) != votes(chosen[0])]
    assert torn(chosen[1]) == max(map(torn, left))


@pytest.mark.parametrize("count", [1, 56, 57, 500])
def test_a_small_pool_is_shown_whole_and_once(decisions, count):
    table, _ = decisions
    choices = choose(table, RULES, count=count, seed=0)
    assert len(choices) == len({c.uid for c in choices}) == min(count, ROWS - 3)
    assert not {c.row for c in choices} & {NO_VOTES, TWICE, NO_PICTURE}
