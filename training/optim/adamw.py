"""AdamW with honest parameter groups, and its learning rate as a pure function of the step."""

import math

from torch import nn
from torch.optim import AdamW

from training.config import Optim

FUSED = ("cpu", "cuda", "mps", "xpu")  # device types with one kernel for the whole update


def build_optimizer(model: nn.Module, cfg: Optim) -> AdamW:
    """Return AdamW over everything of `model` that trains; of a sharded model, over this rank's.

    Matrices and kernels decay; gains, biases and the logit scale (fewer than two dimensions) do
    not: pulling them to zero is no regularisation but a change of the function. Scalars have a
    group of their own, because they stay whole where everything else is sharded; a group can hold
    no mixture, and a state is to fit both.
    """
    trained = [p for p in model.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in trained if p.ndim >= 2], "weight_decay": cfg.weight_decay},  # noqa: PLR2004
        {"params": [p for p in trained if p.ndim == 1], "weight_decay": 0.0},
        {"params": [p for p in trained if p.ndim == 0], "weight_decay": 0.0},
    ]
    fused = {p.device.type for p in trained} <= set(FUSED)
    betas = (cfg.beta1, cfg.beta2)
    return AdamW(groups, lr=cfg.lr, betas=betas, eps=cfg.epsilon, fused=fused, foreach=not fused)


def learning_rate(step: int, steps: int, cfg: Optim) -> float:
    """Return the learning rate of `step` in [0, steps): linear warm-up, then cosine to zero."""
    warmup = max(1, round(cfg.warmup * steps))
    if step < warmup:
        return cfg.lr * (step + 1) / warmup
    progress = (step - warmup) / max(1, steps - warmup)
    return cfg.lr * 0.5 * (1 + math.cos(math.pi * progress))


def set_learning_rate(optimizer: AdamW, step: int, steps: int, cfg: Optim) -> float:
    """Set the rate of every group to that of `step`, and return it."""
    lr = learning_rate(step, steps, cfg)
    for group in optimizer.param_groups:
        group["lr"] = lr
    return lr
