"""An index against one plain pass over the pool, however the pool, the tasks and the files lie."""

import hashlib
import json
import pickle
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

import pipeline.columns.shuffle
import pipeline.index.build
from filters.extract import Column
from pipeline.executors import run_local
from pipeline.folder import Folder
from pipeline.index.build import index_of_scores, index_of_shards
from pipeline.index.draw import random_subset
from pipeline.index.opened import open_index
from pipeline.index.parts import uids_from_bytes
from pipeline.index.pool import Wanted
from pipeline.pairs import Pairs, pairs_from_shards
from pipeline.shards import list_shards, write_shard
from tests.scored import COLUMNS, planted, scored
from tests.toy import build_pool, pair

ROWS = 300
ALT = Column("alt", "string", "", "", "")
WANTED = Wanted(captions=("alt", "caption"), weights=("y",))


class Scrambled:
    """An executor that gives back the results of tasks in another order."""

    def map(self, function, shared, items, *, weights):
        pickled = pickle.dumps((function, shared))  # as if it were sent to another process
        done = [pickle.loads(pickled)[0](pickle.loads(pickled)[1], weights, i) for i in items]
        return iter(done[::-1])


@pytest.fixture(scope="module")
def pool():
    """Return a pool with texts, of which every third row lacks one, and some uids twice."""
    pool = planted(ROWS, seed=5)
    pool.uids[31], pool.uids[64] = pool.uids[30], pool.uids[60]
    alt = np.array([None if i % 3 == 0 else f"alt {i}" for i in range(ROWS)], object)
    return replace(pool, values=pool.values | {"alt": alt, "y": np.abs(pool.values["y"])})


def by_hand(pool, copies):
    """Return the rows of the index: of each uid the first good row, sorted."""
    first = {}
    for i in np.flatnonzero(pool.is_ok):
        first.setdefault(pool.uids[i], i)
    return [(uid, first[uid], copies[uid]) for uid in sorted(first) if copies.get(uid)]


def subset_file(path, copies):
    uids = sorted(uid for uid, count in copies.items() for _ in range(count))
    np.save(path, uids_from_bytes(b"".join(uids)))
    return str(path)


def copies_of(pool, seed, share=0.5):
    rng, good = np.random.default_rng(seed), np.flatnonzero(pool.is_ok)
    chosen = rng.choice(good, int(share * len(good)), replace=False)
    return {pool.uids[i]: int(rng.integers(1, 4)) for i in chosen}


def files_of(home):
    return {p.name: p.read_bytes() for p in sorted((home / "index").rglob("*")) if p.is_file()}


def columns_of(pool, home, *, shards):
    return scored(home, pool, shards=shards, columns=(*COLUMNS, ALT))[0]


@pytest.mark.parametrize("partition_bytes", [1 << 27, 4_000])
def test_an_index_is_what_a_plain_pass_finds(pool, tmp_path, monkeypatch, partition_bytes):
    monkeypatch.setattr(pipeline.columns.shuffle, "PARTITION_BYTES", partition_bytes)
    scores = columns_of(pool, tmp_path / "scores", shards=4)
    both = [copies_of(pool, 0), copies_of(pool, 1, 0.2)]
    urls = [subset_file(tmp_path / f"{i}.npy", copies) for i, copies in enumerate(both)]
    for uids in (urls, urls[:1], []):
        pairs = index_of_scores(
            scores, uids, wanted=WANTED, home=Folder(str(tmp_path)), execute=Scrambled()
        )
        held = both[: len(uids)] or [dict.fromkeys(pool.uids, 1)]
        union = {u: 1 for c in held for u in c}
        rows = by_hand(pool, union)
        at = [i for _, i, _ in rows]
        assert (pairs.parts.count > 4) == (partition_bytes == 4_000)
        assert pairs.uid_N.tolist() == uids_from_bytes(b"".join(r[0] for r in rows)).tolist()
        alt = ["a caption" if i % 3 == 0 else f"alt {i}" for i in at]
        assert list(pairs.captions) == pairs.captions[:] == alt
        assert set(pairs.all_captions["caption"]) == {"a caption"}
        assert pairs.weights["y"].tolist() == pool.values["y"][at].tolist()
        assert len(pairs.copies) == len(uids)
        for copies, found in zip(held, pairs.copies, strict=False):
            assert found.tolist() == [copies.get(r[0], 0) for r in rows]
        again = pickle.loads(pickle.dumps(pairs))
        assert len(pickle.dumps(again)) < 20_000
        some = np.random.default_rng(0).integers(0, len(pairs), 50)
        few = again.take(some)
        assert list(few.captions) == [pairs.captions[i] for i in some]
        assert few.uid_N.tolist() == pairs.uid_N[some].tolist()
        assert pairs.take(np.arange(len(pairs))).digest == pairs.digest != few.digest
        assert list(few.shard_N) == pairs.shard_N[some].tolist()
    with pytest.raises(IndexError, match="got a position"):
        pairs.take([len(pairs)])


def test_tasks_and_their_order_change_no_byte_and_partitions_no_value(pool, tmp_path, monkeypatch):
    url = subset_file(tmp_path / "subset.npy", copies_of(pool, 2))
    scores = columns_of(pool, tmp_path / "scores", shards=7)

    def built(home, execute):
        found = index_of_scores(
            scores, [url], wanted=WANTED, home=Folder(str(home)), execute=execute
        )
        return found, files_of(home)

    one, files = built(tmp_path / "a", run_local)
    assert files == built(tmp_path / "b", Scrambled())[1]
    monkeypatch.setattr(pipeline.columns.shuffle, "PARTITION_BYTES", 3_000)
    many, _ = built(tmp_path / "c", run_local)
    assert many.parts.count > one.parts.count == 1
    assert many.digest == one.digest
    assert many.take(range(len(many))).parts.table(0) == one.parts.table(0)
    other = columns_of(pool, tmp_path / "other", shards=2)
    moved = index_of_scores(other, [url], wanted=WANTED, home=Folder(str(tmp_path)),
                            execute=run_local)  # fmt: skip
    assert moved.digest == one.digest, "how the pool is cut into shards plays no part"
    changed = replace(pool, values=pool.values | {"y": pool.values["y"] + 1})
    weighed = columns_of(changed, tmp_path / "weighed", shards=2)
    found = index_of_scores(weighed, [url], wanted=WANTED, home=Folder(str(tmp_path)),
                            execute=run_local)  # fmt: skip
    assert found.digest != one.digest


def test_a_build_that_is_killed_leaves_no_index_and_is_done_again(pool, tmp_path, monkeypatch):
    url = subset_file(tmp_path / "subset.npy", copies_of(pool, 3))
    scores = columns_of(pool, tmp_path / "scores", shards=5)
    monkeypatch.setattr(pipeline.columns.shuffle, "PARTITION_BYTES", 3_000)

    class Killed(Scrambled):
        def map(self, function, shared, items, *, weights):
            done = super().map(function, shared, items, weights=weights)
            if function.__name__ == "_write_part":
                next(done)
                raise KeyboardInterrupt
            return done

    home = Folder(str(tmp_path / "home"))
    with pytest.raises(KeyboardInterrupt):
        index_of_scores(scores, [url], home=home, execute=Killed())
    (place,) = (tmp_path / "home" / "index").iterdir()
    with pytest.raises(ValueError, match=r"expected a folder with index\.json"):
        open_index(Folder(str(place)))
    found = index_of_scores(scores, [url], home=home, execute=run_local)
    whole = index_of_scores(scores, [url], home=Folder(str(tmp_path / "whole")), execute=run_local)
    assert files_of(tmp_path / "home") == files_of(tmp_path / "whole")
    assert not list((tmp_path / "home" / "scratch").iterdir())
    monkeypatch.setattr(pipeline.index.build, "shuffle", None)  # found again, not built again
    assert index_of_scores(scores, [url], home=home, execute=run_local).digest == found.digest
    assert whole.digest == found.digest


def test_requests_that_cannot_be_met_are_refused(pool, tmp_path):
    scores = columns_of(pool, tmp_path / "scores", shards=2)

    def build(uids=None, **wanted):
        urls = [] if uids is None else [subset_file(tmp_path / "s.npy", uids)]
        pipeline.index.subset._words.cache_clear()
        return index_of_scores(
            scores, urls, wanted=Wanted(**wanted), home=Folder(str(tmp_path)), execute=run_local
        )

    foreign = {bytes(15) + b"\x09": 2, bytes(15) + b"\x0a": 1, pool.uids[0]: 1}
    with pytest.raises(ValueError, match=r"got uid 0{31}9 and 1 more that no shard holds"):
        build(foreign)
    assert not list(tmp_path.rglob("index.json"))
    with pytest.raises(ValueError, match="without a uid, expected at least one"):
        build({})
    with pytest.raises(ValueError, match=r"column: got 'nope', expected one of uid, .*phash"):
        build(weights=("nope",))
    with pytest.raises(ValueError, match="got 'x', a column of float, expected one of texts"):
        build(captions=("x",))
    with pytest.raises(ValueError, match=r"weight: got \d+ of \d+ pairs whose 'x' is no number"):
        build(weights=("x",))
    np.save(tmp_path / "back.npy", uids_from_bytes(bytes(15) + b"\2" + bytes(15) + b"\1"))
    with pytest.raises(ValueError, match="uids that are not in order"):
        index_of_scores(scores, [str(tmp_path / "back.npy")], home=Folder(str(tmp_path)),
                        execute=run_local)  # fmt: skip
    with pytest.raises(ValueError, match="which is no file"):
        index_of_scores(scores, ["none.npy"], home=Folder(str(tmp_path)), execute=run_local)


def test_shards_that_were_never_scored(tmp_path, monkeypatch, caplog):
    folder = tmp_path / "pool"
    folder.mkdir()
    build_pool(folder, shards=3, pairs=5)
    extra = [*pair("a", caption="", meta={"uid": "ff"}), *pair("b", meta={"uid": "fe", "w": 2})]
    write_shard(folder / "9.tar", extra)
    home = Folder(str(tmp_path / "home"))
    wanted = Wanted(captions=("caption", "category"), fields=("category",))
    found = index_of_shards([str(folder)], wanted=wanted, home=home, execute=Scrambled())
    plain = pairs_from_shards(list_shards([str(folder)]), fields=("category",))
    assert found.uid_N.tolist() == plain.uid_N.tolist()
    assert [found.image_bytes(i) for i in range(16)] == [plain.image_bytes(i) for i in range(16)]
    assert list(found.fields["category"]) == list(plain.fields["category"])
    assert found.all_captions["category"][-1] == found.captions[15] == "a red circle"
    assert "16 samples can be read, others cannot: empty_caption (1)" in caplog.text
    monkeypatch.setattr("pipeline.index.walk.read_shard", None)  # no shard is opened again
    subset = subset_file(tmp_path / "s.npy", {bytes(15) + b"\xfe": 1, bytes(15) + b"\3": 2})
    few = index_of_shards([str(folder)], [subset], wanted=wanted, home=home, execute=run_local)
    assert (len(few), few.copies[0].tolist()) == (2, [2, 1])
    monkeypatch.undo()
    with pytest.raises(ValueError, match="got 'nope', which is in no sample's json"):
        index_of_shards([str(folder)], wanted=Wanted(weights=("nope",)), home=home,
                        execute=run_local)  # fmt: skip


def test_an_index_in_a_store_is_fetched(pool, tmp_path, remote, monkeypatch):
    monkeypatch.setenv("THRESHER_CACHE", str(tmp_path / "cache"))
    scores = columns_of(pool, tmp_path / "scores", shards=2)
    there = index_of_scores(scores, home=remote, execute=run_local)
    here = index_of_scores(scores, home=Folder(str(tmp_path)), execute=run_local)
    assert there.home.startswith(str(tmp_path / "cache"))
    assert there.digest == here.digest
    assert list(there.captions) == list(here.captions)


def test_random_pairs_are_those_with_the_lowest_hashes(pool, tmp_path, monkeypatch):
    once = replace(pool, uids=[hashlib.md5(b"%d" % i).digest() for i in range(ROWS)])
    good = {once.uids[i] for i in np.flatnonzero(once.is_ok)}
    seen = []
    for shards, partition_bytes in ((1, 1 << 27), (5, 1_000)):
        monkeypatch.setattr(pipeline.columns.shuffle, "PARTITION_BYTES", partition_bytes)
        scores = columns_of(once, tmp_path / f"scores{shards}", shards=shards)
        for pairs in (1, 100, len(good), 10_000):
            home = Folder(str(tmp_path))
            url = random_subset(scores, pairs, seed=3, folder=home, home=home, execute=Scrambled())
            uids = np.load(url)
            assert uids.tolist() == sorted(set(uids.tolist()))
            assert len(uids) == min(pairs, len(good))
            seen.append(uids.tolist())
    assert seen[:4] == seen[4:]
    assert set(seen[0]) < set(seen[1]) < set(seen[2]) == set(seen[3])
    other = random_subset(scores, 100, seed=4, folder=home, home=home, execute=run_local)
    assert len(set(np.load(other).tolist()) & set(seen[1])) < 60


def test_json_fields_of_scored_shards_and_a_damaged_subset(tmp_path):
    np.save(tmp_path / "wrong.npy", np.arange(3))
    with pytest.raises(ValueError, match="expected one of dtype 'u8,u8'"):
        index_of_shards([str(tmp_path)], [str(tmp_path / "wrong.npy")],
                        home=Folder(str(tmp_path)), execute=run_local)  # fmt: skip
    (tmp_path / "no.npy").write_bytes(b"nothing")
    with pytest.raises(ValueError, match=r"expected a \.npy file that can be read"):
        index_of_shards([str(tmp_path)], [str(tmp_path / "no.npy")],
                        home=Folder(str(tmp_path)), execute=run_local)  # fmt: skip


def test_few_pairs_in_memory_are_what_they_are_told():
    pairs = Pairs.of(["a", "b"], shard_N=[1, 0], offset_N=[5, 6], size_N=[7, 8],
                     uids=[bytes(16), bytes([1] * 16)], captions={"caption": ["x", "y"]},
                     weights={"w": [0.5, 2]}, copies=[[1, 3]])  # fmt: skip
    again = pickle.loads(pickle.dumps(pairs))
    assert (again.shards[again.shard_N[0]], again.offset_N[-1], again.captions[1]) == ("b", 6, "y")
    assert again.digest == pairs.digest
    assert again.take([1]).copies[0].tolist() == [3]
    assert json.dumps(again.weights["w"].tolist()) == "[0.5, 2.0]"
    assert pa.table(again.parts.table(0)).column_names[0] == "uid"
