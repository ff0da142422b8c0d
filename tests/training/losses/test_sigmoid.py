"""The text-book sigmoid loss against loops, open_clip's, and a closed form."""

import math

import pytest
import torch
import torch.nn.functional as F

from filters.open_clip_models import ensure_torchvision
from training.losses.sigmoid import siglip_init, siglip_loss


def _unit(count: int, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    x_ND = torch.randn(count, 5, generator=generator, dtype=torch.float64)
    return F.normalize(x_ND, dim=-1).requires_grad_()


@torch.no_grad()
def _loops(image_BD, text_BD, scale, bias):
    total = 0.0
    for i in range(len(image_BD)):
        for j in range(len(text_BD)):
            sign = 1 if i == j else -1
            logit = scale * float(image_BD[i] @ text_BD[j]) + bias
            total += math.log1p(math.exp(-sign * logit))
    return total / len(image_BD)


def test_siglip_loss_equals_the_loops():
    image_BD, text_BD = _unit(7, 3), _unit(7, 4)
    scale, bias = torch.tensor(9.0).double(), torch.tensor(-2.5).double()
    loss = siglip_loss(image_BD, text_BD, scale=scale, bias=bias)
    assert loss.item() == pytest.approx(_loops(image_BD, text_BD, 9.0, -2.5), rel=1e-12)


def test_values_and_gradients_equal_open_clips():
    ensure_torchvision()
    from open_clip.loss import SigLipLoss

    scale = torch.tensor(11.0, dtype=torch.float64, requires_grad=True)
    bias = torch.tensor(-1.5, dtype=torch.float64, requires_grad=True)
    inputs = (_unit(6, 5), _unit(6, 6), scale, bias)
    ours, theirs = siglip_loss(*inputs[:2], scale=scale, bias=bias), SigLipLoss()(*inputs)
    torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-14)
    for grad, expected in zip(
        torch.autograd.grad(ours, inputs), torch.autograd.grad(theirs, inputs), strict=True
    ):
        torch.testing.assert_close(grad, expected, rtol=1e-12, atol=1e-14)


def test_siglip_starts_at_the_odds_of_a_positive():
    """With embeddings that say nothing, the initial loss is the entropy of "one of B"."""
    batch = 64
    log_scale, bias = siglip_init(batch)
    assert torch.tensor(bias).sigmoid().item() == pytest.approx(1 / batch)
    image_BD, text_BD = torch.eye(2 * batch)[:batch], torch.eye(2 * batch)[batch:]
    loss = siglip_loss(
        image_BD, text_BD, scale=torch.tensor(log_scale).exp(), bias=torch.tensor(bias)
    )
    entropy = -math.log(1 / batch) - (batch - 1) * math.log(1 - 1 / batch)
    assert loss.item() == pytest.approx(entropy, rel=1e-4)
