"""Every key of a shard becomes one sample, and each kind of damage costs its own rows only."""

import io
import json
import tarfile

import pytest

from pipeline.index.parts import uids_from_bytes
from pipeline.pairs import pairs_from_shards
from pipeline.samples import Limits, read_shard, uid_from
from pipeline.schema import Reason
from pipeline.shards import list_shards, read_range, write_shard
from tests.toy import draw, encoded, pair

GOOD = pair("good", meta={"uid": "ff"})


def shard(tmp_path, members, name="00000.tar"):
    write_shard(tmp_path / name, members)
    return str(tmp_path / name)


def reasons(url, **limits):
    return {s.key: s.status for s in read_shard(url, limits=Limits(**limits))}


def test_a_good_pair_is_read_whole(tmp_path):
    url = shard(tmp_path, [*GOOD, *pair("b", caption=" two words \n")])
    first, second = read_shard(url)
    assert first.uid == bytes(15) + b"\xff"
    assert first.meta == {"uid": "ff"}
    assert (first.key, first.caption, first.status) == ("good", "a red circle", Reason.OK)
    assert read_range(url, first.offset, first.size) == first.image == GOOD[0][1]
    assert second.caption == "two words"
    assert second.key == "b"
    assert second.uid == uid_from("00000.tar", "b")


@pytest.mark.parametrize(
    ("members", "reason"),
    [
        ([("k.txt", b"words")], Reason.MISSING_IMAGE),
        ([("k.png", b"x")], Reason.MISSING_CAPTION),
        (pair("k", caption="  \n"), Reason.EMPTY_CAPTION),
        ([("k.png", b"x"), ("k.txt", b"\xff\xfe\xfa")], Reason.BAD_UTF8),
        ([*pair("k"), ("k.json", b"{not json")], Reason.BAD_JSON),
        ([*pair("k"), ("k.json", b"[1, 2]")], Reason.BAD_JSON),
        ([*pair("k"), ("k.json", b"\xff\xff")], Reason.BAD_JSON),
        ([*pair("k"), ("k.json", b"[" * 100_000)], Reason.BAD_JSON),
        (pair("k", meta={"uid": "xyz"}), Reason.BAD_UID),
        (pair("k", meta={"uid": "f" * 33}), Reason.BAD_UID),
        (pair("k", meta={"uid": "-1"}), Reason.BAD_UID),
        ([*pair("k"), ("k.png", b"again")], Reason.REPEATED_KEY),
        ([*pair("k"), *pair("k")], Reason.REPEATED_KEY),
    ],
)
def test_a_damaged_sample_has_its_reason_and_costs_no_other(tmp_path, members, reason):
    url = shard(tmp_path, [*GOOD, *members, *pair("last")])
    assert reasons(url) == {"good": Reason.OK, "k": reason, "last": Reason.OK}


@pytest.mark.parametrize("name", ["../../x", "/etc/x", "a/../b", "..\\x"])
def test_a_name_that_climbs_out_is_refused_and_nothing_is_written(tmp_path, name):
    url = shard(tmp_path / "deep" if (tmp_path / "deep").mkdir() is None else tmp_path, [
        *GOOD, *pair(name)])  # fmt: skip
    found = reasons(url)
    assert found.pop("good") is Reason.OK
    assert set(found.values()) == {Reason.UNSAFE_NAME}
    assert [p.name for p in tmp_path.rglob("*") if p.is_file()] == ["00000.tar"]


def test_members_of_one_key_apart_from_each_other(tmp_path):
    (image, text), other = pair("k"), pair("o")
    url = shard(tmp_path, [image, *other, text])
    assert reasons(url) == {"k": Reason.SPLIT_KEY, "o": Reason.OK}


def test_a_member_over_the_limit_is_not_read(tmp_path):
    url = shard(tmp_path, [*GOOD, *pair("k", caption="x" * 5000)])
    assert reasons(url, member_bytes=4000) == {"good": Reason.OK, "k": Reason.TOO_LARGE}


def test_a_truncated_tar_gives_its_readable_samples_and_one_row(tmp_path):
    noise = encoded(draw("circle", "red", size=(300, 300)), "BMP")
    url = shard(tmp_path, [m for i in range(10) for m in pair(f"{i}", image=noise)])
    data = (tmp_path / "00000.tar").read_bytes()
    for share in (0.1, 0.37, 0.6, 0.99):
        (tmp_path / "00000.tar").write_bytes(data[: int(len(data) * share)])
        found = [s.status for s in read_shard(url)]
        assert found.count(Reason.TRUNCATED) == 1, share
        assert set(found) <= {Reason.OK, Reason.TRUNCATED}
        assert found.count(Reason.OK) >= int(10 * share) - 1


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", Reason.EMPTY_SHARD),
        (bytes(10240), Reason.EMPTY_SHARD),
        (b"this is not a tar" * 100, Reason.NOT_A_TAR),
        (b"PK\x03\x04", Reason.NOT_A_TAR),
    ],
)
def test_a_shard_that_is_no_tar_has_one_row(tmp_path, data, reason):
    (tmp_path / "s.tar").write_bytes(data)
    (only,) = read_shard(str(tmp_path / "s.tar"))
    assert (only.key, only.status, only.uid) == ("", reason, uid_from("s.tar", ""))


def test_long_and_unprintable_names_survive(tmp_path):
    for kind in (tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
        with tarfile.open(tmp_path / "s.tar", "w", format=kind) as tar:
            for name in ("x" * 180 + ".png", "x" * 180 + ".txt"):
                info = tarfile.TarInfo(name)
                info.size = 2
                tar.addfile(info, io.BytesIO(b"ok"))
        (sample,) = read_shard(str(tmp_path / "s.tar"))
        assert (sample.key, sample.caption) == ("x" * 180, "ok")


def test_python_s_own_reader_agrees_on_what_we_write(tmp_path):
    members = [*GOOD, *pair("b")]
    with tarfile.open(shard(tmp_path, members)) as tar:
        assert [(m.name, tar.extractfile(m).read()) for m in tar] == members


def test_the_same_members_give_the_same_bytes(tmp_path):
    for name in ("a.tar", "b.tar"):
        shard(tmp_path, GOOD, name)
    assert (tmp_path / "a.tar").read_bytes() == (tmp_path / "b.tar").read_bytes()


def test_shards_are_listed_once_and_sorted(tmp_path):
    for name in ("b.tar", "a.tar", "c.txt"):
        (tmp_path / name).write_bytes(b"")
    found = list_shards([f"{tmp_path}/*.tar", str(tmp_path)])
    assert [f.rsplit("/", 1)[1] for f in found] == ["a.tar", "b.tar"]
    with pytest.raises(ValueError, match=r"nothing.*matches no file"):
        list_shards([str(tmp_path / "nothing")])


def test_shards_in_memory_are_read_through_fsspec():
    import fsspec

    fs = fsspec.filesystem("memory")
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode="w") as tar:
        for name, data in GOOD:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    fs.pipe_file("/pool/0.tar", sink.getvalue())
    (url,) = list_shards(["memory://pool"])
    assert [s.status for s in read_shard(url)] == [Reason.OK]


def test_pairs_are_sorted_by_uid_and_taken_with_copies(tmp_path):
    url = shard(
        tmp_path, [*pair("x", meta={"uid": "2", "category": "c"}), *pair("y", meta={"uid": "1"})]
    )
    pairs = pairs_from_shards([url], fields=["category"])
    assert pairs.uid_N.tolist() == [(0, 1), (0, 2)]
    assert list(pairs.fields["category"]) == ["", "c"]
    chosen = pairs.take([1, 1, 0])
    assert chosen.uid_N.tolist() == [(0, 2), (0, 2), (0, 1)]
    assert chosen.image_bytes(0) == pair("x")[0][1]


def test_uids_split_into_a_high_and_a_low_word():
    uid = bytes.fromhex("0123456789abcdeffedcba9876543210")
    (record,) = uids_from_bytes(uid)
    assert (int(record["f0"]), int(record["f1"])) == (0x0123456789ABCDEF, 0xFEDCBA9876543210)


def test_json_of_a_sample_keeps_its_values(tmp_path):
    meta = {"uid": "1", "n": [1, {"a": None}]}
    (sample,) = read_shard(shard(tmp_path, pair("k", meta=meta)))
    assert sample.meta == json.loads(json.dumps(meta))


@pytest.mark.filterwarnings("ignore::ResourceWarning")  # it leaves the tar open
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_webdataset_reads_what_we_write_and_we_what_it_writes(tmp_path):
    import webdataset

    meta = {"uid": "00ff", "n": 1}
    url = shard(tmp_path, [*pair("a", meta=meta), *pair("b", caption="two")])
    theirs = list(webdataset.WebDataset(url, shardshuffle=False))
    assert [s["__key__"] for s in theirs] == ["a", "b"]
    assert json.loads(theirs[0]["json"]) == meta
    assert theirs[1]["txt"] == b"two"
    with webdataset.TarWriter(str(tmp_path / "theirs.tar")) as sink:
        sink.write({"__key__": "x", "png": pair("a")[0][1], "txt": "words", "json": meta})
    (ours,) = read_shard(str(tmp_path / "theirs.tar"))
    assert (ours.key, ours.caption, ours.meta, ours.status) == ("x", "words", meta, Reason.OK)


def header(name, *, kind=tarfile.REGTYPE, size=0):
    info = tarfile.TarInfo(name)
    info.type, info.size = kind, size
    return info.tobuf(tarfile.USTAR_FORMAT)


def rewritten(block, at, data):
    """Change a header and make its checksum right again."""
    changed = block[:at] + data + block[at + len(data) :]
    total = sum(changed[:148]) + 8 * 32 + sum(changed[156:])
    return changed[:148] + b"%06o\0 " % total + changed[156:]


GOOD_TAR = b"".join(header(n, size=2) + b"ok".ljust(512, b"\0") for n in ("k.png", "k.txt"))
END = bytes(1024)


@pytest.mark.parametrize("kind", [tarfile.REGTYPE, tarfile.DIRTYPE])
def test_a_negative_size_ends_the_walk(tmp_path, kind):
    size = b"\xff" + (256**11 - 512).to_bytes(11, "big")
    hostile = rewritten(header("x", kind=kind), 124, size)
    (tmp_path / "s.tar").write_bytes(GOOD_TAR + hostile + GOOD_TAR + END)
    assert reasons(str(tmp_path / "s.tar")) == {"k": Reason.TRUNCATED}


def test_a_hole_is_not_the_end(tmp_path):
    second = b"".join(header(n, size=2) + b"ok".ljust(512, b"\0") for n in ("l.png", "l.txt"))
    (tmp_path / "s.tar").write_bytes(GOOD_TAR + bytes(512) + second + END)
    assert reasons(str(tmp_path / "s.tar")) == {"k": Reason.TRUNCATED}


def test_a_long_folder_name_is_not_the_next_file_s(tmp_path):
    with tarfile.open(tmp_path / "s.tar", "w", format=tarfile.GNU_FORMAT) as tar:
        folder = tarfile.TarInfo("d" * 150)
        folder.type = tarfile.DIRTYPE
        tar.addfile(folder)
        for name in ("x.png", "x.txt"):
            info = tarfile.TarInfo(name)
            info.size = 2
            tar.addfile(info, io.BytesIO(b"ok"))
    assert reasons(str(tmp_path / "s.tar")) == {"x": Reason.OK}


def test_a_link_s_size_is_not_skipped(tmp_path):
    link = header("link", kind=tarfile.LNKTYPE, size=5000)
    (tmp_path / "s.tar").write_bytes(link + GOOD_TAR + END)
    assert reasons(str(tmp_path / "s.tar")) == {"k": Reason.OK}


def test_a_newline_in_a_pax_record_renames_nothing(tmp_path):
    body = b"comment=x\n11 path=evil.jpg"
    record = b"%d " % (len(body) + 4) + body + b"\n"
    pax = header("p", kind=tarfile.XHDTYPE, size=len(record)) + record.ljust(512, b"\0")
    (tmp_path / "s.tar").write_bytes(pax + GOOD_TAR + END)
    assert reasons(str(tmp_path / "s.tar")) == {"k": Reason.OK}


def test_cut_before_the_json_the_last_key_is_truncated(tmp_path):
    (tmp_path / "s.tar").write_bytes(GOOD_TAR)
    assert reasons(str(tmp_path / "s.tar")) == {"k": Reason.TRUNCATED}
