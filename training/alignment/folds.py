"""The projections of one fold, trained on the pairs of the others.

Letters: N pairs, B pairs of a batch, D dimensions of an embedding, K of the shared space.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits
from torch import Tensor, nn

from training.alignment.fit import Alignment
from training.losses.sigmoid import siglip_init, siglip_loss

WIDENED = 64  # dimensions of a sample that are float32 at a time
STILL = 1e-6  # deviation of a dimension that does not vary


@dataclass(frozen=True, slots=True)
class Sample:
    """What a fold's projections are trained on: all pairs of the other folds."""

    cfg: Alignment
    seed: int
    image_ND: NDArray[np.float16]
    text_ND: NDArray[np.float16]
    fold_N: NDArray[np.int64]
    scales: tuple["Standard", "Standard"]

    def number(self, fold: int) -> int:
        """Return the number of batches of an epoch."""
        return -(-int(np.count_nonzero(self.fold_N != fold)) // self.cfg.batch_size)

    def batches(self, fold: int, generator: torch.Generator) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield standardised features of the pictures and captions of each batch, with dropout."""
        other_n = np.flatnonzero(self.fold_N != fold)
        image_scale, text_scale = self.scales
        for _ in range(self.cfg.epochs):
            order_n = torch.randperm(len(other_n), generator=generator)
            for batch in order_n.chunk(self.number(fold)):
                rows = other_n[batch.numpy()]
                image_BD = _drop(image_scale(self.image_ND[rows]), self.cfg.dropout, generator)
                text_BD = _drop(text_scale(self.text_ND[rows]), self.cfg.dropout, generator)
                yield image_BD, text_BD


def train(sample: Sample, fold: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Train the projections of a fold, float32 [D, K] of pictures and of captions.

    One thread: folds are what is done at the same time, and bits depend on no machine's cores.
    """
    cfg = sample.cfg
    generator = torch.Generator().manual_seed(sample.seed + fold)
    with threadpool_limits(1):
        dims = sample.image_ND.shape[1], sample.text_ND.shape[1]
        heads = Heads(*dims, cfg, generator)
        optimiser = torch.optim.AdamW(heads.parameters(), lr=cfg.lr, weight_decay=cfg.weight_decay)
        steps = cfg.epochs * sample.number(fold)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
        for image_BD, text_BD in sample.batches(fold, generator):
            loss = heads.loss(image_BD, text_BD)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
    return heads.image.detach().numpy(), heads.text.detach().numpy()


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


def numbered(image_ND: NDArray[np.float16]) -> NDArray[np.int64]:
    """Number pictures in the order of their embeddings' bytes, copies alike; int64 [N].

    It is as good as random and depends on the pictures alone.
    """
    packed = np.ascontiguousarray(image_ND).view(np.dtype((np.void, image_ND.shape[1] * 2)))
    return np.unique(packed.ravel(), return_inverse=True)[1]


@dataclass(frozen=True, slots=True)
class Standard:
    """Each dimension to mean 0 and equal deviation: one learning rate suits both towers.

    Attributes:
        mean_D: float32.
        scale_D: float32, infinite where nothing varies, which leaves such a dimension out.
    """

    mean_D: Tensor
    scale_D: Tensor

    @classmethod
    def of(cls, features_ND: NDArray[np.float16]) -> "Standard":
        """Measure a sample, some dimensions at a time: widened, it would be large."""
        mean_D, deviation_D = torch.empty(2, features_ND.shape[1])
        for start in range(0, features_ND.shape[1], WIDENED):
            some = slice(start, start + WIDENED)
            features = torch.from_numpy(features_ND[:, some].astype(np.float32))
            mean_D[some] = features.mean(dim=0)
            deviation_D[some] = features.std(dim=0, correction=0)
        deviation_D[deviation_D <= STILL] = torch.inf
        return cls(mean_D, deviation_D * features_ND.shape[1] ** 0.5)

    def __call__(self, features_BD: NDArray[np.float16]) -> Tensor:
        """Scale embeddings; float32 [B, D]."""
        return (torch.from_numpy(features_BD).float() - self.mean_D) / self.scale_D


def _draw(rows: int, columns: int, generator: torch.Generator) -> Tensor:
    return torch.randn(rows, columns, generator=generator) / rows**0.5


def _drop(features_BD: Tensor, share: float, generator: torch.Generator) -> Tensor:
    keep = torch.rand(features_BD.shape, generator=generator) >= share
    return features_BD * keep / (1 - share)
