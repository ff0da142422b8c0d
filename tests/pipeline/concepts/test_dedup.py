"""Near-copies by embedding: against a comparison of all pairs, however the pool is cut."""

from dataclasses import replace

import numpy as np
import pytest

from filters.concepts.clustering import Flat
from pipeline.concepts import comparison, gathered
from pipeline.concepts.dedup import drop_alike
from pipeline.schema import Reason
from pipeline.settings import Dedup
from tests.pipeline.concepts.pools import BEFORE, pool_of, tables, told, written

ROWS, DIM = 400, 16
CFG = Dedup(similarity=0.95, cluster=Flat(clusters=12, sample=ROWS))
FOUND = ("similarity", "alike", "reason_dedup")


def unit(vectors):
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


@pytest.fixture(scope="module")
def pool():
    """Wide concepts that touch, with copies planted, and some rows without a direction."""
    rng = np.random.default_rng(0)
    vectors = unit(rng.normal(size=(ROWS, DIM)) + 0.5 * np.eye(8, DIM)[rng.integers(0, 8, ROWS)])
    copies = rng.choice(ROWS, 170, replace=False)
    of = rng.integers(0, ROWS, 170)
    vectors[copies] = unit(vectors[of] + rng.normal(size=(170, DIM)) * 0.06)
    vectors = vectors.astype(np.float16)
    vectors[5] = 0
    vectors[6] = np.nan
    vectors[20:30] = vectors[20]  # the same, to the bit
    return pool_of({
        "image_embedding": vectors, "p_keep": rng.integers(0, 50, ROWS) / 50,
        BEFORE: np.where(rng.random(ROWS) < 0.05, "veto", "ok"),
    })  # fmt: skip


def found_of(after):
    return told(after, *FOUND)


CLUSTERS = ("dedup_cluster", "dedup_second", "dedup_distance")


def by_hand(pool, clusters, cfg, seed=0):
    """Return uid -> (similarity, uid of the most similar earlier one), of all that have clusters.

    Args:
        clusters: uid -> (cluster, second, distance), as the stage assigned them.
    """
    row_of = {uid: row for row, uid in enumerate(pool.uids)}
    rows = [row_of[uid] for uid, (cluster, _, _) in clusters.items() if cluster is not None]
    distance = {row_of[uid]: d for uid, (_, _, d) in clusters.items()}
    key = {
        "p_keep": lambda r: -pool.values["p_keep"][r],
        "hard": lambda r: -distance[r],
        "easy": lambda r: distance[r],
    }[cfg.prefer]
    rows.sort(key=lambda r: (key(r), pool.uids[r]))
    own, second = (np.array([clusters[pool.uids[r]][i] for r in rows]) for i in (0, 1))
    vectors = pool.values["image_embedding"][rows].astype(np.float32)
    cosine = vectors @ vectors.T
    meets = own[:, None] == own
    if cfg.borders:
        meets |= (second[:, None] == own) | (own[:, None] == second)
    cosine = np.where(meets & np.tri(len(rows), k=-1, dtype=bool), np.maximum(cosine, 0), 0)
    return {
        pool.uids[row]: (top := cosine[i].max(),
                         pool.uids[rows[cosine[i].argmax()]] if top > 0 else None)
        for i, row in enumerate(rows)
    }  # fmt: skip


@pytest.mark.parametrize(
    ("borders", "prefer"), [(True, "p_keep"), (False, "p_keep"), (True, "hard"), (False, "easy")]
)
def test_similarities_are_those_of_all_pairs_that_meet(pool, tmp_path, borders, prefer):
    cfg = replace(CFG, similarity=1.0, keep=0.7, borders=borders, prefer=prefer)
    remaining, place = written(tmp_path, pool)
    after = drop_alike(remaining, cfg, seed=0, place=place)
    truth = by_hand(pool, told(after, *CLUSTERS), cfg)
    found = found_of(after)
    for uid, (similarity, alike, _) in found.items():
        if uid in truth:
            assert similarity == pytest.approx(truth[uid][0], abs=1e-5)
            assert (alike is None) == (truth[uid][1] is None)
            if similarity > 0.9999:  # the same to the bit: the first of them is named
                assert alike == truth[uid][1]
        else:
            assert similarity is None
            assert alike is None
    assert len(truth) == sum(s is not None for s, _, _ in found.values()) > 300


def test_what_is_alike_goes_and_borders_hide_nothing(pool, tmp_path):
    remaining, place = written(tmp_path, pool)
    gone = {}
    for borders in (True, False):
        cfg = replace(CFG, borders=borders)
        after = drop_alike(remaining, cfg, seed=0, place=place)
        truth = by_hand(pool, told(after, *CLUSTERS), cfg)
        found = found_of(after)
        gone[borders] = {uid for uid, (_, _, r) in found.items() if r == Reason.DUPLICATE}
        assert gone[borders] == {uid for uid, (s, _) in truth.items() if s > 0.95}
        before = told(remaining, BEFORE)
        twins = told(after, "alike", "twin_of")
        assert all(
            twin == (alike if uid in gone[borders] else None)
            for uid, (alike, twin) in twins.items()
        )
        stay = set(found) - gone[borders]
        assert all(found[uid][2] == before[uid][0] for uid in stay)
    assert gone[False] < gone[True]


@pytest.mark.parametrize(
    ("mode", "cuts"), [("any_earlier", (1, 2, 7)), ("greedy_kept", (1, 7)), ("components", (1, 7))]
)
def test_any_cut_of_the_pool_gives_the_same(pool, tmp_path, mode, cuts, monkeypatch):
    monkeypatch.setattr(comparison, "SMALL_BYTES", 1)  # several partitions
    cfg, found = replace(CFG, mode=mode, borders=mode == "any_earlier"), []
    for shards in cuts:
        order = np.random.default_rng(shards).permutation(ROWS)
        remaining, place = written(tmp_path / str(shards), pool, shards=shards, order=order)
        found.append(found_of(drop_alike(remaining, cfg, seed=0, place=place)))
    assert all(other == found[0] for other in found)  # floats, too


def test_modes_keep_more_and_more(pool, tmp_path):
    remaining, place = written(tmp_path, pool)
    kept = []
    for mode in ("components", "any_earlier", "greedy_kept"):
        cfg = replace(CFG, mode=mode, borders=False, similarity=0.7)
        found = found_of(drop_alike(remaining, cfg, seed=0, place=place))
        kept.append({uid for uid, (_, _, reason) in found.items() if reason == "ok"})
        for _, alike, reason in found.values():
            if mode != "any_earlier" and alike:
                assert reason == "duplicate"
                assert alike in kept[-1]
    assert kept[0] < kept[1] < kept[2]


@pytest.mark.parametrize("keep", [0.3, 0.8])
def test_a_share_that_stays_finds_its_similarity(pool, tmp_path, keep, caplog):
    remaining, place = written(tmp_path, pool)
    cfg = replace(CFG, similarity=1.0, keep=keep)
    with caplog.at_level("INFO"):
        found = found_of(drop_alike(remaining, cfg, seed=0, place=place))
    compared = [(s, reason) for s, _, reason in found.values() if s is not None]
    stay = [s for s, reason in compared if reason == "ok"]
    assert len(stay) >= keep * len(compared)
    assert sum(s < max(stay) for s in stay) < keep * len(compared)  # one value less is too few
    assert max(stay) < min(s for s, reason in compared if reason != "ok")
    assert f"{max(stay):.6f}" in caplog.text


def test_another_similarity_compares_nothing_again(pool, tmp_path):
    remaining, place = written(tmp_path, pool)
    drop_alike(remaining, CFG, seed=0, place=place)
    before = tables(tmp_path, "alike")
    assert len(before) == 3
    for cfg in (replace(CFG, similarity=0.97), replace(CFG, similarity=0.99)):
        after = drop_alike(remaining, cfg, seed=0, place=place)
        truth = by_hand(pool, told(after, *CLUSTERS), cfg)
        gone = {uid for uid, (_, _, r) in found_of(after).items() if r == "duplicate"}
        assert gone == {uid for uid, (s, _) in truth.items() if s > cfg.similarity}
    assert len(list(tmp_path.glob("scores/alike-*"))) == 1


def test_a_cluster_that_does_not_fit_loses_nothing(pool, tmp_path, monkeypatch):
    cfg, found = replace(CFG, cluster=Flat(clusters=2, sample=ROWS)), []
    for most in (gathered.MEMORY_BYTES, 0):
        monkeypatch.setattr(gathered, "MEMORY_BYTES", most)
        remaining, place = written(tmp_path / str(most), pool)
        found.append(found_of(drop_alike(remaining, cfg, seed=0, place=place)))
    assert found[0] == found[1]
    assert any(reason == "duplicate" for _, _, reason in found[0].values())


def test_visits_that_cannot_matter_are_left_out_and_nothing_else(pool, tmp_path):
    remaining, place = written(tmp_path, pool)
    every = found_of(drop_alike(remaining, replace(CFG, similarity=1.0, keep=0.5), seed=0,
                                place=place))  # fmt: skip
    some = found_of(drop_alike(remaining, CFG, seed=0, place=place))
    both = [(every[uid][:2], some[uid][:2]) for uid in every if every[uid][0] is not None]
    assert all(one == other for one, other in both if one[0] > CFG.similarity)
    assert all(one[0] >= other[0] for one, other in both)
    assert any(one != other for one, other in both)


def test_embeddings_that_tell_nothing_are_all_left(tmp_path):
    pool = pool_of({"image_embedding": np.zeros((20, 4), np.float16), "p_keep": np.zeros(20)})
    for cfg in (CFG, replace(CFG, similarity=1.0, keep=0.5)):
        remaining, place = written(tmp_path, pool)
        after = drop_alike(remaining, cfg, seed=0, place=place)
        assert set(found_of(after).values()) == {(None, None, "ok")}


def test_what_is_done_is_not_done_again(pool, tmp_path):
    remaining, place = written(tmp_path, pool)
    once = drop_alike(remaining, CFG, seed=0, place=place)
    for path in tmp_path.glob("scores/*/*.parquet"):
        path.unlink()  # nothing is opened
    assert drop_alike(remaining, CFG, seed=0, place=place).scores.dump() == once.scores.dump()
    assert not list(tmp_path.glob("scratch/*"))


def test_switched_off_it_does_nothing(pool, tmp_path):
    remaining, place = written(tmp_path, pool)
    assert drop_alike(remaining, replace(CFG, similarity=1.0), seed=0, place=place) is remaining
