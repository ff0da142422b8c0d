"""From labels and a run's tables to a head's file, by the commands themselves."""

import hashlib
import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from filters.derive import Combine, Head
from filters.extract import Column
from pipeline.folder import Folder
from pipeline.labels import labelled_embeddings, labelled_scores, read_labels
from pipeline.ledger import table_name
from pipeline.schema import BASE_SCHEMA
from pipeline.scores import Scores, Source
from pipeline.tables import encode, score_schema, to_array
from training.heads.command import head_app

DIM, SHARDS, ROWS = 6, 3, 40
COLUMNS = (
    Column("image_embedding", "embedding", "", "", "", DIM),
    Column("sharpness", "float32", "", "", ""),
    Column("text_area", "float32", "", "", ""),
)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Return a run folder whose every 20th row is broken, and its uids, embeddings and scores."""
    home, rng = tmp_path_factory.mktemp("run"), np.random.default_rng(0)
    embedding = rng.normal(size=(SHARDS * ROWS, DIM))
    embedding = (embedding / np.linalg.norm(embedding, axis=1)[:, None]).astype(np.float16)
    scores = rng.random((SHARDS * ROWS, 2)).astype(np.float32)
    uids = [hashlib.md5(bytes([i])).digest() for i in range(SHARDS * ROWS)]
    good = np.arange(SHARDS * ROWS) % 20 != 7
    schema, digests = score_schema(COLUMNS), []
    for shard in range(SHARDS):
        at = slice(shard * ROWS, (shard + 1) * ROWS)
        ok, values = good[at], (embedding[at], scores[at, 0], scores[at, 1])
        base = [uids[at], [str(i) for i in range(ROWS)], [-1] * ROWS, [-1] * ROWS,
                np.where(ok, "ok", "decode_error").tolist(), ["a caption"] * ROWS]  # fmt: skip
        arrays = [pa.array(v, f.type) for v, f in zip(base, BASE_SCHEMA, strict=True)]
        arrays += [
            to_array(v[ok], schema.field(c.name), valid_N=ok)
            for v, c in zip(values, COLUMNS, strict=True)
        ]
        data = encode(pa.Table.from_arrays(arrays, schema=schema))
        Folder(str(home / "scores")).write(table_name(str(shard)), data)
        digests.append(np.frombuffer(hashlib.sha256(data).digest(), np.uint8))
    names = tuple(str(s) for s in range(SHARDS))
    source = Source(str(home / "scores"), tuple(c.name for c in COLUMNS), np.stack(digests))
    Folder(str(home / "subset")).write("scores.parquet", Scores(names, names, (source,)).dump())
    (home / "config.toml").write_text("")
    return home, uids, embedding, scores, good


def write(path, uids, label, name="label"):
    pq.write_table(pa.table({"uid": uids, name: label}), path)
    return str(path)


def invoke(*arguments):
    return CliRunner().invoke(head_app, [str(a) for a in arguments])


def scores_of(run):
    return Scores.load((run[0] / "subset" / "scores.parquet").read_bytes())


@pytest.mark.parametrize("kind", ["bytes", "hex"])
def test_labels_meet_the_rows_of_their_uids(run, tmp_path, kind):
    _, uids, embedding, scores, good = run
    chosen = np.random.default_rng(1).permutation(len(uids))[:50]
    written = [uids[i] if kind == "bytes" else uids[i].hex().lstrip("0") for i in chosen]
    labels = read_labels(
        write(tmp_path / "l.parquet", written, chosen.astype(float)), target="label"
    )
    found = labelled_embeddings(scores_of(run), labels, column="image_embedding")
    assert found.lacking == (~good[chosen]).sum() > 0
    assert sorted(found.target_N) == sorted(chosen[good[chosen]])
    assert (found.values == embedding[found.target_N.astype(int)]).all()
    numbers = labelled_scores(scores_of(run), labels, columns=["text_area", "sharpness"])
    assert (numbers.values == scores[numbers.target_N.astype(int)][:, ::-1]).all()


def test_a_head_is_trained_and_its_file_is_applied(run, tmp_path):
    home, uids, embedding, _, _ = run
    truth = np.random.default_rng(5).normal(size=DIM)
    label = (embedding.astype(float) @ truth > 0).astype(int).tolist()
    place = write(tmp_path / "l.parquet", uids, label, "keep")
    out = tmp_path / "h.safetensors"
    result = invoke("train", home, "--labels", place, "--out", out, "--target", "keep")
    assert result.exit_code == 0, result.output
    assert "114 labels, 6 of broken pairs left out; logistic" in result.output
    assert "<- chosen" in result.output
    assert "held out: auc 0.9" in result.output or "held out: auc 1.0" in result.output
    head = Head(name="keep", column="image_embedding", file=str(out))
    found = head.load({str(out): out}, None)({"image_embedding": embedding})["keep"]
    assert np.mean((found > 0.5) == np.array(label, bool)) > 0.9
    first = out.read_bytes()
    invoke("train", home, "--labels", place, "--out", out, "--target", "keep")
    assert out.read_bytes() == first
    header = json.loads(first[8 : 8 + int.from_bytes(first[:8], "little")])["__metadata__"]
    assert (header["column"], header["dim"], header["output"]) == (
        "image_embedding",
        "6",
        "sigmoid",
    )


def test_a_mixture_is_fitted_and_its_file_is_applied(run, tmp_path):
    home, uids, _, scores, _ = run
    target = scores.astype(float) @ [0.25, 0.5] + 0.125
    place, out = write(tmp_path / "l.parquet", uids, target), tmp_path / "m.json"
    result = invoke(
        "combine", home, "--labels", place, "--scores", "sharpness,text_area", "--out", out
    )
    assert result.exit_code == 0, result.output
    assert "sharpness 0.2500" in result.output
    assert "r2 1.000" in result.output
    combine = Combine(name="x", scores=("sharpness", "text_area"), file=str(out))
    columns = {"sharpness": scores[:, 0], "text_area": scores[:, 1]}
    found = combine.load({str(out): out}, None)(columns)["x"]
    np.testing.assert_allclose(found, target, rtol=1e-5)


@pytest.mark.parametrize(
    ("change", "options", "message"),
    [
        ({"label": [1] * 120}, (), "got only 1 in column 'label'.*expected both 0 and 1"),
        ({"label": ["good"] * 120}, (), "'label' of string in .*, expected numbers"),
        ({"label": [None] * 120}, (), "got 120 rows of .* without a finite 'label'"),
        ({"uid": ["zz"] * 120}, (), "got uid 'zz', expected 16 bytes or up to 32 hex digits"),
        ({"uid": ["1"] * 120}, (), "got 0{31}1 twice"),
        ({"uid": [f"{i:x}" for i in range(120)]}, (), "got 120 uids that this run does not have"),
        ({}, ("--column", "sharpness"), "'sharpness' of float, expected .* image_embedding"),
        ({}, ("--column", "nothing"), "got 'nothing', expected one of"),
        ({}, ("--stages", "--column", "image_embedding"), "--stages for image_embedding"),
        ({}, ("--out", "head.pt"), "got head.pt, expected a name that ends in .safetensors"),
    ],
)
def test_wrong_requests_say_what_to_do(run, tmp_path, change, options, message):
    home, uids, *_ = run
    table = {"uid": uids, "label": [i % 2 for i in range(120)]} | change
    place = write(tmp_path / "l.parquet", table["uid"], table["label"])
    result = invoke("train", home, "--labels", place, "--out", tmp_path / "h.safetensors", *options)
    assert isinstance(result.exception, ValueError)
    with pytest.raises(ValueError, match=message):
        raise result.exception


def test_a_folder_that_is_no_finished_run(tmp_path):
    (tmp_path / "config.toml").write_text("")
    place = write(tmp_path / "l.parquet", ["1", "2"], [0, 1])
    result = invoke("train", tmp_path, "--labels", place, "--out", tmp_path / "h.safetensors")
    with pytest.raises(ValueError, match=r"without subset/scores\.parquet.*thresher curate"):
        raise result.exception


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (",", "scores: got none, expected at least one column"),
        ("sharpness,sharpness", "scores: got sharpness, sharpness, expected .* each once"),
        ("sharpness,image_embedding", "got column 'image_embedding' of fixed_size_binary"),
        ("status", "got column 'status' of string, expected numbers"),
    ],
)
def test_columns_that_cannot_be_weighed(run, tmp_path, columns, message):
    home, uids, *_ = run
    place = write(tmp_path / "l.parquet", uids, [i % 2 for i in range(120)])
    out = tmp_path / "m.json"
    result = invoke("combine", home, "--labels", place, "--scores", columns, "--out", out)
    with pytest.raises(ValueError, match=message):
        raise result.exception
