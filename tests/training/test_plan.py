"""What `plan` says of every recipe: against figures that open_clip publishes, and FSDP's rule."""

import os
from dataclasses import dataclass, field, replace
from functools import cache
from math import ceil
from pathlib import Path

import pytest
import torch

from filters.open_clip_models import create_model
from pipeline.config import STRICT, Data, load_config
from training.config import Evaluate, Train
from training.plan import TrainingPlan, plan_of

RECIPES = Path(__file__).parents[2] / "configs" / "pretrain"
GOLDEN = Path(__file__).parents[1] / "golden"
NAMES = sorted(path.stem for path in RECIPES.glob("*.toml"))

# open_clip's docs/model_profile.csv: millions of parameters, GFLOPs forward
PUBLISHED = {
    "datacomp-small": (151.28, 14.78),
    "datacomp-large": (149.62, 41.09),
    "datacomp-xlarge": (427.62, 175.33),
    "siglip-b16": (203.16, 46.44),
    "convnext-b": (151.52, 36.67),
}
# DataComp's scale_configs.py: samples, batch, warm-up
SCALES = {
    "datacomp-small": (12_800_000, 4096, 500),
    "datacomp-medium": (128_000_000, 4096, 500),
    "datacomp-large": (1_280_000_000, 8192, 500),
    "datacomp-xlarge": (12_800_000_000, 90_112, 10_000),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Recipe:
    """A config that trains on pairs as they are."""

    seed: int
    data: Data
    train: Train
    evaluate: Evaluate = field(default_factory=Evaluate)
    __pydantic_config__ = STRICT


def recipe(name: str, *overrides: str) -> Train:
    return load_config(RECIPES / f"{name}.toml", Recipe, overrides=overrides).train


@cache
def plan(name: str) -> TrainingPlan:
    return plan_of(recipe(name))


@pytest.mark.parametrize("name", NAMES)
def test_every_recipe_can_be_planned_without_weights(name):
    planned = plan(name)
    shapes = planned.shapes
    assert min(shapes.image.train_flops, shapes.text.train_flops) > 0
    assert shapes.image.trained + shapes.text.trained <= shapes.held
    assert planned.rank_bytes["weights"] == 4 * shapes.held
    assert f"{planned.steps:,} steps" in str(planned)


@pytest.mark.parametrize("name", PUBLISHED)
def test_sizes_and_flops_are_the_published_ones(name):
    shapes = plan(name).shapes
    parameters = shapes.image.parameters + shapes.text.parameters
    flops = shapes.image.train_flops + shapes.text.train_flops
    published = pytest.approx(PUBLISHED[name], abs=0.01)
    assert (parameters / 1e6, flops / 3e9) == published  # forward and twice as much backward


@pytest.mark.parametrize("name", SCALES)
def test_datacomps_scales_have_datacomps_numbers(name):
    cfg, (samples, batch, warmup) = recipe(name), SCALES[name]
    steps = samples // batch
    assert (cfg.samples_seen, cfg.batch_size, plan(name).steps) == (samples, batch, steps)
    assert round(cfg.optim.warmup * steps) == warmup


def test_a_locked_tower_is_computed_once_and_keeps_nothing():
    shapes = plan("lit").shapes  # its trunk is a ViT-B/16's
    forward = plan("datacomp-large").shapes.image.train_flops / 3
    assert shapes.image.train_flops == pytest.approx(forward, rel=0.01)
    assert shapes.image.kept_bytes < 0.05 * shapes.text.kept_bytes
    assert 0 < shapes.image.trained < 0.01 * shapes.image.parameters  # its projection


def test_a_sharded_model_lies_on_the_ranks_as_fsdp_cuts_it():
    sets = ('train.parallel.kind="fsdp"', "train.workers.count=64")
    planned = plan_of(recipe("datacomp-small", *sets))
    with torch.device("meta"):
        sizes = [p.shape for p in create_model("ViT-B-32")[0].parameters()]
    rows = [(ceil(s[0] / 64), s[1:].numel()) if s else (1, 1) for s in sizes]  # the first rank's
    assert planned.shapes.held == sum(count * width for count, width in rows)
    assert planned.share == 64
    assert not torch.distributed.is_initialized()


def test_memory_is_told_by_its_parts_and_micro_batches_save_it():
    whole = plan("datacomp-small")
    assert "more than the 80 GB of an H100" in str(whole)
    assert whole.rank_bytes["logits"] == 16 * 2**20  # a tile, never the matrix
    sets = ("train.workers.count=8", "train.parallel.micro_batch=100", "train.parallel.chunk=256")
    split = replace(whole, cfg=recipe("datacomp-small", *sets), ranks=8)
    assert split.rank_bytes["logits"] == 4 * 256 * 256
    assert split.rank_bytes["pictures"] == (512 + 4 * 100) * 3 * 224 * 224
    ratio = whole.rank_bytes["activations"] / split.rank_bytes["activations"]
    assert ratio == pytest.approx(4096 / 100)
    assert "in 6 passes of 100, and forward twice" in str(split)


def test_activations_are_what_autograd_keeps():
    """A tower of known layers: its input and what each layer's backward needs, in float32."""
    from training.shapes import _kept_bytes

    tower = torch.nn.Sequential(torch.nn.Linear(8, 32), torch.nn.ReLU(), torch.nn.Linear(32, 4))
    cfg = recipe("datacomp-small", "train.precision=float32")
    kept = _kept_bytes(tower.to("meta"), torch.empty(2, 8, device="meta"), cfg)
    assert kept == 4 * (8 + 32)  # the input, and ReLU's output, which two layers share


@pytest.mark.parametrize("name", ["datacomp-small", "cpu-small"])
def test_plans_read_as_they_did(name):
    text = f"{plan(name)}\n"
    path = GOLDEN / f"plan-{name}.txt"
    if os.environ.get("UPDATE_GOLDEN"):
        path.write_text(text)
    assert text == path.read_text(), "UPDATE_GOLDEN=1 writes it anew"
