"""A CLIP-style score that needs no hub: two linear heads on frozen towers, fitted on the pool.

Locked-image tuning (LiT, Zhai et al., arXiv:2111.07991) with both towers locked: only projections
into a shared space are learned, by the sigmoid loss. Noise in the pool is averaged away, since a
wrong caption agrees with nothing else. Letters: N pairs, D dimensions of the shared space.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from filters.concepts.clustering import Map
from filters.extract import Column
from filters.extract.views import MEANING, alignment_column, embedding_column
from filters.hashing import hash_contents
from training.alignment.projections import Projections, Tower


@dataclass(frozen=True, kw_only=True, slots=True)
class Alignment:
    """How the space is fitted and the pairs are scored.

    Attributes:
        dim: Dimensions of the shared space.
        folds: Pairs are scored by models that were fitted on the other folds.
        epochs: Passes over those.
        batch_size: Pairs that meet each other in the loss.
        lr: Peak learning rate of AdamW; cosine to zero.
        weight_decay: Of AdamW.
        dropout: Of the frozen features while fitting; copies and near-copies are easily learned
            by heart.
        sample: Pairs that are fitted on, at most; those with the lowest hashes of their uids.
    """

    dim: int = 256
    folds: int = 5
    epochs: int = 12
    batch_size: int = 512
    lr: float = 1e-3
    weight_decay: float = 0.01
    dropout: float = 0.2
    sample: int = 200_000
    column: ClassVar[Column] = Column(
        "alignment", "float32", "", "[-1, 1]", "cosine of picture and caption in the fitted space"
    )
    views: ClassVar[Mapping[str, Column]] = {
        embedding_column(view).name: alignment_column(view) for view in MEANING
    }
    version: ClassVar[int] = 4

    def __post_init__(self) -> None:
        """Refuse what cannot be fitted."""
        for name, least in (("dim", 1), ("folds", 2), ("epochs", 1), ("batch_size", 2)):
            if getattr(self, name) < least:
                raise ValueError(
                    f"alignment.{name}: got {getattr(self, name)}, expected at least {least}"
                )
        if self.sample < 2 * self.folds:
            raise ValueError(
                f"alignment.sample: got {self.sample}, expected at least {2 * self.folds} "
                "(two per fold)"
            )
        if not 0 <= self.dropout < 1:
            raise ValueError(f"alignment.dropout: got {self.dropout}, expected 0 to below 1")

    def fit(
        self,
        image_ND: NDArray[np.float16],
        text_ND: NDArray[np.float16],
        *,
        seed: int,
        map: Map = map,  # noqa: A002
    ) -> Projections:
        """Fit projections for cross-fitting: no pair is scored by some that were trained on it.

        Args:
            image_ND: Embeddings of the pictures of N pairs, none of them missing, in an order that
                does not depend on how they are stored.
            text_ND: Embeddings of the captions.
            seed: Of initial weights, order and dropout.
            map: Calls a function on each fold, in order, possibly in other processes.

        Returns:
            What scores these pairs, and others.

        Raises:
            ValueError: Fewer than two pairs per fold, or fewer different pictures than folds.
        """
        from training.alignment.folds import Sample, Standard, numbered, train

        if len(image_ND) < 2 * self.folds:
            raise ValueError(
                f"alignment: got {len(image_ND)} usable pairs, expected at least {2 * self.folds} "
                "(two per fold); give it a larger pool or set alignment.folds lower"
            )
        picture_N = numbered(image_ND)
        if picture_N.max() + 1 < self.folds:
            raise ValueError(
                f"alignment: got pictures that are all alike ({picture_N.max() + 1} different "
                f"ones), expected at least {self.folds}; copies cannot be in two folds"
            )
        fold_N = picture_N % self.folds
        scales = Standard.of(image_ND), Standard.of(text_ND)
        sample = Sample(self, seed, image_ND, text_ND, fold_N, scales)
        heads = list(map(partial(train, sample), range(self.folds)))
        image, text = (
            Tower.of(np.stack(head_FDK), mean_D=scale.mean_D.numpy(), scale_D=scale.scale_D.numpy())
            for head_FDK, scale in zip(zip(*heads, strict=True), scales, strict=True)
        )
        digest_P, first_P = np.unique(hash_contents(image_ND), return_index=True)
        return Projections(image, text, digest_P, fold_N[first_P].astype(np.int16))

    def restore(self, arrays: Mapping[str, NDArray[Any]]) -> Projections:
        """Return projections that were written down."""
        return Projections.from_arrays(arrays)
