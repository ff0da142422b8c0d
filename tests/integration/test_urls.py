"""A whole run whose every place is a URL: the same subset and checkpoints as on a disk."""

import json
import re
from pathlib import Path

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from pipeline.folder import Folder
from pipeline.staging import split_url
from pipeline.weights import cache_root
from tests.integration.conftest import CONFIG
from thresher import app

MODEL = Path(__file__).parents[2] / "configs" / "models" / "tiny.json"
REST = """
[train]
model = "{model}"
samples_seen = 48
batch_size = 8
control = true
[train.save]
every = 2
[evaluate]
tasks = ["zeroshot:category", "retrieval"]
[distill]
model = "{model}"
samples_seen = 32
batch_size = 8
"""


def thresher(*arguments):
    """Run a command in this process, where memory:// is; return what it prints."""
    return CliRunner().invoke(app, list(arguments), catch_exceptions=False).output


def lay_out(home, pool):
    """Put shards, planted truth, model document and config into a folder; return the config."""
    for shard in pool.glob("*.tar"):
        home.upload(shard, f"shards/{shard.name}")
    home.upload(MODEL, "model.json")
    kinds = pa.array(["swapped", "clean"] * 18)
    uids = [f"{number:032x}" for number in range(36)]
    truth = pa.table({"uid": uids, "kind": kinds, "twin": pa.nulls(36, pa.string())})
    sink = pa.BufferOutputStream()
    pq.write_table(truth, sink)
    home.write("truth.parquet", sink.getvalue().to_pybytes())
    shards = home.path("shards")
    data = f'shards = ["{shards}"]\nheldout = ["{shards}/00000.tar"]\n'
    data += f'truth = "{home.path("truth.parquet")}"'
    config = CONFIG.replace('shards = ["{shards}"]', data) + REST
    home.write("run.toml", config.replace("{model}", home.path("model.json")).encode())
    return home.path("run.toml")


@pytest.fixture
def runs(pool, out, remote, tmp_path, monkeypatch):
    """Return the run folder on the disk and the one in memory, both finished."""
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "models").symlink_to(cache_root() / "models")  # conversions are dear
    monkeypatch.setenv("THRESHER_CACHE", str(tmp_path / "cache"))
    for home in (out, remote):
        printed = thresher(
            "run", lay_out(home, pool), "--out", home.path("run"), "--ray", "off",
            "--set", "train.loader.threads=1",
        )  # fmt: skip
        assert f"report: {home.path('run')}/report/index.html" in printed
    return out / "run", remote / "run"


def named_alike(names):
    """Leave out what is named by where shards lie or who wrote it, and locks, of disks alone."""
    anew = ("scores/", "ledger/", "log/", "decisions/", "train/index/")
    drawn = re.compile(r"train/random-\w+\.npy")
    names = [n for n in names if not n.startswith(anew) and not drawn.fullmatch(n)]
    return [n for n in names if not n.endswith("/.lock")]


def test_everything_at_urls_gives_the_bytes_of_everything_on_a_disk(runs):
    here, there = runs
    made, other = (named_alike(run.files()) for run in (here, there))
    assert made == other
    assert sum(name.endswith("open_clip_model.safetensors") for name in made) == 3
    for name in made:  # others hold seconds, or the places themselves
        if name.startswith(("subset/subset.", "eval/")) or "/checkpoint/" in name:
            assert there.read(name) == here.read(name), name
    tables = [sorted((r / "scores").read(n) for n in (r / "scores").files()) for r in runs]
    assert tables[0] == tables[1]  # their names hold what tells one state of a shard from another
    summaries = [json.loads(run.read("summary.json")) for run in runs]
    for summary in summaries:
        del summary["seconds"]
    assert summaries[0] == summaries[1]
    assert set(summaries[0]["planted"]) == {"clean", "swapped"}


def test_commands_on_a_run_in_a_store(runs, remote):
    _, run = runs
    assert "ok 36" in thresher("status", run.url)
    assert "all tables are what the ledger says" in thresher("verify", run.url)
    assert thresher("report", run.url).strip() == run.path("report/index.html")
    config = remote.path("run.toml")
    assert "done; deciding reads columns only" in thresher("plan", config, "--out", run.url)
    summary = json.loads(run.read("summary.json"))
    results = remote.path("results.jsonl")
    thresher(
        "evaluate", (run / summary["runs"]["student"] / "checkpoint").url,
        "--data", remote.path("shards/00000.tar"), "--out", results,
    )  # fmt: skip
    folder, name = split_url(results)
    records = [json.loads(line) for line in folder.read(name).splitlines()]
    found = {f"{r['key']}/{k}": v for r in records for k, v in r["metrics"].items()}
    known = summary["zero_shot"]["student"]
    assert {k: v for k, v in found.items() if k.startswith("retrieval")} == {
        k: v for k, v in known.items() if k.startswith("retrieval")
    }


def test_a_finished_run_in_a_store_does_nothing_again(runs, remote):
    _, run = runs
    made = ("scores/", "ledger/", "train/", "student", "eval/", "subset/subset.")
    fs, root = fsspec.core.url_to_fs(run.url)
    before = {n: fs.modified(f"{root}/{n}") for n in run.files() if n.startswith(made)}
    thresher("run", remote.path("run.toml"), "--out", run.url, "--ray", "off")
    after = {n: fs.modified(f"{root}/{n}") for n in run.files() if n.startswith(made)}
    rewritten = {name for name, time in after.items() if before.get(name) != time}
    assert {name.rpartition("/")[2] for name in rewritten} == {"subset.npy", "subset.parquet"}


def test_a_pool_is_built_from_a_store_into_a_store(pool, remote):
    for shard in pool.glob("*.tar"):
        remote.upload(shard, f"own/{shard.name}")
    printed = thresher("pool", "build", "--from", remote.path("own"), "--out", remote.path("pool"))
    assert json.loads(printed)["pairs"].keys() == {"pool", "heldout"}
    assert {"pool/00000.tar", "heldout/00000.tar", "pool.json"} == set((remote / "pool").files())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ('data.truth="memory://nowhere/truth.parquet"', "got memory://nowhere/truth.parquet"),
        ("train.model=memory://nowhere/model.json", "got memory://nowhere/model.json"),
        ('data.shards=["memory://nowhere/*.tar"]', "memory://nowhere/"),
    ],
)
def test_what_is_not_there_is_refused_before_scoring(pool, remote, change, message):
    config = lay_out(remote, pool)
    with pytest.raises(ValueError, match=message):
        thresher("run", config, "--out", remote.path("run"), "--ray", "off", "--set", change)
    assert (remote / "run").files() == []


def test_a_config_that_is_not_there_is_refused(remote):
    with pytest.raises(ValueError, match=f"got {remote.url}/no.toml, expected a TOML file"):
        thresher("plan", Folder(remote.url).path("no.toml"))
