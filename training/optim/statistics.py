"""Running statistics of batch norms: what a forward pass changes besides the weights."""

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from training.parallel.ranks import Ranks


class RunningStatistics:
    """The buffers of a model's batch norms, kept equal on all ranks, and restored if need be.

    A rank normalises by the statistics of its own share of the batch, as open_clip and timm do by
    default: with batch norms, and only with them, a run on W ranks is not the run on one. The
    running statistics, which evaluation uses, become the mean over ranks after every step. They are
    linear in what was seen, so this is what averaging at the end would give, and any rank may save
    at any time.

    Args:
        model: In its final form, and on its device; without batch norms, nothing is ever done.
        ranks: This process among those that train together.
    """

    def __init__(self, model: nn.Module, *, ranks: Ranks) -> None:
        norms = [m for m in model.modules() if isinstance(m, _BatchNorm)]
        self._buffers: list[Tensor] = [b for m in norms for b in m.buffers(recurse=False)]
        self._kept = [b.clone() for b in self._buffers]
        self._ranks = ranks

    @torch.no_grad()
    def keep(self) -> None:
        """Remember them, before the forward pass of a step."""
        if self._buffers:
            torch._foreach_copy_(self._kept, self._buffers)

    @torch.no_grad()
    def put_back(self) -> None:
        """Undo the forward pass of a step that is not taken; its values may be the fault."""
        if self._buffers:
            torch._foreach_copy_(self._buffers, self._kept)

    @torch.no_grad()
    def average(self) -> None:
        """Take the mean over ranks, in one reduction, after a step that was taken."""
        floats = [b for b in self._buffers if b.is_floating_point()]
        if self._ranks.count == 1 or not floats:
            return
        mean = self._ranks.sum(torch.cat([b.flatten() for b in floats])) / self._ranks.count
        parts = mean.split([b.numel() for b in floats])
        torch._foreach_copy_(floats, [p.view_as(b) for p, b in zip(parts, floats, strict=True)])
