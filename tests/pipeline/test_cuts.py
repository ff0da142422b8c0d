"""`thresher filters cuts` on a planted run: rules of a config, whatever the shards."""

import json
import tomllib
from dataclasses import asdict

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from pydantic import TypeAdapter
from typer.testing import CliRunner

from filters.ensemble import fit_label_model
from filters.ensemble.patterns import encode as encode_votes
from filters.extract import Column
from filters.rules import Band, Condition
from pipeline.commands import filters_app
from pipeline.schema import BASE_SCHEMA
from pipeline.scores import Scores, Source
from pipeline.tables import encode, score_schema, to_array

ROWS = 3000
OTHERS = tuple(f"said_{i}" for i in range(4))
COLUMNS = tuple(
    Column(name, dtype, "", "", "planted")
    for name, dtype in (
        *((name, "float32") for name in ("quality", "spare", *OTHERS)), ("words", "string"),
        ("votes_0", "uint64"),
    )
)  # fmt: skip
RULES = (
    Band(name="quality", column="quality", keep=3.0, drop=-3.0),
    Band(name="hard", column="spare", drop=-9.0, veto=True),
    *(Band(name=name, column=name, keep=0.9, drop=0.1) for name in OTHERS[:3]),
    Condition(name="last", columns=OTHERS[3:], keep="said_3 > 0.9", drop="said_3 < 0.1"),
)


def planted():
    """Rows that are good or bad; `quality` and `spare` tell, four others guess."""
    rng = np.random.default_rng(0)
    good = rng.random(ROWS) < 0.6
    centre = np.where(good, 1.0, -1.0)
    right = rng.random((ROWS, 4)) < 0.75
    said = np.where(right, good[:, None], ~good[:, None]).astype(float)
    said[rng.random((ROWS, 4)) < 0.3] = 0.5
    values = {
        "uid": [int(i).to_bytes(16, "big") for i in range(ROWS)],
        "quality": rng.normal(centre, 1), "spare": -rng.normal(centre, 1),
        "words": ["a"] * ROWS, **dict(zip(OTHERS, said.T, strict=True)),
    }  # fmt: skip
    return pl.DataFrame(values), good


def write_run(run, parts):
    """Lay out a curated run of one shard for each part."""
    (run / "scores").mkdir(parents=True)
    votes = [np.stack([rule.vote(part.to_dict()) for rule in RULES], axis=1) for part in parts]
    parts = [
        part.with_columns(votes_0=encode_votes(found)[:, 0].astype(np.uint64))
        for part, found in zip(parts, votes, strict=True)
    ]
    model = fit_label_model(np.concatenate(votes), model="triplet", prior=0.6)
    schema = score_schema(COLUMNS)
    for i, part in enumerate(parts):
        rows = len(part)
        base = {"uid": part["uid"].to_list(), "status": ["ok"] * rows, "offset": [0] * rows,
                "size": [0] * rows, "key": [""] * rows, "caption": [""] * rows}  # fmt: skip
        arrays = [pa.array(base[field.name], field.type) for field in BASE_SCHEMA]
        arrays += [
            to_array(part[c.name].to_list(), schema.field(c.name), valid_N=np.ones(rows, bool))
            for c in COLUMNS
        ]
        table = pa.Table.from_arrays(arrays, schema=schema)
        (run / "scores" / f"{i}.parquet").write_bytes(encode(table))
    names = tuple(c.name for c in COLUMNS)
    source = Source(str(run / "scores"), names, np.ones((len(parts), 32), np.uint8))
    ids = tuple(str(i) for i in range(len(parts)))
    (run / "subset").mkdir()
    (run / "subset" / "scores.parquet").write_bytes(Scores(ids, ids, (source,)).dump())
    (run / "subset" / "rules.json").write_text(json.dumps([asdict(rule) for rule in RULES]))
    (run / "subset" / "label_model.json").write_text(model.to_json())
    return run


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    frame, _ = planted()
    return write_run(tmp_path_factory.mktemp("whole") / "run", [frame])


def cuts(*arguments):
    done = CliRunner().invoke(filters_app(), ["cuts", *map(str, arguments)])
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done.stdout


def bands(text):
    found = TypeAdapter(list[Band]).validate_python(tomllib.loads(text).get("rules", []))
    return {band.name: band for band in found}


def test_it_prints_rules_of_a_config_and_leaves_the_run_alone(run, tmp_path):
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    text = cuts(run, "--write", tmp_path / "cuts.toml")
    assert (tmp_path / "cuts.toml").read_text() == text
    found = bands(text)
    assert set(found) == {"quality", *OTHERS[:3]}  # a veto and a condition are left out
    assert found["quality"].keep == pytest.approx(0.55, abs=0.35)
    assert found["quality"].drop == pytest.approx(-0.5, abs=0.4)
    assert (found["said_0"].keep, found["said_0"].drop) == (1.0, 0.0)
    assert "# quality: votes on " in text
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before


def test_shards_and_their_order_do_not_show(run, tmp_path):
    frame, _ = planted()
    shuffled = frame.sample(fraction=1.0, shuffle=True, seed=1)
    parts = [shuffled[2000:], shuffled[:700], shuffled[700:2000]]
    assert cuts(write_run(tmp_path / "run", parts)) == cuts(run)


def test_a_new_column_gets_a_band_in_the_direction_that_tells(run):
    found = bands(cuts(run, "--column", "spare"))
    assert set(found) == {"spare"}
    assert found["spare"].direction == "low"
    assert found["spare"].keep < found["spare"].drop


def test_labels_are_counted_where_there_are_enough(run, tmp_path):
    frame, good = planted()
    labels = pa.table(
        {
            "uid": pa.array(frame["uid"].to_list()[:500], pa.binary(16)),
            "label": pa.array(good[:500].astype(np.int32)),
            "chosen": ["random"] * 200 + ["uncertain"] * 300,
        }
    )
    (tmp_path / "labels.parquet").write_bytes(encode(labels))
    text = cuts(run, "--rule", "quality", "--labels", tmp_path / "labels.parquet")
    assert "by 200 labels" in text
    assert bands(text)["quality"].keep == pytest.approx(0.5, abs=0.7)


def test_a_band_of_which_nothing_is_found_stays(run, tmp_path):
    frame, _ = planted()
    noise = np.random.default_rng(5).random(ROWS)
    other = write_run(tmp_path / "run", [frame.with_columns(quality=pl.Series(noise))])
    text = cuts(other, "--rule", "quality")
    assert "left as it is" in text
    assert bands(text)["quality"] == RULES[0]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--rule", "last"], "got rule 'last', expected one of quality, hard, said_0"),
        (["--column", "hard"], "got column 'hard', which a rule is named after"),
        (["--column", "words"], "got column 'words', which is no number"),
        (["--column", "nowhere"], "got 'nowhere', expected one of quality"),
    ],
)
def test_what_cannot_be_cut_is_refused(run, arguments, message):
    with pytest.raises(ValueError, match=message):
        cuts(run, *arguments)


@pytest.mark.parametrize("damage", [b"", b"null", b"[1]", b"\xff"])
@pytest.mark.parametrize("name", ["label_model.json", "rules.json", "scores.parquet"])
def test_damaged_files_are_refused_in_one_line(tmp_path, name, damage):
    run = write_run(tmp_path / "run", [planted()[0][:10]])
    (run / "subset" / name).write_bytes(damage)
    with pytest.raises(ValueError, match=r": got .*thresher curate") as refused:
        cuts(run)
    assert "\n" not in str(refused.value)


def test_a_folder_without_a_subset_is_refused(tmp_path):
    with pytest.raises(ValueError, match="expected the folder of a run that has a subset"):
        cuts(tmp_path)
