"""What a run remembers: names, the ledger, folders, and tables."""

import io
import json
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from filters.extract import Column
from pipeline.fingerprint import file_digest, fingerprint
from pipeline.folder import Folder
from pipeline.ledger import Ledger, Record, Writer
from pipeline.schema import BASE_SCHEMA
from pipeline.shards import find_shards
from pipeline.tables import embedding, encode, field_of, read, score_schema, to_array


@dataclass(frozen=True)
class Settings:
    size: int = 1


def record(shard="s", stage="score-1", at=1.0, **changes):
    values = {
        "shard": shard, "stage": stage, "rows": 2, "reasons": {"ok": 2}, "sha256": "0f" * 32,
        "output_bytes": 3, "input_bytes": 4, "cell": "c", "at": at,
    }  # fmt: skip
    return Record(**values | changes)


@pytest.fixture(params=["local", "memory"])
def store(request, tmp_path):
    if request.param == "local":
        yield Folder(str(tmp_path))
        return
    folder = Folder(f"memory://run-{tmp_path.name}")
    yield folder
    folder.remove_all()


def test_a_fingerprint_changes_with_everything_that_it_is_made_of():
    base = fingerprint("a", settings=Settings(), n=[1, 2])
    assert base == fingerprint("a", n=(1, 2), settings=Settings())
    others = [
        fingerprint("b", settings=Settings(), n=[1, 2]),
        fingerprint("a", settings=Settings(2), n=[1, 2]),
        fingerprint("a", settings=Settings(), n=[2, 1]),
        fingerprint("a", settings=Settings(), m=[1, 2]),
    ]
    assert len({base, *others}) == 5
    with pytest.raises(TypeError, match="got set, expected a dataclass"):
        fingerprint("a", n={1})


@dataclass(frozen=True)
class Where:
    """Settings beside what the output depends on."""

    size: int = 1
    address: str = field(default="", metadata={"identity": False})


def test_a_fingerprint_leaves_out_what_says_how_or_where():
    base = fingerprint("a", settings=Where())
    assert base == fingerprint("a", settings=Where(address="http://elsewhere"))
    assert base != fingerprint("a", settings=Where(2))


def test_a_folder_s_digest_covers_names_and_bytes(tmp_path):
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "x").write_bytes(b"1")
    first = file_digest(tmp_path / "d")
    (tmp_path / "d" / "x").rename(tmp_path / "d" / "y")
    assert file_digest(tmp_path / "d") != first


def test_a_ledger_is_read_back_on_any_filesystem(store):
    records = [record("a"), record("b"), record("b", "score-2", reasons={"ok": 1, "timeout": 1})]
    with Writer(store, "w") as writer:
        for each in records:
            writer.add(each)
    Ledger(store).declare("score-1", {"f": ["x"]})
    again = Ledger(store)
    assert list(again.records()) == records
    assert list(again.records("score-2")) == records[2:]
    assert again.of_stage("score-1").column("shard").to_pylist() == ["a", "b"]
    assert len(again.of_stage("score-3")) == 0
    assert again.stages == {"score-1": {"f": ["x"]}}


def test_what_is_added_counts_before_the_writer_ends(store):
    writer = Writer(store, "killed")
    writer.add(record("a"))
    assert [r.shard for r in Ledger(store).records()] == ["a"]
    writer.close()


def test_a_torn_line_and_foreign_lines_do_not_count(tmp_path):
    store = Folder(str(tmp_path))
    with Writer(store, "w") as writer:
        writer.add(record("a"))
    (journal,) = (tmp_path / "ledger").iterdir()
    with journal.open("a") as stream:
        stream.write('[1]\n{"x": 1}\n' + json.dumps({"shard": "c", "stage": "s"})[:9])
    assert [r.shard for r in Ledger(store).records()] == ["a"]


def test_the_newest_record_counts_and_a_struck_one_does_not(store):
    for at, rows in ((2.0, 2), (1.0, 1), (3.0, 3)):
        with Writer(store, f"w{at}") as writer:
            writer.add(record("a", at=at, rows=rows))
            writer.add(record("b", at=at, rows=rows))
    ledger = Ledger(store)
    assert [r.rows for r in ledger.records()] == [3, 3]
    ledger.strike([record("a")])
    assert [r.shard for r in Ledger(store).records()] == ["b"]
    with Writer(store, "later") as writer:
        writer.add(record("a", at=Ledger(store).newest + 1e-3, rows=4))
    assert [r.rows for r in Ledger(store).records("score-1")] == [4, 3]


def test_merging_changes_nothing_and_leaves_open_journals_alone(store):
    for number in range(5):
        with Writer(store, f"w{number}") as writer:
            for shard in range(30):
                writer.add(record(f"{shard:03d}", at=float(number), rows=number))
    still_open = Writer(store, "open")
    still_open.add(record("zzz"))
    dead = Writer(store, "dead")
    dead.add(record("yyy"))
    Ledger(store).strike([record("007")])
    before = Ledger(store)
    before.merge(gone=["dead"], least=1)
    names = (store / "ledger").names()
    assert len([n for n in names if n.startswith("base-")]) == 1
    assert [n for n in names if n.endswith(".jsonl")] == ["open-00000.open.jsonl"]
    assert list(Ledger(store).records()) == list(before.records())
    assert len(list(before.records())) == 31
    still_open.add(record("zzy"))
    Ledger(store).merge(gone=["open"], least=1)
    assert {r.shard for r in Ledger(store).records()} >= {"zzz", "zzy", "yyy", "000"}
    for writer in (still_open, dead):
        writer.close()


def test_journals_of_an_object_store_are_cut_and_lose_nothing():
    store = Folder("memory://cut")
    writer = Writer(store, "w")
    for number in range(150):
        writer.add(record(f"{number:03d}"))
    names = (store / "ledger").names()
    assert names == ["w-00000.jsonl", "w-00001.jsonl", "w-00002.open.jsonl"]
    assert [r.shard for r in Ledger(store).records()] == [f"{n:03d}" for n in range(150)]
    store.remove_all()


def test_a_shard_s_identity_follows_its_content(tmp_path):
    path = tmp_path / "x.tar"
    path.write_bytes(b"one")
    (first,) = find_shards([str(path)])
    assert first.id.startswith("x-")
    assert first.size == 3
    assert find_shards([str(tmp_path)]) == find_shards([f"{tmp_path}/*.tar"]) == [first]
    path.write_bytes(b"three")
    assert find_shards([str(path)])[0].id != first.id


def test_brace_lists_name_every_shard_and_miss_none(tmp_path):
    for number in range(3):
        (tmp_path / f"{number:05d}.tar").write_bytes(b"")
    assert len(find_shards([f"{tmp_path}/{{00000..00002}}.tar"])) == 3
    with pytest.raises(ValueError, match=r"00003.tar', which matches no file"):
        find_shards([f"{tmp_path}/{{00000..00003}}.tar"])


def test_a_write_that_fails_leaves_nothing(tmp_path, monkeypatch):
    run = Folder(str(tmp_path))
    run.write("x", b"old")
    fs, _ = run._fs()

    def full(*_args, **_kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(type(fs), "mv", full)
    with pytest.raises(OSError, match="No space left"):
        run.write("x", b"new")
    monkeypatch.undo()
    assert run.read("x") == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["x"]


def table(values):
    column = Column("v", "embedding", "", "[-1, 1]", "a vector", 4)
    schema = score_schema([column])
    valid = np.array([True, False, True])
    base = [[b"u" * 16] * 3, ["k"] * 3, [0] * 3, [0] * 3, ["ok", "x", "ok"], ["c", None, "c"]]
    arrays = [pa.array(v, f.type) for v, f in zip(base, BASE_SCHEMA, strict=True)]
    return pa.Table.from_arrays(
        [*arrays, to_array(values, field_of(column), valid_N=valid)], schema=schema
    )


def test_embeddings_survive_as_bytes_with_nulls_as_zeros(tmp_path):
    values = np.arange(8, dtype=np.float16).reshape(2, 4) / 8
    (tmp_path / "t.parquet").write_bytes(encode(table(values)))
    found = read(str(tmp_path / "t.parquet"), ["v"])
    assert found.schema.field("v").metadata[b"shape"] == b"4"
    assert found.column("v").null_count == 1
    expected = np.stack([values[0], np.zeros(4), values[1]])
    assert (embedding(found, "v") == expected).all()
    assert (embedding(found.slice(2), "v") == expected[2:]).all()


def test_encoding_depends_on_the_table_alone():
    values = np.ones((2, 4), np.float16)
    assert encode(table(values)) == encode(table(values))
    assert pq.read_table(io.BytesIO(encode(table(values)))).num_rows == 3


def test_reading_what_is_not_there_says_what_is(tmp_path):
    (tmp_path / "t.parquet").write_bytes(encode(table(np.ones((2, 4)))))
    with pytest.raises(ValueError, match=r"no column 'w', expected one of uid, key.*v"):
        read(str(tmp_path / "t.parquet"), ["w"])
    (tmp_path / "t.parquet").write_bytes(b"junk" * 10)
    with pytest.raises(ValueError, match="thresher verify"):
        read(str(tmp_path / "t.parquet"))
