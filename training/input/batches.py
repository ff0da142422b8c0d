"""Batches straight from the original shards: read by byte range, decode, crop.

The sequence of batches depends on the pairs, the seed and the augmentation only; ranks, workers,
threads, cache, spool and prefetch depth decide how soon a batch is there, and who gets which part.
"""

from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import Any

from pipeline.pairs import Pairs
from training.config import Augment, Distill, Loader, Train
from training.input.ahead import in_threads
from training.input.batch import Batch
from training.input.making import Maker, Recipe
from training.input.mix import Mix, order_of
from training.input.order import Order
from training.input.showings import SOME, showings_of
from training.input.texts import Texts
from training.input.workers import in_workers
from training.parallel.ranks import ALONE, Ranks

WEIGHTS = (1e-9, 1e9)  # the largest is in here, or float32 sums and shares of a batch lose it
FILL_CHUNK = 256  # pictures between two looks at whether the cache is full


class Batches:
    """A rank's share of every batch of a run, from any step on.

    Args:
        pairs: What is shown.
        texts: What the text tower takes; None where captions play no part.
        order: Which pair is shown when.
        size: Pixels of a side.
        batch_size: Pairs of a whole batch.
        augment: How pictures are cropped.
        loader: How batches are made ready.
        ranks: Who gets which part.
        every: Whether all captions of a pair are shown, or one that is drawn.
        weight: Name of the pairs' weights in the loss; `""` weighs all alike.
    """

    def __init__(
        self,
        pairs: Pairs,
        texts: Texts | None,
        *,
        order: Order | Mix,
        size: int,
        batch_size: int,
        augment: Augment,
        loader: Loader,
        ranks: Ranks = ALONE,
        every: bool = False,
        weight: str = "",
    ) -> None:
        self.recipe = Recipe(
            pairs=pairs, texts=texts, order=order, size=size, batch_size=batch_size,
            share=ranks.share(batch_size), augment=augment, loader=loader, every=every,
            weight=weight, pinned=ranks.device.type == "cuda",
        )  # fmt: skip
        self.maker = Maker(self.recipe)

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
        """Return the batches that a run's settings describe, for a model of side `size`.

        Raises:
            ValueError: There are too few pairs for a batch, or their weights are of no use.
        """
        how: dict[str, Any] = {}
        if isinstance(cfg, Train):
            _require_weights(pairs, cfg.loss.weight)
            order = order_of(cfg.sampling, pairs, seed=seed, batch_size=cfg.batch_size)
            how = {"every": cfg.sampling.every, "weight": cfg.loss.weight}
        else:
            order = Order(showings_of(pairs), seed=seed, batch_size=cfg.batch_size)
        return cls(
            pairs, texts, order=order, size=size, batch_size=cfg.batch_size, augment=cfg.augment,
            loader=cfg.loader, ranks=ranks, **how,
        )  # fmt: skip

    def fill(self, first_step: int, last_step: int) -> None:
        """Decode beforehand what these steps will show and the cache can hold.

        Threads that decode and threads that multiply get into each other's way: on two cores, a
        step of 0.15 s took 0.4 to 0.6 s while one thread decoded beside it. What does not fit
        into the cache is still decoded beside the model, and so is all where workers decode.
        """
        recipe, pictures = self.recipe, self.maker.pictures
        if recipe.loader.workers:
            return
        epoch = -(-len(recipe.pairs) // recipe.batch_size)
        places = map(recipe.place, range(first_step, min(last_step, first_step + epoch)))
        showings = (
            (int(e), int(r)) for p in places for e, r in zip(p.epoch_B, p.row_B, strict=True)
        )
        threads = recipe.loader.threads
        with ThreadPoolExecutor(threads, thread_name_prefix="decode") as pool:
            while not pictures.full and (some := list(islice(showings, FILL_CHUNK))):
                deque(pool.map(lambda at: pictures.decoded(at[1], self.maker.draws(*at)), some), 0)

    def iterate(self, first_step: int, last_step: int) -> Iterator[Batch]:
        """Yield the batches of the steps from `first_step` to `last_step` (exclusive), in order.

        Raises:
            OSError: A shard cannot be read.
            ValueError: No picture can be decoded.
            WorkerLost: A process that makes batches died.
        """
        loader, steps = self.recipe.loader, range(first_step, last_step)
        if loader.workers:
            return in_workers(self.recipe, steps)
        depth = max(loader.prefetch, loader.threads)
        places = map(self.recipe.place, steps)
        return in_threads(self.maker.make, places, threads=loader.threads, depth=depth)


def _require_weights(pairs: Pairs, name: str) -> None:
    """Refuse weights of which nothing would be learned, without a word."""
    if not name:
        return
    weight_N, starts = pairs.weights[name], range(0, len(pairs), SOME)
    largest = float(max(weight_N[start : start + SOME].max() for start in starts))
    if not WEIGHTS[0] <= largest <= WEIGHTS[1]:
        raise ValueError(
            f"loss.weight: got {name!r}, whose largest value is {largest:g}, expected one in "
            f"[{WEIGHTS[0]:g}, {WEIGHTS[1]:g}]; choose another column, or divide it by its mean"
        )
