"""Judging is the same on any number of ranks, and leaves no trace in what is judged."""

import dataclasses
import json

import pytest
import torch
from safetensors.torch import load

from filters.open_clip_models import tokenizer
from tests.ranks import run_ranks
from tests.stopping import Stopped, stop_at
from training.config import Evaluate, Log, Optim, Parallel, Save, Towers, Train
from training.evaluation.encoders import encoders_of, turns
from training.evaluation.evaluate import evaluate, run_tasks
from training.evaluation.heldout import see
from training.evaluation.judge import Exam
from training.log.sink import TIMINGS
from training.loop import train
from training.models.build import build_model
from training.parallel.ranks import ALONE, Ranks
from training.runs.runtime import Here

EXAM = Evaluate(
    tasks=("zeroshot:shape", "retrieval"), batch_size=4, templates=("a {c} thing", "{c}")
)
CALIBRATED = dataclasses.replace(EXAM, tasks=("zeroshot:colour",), calibrate=True)


@pytest.mark.parametrize(("count", "size", "world"), [(10, 4, 1), (10, 4, 2), (3, 4, 3), (0, 4, 2)])
def test_ranks_take_turns_equally_often_and_leave_nothing_out(count, size, world):
    every = [list(turns(count, size, Ranks(rank, world))) for rank in range(world)]
    assert len({len(batches) for batches in every}) == 1
    batches = sorted((b for batches in every for b in batches if b), key=lambda b: b.start)
    assert [i for b in batches for i in b] == list(range(count))
    assert all(len(b) == size for b in batches[:-1])


def _judged(ranks, model_file, heldout):
    model, model_cfg = build_model(model_file, seed=0)
    encoders = encoders_of(model.eval(), tokenizer(model_cfg), ranks=ranks, precision="float32")
    with torch.no_grad():
        image_ND = see(encoders, heldout, batch_size=4).image_ND
        text_ND = encoders.embed_texts(heldout.captions)
    records = run_tasks(EXAM, encoders, heldout), run_tasks(CALIBRATED, encoders, heldout)
    return image_ND.numpy().tobytes(), text_ND.numpy().tobytes(), records


def test_any_number_of_ranks_gives_the_same_bits(toy_pairs, tiny_model, tmp_path):
    heldout = toy_pairs(30, seed=4, corrupt=(0, 9, 29))
    alone = _judged(ALONE, tiny_model, heldout)
    assert alone[2][0][0]["metrics"]["skipped"] == 3
    for world in (2, 3):
        assert run_ranks(_judged, world, tmp_path, tiny_model, heldout) == [alone] * world


@pytest.fixture(scope="module")
def short(tiny_model):
    return Train(
        model=tiny_model,
        towers=Towers(lock_text=False),
        samples_seen=8 * 16,
        batch_size=16,
        save=Save(every=3, keep=1),
        log=Log(every=2, evaluate_every=3),
    )


def _weights(checkpoint):
    return load(checkpoint.read("open_clip_model.safetensors"))


def _lines(out):
    lines = [json.loads(line) for line in out.read("metrics.jsonl").splitlines()]
    return [{k: v for k, v in line.items() if k not in TIMINGS} for line in lines]


def test_a_run_that_is_watched_ends_like_one_that_is_not(toy_pairs, short, out):
    pairs, heldout = toy_pairs(40, seed=3), toy_pairs(20, seed=4, corrupt=(5,))
    plain = train(short, pairs, out=out / "plain", seed=5)
    exam = Exam(EXAM, heldout)
    watched = train(short, pairs, out=out / "watched", seed=5, exam=exam)
    ours, theirs = _weights(plain), _weights(watched)
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    lines = _lines(out / "watched")
    judged = {line["step"]: line for line in lines if "loss" not in line}
    assert judged.keys() == {3, 6, 8}
    assert [line for line in lines if "loss" in line] == _lines(out / "plain")
    for record in evaluate(watched, heldout, tasks=EXAM.tasks, templates=EXAM.templates):
        found = judged[8][f"eval/{record['key']}/main_metric"]
        assert found == pytest.approx(record["metrics"]["main_metric"])
    with pytest.raises(Stopped):
        train(short, pairs, out=out / "cut", seed=5, exam=exam, on_step=stop_at(8))
    train(short, pairs, out=out / "cut", seed=5, exam=exam)
    assert _lines(out / "cut") == lines


def _watched_and_not(ranks, cfg, pairs, exam, out):
    losses = {}
    for name, given in (("plain", None), ("watched", exam)):
        seen = losses.setdefault(name, [])
        train(
            cfg, pairs, out=out / name, seed=5, runtime=Here(ranks), exam=given,
            on_step=lambda entry, seen=seen: seen.append((entry["loss"], entry["grad_norm"])),
        )  # fmt: skip
    return losses


def test_averages_of_a_sharded_model_are_judged_and_not_trained_on(toy_pairs, short, out, tmp_path):
    cfg = dataclasses.replace(
        short, samples_seen=4 * 16, optim=Optim(average=0.9), parallel=Parallel(kind="fsdp"),
        log=Log(every=1, evaluate_every=2),
    )  # fmt: skip
    exam = Exam(dataclasses.replace(EXAM, tasks=("retrieval",)), toy_pairs(8, seed=4))
    said = run_ranks(_watched_and_not, 2, tmp_path, cfg, toy_pairs(40, seed=3), exam, out)
    for losses in said:
        assert len(losses["plain"]) == 4
        assert losses["watched"] == losses["plain"]
    ours, theirs = (_weights(out / name / "checkpoint") for name in ("plain", "watched"))
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_tasks_are_checked_before_anything_is_trained(toy_pairs, short, out):
    exam = Exam(dataclasses.replace(EXAM, tasks=("zeroshot:weight",)), toy_pairs(4, seed=4))
    with pytest.raises(ValueError, match="got 'zeroshot:weight', expected"):
        train(short, toy_pairs(40, seed=3), out=out, seed=5, exam=exam)
    assert not out.exists("metrics.jsonl")


def test_bfloat16_is_close(toy_pairs, tiny_model):
    heldout, found = toy_pairs(20, seed=4), []
    for precision in ("float32", "bfloat16"):
        model, model_cfg = build_model(tiny_model, seed=0)
        encoders = encoders_of(model.eval(), tokenizer(model_cfg), ranks=ALONE, precision=precision)
        with torch.no_grad():
            found.append(see(encoders, heldout, batch_size=8).image_ND)
    assert not torch.equal(*found)
    assert (found[0] * found[1]).sum(dim=1).min() > 0.99
