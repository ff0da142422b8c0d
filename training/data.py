"""Batches straight from the original shards: read by byte range, decode, reduce, cache, crop.

The sequence of batches depends on the pairs, the seed and the augmentation only; threads, cache
and prefetch depth decide how soon a batch is there.
"""

import logging
import threading
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain, islice

import numpy as np
from numpy.typing import NDArray

from pipeline.decode import DecodeError, decode_rgb
from pipeline.pairs import Pairs
from training.augment import Picture, random_crop, reduce, reduced_side
from training.config import Augment, Distill, Loader, Train
from training.order import Order, sample_rng

logger = logging.getLogger(__name__)

FILL_CHUNK = 256  # pictures between two looks at whether the cache is full


@dataclass(frozen=True, slots=True)
class Batch:
    """B pictures and whose they are.

    Attributes:
        pixels_BHWC: uint8, RGB.
        row_B: int64, position in the pairs of the picture that is really there.
        replaced: How many of them stand in for a picture that could not be decoded.
    """

    pixels_BHWC: NDArray[np.uint8]
    row_B: NDArray[np.int64]
    replaced: int


class Pictures:
    """Decoded pictures of `pairs`, reduced to `side`, kept in memory up to a bound.

    What came first stays: every epoch shows every picture once, so any picture is as likely to be
    asked for next as any other, and replacing one by another would gain nothing.
    """

    def __init__(self, pairs: Pairs, *, side: int, cache_bytes: int) -> None:
        self.pairs = pairs
        self.side = side
        self._free_bytes = cache_bytes
        self._full = cache_bytes == 0
        self._cache: dict[int, Picture] = {}
        self._broken: set[int] = set()
        self._lock = threading.Lock()

    def fill(self, rows: Iterable[int], *, threads: int) -> None:
        """Decode rows into memory, in order, until the bound is reached."""
        waiting = iter(rows)
        with ThreadPoolExecutor(threads, thread_name_prefix="decode") as pool:
            while not self._full and (some := list(islice(waiting, FILL_CHUNK))):
                deque(pool.map(self.get, some), maxlen=0)

    def get(self, row: int) -> Picture | None:
        """Return the reduced picture of a row, or None if it cannot be decoded."""
        if row in self._broken:
            return None
        found = self._cache.get(row)
        return self._decode(row) if found is None else found

    def get_or_next(self, row: int) -> tuple[int, Picture]:
        """Return the first picture at or after `row`, going round, that can be decoded.

        Raises:
            ValueError: No picture of the pairs can be decoded.
        """
        for candidate in chain(range(row, len(self.pairs)), range(row)):
            picture = self.get(candidate)
            if picture is not None:
                return candidate, picture
        raise ValueError(
            f"pairs: got {len(self.pairs)} pictures none of which can be decoded, expected "
            "pictures; check that the shards are those the subset was made from"
        )

    def _decode(self, row: int) -> Picture | None:
        try:
            picture = reduce(decode_rgb(self.pairs.image_bytes(row), min_side=self.side), self.side)
        except DecodeError as error:
            with self._lock:
                known, _ = row in self._broken, self._broken.add(row)
            if not known:
                logger.warning("pair %d: %s; the next picture stands in for it", row, error)
            return None
        with self._lock:
            self._full = self._full or picture.nbytes > self._free_bytes
            if not self._full and row not in self._cache:
                self._free_bytes -= picture.nbytes
                self._cache[row] = picture
        return picture


class Batches:
    """The batches of a run, from any step on."""

    def __init__(
        self,
        pairs: Pairs,
        *,
        size: int,
        batch_size: int,
        seed: int,
        augment: Augment,
        loader: Loader,
    ) -> None:
        self.order = Order(len(pairs), seed=seed)
        self.pictures = Pictures(pairs, side=reduced_side(size), cache_bytes=loader.cache_bytes)
        self.size = size
        self.batch_size = batch_size
        self.augment = augment
        self.loader = loader

    @classmethod
    def of(cls, cfg: Train | Distill, pairs: Pairs, *, size: int, seed: int) -> "Batches":
        """Return the batches that a run's settings describe, for a model of side `size`."""
        return cls(
            pairs,
            size=size,
            batch_size=cfg.batch_size,
            seed=seed,
            augment=cfg.augment,
            loader=cfg.loader,
        )

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
                ahead.extend(self._submit(pool, step) for step in islice(steps, depth))
                while ahead:
                    batch = ahead.popleft().result()
                    ahead.extend(self._submit(pool, step) for step in islice(steps, 1))
                    yield batch
            finally:
                pool.shutdown(wait=False, cancel_futures=True)

    def _submit(self, pool: ThreadPoolExecutor, step: int) -> "Future[Batch]":
        start = step * self.batch_size
        epoch_B, row_B = self.order.rows(start, start + self.batch_size)
        return pool.submit(self._make, epoch_B, row_B)

    def _make(self, epoch_B: NDArray[np.int64], row_B: NDArray[np.int64]) -> Batch:
        """Build one batch; a whole batch is one task, so threads hardly ever meet."""
        pixels_BHWC = np.empty((len(row_B), self.size, self.size, 3), np.uint8)
        shown_B = row_B.copy()
        for i, (epoch, row) in enumerate(zip(epoch_B.tolist(), row_B.tolist(), strict=True)):
            shown_B[i], picture = self.pictures.get_or_next(row)
            rng = sample_rng(self.order.seed, epoch, row)
            pixels_BHWC[i] = random_crop(picture, self.size, augment=self.augment, rng=rng)
        return Batch(pixels_BHWC, shown_B, int((shown_B != row_B).sum()))
