"""What the losses of a step are, with the whole matrix of logits and torch's own cross-entropy.

Letters: G pairs of the whole batch, K captions a pair, N = G * K captions, D embedding.
"""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from training.config import Loss
from training.models.encoder import Features


@dataclass(frozen=True)
class Problem:
    """A batch to take the loss of; all tensors float64 but the weights."""

    features: Features
    weight_G: Tensor

    @property
    def inputs(self) -> list[Tensor]:
        return list(self.features)


def problem(pairs: int, captions: int, *, seed: int, dim: int = 6) -> Problem:
    generator = torch.Generator().manual_seed(seed)
    rows = torch.randn(pairs * (1 + captions), dim, generator=generator, dtype=torch.float64)
    image_GD, text_ND = F.normalize(rows, dim=-1).split([pairs, pairs * captions])
    scalars = (torch.tensor(value, dtype=torch.float64) for value in (9.0, -2.5))
    features = Features(*(t.clone().requires_grad_() for t in (image_GD, text_ND, *scalars)))
    return Problem(features, torch.rand(pairs, generator=generator))


def dense_loss(cfg: Loss, given: Problem) -> Tensor:
    image_GD, text_ND, scale, bias = given.features
    pairs, captions = len(image_GD), len(text_ND) // len(image_GD)
    weight_G = given.weight_G.double() if cfg.weight else torch.ones(pairs).double()
    owner_N = torch.arange(pairs).repeat_interleave(captions)
    is_own_GN = owner_N == torch.arange(pairs)[:, None]
    logits_GN = scale * image_GD @ text_ND.T
    if cfg.kind == "siglip":
        sign_GN = 2.0 * is_own_GN - 1
        cell_GN = (weight_G[:, None] + weight_G[owner_N]) / 2
        loss_GN = -F.logsigmoid(sign_GN * (logits_GN + bias))
        return (cell_GN * loss_GN).sum() / weight_G.sum() / captions
    if cfg.robust:
        zero = max(logits_GN.logsumexp(d).max().item() for d in (0, 1))
        picture_G = _literal_rince(logits_GN, is_own_GN, cfg) * math.exp(-cfg.robust_q * zero)
        caption_N = _literal_rince(logits_GN.T, is_own_GN.T, cfg) * math.exp(-cfg.robust_q * zero)
    else:
        settings = {"reduction": "none", "label_smoothing": cfg.smoothing}
        picture_G = F.cross_entropy(logits_GN, is_own_GN.double() / captions, **settings)
        caption_N = F.cross_entropy(logits_GN.T, owner_N, **settings)
    caption_G = caption_N.view(pairs, captions).mean(1)
    share = cfg.picture_share
    return (weight_G * (share * picture_G + (1 - share) * caption_G)).sum() / weight_G.sum()


def _literal_rince(logits: Tensor, is_own: Tensor, cfg: Loss) -> Tensor:
    """The paper's formula for each row of logits; several right answers are averaged."""
    q, density = cfg.robust_q, cfg.robust_density
    positive = ((q * logits).exp() * is_own).sum(1) / is_own.sum(1)
    return ((density * logits.exp().sum(1)) ** q - positive) / q
