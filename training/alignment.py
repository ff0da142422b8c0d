"""A CLIP-style score that needs no hub: two linear heads on frozen towers, fitted on the pool.

Locked-image tuning (LiT, Zhai et al., arXiv:2111.07991) with both towers locked: only projections
into a shared space are learned, by the sigmoid loss. Noise in the pool is averaged away, since a
wrong caption agrees with nothing else. Letters: N pairs, D dimensions of the shared space.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from filters.extract import Column
from filters.extract.views import MEANING, alignment_column, embedding_column
from training.losses import siglip_init, siglip_loss


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
    """

    dim: int = 256
    folds: int = 5
    epochs: int = 12
    batch_size: int = 512
    lr: float = 1e-3
    weight_decay: float = 0.01
    dropout: float = 0.2
    column: ClassVar[Column] = Column(
        "alignment", "float32", "", "[-1, 1]", "cosine of picture and caption in the fitted space"
    )
    views: ClassVar[Mapping[str, Column]] = {
        embedding_column(view).name: alignment_column(view) for view in MEANING
    }
    version: ClassVar[int] = 2

    def __post_init__(self) -> None:
        """Refuse what cannot be fitted."""
        for name, least in (("dim", 1), ("folds", 2), ("epochs", 1), ("batch_size", 2)):
            if getattr(self, name) < least:
                raise ValueError(
                    f"alignment.{name}: got {getattr(self, name)}, expected at least {least}"
                )
        if not 0 <= self.dropout < 1:
            raise ValueError(f"alignment.dropout: got {self.dropout}, expected 0 to below 1")

    def fit(
        self,
        image_ND: NDArray[np.float16],
        text_ND: NDArray[np.float16],
        *,
        views: Mapping[str, NDArray[np.float16]],
        seed: int,
    ) -> dict[str, NDArray[np.float32]]:
        """Score N pairs by cross-fitting: no pair is scored by a model that was trained on it.

        Args:
            image_ND: Embeddings of the pictures.
            text_ND: Embeddings of the captions.
            views: Embeddings of changed pictures by column, scored by the same models; a row of
                zeros is none.
            seed: Of initial weights, order and dropout.

        Returns:
            Cosine of the two projections by column, float32 [N] in [-1, 1]; NaN without a view.

        Raises:
            ValueError: Fewer than two pairs per fold.
        """
        if len(image_ND) < 2 * self.folds:
            raise ValueError(
                f"alignment: got {len(image_ND)} usable pairs, expected at least {2 * self.folds} "
                "(two per fold); give it a larger pool or set alignment.folds lower"
            )
        fold_N = folds_by_picture(image_ND, folds=self.folds)
        image_scale, text_scale = Standard.of(image_ND), Standard.of(text_ND)
        image, text = image_scale(image_ND), text_scale(text_ND)
        if len(np.unique(fold_N)) < self.folds:
            raise ValueError(
                f"alignment: got pictures that are all alike ({len(np.unique(fold_N))} different "
                f"ones), expected at least {self.folds}; copies cannot be in two folds"
            )
        pictures = {"image_embedding": image_ND, **views}
        names = [self.column.name, *(self.views[view].name for view in views)]
        scores = {name: np.full(len(image_ND), np.nan, np.float32) for name in names}
        for fold in range(self.folds):
            held = torch.from_numpy(fold_N == fold)
            heads = self._train(image[~held], text[~held], seed=seed + fold)
            with torch.inference_mode():
                for name, view_ND in zip(names, pictures.values(), strict=True):
                    at = held.numpy() & view_ND.any(axis=1)
                    scores[name][at] = heads(image_scale(view_ND[at]), text[at]).numpy()
        return scores

    def _train(self, image_ND: Tensor, text_ND: Tensor, *, seed: int) -> "Heads":
        generator = torch.Generator().manual_seed(seed)
        heads = Heads(image_ND.shape[1], text_ND.shape[1], self, generator)
        optimiser = torch.optim.AdamW(
            heads.parameters(), lr=self.lr, weight_decay=self.weight_decay
        )
        batches = -(-len(image_ND) // self.batch_size)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, self.epochs * batches)
        for _ in range(self.epochs):
            for batch in torch.randperm(len(image_ND), generator=generator).chunk(batches):
                image_BD = _drop(image_ND[batch], self.dropout, generator)
                text_BD = _drop(text_ND[batch], self.dropout, generator)
                loss = heads.loss(image_BD, text_BD)
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()
                schedule.step()
        return heads.eval()


class Heads(nn.Module):
    """One linear projection per tower, and the loss's scale and bias."""

    def __init__(
        self, image_dim: int, text_dim: int, cfg: Alignment, generator: torch.Generator
    ) -> None:
        """Draw the projections from `generator`."""
        super().__init__()
        self.image = nn.Parameter(_draw(image_dim, cfg.dim, generator))
        self.text = nn.Parameter(_draw(text_dim, cfg.dim, generator))
        log_scale, bias = siglip_init(cfg.batch_size)
        self.log_scale = nn.Parameter(torch.tensor(log_scale))
        self.bias = nn.Parameter(torch.tensor(bias))

    def project(self, image_ND: Tensor, text_ND: Tensor) -> tuple[Tensor, Tensor]:
        """Return unit-norm projections, [N, dim] each."""
        return F.normalize(image_ND @ self.image, dim=1), F.normalize(text_ND @ self.text, dim=1)

    def loss(self, image_BD: Tensor, text_BD: Tensor) -> Tensor:
        """Sigmoid loss of a batch."""
        image, text = self.project(image_BD, text_BD)
        return siglip_loss(image, text, scale=self.log_scale.exp(), bias=self.bias)

    def forward(self, image_ND: Tensor, text_ND: Tensor) -> Tensor:
        """Return the cosine of each pair, [N]."""
        image, text = self.project(image_ND, text_ND)
        return (image * text).sum(dim=1)


def folds_by_picture(image_ND: NDArray[np.float16], *, folds: int) -> NDArray[np.int64]:
    """Put pairs into folds by their picture's embedding, so that copies share a fold; int64 [N].

    The distinct embeddings are dealt out in the order of their bytes, which is as good as random
    and depends on the pictures alone.
    """
    packed = np.ascontiguousarray(image_ND).view(np.dtype((np.void, image_ND.shape[1] * 2)))
    _, picture_N = np.unique(packed.ravel(), return_inverse=True)
    return picture_N % folds


@dataclass(frozen=True, slots=True)
class Standard:
    """Each dimension to mean 0 and equal deviation: one learning rate suits both towers."""

    mean_D: Tensor
    scale_D: Tensor

    @classmethod
    def of(cls, features_ND: NDArray[np.float16]) -> "Standard":
        """Measure the pool."""
        features = torch.from_numpy(features_ND).float()
        deviation_D = features.std(dim=0, correction=0).clamp_min(1e-6)
        return cls(features.mean(dim=0), deviation_D * features.shape[1] ** 0.5)

    def __call__(self, features_ND: NDArray[np.float16]) -> Tensor:
        """Scale embeddings; float32 [N, D]."""
        return (torch.from_numpy(features_ND).float() - self.mean_D) / self.scale_D


def _draw(rows: int, columns: int, generator: torch.Generator) -> Tensor:
    return torch.randn(rows, columns, generator=generator) / rows**0.5


def _drop(features_BD: Tensor, share: float, generator: torch.Generator) -> Tensor:
    keep = torch.rand(features_BD.shape, generator=generator) >= share
    return features_BD * keep / (1 - share)
