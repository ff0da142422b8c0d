"""`thresher filters analyze`: stored votes and labels in, tables out."""

import json
from dataclasses import replace
from functools import partial

import numpy as np
import pyarrow as pa
import pytest
import typer
from typer.testing import CliRunner

from filters.ensemble import fit_label_model, load_label_model
from filters.rules import Band
from pipeline.commands import add_commands
from pipeline.folder import Folder
from pipeline.scores import Scores
from pipeline.tables import encode
from pipeline.voted import analyse_run, labels_of, read_decisions, rule_names
from pipeline.votes import rules_json
from tests.decided import decided

ROWS, RULES = 400, ("a", "b", "c", "never")
UIDS = [i.to_bytes(16, "big") for i in range(ROWS)]


@pytest.fixture(scope="module")
def votes():
    rng = np.random.default_rng(0)
    good = rng.random(ROWS) < 0.7
    right = rng.random((ROWS, 4)) < (0.9, 0.8, 0.7, 0.5)
    found = np.where(right, good[:, None], ~good[:, None]).astype(np.int8)
    found[rng.random((ROWS, 4)) < 0.2] = -1
    found[:, 3] = -1
    return good, found


@pytest.fixture
def run(votes, tmp_path):
    """A run with nothing but what a curated one has stored of its votes."""
    _, found = votes
    model = fit_label_model(found, prior=0.7)
    columns = {f"vote:{r}": pa.array(found[:, m]) for m, r in enumerate(RULES)}
    folder = Folder(str(tmp_path / "run"))
    table = {"uid": pa.array(UIDS, pa.binary(16)), "reason": ["ok"] * ROWS}
    p_keep = {"p_keep": model.predict(found)}
    shard = {"shard": pa.array(np.zeros(ROWS, np.int32))}
    rules = [Band(name=name, column=name, keep=1.0) for name in RULES]
    scores = decided(tmp_path / "scores", pa.table(shard | table | p_keep | columns), rules)
    (folder / "subset").write("scores.parquet", scores.dump())
    (folder / "subset").write("rules.json", rules_json(rules))
    (folder / "subset").write("label_model.json", model.to_json().encode())
    return folder


def write_labels(run, uids, labels, chosen=None, name="labels.parquet"):
    columns = {"uid": uids, "label": labels}
    run.write(name, encode(pa.table(columns | ({"chosen": chosen} if chosen else {}))))
    return run.path(name)


def thresher(*arguments):
    app = typer.Typer(rich_markup_mode=None)
    add_commands(app)
    return CliRunner().invoke(app, [str(a) for a in arguments], catch_exceptions=False)


def tables(text):
    parts = [part.split("\n") for part in text.strip().split("\n\n")]
    return {head: [line.split("\t") for line in lines] for head, *lines in parts}


def test_tables_and_json_say_the_same(run, votes, tmp_path):
    _, found = votes
    result = thresher("filters", "analyze", run.url, "--json", tmp_path / "told.json")
    told = json.loads((tmp_path / "told.json").read_text())
    shown = tables(result.stdout)
    head, *rows = shown["# votes of each rule"]
    assert head == ["rule", "polarity", "coverage", "overlap", "conflict", "keep", "drop"]
    assert [row[0] for row in rows] == ["1 a", "2 b", "3 c", "4 never"]
    for m, (row, rule) in enumerate(zip(rows, told["rules"], strict=True)):
        assert (
            rule["coverage"] == np.mean(found[:, m] >= 0) == pytest.approx(float(row[2]), abs=1e-3)
        )
        assert rule["keep"] == (found[:, m] == 1).sum() == int(row[5])
    both = (found[:, 0] >= 0) & (found[:, 1] >= 0)
    assert told["both_vote"][0][1] == both.sum()
    assert told["agreement"][0][1] == np.mean(found[both, 0] == found[both, 1])
    assert told["agreement"][0][3] is None
    assert shown["# agreement: share of equal votes where both vote"][1][4] == ""
    assert sum(told["rows_by_votes"]) == sum(told["rows_by_p_keep"]) == ROWS
    assert "# labels on each rule" not in shown
    assert ["model", "latent_class"] in shown["# ensemble"]


def test_labels_of_the_run_are_taken_and_others_on_request(run, votes, tmp_path):
    good, found = votes
    write_labels(run, pa.array(UIDS[:100], pa.binary(16)), good[:100].astype(np.int32))
    shown = tables(thresher("filters", "analyze", run.url, "--json", tmp_path / "own.json").stdout)
    head, *_, never = shown["# labels on each rule"]
    assert head == ["rule", "labelled", "empirical", "low", "high", "by chance"]
    assert never == ["4 never", "0", "", "", "", ""]
    own = json.loads((tmp_path / "own.json").read_text())
    voted = found[:100, 0] >= 0
    assert own["rules"][0]["labelled"] == voted.sum()
    assert own["rules"][0]["empirical"] == np.mean(found[:100, 0][voted] == good[:100][voted])
    hexes = [uid.hex().lstrip("0") or "0" for uid in UIDS]
    other = write_labels(run, hexes, good.astype(np.int64), name="other.parquet")
    thresher("filters", "analyze", run.url, "--labels", other, "--json", tmp_path / "all.json")
    every = json.loads((tmp_path / "all.json").read_text())
    assert every["rules"][0]["labelled"] == (found[:, 0] >= 0).sum()
    assert every["labels"] == "400 labels"
    model = load_label_model((run / "subset").read("label_model.json").decode())
    p_keep = model.predict(found)
    assert every["calibration"]["brier_score"] == pytest.approx(np.mean((p_keep - good) ** 2))
    bins = every["calibration"]["bins"]
    assert sum(b["labelled"] for b in bins) == ROWS
    assert sum(b["share"] * b["labelled"] for b in bins) == pytest.approx(good.sum())


def test_only_random_ones_count_where_it_is_known(run, votes):
    good, found = votes
    chosen = ["random", "uncertain"] * 5
    uids, labels = pa.array(UIDS[:10], pa.binary(16)), good[:10].astype(np.int32)
    write_labels(run, uids, labels, chosen)
    told = analyse_run(run)
    assert told.labels == "5 labels, the random ones of 10"
    assert told.analysis.judged_M.tolist() == (found[:10:2] >= 0).sum(axis=0).tolist()
    assert told.outcomes.rows == 5
    write_labels(run, uids, labels, ["uncertain"] * 10)
    told = analyse_run(run)
    assert told.labels == "0 labels, the random ones of 10"
    assert (told.analysis.judged_M.sum(), told.outcomes) == (0, None)
    thresher("filters", "analyze", run.url)


def test_labels_of_other_pairs_are_told(run):
    write_labels(run, pa.array([UIDS[0], b"x" * 16], pa.binary(16)), [1, 0])
    assert (
        "2 labels; 1 of pairs without votes left out"
        in thresher("filters", "analyze", run.url).stdout
    )


@pytest.mark.parametrize(
    ("uids", "labels", "message"),
    [
        (["00"], [2], "got 2 in .*expected 1 for keep"),
        (["00"], [None], "got 1 rows of .* without a finite 'label'"),
        (["00", "0"], [1, 0], "got 0{32} twice"),
        (["zz"], [1], "got uid 'zz'"),
        (["0" * 33], [1], "got uid '0000"),
        ([1], [1], "got uid 1,"),
        (["00"], [[1]], "got a column 'label' of list"),
    ],
)
def test_labels_that_are_none_are_refused(run, uids, labels, message):
    write_labels(run, uids, pa.array(labels))
    with pytest.raises(ValueError, match=f"labels: {message}"):
        labels_of(run)


@pytest.mark.parametrize("damage", [b"", b"null", b"[1]", b'{"a": 1}', b'[{"name": 1}]', b"\xff"])
def test_damaged_rules_are_refused(run, damage):
    (run / "subset").write("rules.json", damage)
    with pytest.raises(
        ValueError, match=r"got .*rules\.json damaged .*, expected .*thresher curate"
    ):
        rule_names(run)


def test_rules_that_are_none_are_refused(run):
    (run / "subset").write("rules.json", b'[{"name": "a", "kind": "band", "keep": "x"}]')
    with pytest.raises(ValueError, match=r"rules\.json damaged \(0\.band\.\w+: .*thresher curate"):
        read_decisions(run, ("uid",))


def test_what_is_no_curated_run_is_refused(run, tmp_path):
    with pytest.raises(ValueError, match=r"without subset/scores\.parquet.*thresher curate"):
        read_decisions(Folder(str(tmp_path)), ())
    run.write("labels.parquet", encode(pa.table({"x": [1]})))
    with pytest.raises(ValueError, match=r"got .*without label, uid"):
        labels_of(run)
    (run / "subset").write("label_model.json", b'{"kind": "triplet", "prior": 0.7}')
    with pytest.raises(ValueError, match=r"label model: .*thresher curate"):
        thresher("filters", "analyze", run.url)


@pytest.mark.parametrize("command", ["label", "filters analyze", "filters cuts", "filters wrench"])
def test_help_has_an_example(command):
    result = thresher(*command.split(), "--help")
    assert f"Example: thresher {command}" in " ".join(result.stdout.split())


@pytest.fixture
def cut(run, votes, tmp_path):
    """The same run in eight shards of 50 rows."""
    whole = read_decisions(run, ("uid", "reason", "p_keep")).table
    shard = pa.array(np.repeat(np.arange(8, dtype=np.int32), ROWS // 8))
    rules = [Band(name=name, column=name, keep=1.0) for name in RULES]
    scores = decided(tmp_path / "cut", whole.append_column("shard", shard), rules)
    (run / "subset").write("scores.parquet", scores.dump())
    return whole


def test_of_a_large_pool_whole_shards_are_read_the_same_each_time(run, cut):
    columns = ("shard", "uid", "reason", "p_keep")
    every = read_decisions(run, columns, most=ROWS)
    assert (every.is_whole, every.told, every.shards) == (True, "", 8)
    assert every.table.drop_columns("shard").equals(cut)
    some, more = (read_decisions(run, columns, most=most) for most in (149, 299))
    assert (some.shards, more.shards, some.of) == (2, 5, 8)
    assert some.told == "a sample: 100 rows, 2 of 8 shards"
    held = [sorted(set(s.table.column("shard").to_pylist())) for s in (some, more)]
    assert set(held[0]) < set(held[1])
    assert held[1] != [0, 1, 2, 3, 4]  # not just the first
    for sample, shards in zip((some, more), held, strict=True):
        rows = np.concatenate([np.arange(50 * s, 50 * s + 50) for s in shards])
        assert sample.table.drop_columns("shard").equals(cut.take(rows))
    assert read_decisions(run, columns, most=1).shards == 1


def test_an_analysis_says_that_it_is_of_a_sample(run, cut, monkeypatch):
    write_labels(run, pa.array(UIDS, pa.binary(16)), np.ones(ROWS, np.int32))
    monkeypatch.setattr("pipeline.voted.read_decisions", partial(read_decisions, most=100))
    told = analyse_run(run)
    assert told.analysis.rows == 100
    assert told.labels == "400 labels; 300 of pairs without votes or outside the sample left out"
    shown = tables(thresher("filters", "analyze", run.url).stdout)
    assert ["rows", "100, of a sample: 100 rows, 2 of 8 shards"] in shown["# ensemble"]


def test_a_run_of_an_earlier_version_is_refused(run):
    subset = run / "subset"
    scores = Scores.load(subset.read("scores.parquet"))
    subset.write("scores.parquet", replace(scores, sources=()).dump())
    for damage in (None, b"", b"PAR1"):
        if damage is not None:
            subset.write("scores.parquet", damage)
        with pytest.raises(ValueError, match=r"scores\.parquet damaged, or of an earlier version"):
            read_decisions(run, ("uid",))
