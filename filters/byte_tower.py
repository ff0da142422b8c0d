"""A text tower that reads UTF-8 bytes: convolutions, no tokenizer to ship, every script.

After seeds of this idea: characters instead of words (arXiv:1509.01626), bytes halved again and
again by one group of convolutions (arXiv:1802.01817). What differs: residual blocks with layer
norm, and a mask, so that no embedding depends on how far its batch is padded.
Shape letters: B texts, L bytes, W width, D embedding.
"""

import unicodedata
from dataclasses import asdict, dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

MARK = "bytes"  # key of a model document's text_cfg that asks for this tower
PAD, START = 0xFF, 0xFE  # two of the bytes that UTF-8 never uses
KERNEL = 3  # of every convolution, as in both papers' deeper layers


@dataclass(frozen=True, kw_only=True, slots=True)
class ByteText:
    """Size of the tower.

    Attributes:
        width: Channels.
        layers: Residual blocks on the bytes, and as many that every halving shares.
        halvings: How often neighbours are merged; 5 sees some 250 bytes at once.
    """

    width: int = 256
    layers: int = 2
    halvings: int = 5


def byte_text_config(*, width: int, context_length: int = 256) -> dict[str, Any]:
    """Return the text_cfg of a model document; plain open_clip refuses it by its mark."""
    return {"context_length": context_length, MARK: asdict(ByteText(width=width))}


class ByteTokenizer:
    """Texts to bytes, lower case as in CLIP's own tokenizer, white space collapsed.

    A text that is too long ends with the last whole character that fits.
    """

    def __init__(self, context_length: int) -> None:
        self.context_length = context_length

    def __call__(self, texts: str | list[str]) -> Tensor:
        """Return uint8 [B, context]: a start byte, the text, padding."""
        rows = [self._bytes(text) for text in ([texts] if isinstance(texts, str) else texts)]
        joined = b"".join(row.ljust(self.context_length, bytes([PAD])) for row in rows)
        return torch.frombuffer(bytearray(joined), dtype=torch.uint8).view(len(rows), -1)

    def _bytes(self, text: str) -> bytes:
        plain = " ".join(unicodedata.normalize("NFC", text).lower().split())
        written = plain.encode("utf-8", "replace")[: self.context_length - 1]
        return bytes([START]) + written.decode("utf-8", "ignore").encode("utf-8")


class ByteTower(nn.Module):
    """Bytes to an embedding: blocks on the bytes, then one group of blocks at every halving.

    The halvings share their weights, so the tower is deep (22 convolutions) at the size of eight,
    and what merges two letters also merges two words. The mean of what is left is projected.

    Args:
        size: Of the network.
        context_length: Bytes of the longest text.
        output_dim: D.
    """

    def __init__(self, size: ByteText, *, context_length: int, output_dim: int) -> None:
        super().__init__()
        self.context_length = context_length
        self.vocab_size = 256
        self.halvings = size.halvings
        self.token_embedding = nn.Embedding(self.vocab_size, size.width)
        self.local = nn.ModuleList(Block(size.width) for _ in range(size.layers))
        self.shared = nn.ModuleList(Block(size.width) for _ in range(size.layers))
        self.norm = nn.LayerNorm(size.width)
        self.proj = nn.Linear(size.width, output_dim, bias=False)
        self.grad_checkpointing = False

    def forward(self, bytes_BL: Tensor) -> Tensor:
        """Return embeddings [B, D], not normalised, of uint8 or int64 bytes."""
        return self.proj(self.trunk(bytes_BL))

    def trunk(self, bytes_BL: Tensor) -> Tensor:
        """Return what the projection takes, [B, W]."""
        mask_BL1 = (bytes_BL != PAD)[..., None]
        x_BLW = self._through(self.local, self.token_embedding(bytes_BL.long()), mask_BL1)
        for _ in range(self.halvings):
            x_BLW, mask_BL1 = halve(x_BLW, mask_BL1)
            x_BLW = self._through(self.shared, x_BLW, mask_BL1)
        total_BW = (self.norm(x_BLW) * mask_BL1).sum(dim=1)
        return total_BW / mask_BL1.sum(dim=1)  # at least the start byte is there

    def lock(self, unlocked_layers: int = 0, freeze_layer_norm: bool = True) -> None:
        """Freeze everything below the projection but the last groups: bytes, blocks, halvings.

        Args:
            unlocked_layers: Groups that still train.
            freeze_layer_norm: There for open_clip's sake; norms are frozen with their group.
        """
        del freeze_layer_norm
        last = nn.ModuleList([self.shared, self.norm])
        groups = [self.token_embedding, *self.local, last]
        for group in groups[: len(groups) - unlocked_layers]:
            group.requires_grad_(False)

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """Recompute blocks in the backward pass, or keep what they computed."""
        self.grad_checkpointing = enable

    def _through(self, blocks: nn.ModuleList, x_BLW: Tensor, mask_BL1: Tensor) -> Tensor:
        for block in blocks:
            if self.grad_checkpointing and self.training:
                x_BLW = checkpoint(block, x_BLW, mask_BL1, use_reentrant=False)
            else:
                x_BLW = block(x_BLW, mask_BL1)
        return x_BLW


class Block(nn.Module):
    """Norm and two convolutions beside a residual path; padding reads as zero."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.first = nn.Conv1d(width, width, KERNEL, padding=KERNEL // 2)
        self.second = nn.Conv1d(width, width, KERNEL, padding=KERNEL // 2)

    def forward(self, x_BLW: Tensor, mask_BL1: Tensor) -> Tensor:
        """Return [B, L, W]; what it says of padding means nothing."""
        mask_B1L = mask_BL1.transpose(1, 2)
        h_BWL = self.first(self.norm(x_BLW).transpose(1, 2) * mask_B1L)
        return x_BLW + self.second(F.gelu(h_BWL) * mask_B1L).transpose(1, 2)


def halve(x_BLW: Tensor, mask_BL1: Tensor) -> tuple[Tensor, Tensor]:
    """Take the larger of two neighbours, which a padded neighbour never is; also halve the mask."""
    x_BLW = x_BLW.masked_fill(~mask_BL1, -torch.inf)
    if x_BLW.shape[1] % 2:
        x_BLW = F.pad(x_BLW, (0, 0, 0, 1), value=-torch.inf)
        mask_BL1 = F.pad(mask_BL1, (0, 0, 0, 1))
    x_BLW = x_BLW.unflatten(1, (-1, 2)).amax(dim=2)
    mask_BL1 = mask_BL1.unflatten(1, (-1, 2)).any(dim=2)
    return x_BLW.masked_fill(~mask_BL1, 0.0), mask_BL1
