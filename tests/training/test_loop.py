"""Training end to end at tiny size: it learns, and stopping it in any way changes nothing."""

import dataclasses
import json
import os
import pickle
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load

from filters.open_clip_models import ensure_torchvision
from tests.stopping import Stopped, stop_at
from training.checkpoint.folder import TrainingFolder
from training.config import Guard, Log, Loss, Optim, Save, Towers, Train
from training.evaluation.evaluate import evaluate
from training.log.sink import TIMINGS
from training.loop import train
from training.models.build import build_model, load_model
from training.objectives import Contrastive
from training.parallel.ranks import ALONE

ROOT = Path(__file__).parents[2]
TASKS = ("zeroshot:shape", "zeroshot:colour", "retrieval")
TEMPLATES = ("a {c} thing", "{c}")


def _weights(checkpoint):
    return load(checkpoint.read("open_clip_model.safetensors"))


def _equal(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


def _lines(out):
    """What the log says, without how long it took."""
    lines = [json.loads(line) for line in out.read("metrics.jsonl").splitlines()]
    return [{k: v for k, v in line.items() if k not in TIMINGS} for line in lines]


@pytest.fixture(scope="module")
def short(tiny_model):
    """Eight steps, a state every third."""
    return Train(
        model=tiny_model,
        towers=Towers(lock_text=False),
        samples_seen=8 * 16,
        batch_size=16,
        save=Save(every=3, keep=2),
        log=Log(every=2),
    )


@pytest.mark.parametrize("loss", ["siglip", "clip"])
def test_it_learns_the_planted_truth(toy_pairs, tiny_model, out, loss):
    cfg = Train(
        model=tiny_model,
        loss=Loss(kind=loss),
        towers=Towers(lock_text=False),
        samples_seen=5120,
        batch_size=64,
        optim=Optim(lr=3e-3),
    )
    checkpoint = train(cfg, toy_pairs(300, seed=1), out=out, seed=0)
    records = evaluate(
        checkpoint, toy_pairs(100, seed=2), tasks=TASKS, batch_size=64, templates=TEMPLATES
    )
    by_key = {record["key"]: record["metrics"] for record in records}
    assert by_key["zeroshot:shape"]["mean_per_class_recall"] > 0.65  # chance 0.33; seeds differ
    assert by_key["zeroshot:colour"]["mean_per_class_recall"] > 0.8  # chance 0.25
    assert by_key["retrieval"]["mean_recall@1"] > 0.8  # chance about 0.08
    losses = [entry["loss"] for entry in _lines(out)]
    assert losses[-1] < losses[0]


def test_resumed_equals_uninterrupted_bit_for_bit(toy_pairs, short, out):
    pairs = toy_pairs(40, seed=3, corrupt=(7,))
    whole = train(short, pairs, out=out / "whole", seed=5)
    with pytest.raises(Stopped):
        train(short, pairs, out=out / "cut", seed=5, on_step=stop_at(5))
    seen = []
    resumed = train(short, pairs, out=out / "cut", seed=5, on_step=seen.append)
    assert [entry["step"] for entry in seen] == [4, 5, 6, 7, 8]
    assert _equal(_weights(whole), _weights(resumed))
    assert _lines(out / "whole") == _lines(out / "cut")
    assert whole.read("train.json") == resumed.read("train.json")


def test_how_it_runs_may_change_on_resuming(toy_pairs, short, out):
    pairs = toy_pairs(40, seed=3)
    whole = train(short, pairs, out=out / "whole", seed=5)
    with pytest.raises(Stopped):
        train(short, pairs, out=out / "cut", seed=5, on_step=stop_at(5))
    other = dataclasses.replace(
        short,
        loader=dataclasses.replace(short.loader, threads=1, prefetch=1, cache_bytes=0),
        save=dataclasses.replace(short.save, every=1),
    )
    resumed = train(other, pairs, out=out / "cut", seed=5)
    assert _equal(_weights(whole), _weights(resumed))


KILLED_RUN = """
import os, pickle, signal, sys
from pathlib import Path
import torch
from training.log.sink import TIMINGS
from training.loop import train
from training.models.build import load_model
torch.set_num_threads(1)
cfg, pairs, out = pickle.loads(Path(sys.argv[1]).read_bytes())
def kill(entry):
    if entry["step"] == 5:
        os.kill(os.getpid(), signal.SIGKILL)
train(cfg, pairs, out=out, seed=5, on_step=kill)
"""


def test_killed_and_started_again_equals_uninterrupted(toy_pairs, short, out, tmp_path):
    pairs, job = toy_pairs(40, seed=3), tmp_path / "job.pickle"
    job.write_bytes(pickle.dumps((short, pairs, out / "cut")))
    process = subprocess.run([sys.executable, "-c", KILLED_RUN, job], check=False, cwd=ROOT)
    assert process.returncode == -signal.SIGKILL
    assert not (out / "cut").exists("checkpoint")
    resumed = train(short, pairs, out=out / "cut", seed=5)
    whole = train(short, pairs, out=out / "whole", seed=5)
    assert _equal(_weights(whole), _weights(resumed))
    assert _lines(out / "whole") == _lines(out / "cut")


@pytest.mark.parametrize("workers", [0, 1])
def test_a_shard_cut_short_on_the_way_stops_the_run_until_it_is_back(
    toy_pairs, short, out, workers
):
    """Nothing stands in for its pairs, as for a picture that is broken: they are read later."""
    pairs = toy_pairs(40, seed=3)
    whole = train(short, pairs, out=out / "whole", seed=5)
    shard = Path(pairs.shards[0])
    there = shard.read_bytes()
    loader = dataclasses.replace(short.loader, threads=1, prefetch=1, cache_bytes=0)
    loader = dataclasses.replace(loader, workers=workers)
    cfg = dataclasses.replace(short, loader=loader)

    def cut(entry):
        if entry["step"] == 1:
            os.truncate(shard, 1000)

    with pytest.raises(OSError, match=r"00000\.tar: got .* bytes .* put the shard back"):
        train(cfg, pairs, out=out / "cut", seed=5, on_step=cut)
    assert not (out / "cut").exists("checkpoint")
    shard.write_bytes(there)
    assert _equal(_weights(whole), _weights(train(cfg, pairs, out=out / "cut", seed=5)))
    assert _lines(out / "whole") == _lines(out / "cut")


def test_a_finished_run_returns_without_touching_data(toy_pairs, short, out):
    pairs = toy_pairs(40, seed=3)
    first = train(short, pairs, out=out, seed=5)
    gone = dataclasses.replace(pairs, shards=("/nowhere/00000.tar",))
    assert train(short, gone, out=out, seed=5) == first


@pytest.mark.parametrize("finished", [True, False])
def test_another_run_in_the_same_folder_is_refused(toy_pairs, short, out, finished):
    pairs = toy_pairs(40, seed=3)
    if finished:
        train(short, pairs, out=out, seed=5)
    else:
        with pytest.raises(Stopped):
            train(short, pairs, out=out, seed=5, on_step=stop_at(5))
    other = dataclasses.replace(short, optim=Optim(lr=0.5))
    for cfg, given, seed in (
        (other, pairs, 5),
        (short, pairs.take(range(39)), 5),
        (short, pairs, 6),
    ):
        with pytest.raises(ValueError, match="holds a run with"):
            train(cfg, given, out=out, seed=seed)


def test_only_the_newest_states_are_kept(toy_pairs, short, out):
    cfg = dataclasses.replace(short, save=Save(every=1, keep=2))
    train(cfg, toy_pairs(40, seed=3), out=out, seed=5)
    assert (out / "state").names() == ["step-00000006", "step-00000007"]


def test_a_loss_that_is_not_finite_stops_the_run(toy_pairs, short, out):
    optim = Optim(lr=1e30, warmup=0.0, grad_clip=1e30)
    cfg = dataclasses.replace(short, optim=optim, guard=Guard(patience=3))
    with pytest.raises(RuntimeError, match=r"got loss nan .* expected a finite number; 3 steps"):
        train(cfg, toy_pairs(40, seed=3), out=out, seed=5)


def test_weights_that_the_last_steps_have_ruined_are_not_exported(tiny_model, out):
    model, document = build_model(tiny_model, seed=0)
    with torch.no_grad():
        model.logit_scale.fill_(torch.inf)
    folder = TrainingFolder(out, identity="it", keep=1)
    with pytest.raises(RuntimeError, match=r"1 weights that are not finite .* lower optim\.lr"):
        folder.finish(model, document, {}, ranks=ALONE)
    assert not out.exists("checkpoint")


def test_a_run_that_left_most_steps_out_exports_nothing(toy_pairs, short, out):
    optim = Optim(lr=1e39, warmup=0.0, grad_clip=1e30)
    cfg = dataclasses.replace(short, optim=optim, guard=Guard(patience=100))
    with pytest.raises(RuntimeError, match=r"got \d of 8 steps left out, .* lower optim\.lr"):
        train(cfg, toy_pairs(40, seed=3), out=out, seed=5)
    assert not out.exists("checkpoint")


def test_a_tower_gets_captions_as_long_as_the_longest(toy_pairs, short, out, monkeypatch):
    lengths, encode = set(), Contrastive.encode

    def watched(self, batch):
        lengths.add(batch.text_BL.shape[1])
        return encode(self, batch)

    monkeypatch.setattr(Contrastive, "encode", watched)
    towers = Towers(text="bytes")
    train(dataclasses.replace(short, towers=towers), toy_pairs(40, seed=3), out=out, seed=5)
    assert lengths == {16}  # "a black circle" and a start byte, of a context of hundreds


def test_bfloat16_learns_too(toy_pairs, short, out):
    cfg = dataclasses.replace(short, precision="bfloat16")
    checkpoint = train(cfg, toy_pairs(40, seed=3), out=out, seed=5)
    assert all(w.dtype in (torch.float32, torch.int64) for w in _weights(checkpoint).values())
    assert len(_lines(out)) == 4


def test_plain_open_clip_loads_the_checkpoint(toy_pairs, short, out):
    """Same document, same weights, same features, without any of our code."""
    ensure_torchvision()  # where a wheel of torchvision does not fit torch's, it cannot be imported
    import open_clip

    checkpoint = train(short, toy_pairs(40, seed=3), out=out, seed=5)
    theirs, _, transform = open_clip.create_model_and_transforms(f"local-dir:{checkpoint.url}")
    theirs.eval()
    ours, _ = load_model(checkpoint)
    generator = torch.Generator().manual_seed(0)
    pictures = torch.randn(4, 3, 32, 32, generator=generator)
    tokens = open_clip.get_tokenizer(f"local-dir:{checkpoint.url}")(["a red bar", "a blue circle"])
    with torch.no_grad():
        torch.testing.assert_close(ours.encode_image(pictures), theirs.encode_image(pictures))
        torch.testing.assert_close(ours.encode_text(tokens), theirs.encode_text(tokens))
    torch.testing.assert_close(ours.logit_bias, theirs.logit_bias)
    assert "size=32" in str(transform)
