"""Settings of the optimiser, and of what is done when a step goes wrong."""

import math
from dataclasses import dataclass

from training.config.rule import require


@dataclass(frozen=True, kw_only=True, slots=True)
class Optim:
    """AdamW with linear warm-up and cosine decay to zero.

    Attributes:
        lr: Peak learning rate.
        warmup: Share of the steps that warm up, in [0, 1].
        weight_decay: For weights with at least two dimensions; gains, biases and the logit scale
            are never decayed.
        beta1: Decay of the first moment.
        beta2: Decay of the second moment; 0.98 as in CLIP for short runs (arXiv:2103.00020).
        epsilon: Added to the root of the second moment; CLIP has 1e-6.
        grad_clip: Largest norm of the whole gradient.
        adaptive_clip: Largest norm of a unit's gradient over that of its weights; 0 does not clip
            (arXiv:2102.06171, for NFNets 0.01).
        average: Decay of the moving average of the weights, which is then what is exported; 0
            keeps none.
    """

    lr: float = 1e-3
    warmup: float = 0.1
    weight_decay: float = 0.05
    beta1: float = 0.9
    beta2: float = 0.98
    epsilon: float = 1e-8
    grad_clip: float = 1.0
    adaptive_clip: float = 0.0
    average: float = 0.0

    def __post_init__(self) -> None:
        """Refuse what cannot train."""
        require("optim.lr", self.lr, "above 0, finite", 0 < self.lr < math.inf)
        require("optim.warmup", self.warmup, "in [0, 1]", 0 <= self.warmup <= 1)
        decay = self.weight_decay
        require("optim.weight_decay", decay, "at least 0, finite", 0 <= decay < math.inf)
        require("optim.beta1", self.beta1, "in [0, 1)", 0 <= self.beta1 < 1)
        require("optim.beta2", self.beta2, "in [0, 1)", 0 <= self.beta2 < 1)
        require("optim.epsilon", self.epsilon, "above 0, finite", 0 < self.epsilon < math.inf)
        require("optim.grad_clip", self.grad_clip, "above 0", self.grad_clip > 0)
        clip = self.adaptive_clip
        require("optim.adaptive_clip", clip, "at least 0", clip >= 0)
        require("optim.average", self.average, "in [0, 1)", 0 <= self.average < 1)


@dataclass(frozen=True, kw_only=True, slots=True)
class Guard:
    """Steps that would harm are skipped on all ranks alike, and counted.

    Attributes:
        spike: Skip a step whose gradient's norm is this many times the running median; 0 skips
            only what is not finite.
        patience: Skipped steps in a row after which the run stops.
    """

    spike: float = 0.0
    patience: int = 10

    def __post_init__(self) -> None:
        """Refuse a guard that could never let a step pass."""
        require("guard.spike", self.spike, "0 or above 1", self.spike == 0 or self.spike > 1)
        require("guard.patience", self.patience, "at least 1", self.patience >= 1)
