"""RINCE, a softmax loss that a wrong pair moves less."""

import math

import torch
from torch import Tensor


def rince(log_sum: Tensor, positive: Tensor, *, q: float, density: float, zero: Tensor) -> Tensor:
    """Robust InfoNCE (arXiv:2201.04309, eq. 5): (-exp(q z) + (density * sum exp z_j)^q) / q.

    Near q = 0 it is log(density) more than InfoNCE; at q = 1 the loss is symmetric, and noise of
    equal chances moves its minimum no more.
    Where we differ: its exponentials overflow at CLIP's scales, so logits count from `zero`. That
    multiplies the loss by exp(-q zero), one number for the whole batch: a step's direction is the
    paper's.

    Args:
        log_sum: Log-sum-exp of the logits of all candidates.
        positive: Logit of the right one, same shape or one that broadcasts.
        q: Strength, in (0, 1].
        density: Weight of the candidates, the paper's lambda, in (0, 1].
        zero: At least as large as any `log_sum` of the batch; no gradient flows through it.
    """
    candidates = torch.expm1(q * (math.log(density) + log_sum - zero))  # exact where q is tiny
    return (candidates - torch.expm1(q * (positive - zero))) / q
