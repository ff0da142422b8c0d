"""Ray Train: ranks that die are started again, and nothing is lost or different."""

import dataclasses
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.executors.cluster import connected
from pipeline.folder import Folder
from tests.ranks import run_ranks
from tests.training.runs.jobs import STEPS, make
from training.config import Workers
from training.runs.launch import launch
from training.runs.runtime import Here

ROOT = Path(__file__).parents[3]
TWO = Workers(count=2, cpus=0.5, failures=1)
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
def test_a_rank_killed_in_the_middle_changes_nothing(cluster, toy_pairs, tiny_model, tmp_path):
    """The same weights as those of undisturbed ranks that never saw Ray."""
    pairs, seen = toy_pairs(30, seed=3, corrupt=(7,)), []
    job = make(tiny_model, pairs, Folder(str(tmp_path)), kill=5)
    calm = dataclasses.replace(job, kill=0, out=Folder(str(tmp_path / "calm")))
    run_ranks(as_rank, 2, tmp_path, calm)
    url = launch(job, TWO, here=Here(), address=cluster, out=job.out, on_report=seen.append)
    assert (job.out).exists("died")
    assert url == (job.out / "checkpoint").url
    files = (calm.out / "checkpoint").files()
    assert (job.out / "checkpoint").files() == files
    assert all((job.out / "checkpoint").read(f) == (calm.out / "checkpoint").read(f) for f in files)
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
