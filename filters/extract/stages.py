"""The image tower's intermediate stages: traces of generators, watermarks, compression and blur.

The last features of a classifier keep what a picture shows and forget how it was made; the stages
before still know (RINE, arXiv:2402.19091). Heads read them (filters/derive/head.py).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from filters.extract.base import Batch, Column, Extractor, Score, Values
from filters.extract.embed import IMAGE_SIDE, ImageTower

# Channels after the stem and after each of the seven stages of blocks, finest first. What comes
# after the last one is the embed extractor's `image_embedding`.
STAGE_DIMS = (32, 16, 24, 40, 80, 112, 192, 320)


@dataclass(frozen=True, kw_only=True, slots=True)
class Stages(Extractor):
    """Pooled features of all stages of EfficientNet-Lite0, by the forward pass of `Embeddings`.

    Channels are averaged over the picture. Each stage's block is scaled to the same length, so that
    none outweighs the others, and the whole has unit norm as every embedding has.
    """

    kind: Literal["stages"] = "stages"
    columns = (
        Column(
            "stage_embedding", "embedding", "", "[-1, 1]",
            f"EfficientNet-Lite0's stages of {', '.join(map(str, STAGE_DIMS))} channels",
            sum(STAGE_DIMS),
        ),
    )  # fmt: skip
    weights = ("efficientnet_lite0",)

    @property
    def side(self) -> int:
        """Pixels that the image tower takes."""
        return IMAGE_SIDE

    def load(self, weights: Mapping[str, Path], *, threads: int) -> Score:
        """Load the image tower."""
        tower = ImageTower(weights["efficientnet_lite0"], threads=threads)

        def score(batch: Batch) -> dict[str, Values]:
            return {"stage_embedding": normed_by_stage(tower.of(batch).stages_BD)}

        return score


def normed_by_stage(stages_BD: NDArray[np.float32]) -> NDArray[np.float16]:
    """Scale each stage's block to length 1 / sqrt(number of stages); a zero block stays zero."""
    blocks = np.split(stages_BD, np.cumsum(STAGE_DIMS)[:-1], axis=1)
    lengths = [np.maximum(np.linalg.norm(b, axis=1, keepdims=True), 1e-12) for b in blocks]
    unit_BD = np.concatenate([b / n for b, n in zip(blocks, lengths, strict=True)], axis=1)
    return (unit_BD / np.sqrt(len(STAGE_DIMS))).astype(np.float16)
