"""Losses against plain float64 formulas and against open_clip's own."""

import math

import pytest
import torch
import torch.nn.functional as F

from filters.open_clip_models import ensure_torchvision
from training.losses.contrastive import clip_loss, feature_l2, siglip_init, siglip_loss


def _unit(count: int, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    x_ND = torch.randn(count, 5, generator=generator, dtype=torch.float64)
    return F.normalize(x_ND, dim=-1).requires_grad_()


@torch.no_grad()
def _plain_clip(image_BD, text_BD, scale):
    total = 0.0
    for a_BD, b_BD in ((image_BD, text_BD), (text_BD, image_BD)):
        for i in range(len(a_BD)):
            scores = [math.exp(scale * float(a_BD[i] @ b_BD[j])) for j in range(len(b_BD))]
            total -= math.log(scores[i] / sum(scores))
    return total / (2 * len(image_BD))


@torch.no_grad()
def _plain_siglip(image_BD, text_BD, scale, bias):
    total = 0.0
    for i in range(len(image_BD)):
        for j in range(len(text_BD)):
            sign = 1 if i == j else -1
            logit = scale * float(image_BD[i] @ text_BD[j]) + bias
            total += math.log1p(math.exp(-sign * logit))
    return total / len(image_BD)


def test_clip_loss_equals_the_plain_sum():
    image_BD, text_BD = _unit(7, 1), _unit(7, 2)
    loss = clip_loss(image_BD, text_BD, scale=torch.tensor(9.0, dtype=torch.float64))
    assert loss.item() == pytest.approx(_plain_clip(image_BD, text_BD, 9.0), rel=1e-12)


def test_siglip_loss_equals_the_plain_sum():
    image_BD, text_BD = _unit(7, 3), _unit(7, 4)
    scale, bias = torch.tensor(9.0).double(), torch.tensor(-2.5).double()
    loss = siglip_loss(image_BD, text_BD, scale=scale, bias=bias)
    assert loss.item() == pytest.approx(_plain_siglip(image_BD, text_BD, 9.0, -2.5), rel=1e-12)


@pytest.mark.parametrize("kind", ["clip", "siglip"])
def test_values_and_gradients_equal_open_clips(kind):
    ensure_torchvision()
    from open_clip.loss import ClipLoss, SigLipLoss

    def evaluate(ours: bool):
        image_BD, text_BD = _unit(6, 5), _unit(6, 6)
        scale = torch.tensor(11.0, dtype=torch.float64, requires_grad=True)
        bias = torch.tensor(-1.5, dtype=torch.float64, requires_grad=True)
        if kind == "clip":
            inputs = (image_BD, text_BD, scale)
            loss = clip_loss(image_BD, text_BD, scale=scale) if ours else ClipLoss()(*inputs)
        else:
            inputs = (image_BD, text_BD, scale, bias)
            loss = siglip_loss(image_BD, text_BD, scale=scale, bias=bias) if ours else None
            loss = SigLipLoss()(*inputs) if loss is None else loss
        return [loss, *torch.autograd.grad(loss, inputs)]

    for ours, theirs in zip(evaluate(True), evaluate(False), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-14)


def test_siglip_over_ranks_averages_to_the_whole_batch():
    image_GD, text_GD = _unit(8, 7), _unit(8, 8)
    settings = {"scale": torch.tensor(10.0).double(), "bias": torch.tensor(-3.0).double()}
    whole = siglip_loss(image_GD, text_GD, **settings)
    halves = [
        siglip_loss(image_GD[4 * r : 4 * r + 4], text_GD, **settings, rank=r) for r in range(2)
    ]
    torch.testing.assert_close(whole, sum(halves) / 2, rtol=1e-12, atol=0)


def test_permuting_pairs_changes_nothing():
    image_BD, text_BD, order = _unit(6, 9), _unit(6, 10), [3, 1, 5, 0, 2, 4]
    scale = torch.tensor(10.0).double()
    torch.testing.assert_close(
        clip_loss(image_BD, text_BD, scale=scale),
        clip_loss(image_BD[order], text_BD[order], scale=scale),
    )


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


def test_feature_l2_is_two_minus_twice_the_cosine():
    a_BD, b_BD = _unit(5, 11), _unit(5, 12)
    expected = (2 - 2 * (a_BD * b_BD).sum(1)).mean()
    torch.testing.assert_close(feature_l2(a_BD, b_BD), expected)
    assert feature_l2(a_BD, -a_BD).item() == pytest.approx(4.0)
