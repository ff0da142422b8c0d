"""What a tower computes on its way: the pooled features of every stage, beside its own output."""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class WithStages(nn.Module):
    """A network that also hands out what goes into some of its modules, averaged over the picture.

    Args:
        network: Maps [N, 3, height, width] to one tensor; its forward pass stays as it is.
        readers: The modules that read the stages' outputs, in the order they run.
    """

    def __init__(self, network: nn.Module, readers: Sequence[nn.Module]) -> None:
        """Look over the readers' shoulders."""
        super().__init__()
        self._network = network
        self._pooled: list[Tensor] = []
        for reader in readers:
            reader.register_forward_pre_hook(self._keep)

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Return the network's output and the stages' channels side by side, [N, sum of widths]."""
        self._pooled.clear()
        output = self._network(pixels)
        return output, torch.cat(self._pooled, dim=1)

    def _keep(self, _module: nn.Module, inputs: tuple[Any, ...]) -> None:
        self._pooled.append(F.adaptive_avg_pool2d(inputs[0], 1).flatten(1))
