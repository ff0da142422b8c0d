"""What a run remembers: names, the ledger, folders, and tables."""

import io
import json
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from filters.extract import Column
from pipeline.fingerprint import file_digest, fingerprint
from pipeline.folder import Folder
from pipeline.ledger import Ledger, Record, shard_identities
from pipeline.schema import BASE_SCHEMA
from pipeline.tables import embedding, encode, field_of, read, score_schema, to_array


@dataclass(frozen=True)
class Settings:
    size: int = 1


def record(shard="s", stage="score-1", **changes):
    values = {
        "shard": shard, "stage": stage, "name": f"{shard}.parquet", "writes": {"f": ["x"]},
        "rows": 2, "reasons": {"ok": 2}, "sha256": "0", "output_bytes": 3, "input_bytes": 4,
    }  # fmt: skip
    return Record(**values | changes)


def publish(run, rec):
    (run / "scores" / rec.stage).write(rec.name, b"table")


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


def test_a_folder_s_digest_covers_names_and_bytes(tmp_path):
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "x").write_bytes(b"1")
    first = file_digest(tmp_path / "d")
    (tmp_path / "d" / "x").rename(tmp_path / "d" / "y")
    assert file_digest(tmp_path / "d") != first


@pytest.mark.parametrize("root", ["local", "memory://run"])
def test_a_ledger_is_read_back_on_any_filesystem(tmp_path, root):
    run = Folder(str(tmp_path) if root == "local" else f"{root}-{tmp_path.name}")
    ledger = Ledger(run)
    for rec in (record("a"), record("b"), record("b", "score-2")):
        publish(run, rec)
        ledger.add(rec)
    again = Ledger(run)
    assert again.of("b") == [record("b"), record("b", "score-2")]
    assert [r.shard for r in again.all()] == ["a", "b", "b"]
    assert again.of("c") == []


def test_a_torn_line_and_a_deleted_table_do_not_count(tmp_path):
    run = Folder(str(tmp_path))
    ledger = Ledger(run)
    for rec in (record("a"), record("b")):
        publish(run, rec)
        ledger.add(rec)
    (journal,) = (tmp_path / "ledger").iterdir()
    with journal.open("a") as stream:
        stream.write(json.dumps({"shard": "c"})[:9])
    (tmp_path / "scores" / "score-1" / "a.parquet").unlink()
    assert [r.shard for r in Ledger(run).all()] == ["b"]


def test_a_shard_s_identity_follows_its_content(tmp_path):
    shard = tmp_path / "x.tar"
    shard.write_bytes(b"one")
    first = shard_identities([str(shard)])[str(shard)]
    assert first.id.startswith("x-")
    assert first.size == 3
    assert shard_identities([str(shard)])[str(shard)] == first
    shard.write_bytes(b"three")
    assert shard_identities([str(shard)])[str(shard)].id != first.id


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
