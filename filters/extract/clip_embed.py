"""Both embeddings of an open_clip model, for what compares a pair with others of the pool."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from filters.extract.base import Batch, Column, Score, Values
from filters.extract.clip import ClipModel, blank


@dataclass(frozen=True, kw_only=True, slots=True)
class ClipEmbed(ClipModel):
    """Embeddings of picture and caption in one space, by an open_clip model.

    Beside a `clip` extractor of the same settings it costs no forward pass. `neg_clip_loss` and
    `normsim` among the derived columns read what it writes.

    Attributes:
        dim: Dimensions of the model's embeddings: 512 of ViT-B, 768 of ViT-L.
    """

    kind: Literal["clip_embed"] = "clip_embed"
    dim: int = 512

    @property
    def columns(self) -> tuple[Column, ...]:
        """Two embeddings of `dim`."""
        return (
            Column("clip_image", "embedding", "", "[-1, 1]", "picture (CLIP)", self.dim),
            Column("clip_text", "embedding", "", "[-1, 1]", "caption (CLIP)", self.dim),
        )

    def load(self, weights: Mapping[str, Path], *, threads: int) -> Score:
        """Load model, weights and tokenizer; from the hub if the name says so.

        Raises:
            ValueError: The model's embeddings have other dimensions.
        """
        del weights
        encoder = self.encoder(threads=threads)
        dim = encoder.captions_of(blank(1, 1)).shape[1]
        if dim != self.dim:
            raise ValueError(
                f"clip_embed: got dim {self.dim} for {self.model}, whose embeddings have {dim} "
                f"dimensions, expected these; set dim = {dim}"
            )

        def score(batch: Batch) -> dict[str, Values]:
            return {
                "clip_image": encoder.of(batch).astype(np.float16),
                "clip_text": encoder.captions_of(batch).astype(np.float16),
            }

        return score
