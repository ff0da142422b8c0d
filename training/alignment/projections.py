"""What the alignment score is made with: projections of both towers, one pair of them a fold.

Letters: N pairs, D dimensions of an embedding, K of the shared space, F folds, P pictures.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from filters.concepts.direction import has_direction
from filters.hashing import hash_contents

BLOCK = 2048  # rows that are widened to float64 at a time


@dataclass(frozen=True, slots=True)
class Tower:
    """Affine maps of one tower's embeddings, a map for each fold.

    Attributes:
        weight_FDK: float64, on a grid so coarse that no sum of products with float16 embeddings of
            unit norm is ever rounded: however rows are cut into blocks and sums into threads, the
            bits are the same.
        offset_FK: float64, subtracted afterwards.
    """

    weight_FDK: NDArray[np.float64]
    offset_FK: NDArray[np.float64]

    @classmethod
    def of(
        cls,
        head_FDK: NDArray[np.float32],
        *,
        mean_D: NDArray[np.float32],
        scale_D: NDArray[np.float32],
    ) -> "Tower":
        """Fold `(x - mean) / scale @ head` into one map; an infinite scale leaves a dimension out.

        float16 lies on a grid of 2 ** -24, so a product lies on one of 2 ** -(24 + bits); a
        part of its sum is at most the norms' product (Cauchy and Schwarz), which has to stay below
        2 ** 53 steps of the grid, and does with a factor of two to spare.
        """
        weight_FDK = head_FDK.astype(np.float64) / scale_D.astype(np.float64)[:, None]
        norm = np.sqrt((weight_FDK**2).sum(axis=1)).max()
        bits = 28 - int(np.ceil(np.log2(max(norm, 2.0**-100))))
        weight_FDK = np.ldexp(np.rint(np.ldexp(weight_FDK, bits)), -bits)
        offset_FK = (mean_D.astype(np.float64)[None, :, None] * weight_FDK).sum(axis=1)
        return cls(weight_FDK, offset_FK)

    def __call__(self, embedding_ND: NDArray[np.float16], fold: int) -> NDArray[np.float64]:
        """Project; float64 [N, K], unit norm."""
        shared_NK = embedding_ND.astype(np.float64) @ self.weight_FDK[fold] - self.offset_FK[fold]
        norm_N1 = np.sqrt((shared_NK * shared_NK).sum(axis=1, keepdims=True))
        return shared_NK / np.maximum(norm_N1, 1e-12)


@dataclass(frozen=True, slots=True)
class Projections:
    """Scores pairs of a pool, each with projections that were not fitted on its picture.

    Attributes:
        image: Of pictures, and of changed pictures.
        text: Of captions.
        digest_P: uint64, sorted: the pictures that were fitted on.
        fold_P: int16, the fold whose projections did not see each.
    """

    image: Tower
    text: Tower
    digest_P: NDArray[np.uint64]
    fold_P: NDArray[np.int16]

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """Return all of it as arrays by name."""
        return {
            "image_weight": self.image.weight_FDK, "image_offset": self.image.offset_FK,
            "text_weight": self.text.weight_FDK, "text_offset": self.text.offset_FK,
            "digest": self.digest_P, "fold": self.fold_P,
        }  # fmt: skip

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> "Projections":
        """Return what `to_arrays` was asked of."""
        image, text = (
            Tower(arrays[f"{tower}_weight"], arrays[f"{tower}_offset"])
            for tower in ("image", "text")
        )
        return cls(image, text, arrays["digest"], arrays["fold"])

    def folds(self, image_ND: NDArray[np.float16]) -> NDArray[np.int64]:
        """Return the fold of each pair, int64 [N]: a copy of a known picture shares its fold.

        A picture that none of them has seen is dealt out by its digest.
        """
        digest_N = hash_contents(image_ND)
        at_N = np.searchsorted(self.digest_P, digest_N).clip(max=len(self.digest_P) - 1)
        dealt_N = (digest_N % np.uint64(len(self.image.weight_FDK))).astype(np.int64)
        return np.where(self.digest_P[at_N] == digest_N, self.fold_P[at_N], dealt_N)

    def score(
        self, pictures: Mapping[str, NDArray[np.float16]], text_ND: NDArray[np.float16]
    ) -> dict[str, NDArray[np.float32]]:
        """Score N pairs.

        Args:
            pictures: Embeddings by column, of the picture first, then of changed ones.
            text_ND: Embeddings of the captions.

        Returns:
            Cosine of the two projections by picture, float32 [N] in [-1, 1]; NaN where either is
            missing: zeros, or not finite. A row's depends on that row alone.
        """
        fold_N = self.folds(next(iter(pictures.values())))
        said_N = has_direction(text_ND)
        found = {}
        for column, image_ND in pictures.items():
            cosine_N = np.full(len(text_ND), np.nan, np.float32)
            seen_N = said_N & has_direction(image_ND)
            for fold in range(len(self.image.weight_FDK)):
                at = np.flatnonzero(seen_N & (fold_N == fold))
                for rows in np.split(at, range(BLOCK, len(at), BLOCK)):
                    cosine_N[rows] = self._cosine(image_ND[rows], text_ND[rows], fold)
            found[column] = cosine_N
        return found

    def _cosine(
        self, image_ND: NDArray[np.float16], text_ND: NDArray[np.float16], fold: int
    ) -> NDArray[np.float64]:
        cosine_N = (self.image(image_ND, fold) * self.text(text_ND, fold)).sum(axis=1)
        return cosine_N.clip(-1, 1)
