"""Batches straight from the original shards: read by byte range, decode, reduce, cache, crop.

The sequence of batches depends on the pairs, the seed and the augmentation only; ranks, threads,
cache and prefetch depth decide how soon a batch is there, and who gets which part of it.
"""

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice

import numpy as np
import torch

from pipeline.pairs import Pairs
from training.config import Augment, Distill, Loader, Train
from training.input.augment import random_crop, reduced_side
from training.input.batch import Batch
from training.input.order import Order, sample_rng
from training.input.pictures import Pictures
from training.input.texts import Texts
from training.parallel.ranks import ALONE, Ranks


class Batches:
    """A rank's share of every batch of a run, from any step on.

    Args:
        pairs: What is shown.
        texts: What the text tower takes; None where captions play no part.
        size: Pixels of a side.
        batch_size: Pairs of a whole batch.
        seed: Of order and augmentation.
        augment: How pictures are cropped.
        loader: How batches are made ready.
        ranks: Who gets which part.
    """

    def __init__(
        self,
        pairs: Pairs,
        texts: Texts | None,
        *,
        size: int,
        batch_size: int,
        seed: int,
        augment: Augment,
        loader: Loader,
        ranks: Ranks = ALONE,
    ) -> None:
        self.texts = texts
        self.order = Order(len(pairs), seed=seed)
        self.pictures = Pictures(pairs, side=reduced_side(size), cache_bytes=loader.cache_bytes)
        self.size = size
        self.batch_size = batch_size
        self.share = ranks.share(batch_size)
        self.augment = augment
        self.loader = loader

    @classmethod
    def of(
        cls,
        cfg: Train | Distill,
        pairs: Pairs,
        texts: Texts | None,
        *,
        size: int,
        seed: int,
        ranks: Ranks,
    ) -> "Batches":
        """Return the batches that a run's settings describe, for a model of side `size`."""
        return cls(
            pairs, texts, size=size, batch_size=cfg.batch_size, seed=seed, augment=cfg.augment,
            loader=cfg.loader, ranks=ranks,
        )  # fmt: skip

    def fill(self, first_step: int, last_step: int) -> None:
        """Decode beforehand what these steps will show and the cache can hold.

        Threads that decode and threads that multiply get into each other's way: on two cores, a
        step of 0.15 s took 0.4 to 0.6 s while one thread decoded beside it. What does not fit
        into the cache is still decoded beside the model.
        """
        start, stop = first_step * self.batch_size, last_step * self.batch_size
        rows = self.order.rows(start, min(stop, start + self.order.count))[1]
        self.pictures.fill(dict.fromkeys(rows.tolist()), threads=self.loader.threads)

    def iterate(self, first_step: int, last_step: int) -> Iterator[Batch]:
        """Yield the batches of the steps from `first_step` to `last_step` (exclusive), in order."""
        steps = iter(range(first_step, last_step))
        ahead: deque[Future[Batch]] = deque()
        depth = max(self.loader.prefetch, self.loader.threads)
        with ThreadPoolExecutor(self.loader.threads, thread_name_prefix="loader") as pool:
            try:
                ahead.extend(pool.submit(self._make, step) for step in islice(steps, depth))
                while ahead:
                    batch = ahead.popleft().result()
                    ahead.extend(pool.submit(self._make, step) for step in islice(steps, 1))
                    yield batch
            finally:
                pool.shutdown(wait=False, cancel_futures=True)

    def _make(self, step: int) -> Batch:
        """Build one batch; a whole batch is one task, so threads hardly ever meet."""
        first = step * self.batch_size + self.share.start
        epoch_B, row_B = self.order.rows(first, first + len(self.share))
        pixels_BHWC = np.empty((len(row_B), self.size, self.size, 3), np.uint8)
        shown_B = row_B.copy()
        for i, (epoch, row) in enumerate(zip(epoch_B.tolist(), row_B.tolist(), strict=True)):
            shown_B[i], picture = self.pictures.get_or_next(row)
            rng = sample_rng(self.order.seed, epoch, row)
            pixels_BHWC[i] = random_crop(picture, self.size, augment=self.augment, rng=rng)
        return Batch(
            start=first,
            pixels_BHWC=torch.from_numpy(pixels_BHWC),
            text_BL=torch.empty(0) if self.texts is None else self.texts.take(shown_B),
            weight_B=torch.ones(len(row_B)),
            row_B=shown_B,
            replaced=int((shown_B != row_B).sum()),
        )
