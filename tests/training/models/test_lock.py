"""Locked towers do not move, nor do their BatchNorm's statistics; their last groups may."""

import json
from pathlib import Path

import pytest
import torch

from training.config import Towers
from training.models.build import build_model
from training.models.lock import train_mode

OWN_VIT = {"image_size": 32, "layers": 3, "width": 16, "head_width": 16, "patch_size": 16}
OWN_RESNET = {"image_size": 32, "layers": [1, 1, 1, 1], "width": 8}


@pytest.fixture
def own(tmp_path, tiny_model):
    """Return a function: vision_cfg -> model JSON with three layers of text."""

    def write(vision):
        document = json.loads(Path(tiny_model).read_text(encoding="utf-8")) | {"vision_cfg": vision}
        document["text_cfg"] = {"width": 16, "heads": 1, "layers": 3, "vocab_size": 64}
        path = tmp_path / "own.json"
        path.write_text(json.dumps(document))
        return str(path)

    return write


def trained(model, tower):
    return {n for n, p in getattr(model, tower).named_parameters() if p.requires_grad}


def locked(name, **towers):
    return build_model(name, towers=Towers(**towers), seed=0)[0]


def test_a_locked_trunk_leaves_its_projection_and_keeps_its_statistics(tiny_model):
    model = locked(tiny_model, lock_image=True)
    assert trained(model, "visual") == {"head.proj.weight"}
    train_mode(model)
    before = {n: b.clone() for n, b in model.visual.named_buffers()}
    model.visual(torch.randn(4, 3, 32, 32))
    assert before
    assert all(torch.equal(b, before[n]) for n, b in model.visual.named_buffers())
    assert model.text.training
    assert not model.visual.trunk.training


def test_the_last_groups_of_a_trunk_train(tiny_model):
    model = locked(tiny_model, lock_image=True, unlocked=1)
    assert {n.split(".")[1] for n in trained(model, "visual")} == {"proj", "layer4"}
    train_mode(model)
    assert model.visual.trunk.layer4[0].bn1.training
    assert not model.visual.trunk.layer3[0].bn1.training


def test_groups_of_open_clips_own_towers_end_with_the_projection(own):
    name = own(OWN_VIT)
    assert trained(locked(name, lock_image=True), "visual") == set()
    assert trained(locked(name, lock_text=True), "text") == set()
    model = locked(name, lock_image=True, lock_text=True, unlocked=1)
    assert trained(model, "visual") == {"proj"}
    assert trained(model, "text") == {"text_projection"}
    model = locked(name, lock_text=True, unlocked=2)
    blocks = {n.split(".")[2] for n in trained(model, "text") if n.startswith("transformer")}
    assert blocks == {"2"}


@pytest.mark.parametrize("tower", ["image", "text"])
def test_a_lock_that_locks_nothing_is_refused(own, tiny_model, tower):
    for name in (own(OWN_VIT), tiny_model):
        with pytest.raises(ValueError, match=f"unlocked: got 99, .* the {tower} tower, .*lower it"):
            locked(name, **{f"lock_{tower}": True}, unlocked=99)


def test_half_an_own_resnet_is_refused(own):
    name = own(OWN_RESNET)
    assert trained(locked(name, lock_image=True), "visual") == set()
    with pytest.raises(ValueError, match=r"towers\.unlocked: got 2 .* locked whole"):
        locked(name, lock_image=True, unlocked=2)


def test_own_resnets_keep_their_activations(own):
    with pytest.raises(ValueError, match=r"towers\.checkpointing: got true for ModifiedResNet"):
        locked(own(OWN_RESNET), checkpointing=True)


@pytest.mark.parametrize("image", ["", "test_convnext"])
def test_recomputed_activations_give_the_same_gradient(own, image):
    def gradient(recompute):
        towers = {"image": image, "checkpointing": recompute, "drop_path": 0.5 * bool(image)}
        model = locked(own(OWN_VIT), **towers)
        train_mode(model)
        torch.manual_seed(1)
        said = model.visual(torch.ones(4, 3, 32, 32)), model.text(torch.arange(1, 78)[None] % 64)
        sum(x_BD.square().sum() for x_BD in said).backward()
        return {n: p.grad for n, p in model.named_parameters() if p.grad is not None}

    kept, recomputed = gradient(False), gradient(True)
    assert len(kept) > 40
    assert kept.keys() == recomputed.keys()
    for name, grad in kept.items():
        torch.testing.assert_close(recomputed[name], grad, rtol=0, atol=0, msg=name)


def test_two_towers_locked_with_their_projections_are_refused(own, tiny_model):
    towers = {"lock_image": True, "lock_text": True}
    with pytest.raises(ValueError, match="expected more to train than the logit scale"):
        locked(own(OWN_VIT), **towers)
    assert trained(locked(own(OWN_VIT), **towers, unlocked=1), "visual") == {"proj"}
    assert trained(locked(tiny_model, **towers), "visual")  # a timm trunk's projection trains


def test_what_would_change_nothing_is_refused():
    with pytest.raises(ValueError, match=r"towers\.unlocked: got 2, expected 0 where neither"):
        Towers(unlocked=2)
    with pytest.raises(ValueError, match=r"towers\.matryoshka: got \(8, 8\)"):
        Towers(matryoshka=(8, 8))
