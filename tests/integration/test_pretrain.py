"""Pretraining alone, as the front door has it: shards that nobody curated, to a judged encoder."""

import json
import os
import re
import shlex
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from typer.testing import CliRunner

from filters.open_clip_models import ensure_torchvision
from pipeline.index.parts import uids_from_bytes
from pipeline.pairs import Pairs, pairs_from_shards
from pipeline.transient import DiskFull
from tests.faulty import small_disk
from thresher import app, load_run
from training.checkpoint.folder import identify

ROOT = Path(__file__).parents[2]
CONFIG = """
seed = 3
[data]
shards = ["{pool}"]
heldout = ["{pool}/00000.tar"]
[train]
model = "{model}"
samples_seen = 44
batch_size = 11
device = "cpu"
[train.towers]
image = "test_convnext"
[train.log]
every = 1
[train.save]
every = 2
"""
STEPS = 4


@pytest.fixture(scope="module")
def config(pool, tmp_path_factory):
    path = tmp_path_factory.mktemp("config") / "small.toml"
    path.write_text(CONFIG.format(pool=pool, model=ROOT / "configs" / "models" / "tiny.json"))
    return str(path)


def thresher(command, config, *options):
    """Run a command in this process; return what it prints."""
    done = CliRunner().invoke(app, [command, config, *map(str, options)], catch_exceptions=False)
    assert done.exit_code == 0
    return done.output


@pytest.fixture(scope="module")
def finished(config, tmp_path_factory):
    """Return the folder of a finished run, and what was printed."""
    out = tmp_path_factory.mktemp("finished") / "run"
    return out, thresher("train", config, "--out", out, "--ray", "off")


def written(out):
    """Return what each file of a run folder is on the disk; another file would have another id."""
    stats = {p.relative_to(out).as_posix(): p.stat() for p in out.rglob("*") if p.is_file()}
    return {name: (s.st_ino, s.st_mtime_ns, s.st_size) for name, s in stats.items()}


def summary_of(out):
    return json.loads((out / "summary.json").read_text())


def trained(out):
    """Return the one folder that was trained in."""
    (folder,) = (out / "train").glob("subset-*")
    return folder


def metrics(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def test_shards_become_a_judged_encoder(finished):
    out, printed = finished
    summary, folder = summary_of(out), trained(out)
    assert summary["runs"] == {"subset": f"train/{folder.name}"}
    assert set(summary["seconds"]) == {"train", "evaluate"}
    found = summary["zero_shot"]["subset"]
    told = ["zeroshot:category", "retrieval"]
    headline = " ".join(f"{task} {found[f'{task}/main_metric']:.3f}" for task in told)
    assert printed.splitlines() == [f"subset   {headline}", f"subset: {folder}/checkpoint"]
    assert [line["step"] for line in metrics(folder)] == list(range(1, STEPS + 1))
    assert json.loads((folder / "checkpoint" / "train.json").read_text())["pairs"] == 36
    assert not {"subset", "scores", "ledger", "report"} & {p.name for p in out.iterdir()}
    ensure_torchvision()
    import open_clip

    model = open_clip.create_model(f"local-dir:{folder / 'checkpoint'}")
    assert model.visual.image_size == (32, 32)


def test_what_is_no_class_is_left_out_by_hand_too(finished, pool):
    checkpoint = str(trained(finished[0]) / "checkpoint")
    told = ("--data", pool / "00000.tar", "--tasks", "zeroshot:category")
    said = [
        thresher("evaluate", checkpoint, *told, "--ignore-classes", names)
        for names in ("", "circle")
    ]
    whole, less = (json.loads(line)["metrics"] for line in said)
    assert (whole["classes"], less["classes"]) == (3, 2)
    assert whole["pictures"] > less["pictures"] > 0


def test_a_finished_run_does_nothing_again(finished, config):
    out, printed = finished
    before = written(out)
    assert thresher("run", config, "--out", out, "--ray", "off") == printed
    rewritten = {name for name, is_now in written(out).items() if before.get(name) != is_now}
    assert rewritten == {"config.toml", "summary.json"}


def by_hand(pool, copies):
    """Return the pairs that are in some subset, of numbers of pairs to copies for each subset."""
    chosen = sorted(set().union(*copies))
    every = pairs_from_shards(sorted(map(str, pool.glob("*.tar")))).take(chosen)
    return Pairs.of(
        every.shards, shard_N=every.shard_N[:], offset_N=every.offset_N[:], size_N=every.size_N[:],
        uids=[number.to_bytes(16, "big") for number in chosen],
        captions={"caption": list(every.captions)},
        copies=[[each.get(number, 0) for number in chosen] for each in copies],
    )  # fmt: skip


def subset(path, copies):
    """Write a `subset.npy` of numbers of pairs, each as often as it says; return its place."""
    uids = b"".join(n.to_bytes(16, "big") * often for n, often in copies.items())
    np.save(path, uids_from_bytes(uids))
    return str(path)


ONE, OTHER = dict.fromkeys(range(3, 20), 1) | {7: 2}, dict.fromkeys(range(15, 36), 1)


@pytest.mark.parametrize("copies", [(ONE,), (ONE, OTHER)], ids=["one subset", "a mix of two"])
def test_what_is_shown_is_what_subsets_say(pool, config, tmp_path, copies):
    """The identity of a run holds uids, captions and copies of what it is shown."""
    places = [subset(tmp_path / f"{i}.npy", each) for i, each in enumerate(copies)]
    if len(copies) == 1:
        sets = [f"train.sampling.subset={places[0]}"]
    else:
        mix = [f'{{subset="{place}", share={i + 1}}}' for i, place in enumerate(places)]
        sets = [f"train.sampling.mix=[{', '.join(mix)}]"]
    sets += ["train.samples_seen=18", "train.batch_size=9", "data.heldout=[]"]
    flags = [part for each in sets for part in ("--set", each)]
    printed = thresher("train", config, *flags, "--out", tmp_path / "run", "--ray", "off")
    assert printed == f"subset: {trained(tmp_path / 'run')}/checkpoint\n"
    cfg = load_run(config, overrides=sets)
    expected = identify(cfg.train, by_hand(pool, copies), seed=cfg.seed)
    assert trained(tmp_path / "run").name == f"subset-{expected}"
    document = json.loads((trained(tmp_path / "run") / "checkpoint" / "train.json").read_text())
    assert document["pairs"] == len(set().union(*copies))
    assert summary_of(tmp_path / "run")["zero_shot"] == {}


def test_requests_that_cannot_be_met_are_refused(config, tmp_path):
    place = subset(tmp_path / "other.npy", {3: 1, 99: 1, 100: 2})
    missing = rf"got uid {99:032x} and 1 more that no shard holds, expected .* of this pool"
    for change, message in [
        (f"train.sampling.subset={place}", missing),
        ("train.sampling.subset=/nowhere/subset.npy", "/nowhere/subset.npy"),
        ("train.towers.image=test_convnxt", r"image: got .*\['test_convnext',"),
        ("train.control=true", "train.control: got true, but nothing is curated"),
        ("train.workers.count=2", "got count = 2 with --ray off"),
    ]:
        with pytest.raises(ValueError, match=message):
            thresher("train", config, "--set", change, "--out", tmp_path / "run", "--ray", "off")
    assert not (tmp_path / "run" / "summary.json").exists()
    assert not list((tmp_path / "run").rglob("checkpoint"))


def test_a_plan_of_it_writes_nothing(config, tmp_path):
    planned = thresher("plan", config, "--out", tmp_path / "run")
    assert planned.startswith("train  ")
    assert f"{STEPS} steps of 11 pairs" in planned
    assert not (tmp_path / "run").exists()


def test_two_ranks_by_torchrun_train_what_one_process_trains(finished, config, tmp_path):
    """By the real command: judged and written once, printed once, the same but for rounding."""
    out, printed = finished
    mine = tmp_path / "run"
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    command += ["-m", "thresher", "train", config, "--ray", "off", "--out", str(mine)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    folder = trained(mine)
    assert folder.name == trained(out).name
    assert done.stdout.splitlines()[-1] == f"subset: {folder}/checkpoint"
    assert len(done.stdout.splitlines()) == len(printed.splitlines())
    left_out = ("eval/", "/state/")  # named by the weights; a file a rank
    names = [{n for n in written(f) if not any(s in n for s in left_out)} for f in (mine, out)]
    assert names[0] == names[1]
    assert len(list((mine / "eval").iterdir())) == 1
    found, expected = metrics(folder), metrics(trained(out))
    assert [line["step"] for line in found] == list(range(1, STEPS + 1))
    torch.testing.assert_close(
        [line["loss"] for line in found], [line["loss"] for line in expected], rtol=1e-4, atol=1e-5
    )
    name = "checkpoint/open_clip_model.safetensors"
    found, expected = load_file(folder / name), load_file(trained(out) / name)
    for key, weight in expected.items():
        if key.endswith("attn.in_proj_bias"):  # attention does not see that of its keys
            weight.chunk(3)[1].copy_(found[key].chunk(3)[1])
        torch.testing.assert_close(found[key], weight, rtol=1e-3, atol=1e-5, msg=key)


def bytes_of(folder):
    """Return what a folder takes of a disk, whole blocks."""
    return sum(-(-p.stat().st_size // 4096) * 4096 for p in folder.rglob("*") if p.is_file())


@pytest.mark.parametrize("part", ["state", "checkpoint"])
def test_a_disk_that_fills_up_costs_what_came_after_the_last_state(
    finished, config, tmp_path, part
):
    out, printed = finished
    state, checkpoint = (bytes_of(trained(out) / name) for name in ("state", "checkpoint"))
    spared = checkpoint if part == "checkpoint" else 2 * checkpoint + state
    room = bytes_of(out) - spared // 2
    (tmp_path / "disk").mkdir()
    with small_disk(tmp_path / "disk", size=2 * bytes_of(out) + 2**20) as disk:
        filler, mine = disk / "filler", disk / "run"
        filler.write_bytes(bytes(os.statvfs(disk).f_bavail * 4096 - int(room)))
        with pytest.raises(DiskFull, match=f"got a full disk at {disk}/run/train.*free some space"):
            thresher("train", config, "--out", mine, "--ray", "off")
        assert (trained(mine) / "state" / "step-00000002").exists() == (part == "checkpoint")
        assert not (trained(mine) / "checkpoint" / "train.json").exists()
        filler.unlink()
        again = thresher("train", config, "--out", mine, "--ray", "off")
        assert again.splitlines()[0] == printed.splitlines()[0]
        name = "checkpoint/open_clip_model.safetensors"
        assert (trained(mine) / name).read_bytes() == (trained(out) / name).read_bytes()


def readmes_commands():
    """Return README's commands that pretrain, each as a list of words."""
    text = (ROOT / "README.md").read_text().split("\n## Pretraining\n")[1]
    (block,) = re.findall(r"```\n(.*?)```", text, re.S)[:1]
    lines = block.replace("\\\n", " ").splitlines()
    return [words for line in lines if (words := shlex.split(line, comments=True))]


def test_readmes_commands(pool, tmp_path, monkeypatch):
    """All three ask for what there is; the one for a laptop is done, smaller."""
    monkeypatch.chdir(ROOT)
    laptop, torchrun, cluster = readmes_commands()
    assert torchrun[:5] == ["torchrun", "--nproc-per-node", "8", "-m", "thresher"]
    for words in (laptop, torchrun[4:], cluster):
        command, train, config, *rest = words
        assert (command, train) == ("thresher", "train")
        sets = [value for flag, value in pairwise(rest) if flag == "--set"]
        assert load_run(config, overrides=sets).train is not None
    small = [f'data.shards=["{pool}"]', f'data.heldout=["{pool}"]', "train.samples_seen=32"]
    small += ["train.batch_size=16"]
    flags = [part for each in small for part in ("--set", each)]
    out = tmp_path / "run"
    printed = thresher(*laptop[1:], *flags, "--out", out, "--ray", "off")
    assert printed.splitlines()[-1] == f"subset: {trained(out)}/checkpoint"
