"""Ray Train: ranks that die are started again, and nothing is lost or different."""

import dataclasses
import json
import shutil
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path

import pytest

import thresher
import training.trials
from pipeline.executors import run_local
from pipeline.executors.cluster import connected
from pipeline.folder import Folder
from tests.ranks import run_ranks
from tests.training.conftest import MODELS
from tests.training.runs.jobs import Mortal
from training.config import Workers
from training.run import load_run
from training.runs.launch import launch
from training.runs.runtime import Here

ROOT = Path(__file__).parents[3]
TWO = Workers(count=2, cpus=0.5, failures=1)
STEPS = 6
CONFIG = """
[data]
shards = ["{pool}"]
[train]
model = "{model}"
samples_seen = 66
batch_size = 11
device = "cpu"
[train.workers]
count = 2
cpus = 0.5
failures = 1
[train.save]
every = 2
[train.log]
every = 1
"""
BLOCKED = """
import sys
sys.modules["ray"] = None  # any import of it raises
import training.loop, training.distill, training.runs.launch, training.runs.torchrun
"""


def as_rank(ranks, job):
    return job(Here(ranks))


@pytest.fixture(scope="module")
def cluster():
    """Return the address of a Ray on this machine that all tests here share."""
    import ray

    with connected("local"):
        yield "local"
    ray.shutdown()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # Ray's own
def test_a_rank_killed_in_the_middle_changes_nothing(cluster, pool, tmp_path, monkeypatch):
    """By the front door, with batch norms: the weights of undisturbed ranks that never saw Ray.

    Places are relative, as on a command line: Ray Train's ranks stand elsewhere.
    """
    jobs, seen = [], []

    def mortal(**job):
        jobs.append(Mortal(**job, kill=5))
        return jobs[-1]

    monkeypatch.setattr(training.trials, "Pretraining", mortal)
    monkeypatch.setattr(thresher, "watched_steps", lambda _title: nullcontext(seen.append))
    monkeypatch.chdir(tmp_path)
    shutil.copy(MODELS / "tiny.json", tmp_path)
    Path("small.toml").write_text(CONFIG.format(pool=pool, model="tiny.json"))
    summary = thresher.run(load_run("small.toml"), out="run", execute=run_local, ray=cluster)
    (job,) = jobs
    assert job.out.url == f"run/{summary['runs']['subset']}"
    assert job.out.exists("died")
    calm = dataclasses.replace(job, kill=0, out=Folder(str(tmp_path / "calm")))
    run_ranks(as_rank, 2, tmp_path, calm)
    files = (calm.out / "checkpoint").files()
    assert (job.out / "checkpoint").files() == files
    assert all((job.out / "checkpoint").read(f) == (calm.out / "checkpoint").read(f) for f in files)
    written = (job.out.read("metrics.jsonl")).splitlines()
    assert [json.loads(line)["step"] for line in written] == list(range(1, STEPS + 1))
    assert seen
    assert seen[-1]["step"] <= STEPS


def refused(runtime):
    raise ValueError(f"train: got {runtime.ranks.count} ranks, expected none; go home")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_a_wrong_request_is_refused_once(cluster, out):
    one = Workers(count=1, cpus=0.5)
    with pytest.raises(ValueError, match="got 1 ranks, expected none; go home"):
        launch(refused, one, here=Here(), address=cluster, out=out)
    with pytest.raises(ValueError, match="got 999 ranks of 1 CPUs, expected at most"):
        launch(refused, Workers(count=999), here=Here(), address=cluster, out=out)


def test_ray_train_is_refused_without_ray(out):
    with pytest.raises(ValueError, match="got count = 2 with --ray off, expected"):
        launch(refused, TWO, here=Here(), address="off", out=out)


def test_training_never_imports_ray():
    subprocess.run([sys.executable, "-c", BLOCKED], check=True, cwd=ROOT)
