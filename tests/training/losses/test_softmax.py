"""The text-book softmax loss against loops and against open_clip's."""

import math

import pytest
import torch
import torch.nn.functional as F

from filters.open_clip_models import ensure_torchvision
from training.losses.softmax import clip_loss


def _unit(count: int, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    x_ND = torch.randn(count, 5, generator=generator, dtype=torch.float64)
    return F.normalize(x_ND, dim=-1).requires_grad_()


@torch.no_grad()
def _loops(image_BD, text_BD, scale):
    total = 0.0
    for a_BD, b_BD in ((image_BD, text_BD), (text_BD, image_BD)):
        for i in range(len(a_BD)):
            scores = [math.exp(scale * float(a_BD[i] @ b_BD[j])) for j in range(len(b_BD))]
            total -= math.log(scores[i] / sum(scores))
    return total / (2 * len(image_BD))


def test_clip_loss_equals_the_loops():
    image_BD, text_BD = _unit(7, 1), _unit(7, 2)
    loss = clip_loss(image_BD, text_BD, scale=torch.tensor(9.0, dtype=torch.float64))
    assert loss.item() == pytest.approx(_loops(image_BD, text_BD, 9.0), rel=1e-12)


def test_values_and_gradients_equal_open_clips():
    ensure_torchvision()
    from open_clip.loss import ClipLoss

    scale = torch.tensor(11.0, dtype=torch.float64, requires_grad=True)
    inputs = (_unit(6, 5), _unit(6, 6), scale)
    ours, theirs = clip_loss(*inputs[:2], scale=scale), ClipLoss()(*inputs)
    torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-14)
    for grad, expected in zip(
        torch.autograd.grad(ours, inputs), torch.autograd.grad(theirs, inputs), strict=True
    ):
        torch.testing.assert_close(grad, expected, rtol=1e-12, atol=1e-14)


def test_permuting_pairs_changes_nothing():
    image_BD, text_BD, order = _unit(6, 9), _unit(6, 10), [3, 1, 5, 0, 2, 4]
    scale = torch.tensor(10.0).double()
    torch.testing.assert_close(
        clip_loss(image_BD, text_BD, scale=scale),
        clip_loss(image_BD[order], text_BD[order], scale=scale),
    )
