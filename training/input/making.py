"""How one batch is made: a function of the pairs, the seed, the augmentation and its place."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline.pairs import Pairs
from training.config import Augment, Loader
from training.input.batch import Batch
from training.input.encoded import Encoded
from training.input.mix import Mix
from training.input.order import Order, drawn_captions, sample_rng
from training.input.pictures import Pictures
from training.input.spool import Spool
from training.input.texts import Texts


class Place(NamedTuple):
    """What a batch shows: B pairs.

    Attributes:
        start: Of the first of them in the sequence of all pairs shown.
        epoch_B: int64.
        row_B: int64.
    """

    start: int
    epoch_B: NDArray[np.int64]
    row_B: NDArray[np.int64]


@dataclass(frozen=True, kw_only=True, slots=True)
class Recipe:
    """All that batches are made of; can be sent to another process.

    Attributes:
        pairs: What is shown.
        texts: What the text tower takes; None where captions play no part.
        order: Which pair is shown when.
        size: Pixels of a side.
        batch_size: Pairs of a whole batch.
        share: Which of them are this rank's.
        augment: How pictures are cropped.
        loader: How batches are made ready.
        every: Whether all captions of a pair are shown, or one that is drawn.
        weight: Name of the pairs' weights in the loss; `""` weighs all alike.
        pinned: Whether pixels lie where a GPU can fetch them by itself.
    """

    pairs: Pairs
    texts: Texts | None
    order: Order | Mix
    size: int
    batch_size: int
    share: range
    augment: Augment
    loader: Loader
    every: bool = False
    weight: str = ""
    pinned: bool = False

    def place(self, step: int) -> Place:
        """Return what a step shows."""
        start = step * self.batch_size + self.share.start
        return Place(start, *self.order.rows(start, start + len(self.share)))

    def empty(self) -> Tensor:
        """Return memory for a batch's pixels, uint8 [B, size, size, 3]."""
        shape = (len(self.share), self.size, self.size, 3)
        return torch.empty(shape, dtype=torch.uint8, pin_memory=self.pinned)

    def text(self, epoch_B: NDArray[np.int64], row_B: NDArray[np.int64]) -> Tensor:
        """Return what the text tower takes of these showings; see `Batch`."""
        texts = self.texts
        if texts is None:
            return torch.empty(0)
        if self.every or texts.captions == 1:
            return texts.take(row_B)
        drawn_B = drawn_captions(self.order.seed, epoch_B, row_B, captions=texts.captions)
        return texts.take(row_B, drawn_B)

    def weights(self, row_B: NDArray[np.int64]) -> Tensor:
        """Return how much each pair counts in the loss, float32 [B]."""
        if not self.weight:
            return torch.ones(len(row_B))
        return torch.from_numpy(self.pairs.weights[self.weight][row_B])

    def without_cache(self) -> "Recipe":
        """Return the recipe for a process of many, none of which keeps pictures."""
        return replace(self, loader=replace(self.loader, cache_bytes=0))


class Maker:
    """Makes batches; threads may share it.

    Args:
        recipe: Of the batches.
    """

    def __init__(self, recipe: Recipe) -> None:
        loader = recipe.loader
        folder = Path(loader.spool)
        spool = Spool(folder, limit_bytes=loader.spool_bytes) if loader.spool else None
        self.recipe = recipe
        self.encoded = Encoded(recipe.pairs, reads=loader.reads, spool=spool)
        self.pictures = Pictures(
            self.encoded, size=recipe.size, augment=recipe.augment, cache_bytes=loader.cache_bytes
        )

    def make(self, place: Place, *, into: Tensor | None = None) -> Batch:
        """Build the batch of a place; a whole batch is one task, so threads hardly ever meet.

        Args:
            place: What it shows.
            into: Memory for the pixels; new by default.
        """
        start, epoch_B, row_B = place
        pixels_BHWC = self.recipe.empty() if into is None else into
        there_BHWC = pixels_BHWC.numpy()
        shown_B = row_B.copy()
        coming = self.encoded.ahead(row_B.tolist(), known=self.pictures.has)
        for i, read in enumerate(coming):
            row = int(row_B[i])
            rng = self.draws(int(epoch_B[i]), row)
            shown_B[i], there_BHWC[i] = self.pictures.show(row, rng, read)
        return Batch(
            start=start,
            pixels_BHWC=pixels_BHWC,
            text_BL=self.recipe.text(epoch_B, shown_B),
            weight_B=self.recipe.weights(shown_B),
            row_B=shown_B,
            replaced=int((shown_B != row_B).sum()),
        )

    def draws(self, epoch: int, row: int) -> Callable[[], np.random.Generator]:
        """Return what makes the generator of one showing of one pair."""
        return partial(sample_rng, self.recipe.order.seed, epoch, row)
