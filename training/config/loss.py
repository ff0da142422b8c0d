"""Settings of the loss: what is computed, whoever computes it."""

from dataclasses import dataclass
from typing import Literal

from training.config.rule import require


@dataclass(frozen=True, kw_only=True, slots=True)
class Loss:
    """Pictures and captions of a batch meet in one space.

    Attributes:
        kind: `siglip` (sigmoid, arXiv:2303.15343) or `clip` (softmax, arXiv:2103.00020).
        weight: Column of the score tables that weighs a pair's terms, such as `p_keep`; `""` weighs
            all alike.
        picture_share: Weight of picture-to-text against text-to-picture in the softmax loss, in
            [0, 1] (ConVIRT's lambda, arXiv:2010.00747).
        smoothing: Label smoothing of the softmax loss, in [0, 1).
        robust: `""`, or `rince` (arXiv:2201.04309), which a wrong pair moves less.
        robust_q: Strength of `rince`, in (0, 1]; near 0 it is the softmax loss.
    """

    kind: Literal["siglip", "clip"] = "siglip"
    weight: str = ""
    picture_share: float = 0.5
    smoothing: float = 0.0
    robust: Literal["", "rince"] = ""
    robust_q: float = 0.5

    def __post_init__(self) -> None:
        """Refuse shares out of range."""
        require("loss.picture_share", self.picture_share, "in [0, 1]", 0 <= self.picture_share <= 1)
        require("loss.smoothing", self.smoothing, "in [0, 1)", 0 <= self.smoothing < 1)
        require("loss.robust_q", self.robust_q, "in (0, 1]", 0 < self.robust_q <= 1)
