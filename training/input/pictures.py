"""Decoded pictures of pairs, reduced for the model, as many of them in memory as may be."""

import logging
import threading
from collections import deque
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from itertools import chain, islice

from pipeline.decode import DecodeError, decode_rgb
from pipeline.pairs import Pairs
from training.input.augment import Picture, reduce

logger = logging.getLogger(__name__)

FILL_CHUNK = 256  # pictures between two looks at whether the cache is full


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
