"""Copies by hash: against a comparison of every pair with every other one, however it is cut."""

from dataclasses import replace

import numpy as np
import pytest

from pipeline.concepts import near_hashes
from pipeline.concepts.copies import drop_copies
from pipeline.schema import Reason
from pipeline.settings import Dedup
from tests.pipeline.concepts.pools import BEFORE, pool_of, tables, told, written

ROWS = 400
CFG = Dedup(content=True, copy_bits=4)
FOUND = ("copy_of", "reason_copies")


@pytest.fixture(scope="module")
def pool():
    """Hashes in families a few bits apart, equal ones among them, and as many of their own."""
    rng = np.random.default_rng(0)
    hashes = rng.integers(0, 2**64, ROWS, np.uint64)
    for i in range(ROWS // 2, ROWS):
        hashes[i] = hashes[rng.integers(0, i // 2)]
        for bit in rng.choice(64, i % 7, replace=False):
            hashes[i] ^= np.uint64(1) << np.uint64(bit)
    hashes[:30] = hashes[0]  # a skewed hash
    content = rng.integers(0, ROWS // 2, ROWS).astype(np.uint64)
    p_keep = rng.integers(0, 8, ROWS) / 8  # with ties
    return pool_of({"phash": hashes, "content": content, "p_keep": p_keep})


def by_hand(pool, cfg):
    """Compare everything with everything; uid -> uid of the closest earlier copy, or None."""
    rows = [int(r) for r in np.flatnonzero(pool.is_ok)]
    rows.sort(key=lambda r: (-pool.values["p_keep"][r], pool.uids[r]))
    hashes, content = pool.values["phash"][rows], pool.values["content"][rows]
    found = {}
    for i, row in enumerate(rows):
        bits = np.bitwise_count(hashes[:i] ^ hashes[i]).astype(int)
        bits[bits > cfg.copy_bits] = 99
        if cfg.content:
            bits[content[:i] == content[i]] = 0
        closest = int(bits.argmin()) if i else 0
        is_copy = i > 0 and bits[closest] < 99
        found[pool.uids[row]] = pool.uids[rows[closest]] if is_copy else None
    return found


@pytest.mark.parametrize(
    "cfg",
    [CFG, replace(CFG, content=False), replace(CFG, copy_bits=0), replace(CFG, copy_bits=-1),
     replace(CFG, copy_bits=7, prefer="hard")],
)  # fmt: skip
def test_all_copies_are_found_and_the_closest_is_named(pool, tmp_path, cfg):
    remaining, place = written(tmp_path, pool)
    after = drop_copies(remaining, cfg, seed=0, place=place)
    truth = by_hand(pool, cfg)
    assert 20 < sum(twin is not None for twin in truth.values()) < len(truth) - 20
    found = told(after, *FOUND)
    assert {uid: twin for uid, (twin, _) in found.items()} == truth
    for twin, reason in found.values():
        assert reason == (Reason.OK if twin is None else Reason.DUPLICATE)
    assert after.count(place.execute) == sum(twin is None for twin in truth.values())


def test_more_bands_may_agree(pool, tmp_path, monkeypatch):
    monkeypatch.setattr(near_hashes, "SENDING", 0)
    assert near_hashes.agreeing(ROWS, CFG.copy_bits) > 1
    remaining, place = written(tmp_path, pool)
    found = told(drop_copies(remaining, CFG, seed=0, place=place), "copy_of")
    assert {uid: twin for uid, (twin,) in found.items()} == by_hand(pool, CFG)


@pytest.mark.parametrize(("prefer", "cuts"), [("p_keep", (1, 2, 7)), ("random", (1, 7))])
def test_any_cut_of_the_pool_gives_the_same(pool, tmp_path, prefer, cuts):
    cfg, found = replace(CFG, prefer=prefer), []
    for shards in cuts:
        order = np.random.default_rng(shards).permutation(ROWS)
        remaining, place = written(tmp_path / str(shards), pool, shards=shards, order=order)
        found.append(told(drop_copies(remaining, cfg, seed=5, place=place), *FOUND))
    assert all(other == found[0] for other in found)


def test_a_random_order_is_the_seeds(pool, tmp_path):
    remaining, place = written(tmp_path, pool)
    cfg = replace(CFG, prefer="random")
    one, other = (told(drop_copies(remaining, cfg, seed=s, place=place), *FOUND) for s in (1, 2))
    assert one != other
    assert 0 < sum(reason == "ok" for _, reason in one.values()) < len(one)


def test_who_is_out_already_keeps_its_reason_and_takes_nobody_along(pool, tmp_path):
    reasons = np.where(np.arange(ROWS) % 3 == 0, "veto", "ok")
    before = replace(pool, values=pool.values | {BEFORE: reasons})
    remaining, place = written(tmp_path, before)
    found = told(drop_copies(remaining, CFG, seed=0, place=place), *FOUND, BEFORE)
    truth = by_hand(replace(pool, is_ok=pool.is_ok & (reasons == "ok")), CFG)
    for uid, (twin, reason, earlier) in found.items():
        assert twin == truth.get(uid)
        assert reason == (earlier if twin is None else "duplicate")
    assert sum(twin is not None for twin in truth.values()) > 0


def test_what_is_done_is_not_done_again(pool, tmp_path):
    remaining, place = written(tmp_path, pool)
    once = drop_copies(remaining, CFG, seed=0, place=place)
    before = tables(tmp_path, "copies")
    for path in tmp_path.glob("scores/score-0/*"):
        path.unlink()  # nothing is opened
    assert drop_copies(remaining, CFG, seed=0, place=place).scores.dump() == once.scores.dump()
    assert tables(tmp_path, "copies") == before
    assert not list(tmp_path.glob("scratch/*"))


def test_switched_off_it_does_nothing(pool, tmp_path):
    remaining, place = written(tmp_path, pool)
    off = replace(CFG, content=False, copy_bits=-1)
    assert drop_copies(remaining, off, seed=0, place=place) is remaining
