"""Many processes by torchrun's own command, and signals to them: nothing is lost or different."""

import dataclasses
import os
import pickle
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load

from pipeline.folder import Folder
from tests.ranks import run_ranks
from tests.stopping import Stopped, stop_at
from tests.training.runs.jobs import STEPS, make
from training.config import Save, Workers
from training.distill import distill
from training.runs.launch import launch
from training.runs.runtime import Here, Interrupted
from training.runs.torchrun import joined

ROOT = Path(__file__).parents[3]


def as_rank(ranks, job):
    return job(Here(ranks))


def weights(job):
    return load((job.out / "checkpoint").read("open_clip_model.safetensors"))


def equal(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


def stopped_after(ranks, job, step):
    """Be a rank of a run that ends with an error after a step."""
    with pytest.raises(Stopped):
        distill(
            job.cfg, job.teacher, job.pairs, out=job.out, seed=5, runtime=Here(ranks),
            on_step=stop_at(step),
        )  # fmt: skip


def signalled(ranks, job, number, step):
    """Be a rank of a run of which the last rank gets a signal in a step; return what is said."""

    def listen(entry):
        if entry["step"] == step and ranks.rank == ranks.count - 1:
            os.kill(os.getpid(), number)

    with pytest.raises(Interrupted) as caught:
        distill(
            job.cfg, job.teacher, job.pairs, out=job.out, seed=5, runtime=Here(ranks),
            on_step=listen,
        )  # fmt: skip
    return str(caught.value)


@pytest.fixture(scope="module")
def job(toy_pairs, tiny_model, tmp_path_factory):
    folder = Folder(str(tmp_path_factory.mktemp("job")))
    return make(tiny_model, toy_pairs(30, seed=3, corrupt=(7,)), folder)


@pytest.fixture(scope="module")
def whole(job, tmp_path_factory):
    """Return jobs done without a break, by ranks."""
    folder = tmp_path_factory.mktemp("whole")
    jobs = {n: dataclasses.replace(job, out=Folder(str(folder / str(n)))) for n in (1, 2)}
    jobs[1](Here())
    run_ranks(as_rank, 2, folder, jobs[2])
    return jobs


def test_torchruns_ranks_equal_forked_ones(job, whole, tmp_path):
    """By the real command; what is done once is done once, and only the first rank prints."""
    mine = dataclasses.replace(job, out=Folder(str(tmp_path / "out")))
    (tmp_path / "job.pickle").write_bytes(pickle.dumps(mine))
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    command += ["-m", "tests.training.runs.jobs", str(tmp_path / "job.pickle")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{mine.out.url} for 2 ranks: {mine.out.url}/checkpoint\n"
    assert equal(weights(mine), weights(whole[2]))


def test_ranks_that_resume_equal_ranks_that_never_stopped(job, whole, tmp_path):
    """Bit for bit on as many ranks: DDP sums in the same order."""
    mine = dataclasses.replace(job, out=Folder(str(tmp_path / "out")))
    run_ranks(stopped_after, 2, tmp_path, mine, 3)
    run_ranks(as_rank, 2, tmp_path, mine)
    assert equal(weights(mine), weights(whole[2]))


def test_ranks_may_change_on_resuming(job, whole, tmp_path):
    """The same pictures in the same order; sums are rounded in another order on other ranks."""
    mine = dataclasses.replace(
        job,
        out=Folder(str(tmp_path / "out")),
        cfg=dataclasses.replace(job.cfg, save=Save(every=100)),
    )
    said = run_ranks(signalled, 1, tmp_path, mine, signal.SIGUSR1, 2)
    said += run_ranks(signalled, 2, tmp_path, mine, signal.SIGTERM, 4)
    mine(Here())
    place = f"the state is saved in {mine.out.url}: start the same command again"
    assert all(place in text for text in said)
    assert said[0].startswith("train: got SIGUSR1 after step 2 of 6, expected to go on")
    assert [text[:33] for text in said[1:]] == ["train: got SIGTERM after step 4 of"[:33]] * 2
    assert (mine.out / "state").names() == ["step-00000002", "step-00000004"]
    expected = weights(whole[1])
    for name, weight in weights(mine).items():
        torch.testing.assert_close(weight, expected[name], rtol=1e-3, atol=1e-5)


def test_a_signal_in_the_last_step_ends_a_run_as_any_other(job, whole, tmp_path):
    mine = dataclasses.replace(job, out=Folder(str(tmp_path / "out")))
    before = signal.getsignal(signal.SIGTERM)  # Ray leaves one of its own in this process

    def listen(entry):
        if entry["step"] == STEPS:
            os.kill(os.getpid(), signal.SIGTERM)

    distill(mine.cfg, mine.teacher, mine.pairs, out=mine.out, seed=5, on_step=listen)
    assert equal(weights(mine), weights(whole[1]))
    assert signal.getsignal(signal.SIGTERM) == before


def test_without_torchrun_a_process_is_alone(monkeypatch):
    monkeypatch.delenv("RANK", raising=False)
    with joined("cpu") as here:
        assert (here.ranks.rank, here.ranks.count) == (0, 1)
        assert here.once(lambda: 3) == 3
        assert launch(lambda runtime: runtime.ranks.count, Workers(), here=here, address="off",
                      out=Folder("nowhere")) == 1  # fmt: skip


def fails_once(ranks):
    with pytest.raises(ValueError, match="got 1, expected 2") as caught:
        Here(ranks).once(lambda: complain(ranks.rank))
    return str(caught.value)


def complain(rank):
    raise ValueError(f"once: got 1, expected 2; rank {rank} says so")


def test_what_fails_once_fails_everywhere(tmp_path):
    assert run_ranks(fails_once, 2, tmp_path) == ["once: got 1, expected 2; rank 0 says so"] * 2
