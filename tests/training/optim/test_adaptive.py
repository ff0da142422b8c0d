"""Adaptive clipping is the paper's formula, and leaves out what the paper leaves out."""

import copy

import pytest
import torch
from torch import nn

from filters.open_clip_models import ensure_torchvision
from tests.training.parallel.towers import model_of
from training.optim.adaptive import clip_adaptively, clipped_adaptively


def _with_gradients(seed=0):
    torch.manual_seed(seed)
    net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Conv2d(8, 8, 3, groups=8), nn.Linear(5, 4))
    with torch.no_grad():
        net[0].weight[:3] *= 1e-5  # below the floor of the paper's epsilon
    for parameter in net.parameters():
        spread = torch.logspace(-4, 1, parameter.numel()).view_as(parameter)
        parameter.grad = torch.randn_like(parameter) * spread
    return net


@pytest.mark.parametrize("largest", [0.01, 0.5])
def test_it_is_the_formula_and_timm_agrees(largest):
    ensure_torchvision()
    from timm.utils.agc import adaptive_clip_grad

    ours, theirs = _with_gradients(), _with_gradients()
    before = [p.grad.clone() for p in ours.parameters()]
    weights = [p for p in ours.parameters() if p.ndim > 1]
    clip_adaptively(weights, largest=largest)
    adaptive_clip_grad([p for p in theirs.parameters() if p.ndim > 1], clip_factor=largest)
    touched = 0
    for mine, timms, grad in zip(ours.parameters(), theirs.parameters(), before, strict=True):
        torch.testing.assert_close(mine.grad, timms.grad)
        if mine.ndim > 1:
            for unit, weight, old in zip(mine.grad, mine.detach(), grad, strict=True):
                bound = largest * max(weight.norm().item(), 1e-3)
                expected = old if old.norm() <= bound else old * bound / old.norm()
                torch.testing.assert_close(unit, expected)
                touched += old.norm().item() > bound
        else:
            assert torch.equal(mine.grad, grad)
    assert touched > 5


def test_heads_gains_biases_and_the_scale_are_left_out(tmp_path):
    for image, heads in (
        ("vit", {"visual.proj", "text.text_projection"}),
        ("test_nfnet", {"visual.head.proj.weight", "text.text_projection"}),
    ):
        model = model_of(image, tmp_path)
        clipped = {id(p) for p in clipped_adaptively(model)}
        left = {n for n, p in model.named_parameters() if id(p) not in clipped and p.ndim > 1}
        assert left == heads
        assert not any(id(p) in clipped for p in model.parameters() if p.ndim < 2)
        assert clipped_adaptively(copy.deepcopy(model).requires_grad_(False)) == []
