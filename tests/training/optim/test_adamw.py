"""Parameter groups, the schedule, and settings that cannot be meant."""

import math

import pytest
import torch
from pydantic import TypeAdapter, ValidationError
from torch import nn

from training.config import Augment, Distill, Evaluate, Loader, Optim, Save, Train, Workers
from training.optim.adamw import build_optimizer, learning_rate, set_learning_rate


def test_gains_biases_and_the_scale_do_not_decay():
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Linear(4, 2))
    model.logit_scale = nn.Parameter(torch.tensor(1.0))
    model[2].weight.requires_grad_(False)
    optimizer = build_optimizer(model, Optim(lr=0.1, weight_decay=0.5))
    matrices, vectors, scalars = ({id(p) for p in g["params"]} for g in optimizer.param_groups)
    assert [g["weight_decay"] for g in optimizer.param_groups] == [0.5, 0.0, 0.0]
    assert matrices == {id(model[0].weight)}
    assert vectors == {
        id(p) for p in (model[0].bias, model[1].weight, model[1].bias, model[2].bias)
    }
    assert scalars == {id(model.logit_scale)}


def test_a_device_without_the_fused_kernel_gets_the_next_best():
    model = nn.Linear(2, 2)
    assert build_optimizer(model, Optim()).defaults["fused"]
    slow = build_optimizer(model.to("meta"), Optim()).defaults
    assert (slow["fused"], slow["foreach"]) == (False, True)


def test_the_schedule_warms_up_and_falls_to_zero():
    cfg = Optim(lr=2.0, warmup=0.1)
    rates = [learning_rate(step, 100, cfg) for step in range(100)]
    assert rates[:10] == pytest.approx([0.2 * (i + 1) for i in range(10)])
    assert rates[10] == 2.0
    assert rates[55] == pytest.approx(1.0)  # half way through the cosine
    assert rates[99] == pytest.approx(1 - math.cos(math.pi / 90))
    assert rates[10:] == sorted(rates[10:], reverse=True)


@pytest.mark.parametrize(("steps", "warmup"), [(1, 0.0), (1, 1.0), (7, 1.0), (2, 0.1)])
def test_the_schedule_is_sane_for_short_runs(steps, warmup):
    rates = [learning_rate(step, steps, Optim(lr=1.0, warmup=warmup)) for step in range(steps)]
    assert all(0 < rate <= 1 for rate in rates)


def test_setting_the_rate_reaches_every_group():
    optimizer = build_optimizer(nn.Linear(2, 2), Optim())
    rate = set_learning_rate(optimizer, 0, 10, Optim(lr=1.0, warmup=0.5))
    assert rate == pytest.approx(0.2)
    assert [g["lr"] for g in optimizer.param_groups] == [rate] * 3


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Optim(lr=-1.0), "optim.lr: got -1.0, expected above 0"),
        (lambda: Optim(warmup=2.0), "optim.warmup: got 2.0"),
        (lambda: Augment(min_area=0.0), "augment.min_area: got 0.0"),
        (lambda: Loader(threads=0), "loader.threads: got 0"),
        (lambda: Save(every=0), "save.every: got 0"),
        (lambda: Train(model="m", batch_size=1), "train.batch_size: got 1"),
        (
            lambda: Train(model="m", batch_size=2, workers=Workers(count=3)),
            "train.batch_size: got 2, expected at least one pair for each rank",
        ),
        (lambda: Train(model="m", samples_seen=5, batch_size=8), "expected at least one batch"),
        (lambda: Distill(model="m", samples_seen=0), "distill.samples_seen: got 0"),
    ],
)
def test_settings_out_of_range_name_themselves(build, message):
    with pytest.raises(ValueError, match=message):
        build()


def test_the_door_reads_nested_tables_and_names_wrong_values():
    train = TypeAdapter(Train)
    cfg = train.validate_json(
        '{"model": "m.json", "loss": {"kind": "clip"}, "optim": {"lr": 0.002}}'
    )
    assert cfg.optim == Optim(lr=0.002)
    assert TypeAdapter(Evaluate).validate_json('{"tasks": ["retrieval"]}').tasks == ("retrieval",)
    with pytest.raises(ValidationError, match="loss"):
        train.validate_json('{"model": "m.json", "loss": {"kind": "clap"}}')
