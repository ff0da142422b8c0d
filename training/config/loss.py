"""Settings of the loss: what is computed, whoever computes it."""

from dataclasses import dataclass
from typing import Literal

from training.config.rule import require


@dataclass(frozen=True, kw_only=True, slots=True)
class Loss:
    """Pictures and captions of a batch meet in one space.

    Attributes:
        kind: `siglip` (sigmoid, arXiv:2303.15343) or `clip` (softmax, arXiv:2103.00020).
        weight: Column of the score tables that weighs a pair's own terms, such as `p_keep`: the
            loss is the weighted mean over pairs. A pair of weight 0 is still a negative of the
            others. `""` weighs all alike.
        picture_share: Weight of picture-to-text against text-to-picture in the softmax loss, in
            [0, 1] (ConVIRT's lambda, arXiv:2010.00747).
        smoothing: Label smoothing of the softmax loss, in [0, 1).
        robust: `""`, or `rince` (arXiv:2201.04309), a softmax loss that a wrong pair moves less.
        robust_q: Strength of `rince`, in (0, 1]; near 0 it is the softmax loss. Its authors advise
            0.1 to 0.5.
        robust_density: Weight of the candidates in `rince` (its lambda), in (0, 1].
    """

    kind: Literal["siglip", "clip"] = "siglip"
    weight: str = ""
    picture_share: float = 0.5
    smoothing: float = 0.0
    robust: Literal["", "rince"] = ""
    robust_q: float = 0.5
    robust_density: float = 0.01

    def __post_init__(self) -> None:
        """Refuse shares out of range, and what has no meaning together."""
        require("loss.picture_share", self.picture_share, "in [0, 1]", 0 <= self.picture_share <= 1)
        require("loss.smoothing", self.smoothing, "in [0, 1)", 0 <= self.smoothing < 1)
        require("loss.robust_q", self.robust_q, "in (0, 1]", 0 < self.robust_q <= 1)
        density = self.robust_density
        require("loss.robust_density", density, "in (0, 1]", 0 < density <= 1)
        if self.kind == "siglip":
            rule = 'with kind = "siglip", a cell of whose matrix has no direction and no rival'
            half = 0.5
            share = self.picture_share
            require("loss.picture_share", share, f"{half} {rule}", share == half)
            require("loss.smoothing", self.smoothing, f"0 {rule}", self.smoothing == 0)
            require("loss.robust", self.robust, f'"" {rule}', not self.robust)
        if self.robust:
            rule = '0 with robust = "rince", which is no cross-entropy'
            require("loss.smoothing", self.smoothing, rule, self.smoothing == 0)
