"""Adaptive gradient clipping: no unit moves by more than a share of its own weight."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from training.parallel.blocks import towers
from training.parallel.gradients import local

LEAST_NORM = 1e-3  # of a unit's weights, so that one that starts at zero can move at all
HEADS = ("head", "proj", "text_projection")  # of open_clip's towers, and of Hugging Face's


def clipped_adaptively(model: nn.Module) -> list[nn.Parameter]:
    """Return what the clipping applies to: weights of at least two dimensions, but the last layers.

    The paper found its nets to train worse if the last layer is clipped (arXiv:2102.06171, 4.1).
    Gains, biases and the logit scale have no units.
    """
    last = {id(p) for tower in towers(model) for p in _head(tower)}
    trained = (p for p in model.parameters() if p.requires_grad)
    return [p for p in trained if p.ndim > 1 and id(p) not in last]


@torch.no_grad()
def clip_adaptively(parameters: Iterable[nn.Parameter], *, largest: float) -> None:
    """Shrink each unit's gradient G to at most `largest` times max(|W|, 0.001), in place.

    A unit is what makes one output: a row of a matrix, a kernel of a convolution (their first
    dimension, which FSDP shards, so that no unit lies on two ranks). arXiv:2102.06171, eq. 3.
    """
    weights = [p for p in parameters if p.grad is not None and local(p).numel()]
    grads = [local(p.grad) for p in weights if p.grad is not None]
    bounds = [_unit_norm(local(p)).clamp_(min=LEAST_NORM).mul_(largest) for p in weights]
    shrinks = [
        (bound / _unit_norm(grad).clamp_(min=1e-6)).clamp_(max=1.0)
        for bound, grad in zip(bounds, grads, strict=True)
    ]
    torch._foreach_mul_(grads, shrinks)


def _unit_norm(weight: Tensor) -> Tensor:
    """Return the norm over all but the first dimension, kept for broadcasting."""
    return torch.linalg.vector_norm(weight, dim=tuple(range(1, weight.ndim)), keepdim=True)


def _head(tower: nn.Module) -> list[nn.Parameter]:
    """Return the parameters of a tower's last layers: the projection, and timm's classifier."""
    trunk: Any = getattr(tower, "trunk", None)
    classifier = trunk.get_classifier() if hasattr(trunk, "get_classifier") else None
    found = list(classifier.parameters()) if isinstance(classifier, nn.Module) else []
    for name in HEADS:
        part = getattr(tower, name, None)
        if isinstance(part, nn.Parameter):
            found.append(part)
        elif isinstance(part, nn.Module):
            found += part.parameters()
    return found
