"""The files of a subset against plain NumPy and Parquet, however the pool and its rows lie."""

import hashlib
import io
from collections import Counter
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import pipeline.columns.shuffle
import pipeline.deciding.subset
from filters.rules import Band, Condition
from pipeline.columns.stages import Place, column_stage
from pipeline.deciding.decisions import Decisions, count_reasons, decisions_of, undecided
from pipeline.deciding.subset import write_subset
from pipeline.executors import run_local
from pipeline.folder import Folder
from pipeline.index.build import index_of_scores
from pipeline.index.parts import uids_from_bytes
from pipeline.tables import encode, parquet_writer
from pipeline.votes import cast_votes
from tests.decided import DECIDED
from tests.scored import planted, scored

ROWS = 400
FILES = ("subset.npy", "subset.parquet", "dropped.parquet")
RULES = (
    Band(name="x", column="x", keep=1.0, drop=0.0),
    Condition(name="short", columns=("words",), drop="words < 2"),
)


@pytest.fixture(scope="module")
def pool():
    """Return a pool in which some uids come several times: kept, dropped and broken."""
    pool = planted(ROWS, seed=3)
    for first in (0, 50, 100):
        for copy in (1, 2, 7):  # the last is broken
            pool.uids[first + copy] = pool.uids[first]
    return pool


@pytest.fixture(scope="module")
def truth(pool):
    """Return what is decided on every row, as one table in order of rows."""
    rng = np.random.default_rng(0)
    reason = rng.choice(["ok", "low_p_keep", "quota", "veto"], ROWS, p=[0.4, 0.3, 0.2, 0.1]).astype(
        object
    )
    for first in (0, 50, 100):
        reason[first + 1 : first + 3] = "repeated_uid"
    reason[0], reason[50] = "ok", "veto"
    reason[~pool.is_ok] = "decode_error"
    twin = [pool.uids[i - 1] if r == "quota" else None for i, r in enumerate(reason)]
    bad, concept_N = ~pool.is_ok, rng.integers(0, 9, ROWS).astype(np.int32)
    return pa.table({
        "uid": pa.array(pool.uids, pa.binary(16)),
        "reason": reason.tolist(),
        "p_keep": pa.array(rng.random(ROWS), mask=bad),
        "concept": pa.array(concept_N, mask=bad | (reason == "veto")),
        "distance": pa.array(rng.random(ROWS).astype(np.float32), mask=bad),
        "twin": pa.array(twin, pa.binary(16)),
    })  # fmt: skip


def _look_up(truth, scores, shard):
    """Make the columns that decide: a row's key is its number."""
    row_n = [int(key) for key in scores.good(shard, ["key"]).column("key").to_pylist()]
    return {c.name: truth.column(c.name).take(row_n).combine_chunks() for c in DECIDED}


def decided(pool, truth, home, *, shards, order=None):
    """Return the decisions of a pool in so many shards, and where they were made."""
    scores, found = scored(home, pool, shards=shards, order=order)
    store = Folder(str(home))
    votes = cast_votes(scores, RULES, shards=found, store=store, execute=run_local)
    place = Place(found, store, run_local)
    stage = column_stage(
        votes.scores, "decide", DECIDED, place=place, reads=votes.scores.columns, version=1
    )
    scores = stage.fill(_look_up, truth)
    concepts = pa.table({"concept": pa.array([0, 1], pa.int32()), "size": [3, 4]})
    return Decisions(scores, votes.rules, count_reasons(scores, place), concepts), place, votes


@pytest.fixture(scope="module")
def two(pool, truth, tmp_path_factory):
    return decided(pool, truth, tmp_path_factory.mktemp("two"), shards=2)


def expected(truth, *, row_group):
    """Write the three files with NumPy and pyarrow alone."""
    rows = sorted(truth.to_pylist(), key=lambda row: (row["uid"], row["reason"]))
    kept = [row for row in rows if row["reason"] == "ok"]
    dropped = [row for row in rows if row["reason"] != "ok"]
    words = [
        (int.from_bytes(r["uid"][:8], "big"), int.from_bytes(r["uid"][8:], "big")) for r in kept
    ]
    npy = io.BytesIO()
    np.save(npy, np.array(words, np.dtype("u8,u8")))
    uid = pa.field("uid", pa.binary(16))
    chosen = pa.schema([uid, ("p_keep", pa.float64()), ("concept", pa.int32())])
    chosen = chosen.append(pa.field("copies", pa.int32()))
    kept = pa.Table.from_pylist([row | {"copies": 1} for row in kept], schema=chosen)
    dropped = pa.Table.from_pylist(dropped, schema=pa.schema([uid, ("reason", pa.string())]))
    files = [npy.getvalue()]
    for table in (kept, dropped):
        sink = io.BytesIO()
        with parquet_writer(sink, table.schema) as writer:
            writer.write_table(table, row_group_size=row_group)
        files.append(sink.getvalue())
    return files


def written(folder):
    return [(folder / name).read_bytes() for name in FILES]


@pytest.mark.parametrize("shards", [1, 2, 7])
@pytest.mark.parametrize("partition_bytes", [1 << 27, 3_000])
def test_bytes_are_those_by_hand_however_the_pool_lies(
    pool, truth, tmp_path, monkeypatch, shards, partition_bytes
):
    monkeypatch.setattr(pipeline.columns.shuffle, "PARTITION_BYTES", partition_bytes)
    order = np.random.default_rng(shards).permutation(ROWS)
    decisions, place, _ = decided(pool, truth, tmp_path, shards=shards, order=order)
    out = tmp_path / "out"
    digest = write_subset(Folder(str(out)), decisions, place)
    assert written(out) == expected(truth, row_group=1 << 20)
    assert digest == hashlib.sha256((out / "subset.npy").read_bytes()).hexdigest()
    assert len(np.load(out / "subset.npy")) == decisions.reasons["ok"]
    assert (out / "concepts.parquet").read_bytes() == encode(decisions.concepts)
    assert not (tmp_path / "scratch").exists() or not any((tmp_path / "scratch").iterdir())


@pytest.mark.parametrize("partition_bytes", [1 << 27, 3_000])
def test_row_groups_are_full_whatever_the_partitions(
    truth, two, tmp_path, monkeypatch, partition_bytes
):
    decisions, place, _ = two
    monkeypatch.setattr(pipeline.columns.shuffle, "PARTITION_BYTES", partition_bytes)
    monkeypatch.setattr(pipeline.deciding.subset, "ROW_GROUP", 50)
    (tmp_path / "concepts.parquet").write_bytes(b"of an earlier run")
    write_subset(Folder(str(tmp_path)), replace(decisions, concepts=None), place)
    assert written(tmp_path) == expected(truth, row_group=50)
    assert not (tmp_path / "concepts.parquet").exists()
    assert pq.read_metadata(tmp_path / "dropped.parquet").row_group(0).num_rows == 50


def test_uids_in_order_and_padded_fill_partitions_alike(pool, truth, tmp_path, monkeypatch):
    counted = replace(pool, uids=[i.to_bytes(16, "big") for i in range(ROWS)])
    decisions, place, _ = decided(counted, truth, tmp_path, shards=3)
    monkeypatch.setattr(pipeline.columns.shuffle, "PARTITION_BYTES", ROWS * 32 // 5)
    monkeypatch.setattr(pipeline.deciding.subset, "SAMPLED", 40)  # of 80 rows
    seen = []

    def shuffle(*args, **kwargs):
        seen.append(pipeline.columns.shuffle.shuffle(*args, **kwargs))
        return seen[-1]

    monkeypatch.setattr(pipeline.deciding.subset, "shuffle", shuffle)
    write_subset(Folder(str(tmp_path / "out")), decisions, place)
    (runs,) = seen
    assert runs.rows_P.sum() == ROWS
    assert len(runs.rows_P) == 5
    assert runs.rows_P.min() > 40
    assert runs.rows_P.max() < 120


@pytest.mark.parametrize("reason", ["ok", "veto"])
def test_all_kept_and_none_kept(pool, truth, tmp_path, reason):
    everywhere = replace(pool, is_ok=np.ones(ROWS, bool), uids=planted(ROWS).uids)
    column = pa.array([reason] * ROWS)
    same = truth.set_column(1, "reason", column).set_column(2, "p_keep", pa.array(np.ones(ROWS)))
    decisions, place, _ = decided(everywhere, same, tmp_path, shards=2)
    out = tmp_path / "out"
    if reason == "veto":
        with pytest.raises(ValueError, match=r"got 0 of 400 pairs.*out for 'veto' \(400\)"):
            write_subset(Folder(str(out)), decisions, place)
        assert not out.exists()
        return
    write_subset(Folder(str(out)), decisions, place)
    same = same.set_column(0, "uid", pa.array(everywhere.uids, pa.binary(16)))
    assert written(out) == expected(same, row_group=1 << 20)
    assert len(pq.read_table(out / "dropped.parquet")) == 0


def test_an_empty_pool_is_refused(two, tmp_path):
    decisions, place, _ = two
    empty = replace(decisions, reasons={})
    with pytest.raises(ValueError, match=r"got 0 of 0 pairs.*'empty pool'"):
        write_subset(Folder(str(tmp_path)), empty, place)


def test_a_store_elsewhere_gives_the_same_bytes(truth, two, remote):
    decisions, place, _ = two
    write_subset(remote, decisions, replace(place, store=remote / "store"))
    assert [remote.read(name) for name in FILES] == expected(truth, row_group=1 << 20)
    assert sorted(remote.files()) == sorted([*FILES, "concepts.parquet"])


def test_of_every_row_it_is_told_what_was_decided(pool, truth, two):
    decisions, _, votes = two
    columns = ["shard", "key", *truth.column_names]
    parts = list(decisions.tables(columns, votes=True))
    found = pa.concat_tables(parts)
    assert found.column_names == [*columns, "vote:x", "vote:short"]
    assert found.column("shard").to_pylist() == [0] * 200 + [1] * 200
    assert found.select(truth.column_names).to_pydict() == truth.to_pydict()
    votes_NM = np.concatenate([votes.of(0), votes.of(1)])
    for m, rule in enumerate(("vote:x", "vote:short")):
        assert found.column(rule).is_null().to_pylist() == (~pool.is_ok).tolist()
        assert found.column(rule).drop_null().to_pylist() == votes_NM[:, m].tolist()
    assert decisions.reasons == Counter(truth.column("reason").to_pylist())
    assert decisions.rows == ROWS
    assert undecided(decisions.scores).columns == ("image_embedding", "phash", "x", "y", "words")
    with pytest.raises(ValueError, match=r"got 'nope', expected one of image_embedding, .*twin"):
        decisions_of(decisions.scores, (), 0, ["nope"])


def test_training_is_shown_what_was_kept_or_every_readable_uid_once(truth, two, out):
    decisions, place, _ = two
    write_subset(out, decisions, place)
    rows = [
        r for r in truth.to_pylist() if r["p_keep"] is not None and r["reason"] != "repeated_uid"
    ]
    kept = [row for row in rows if row["reason"] == "ok"]
    for expected_rows, subsets in ((rows, []), (kept, [out.path("subset.npy")])):
        pairs = index_of_scores(decisions.scores, subsets, home=out, execute=run_local)
        uids = uids_from_bytes(b"".join(sorted(row["uid"] for row in expected_rows)))
        assert pairs.uid_N[:].tolist() == uids.tolist()
        assert len(pairs) == len(expected_rows)
        assert list(pairs.shards) == list(decisions.scores.shards)
