import hashlib
import json
from collections import Counter

import pyarrow.parquet as pq
import pytest

from pipeline.decode import DecodeError, decode_rgb
from pipeline.folder import Folder
from pipeline.pools.build import build_pool
from pipeline.pools.looks import look
from pipeline.samples import read_shard
from pipeline.schema import Reason
from pipeline.shards import list_shards
from pipeline.staging import is_file


def samples(folder):
    return [sample for url in list_shards([str(folder)]) for sample in read_shard(url)]


def tree(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.fixture
def planted(clipart, out):
    return build_pool("openclipart", out=out, limit=90, shard_size=25, plant=3)


def test_the_layout_is_what_stages_expect(planted, tmp_path):
    out = tmp_path / "out"
    assert sorted(p.name for p in out.iterdir()) == [
        "heldout",
        "pool",
        "pool.json",
        "truth.parquet",
    ]
    assert [p.name for p in sorted((out / "pool").iterdir())] == [f"0000{i}.tar" for i in range(4)]
    assert len(samples(planted.pool)) == planted.pairs["pool"] == 90
    assert len(samples(planted.heldout)) == planted.pairs["heldout"] > 5
    assert all(sample.status is Reason.OK for sample in samples(planted.pool))


def test_samples_carry_their_origin(planted):
    for sample in samples(planted.heldout):
        assert sample.meta["source"] == "openclipart"
        assert sample.meta["version"] == "1:0.18"
        assert sample.meta["author"] == "Ada"
        assert sample.caption.startswith(sample.meta["category"])
        seen = look(sample.image)
        assert (sample.meta["width"], sample.meta["height"]) == (seen.width, seen.height)


def test_every_pair_has_its_truth_and_only_there(planted, tmp_path):
    truth = pq.read_table(planted.truth).to_pylist()
    by_uid = {sample.uid.hex(): sample for sample in samples(planted.pool)}
    assert {row["uid"] for row in truth} == by_uid.keys()
    assert dict(Counter(row["kind"] for row in truth)) == planted.planted
    for row in truth:
        sample = by_uid[row["uid"]]
        assert row["kind"] not in json.dumps(sample.meta)
        if row["kind"] == "exact_duplicate":
            twin = by_uid[row["twin"]]
            assert (sample.image, sample.caption) == (twin.image, twin.caption)
        if row["kind"] == "corrupt":
            with pytest.raises(DecodeError):
                decode_rgb(sample.image)
        else:
            assert decode_rgb(sample.image).ndim == 3
        if row["kind"] == "tiny":
            assert max(sample.meta["width"], sample.meta["height"]) <= 24


def test_the_manifest_tells_the_whole_story(planted, tmp_path):
    document = json.loads((tmp_path / "out/pool.json").read_text(encoding="utf-8"))
    assert document["versions"] == {"openclipart-png": "1:0.18", "openclipart-svg": "1:0.18"}
    assert document["settings"]["limit"] == 90
    assert document["left_out"]["link"] == 2
    for name, digest in document["shards"].items():
        assert hashlib.sha256((tmp_path / "out" / name).read_bytes()).hexdigest() == digest


def test_nothing_is_lost_on_the_way(clipart, out):
    built = build_pool("openclipart", out=out)
    assert sum(built.pairs.values()) + sum(built.left_out.values()) == 120 + 2
    assert not built.truth


def test_the_same_request_gives_the_same_bytes(clipart, out, tmp_path):
    for name in ("one", "two"):
        build_pool("openclipart", out=out / name, limit=60, plant=1)
    assert tree(tmp_path / "out/one") == tree(tmp_path / "out/two")


def test_a_smaller_limit_takes_a_part_of_the_larger_pool(clipart, out):
    small, large = (build_pool("openclipart", out=out / str(n), limit=n) for n in (30, 60))
    assert {s.uid for s in samples(small.pool)} < {s.uid for s in samples(large.pool)}
    assert {s.uid for s in samples(small.heldout)} == {s.uid for s in samples(large.heldout)}


def test_a_finished_pool_is_reused_without_reading_the_source(planted, clipart, out, tmp_path):
    before = {p: p.stat().st_mtime_ns for p in (tmp_path / "out").rglob("*")}
    for picture in clipart.rglob("*.png"):
        picture.unlink()
    again = build_pool("openclipart", out=out, limit=90, shard_size=25, plant=3)
    assert again == planted
    assert {p: p.stat().st_mtime_ns for p in (tmp_path / "out").rglob("*")} == before


def test_other_settings_or_another_version_replace_it(planted, clipart, out, tmp_path):
    other = build_pool("openclipart", out=out, limit=50)
    assert other.pairs["pool"] == 50
    assert not (tmp_path / "out/truth.parquet").exists()
    for package in (clipart / "debian").iterdir():
        package.rename(package.with_name(package.name.replace("0.18", "0.19")))
    newer = build_pool("openclipart", out=out, limit=50)
    assert set(newer.versions.values()) == {"1:0.19"}
    assert sorted(p.name for p in tmp_path.iterdir()) == ["cache", "out"]  # nothing left beside it


def test_a_damaged_pool_is_built_again(planted, out, tmp_path):
    (tmp_path / "out/pool/00001.tar").unlink()
    again = build_pool("openclipart", out=out, limit=90, shard_size=25, plant=3)
    assert again == planted
    assert (tmp_path / "out/pool/00001.tar").is_file()


def test_a_failure_leaves_the_earlier_pool_alone(planted, clipart, out, tmp_path):
    before = tree(tmp_path / "out")
    for picture in clipart.rglob("*.png"):
        picture.unlink()
    with pytest.raises(ValueError, match="without a picture"):
        build_pool("openclipart", out=out, limit=10)
    assert tree(tmp_path / "out") == before


def test_someone_elses_folder_is_refused(clipart, out, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out/thesis.txt").write_text("years of work", encoding="utf-8")
    with pytest.raises(ValueError, match=r"--out: got .*out, which holds other files"):
        build_pool("openclipart", out=out)


def test_a_place_that_cannot_be_written_is_named(clipart, tmp_path):
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(ValueError, match=r"--out: got .*file/out, expected a place that can be"):
        build_pool("openclipart", out=Folder(str(tmp_path / "file/out")))


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"limit": 0}, "limit: got 0"),
        ({"heldout_share": 1.0}, r"held-out share: got 1.0, expected \[0, 1\)"),
        ({"shard_size": 0}, "shard size: got 0"),
        ({"plant": -1}, "plant: got -1"),
    ],
)
def test_settings_out_of_range_are_refused(out, setting, message):
    with pytest.raises(ValueError, match=message):
        build_pool("openclipart", out=out, **setting)


def test_a_pool_in_a_store_is_the_pool_on_a_disk(planted, clipart, tmp_path, remote):
    asked = {"limit": 90, "shard_size": 25, "plant": 3}
    built = build_pool("openclipart", out=remote, **asked)
    there = {name: remote.read(name) for name in remote.files()}
    assert there == tree(tmp_path / "out")
    assert len(samples(built.pool)) == pq.read_table(planted.truth).num_rows == 90
    assert is_file(built.truth)
    for picture in clipart.rglob("*.png"):
        picture.unlink()
    assert build_pool("openclipart", out=remote, **asked) == built


def test_a_pool_in_a_store_is_replaced_and_nothing_else_is(clipart, remote):
    build_pool("openclipart", out=remote, limit=90, shard_size=25, plant=3)
    build_pool("openclipart", out=remote, limit=50, shard_size=25)
    pool = {f"pool/{i:05d}.tar" for i in range(2)}
    assert {n for n in remote.files() if not n.startswith("heldout/")} == {"pool.json", *pool}
    remote.remove("pool.json")
    with pytest.raises(ValueError, match=f"--out: got {remote.url}, which holds other files"):
        build_pool("openclipart", out=remote, limit=50)
    remote.write(".unfinished", b"")  # as an upload that was cut off leaves it
    again = build_pool("openclipart", out=remote, limit=50)
    assert len(samples(again.pool)) == 50
    assert ".unfinished" not in remote.files()


@pytest.mark.demo
def test_the_real_openclipart_has_what_the_demo_needs(out):
    built = build_pool("openclipart", out=out, limit=4000, plant=7)
    assert built.pairs["pool"] == 4000
    assert built.pairs["heldout"] > 300
    assert built.planted["swapped"] == 320
    reasons = Counter(sample.status for sample in samples(built.pool))
    assert reasons == {Reason.OK: 4000}
    captions = Counter(sample.caption for sample in samples(built.heldout))
    assert captions.most_common(1)[0][1] == 1
