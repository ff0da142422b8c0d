"""A student meets its teacher, keeps its text tower, and is an ordinary checkpoint."""

import dataclasses
import json
from pathlib import Path

import pytest
import torch

from pipeline.folder import Folder
from training.config import Distill, Optim, Save, Towers, Train
from training.distill import distill
from training.evaluation.evaluate import evaluate
from training.loop import train
from training.models.build import load_model


@pytest.fixture(scope="module")
def teacher(toy_pairs, tiny_model, tmp_path_factory) -> Folder:
    cfg = Train(
        model=tiny_model,
        towers=Towers(lock_text=False),
        samples_seen=5120,
        batch_size=64,
        optim=Optim(lr=3e-3),
    )
    return train(
        cfg, toy_pairs(300, seed=1), out=Folder(str(tmp_path_factory.mktemp("teacher"))), seed=0
    )


@pytest.fixture(scope="module")
def student_model(tiny_model, tmp_path_factory) -> str:
    """The teacher's document with a smaller tower of another family."""
    document = json.loads(Path(tiny_model).read_text())
    document["vision_cfg"]["timm_model_name"] = "test_efficientnet"
    path = tmp_path_factory.mktemp("student") / "student.json"
    path.write_text(json.dumps(document))
    return str(path)


@pytest.fixture(scope="module")
def short(student_model) -> Distill:
    return Distill(model=student_model, samples_seen=8 * 16, batch_size=16, save=Save(every=3))


def test_the_student_learns_the_planted_truth(toy_pairs, teacher, student_model, short, out):
    cfg = dataclasses.replace(
        short,
        samples_seen=5120,
        batch_size=64,
        optim=Optim(lr=3e-3),
    )
    student = distill(cfg, teacher, toy_pairs(300, seed=1), out=out, seed=7)
    tasks, templates = ("zeroshot:colour",), ("a {c} thing", "{c}")
    heldout = toy_pairs(100, seed=2)
    metrics = evaluate(student, heldout, tasks=tasks, batch_size=64, templates=templates)[0]
    assert metrics["metrics"]["mean_per_class_recall"] > 0.7  # chance 0.25
    size = {
        name: sum(p.numel() for p in load_model(path)[0].visual.parameters())
        for name, path in (("student", student), ("teacher", teacher))
    }
    assert size["student"] < size["teacher"]


def test_everything_but_the_image_tower_is_the_teachers(toy_pairs, teacher, short, out):
    student = distill(short, teacher, toy_pairs(40, seed=3), out=out, seed=7)
    ours, theirs = load_model(student)[0].state_dict(), load_model(teacher)[0].state_dict()
    shared = {k for k in theirs if not k.startswith("visual.")}
    assert shared == {k for k in ours if not k.startswith("visual.")}
    assert all(torch.equal(ours[k], theirs[k]) for k in shared)


def test_resumed_equals_uninterrupted(toy_pairs, teacher, short, out):
    pairs = toy_pairs(40, seed=3)

    def stop(entry):
        if entry["step"] == 5:
            raise KeyboardInterrupt

    whole = distill(short, teacher, pairs, out=out / "whole", seed=7)
    with pytest.raises(KeyboardInterrupt):
        distill(short, teacher, pairs, out=out / "cut", seed=7, on_step=stop)
    resumed = distill(short, teacher, pairs, out=out / "cut", seed=7)
    name = "open_clip_model.safetensors"
    assert whole.read(name) == resumed.read(name)


def test_a_student_of_another_width_is_refused(toy_pairs, teacher, short, out, tmp_path):
    document = json.loads(Path(short.model).read_text())
    document["embed_dim"] = 48
    path = tmp_path / "wide.json"
    path.write_text(json.dumps(document))
    with pytest.raises(ValueError, match="got embed_dim 48, expected the teacher's 64"):
        distill(
            dataclasses.replace(short, model=str(path)),
            teacher,
            toy_pairs(40, seed=3),
            out=out / "out",
            seed=7,
        )


def test_a_teacher_that_is_none_is_refused(toy_pairs, short, out, tmp_path):
    with pytest.raises(ValueError, match=r"teacher: got .*, expected a checkpoint folder"):
        distill(short, out, toy_pairs(40, seed=3), out=out / "out", seed=7)


def test_another_teacher_is_another_run(toy_pairs, tiny_model, teacher, short, out):
    pairs = toy_pairs(40, seed=3)
    distill(short, teacher, pairs, out=out / "out", seed=7)
    cfg = Train(model=tiny_model, towers=Towers(lock_text=False), samples_seen=32, batch_size=16)
    other = train(cfg, pairs, out=out / "other", seed=1)
    with pytest.raises(ValueError, match="holds a run with"):
        distill(short, other, pairs, out=out / "out", seed=7)
