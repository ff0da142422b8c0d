"""What the loader hands to a step."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Batch:
    """B pairs: this rank's share of a batch.

    Attributes:
        start: Place of the first of them in the sequence of all pairs shown by the run.
        pixels_BHWC: uint8, RGB.
        text_BL: What the text tower takes, one row a caption: tokens, bytes, or what a locked trunk
            said. With K captions a pair [B * K, L], those of a pair one after the other.
        weight_B: float32, how much each pair counts in the loss.
        row_B: int64, position in the pairs of the picture that is really there.
        replaced: How many of them stand in for a picture that could not be decoded.
    """

    start: int
    pixels_BHWC: Tensor
    text_BL: Tensor
    weight_B: Tensor
    row_B: NDArray[np.int64]
    replaced: int

    def __len__(self) -> int:
        """Return B."""
        return len(self.row_B)

    def to(self, device: torch.device) -> "Batch":
        """Return the batch with its tensors on a device."""
        return Batch(
            self.start,
            self.pixels_BHWC.to(device, non_blocking=True),
            self.text_BL.to(device, non_blocking=True),
            self.weight_B.to(device, non_blocking=True),
            self.row_B,
            self.replaced,
        )

    def part(self, rows: range) -> "Batch":
        """Return some neighbouring pairs of the batch; `replaced` counts all of it."""
        captions = len(self.text_BL) // len(self)
        pairs = slice(rows.start, rows.stop)
        return Batch(
            self.start + rows.start,
            self.pixels_BHWC[pairs],
            self.text_BL[rows.start * captions : rows.stop * captions],
            self.weight_B[pairs],
            self.row_B[pairs],
            self.replaced,
        )
