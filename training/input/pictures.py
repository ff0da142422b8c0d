"""Squares cut out of pairs' pictures; what was decoded stays in memory, as much as may be.

Where a crop lies is drawn from the header's size, before anything is decoded: a JPEG is decoded
only as fine as the crop needs it. Pictures of other kinds are decoded whole and reduced once.
"""

import logging
import math
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import chain

import numpy as np

from pipeline.decode import DecodeError, Header, decode_jpeg, decode_rgb, read_header, reduction
from training.config import Augment
from training.input.augment import Crop, Picture, draw_crop, random_crop
from training.input.encoded import Encoded, Read

logger = logging.getLogger(__name__)

WHOLE = 0  # stands for the reduction of a picture that is no JPEG: always the same one
TOLD = 20  # broken pictures that are named: a pool of billions has millions
DrawFrom = Callable[[], np.random.Generator]


@dataclass(frozen=True, slots=True)
class Kept:
    """What is in memory of a picture.

    Attributes:
        width: Pixels of the original, or of a picture that is no JPEG as it is kept.
        height: Likewise.
        decoded: By the factor it was reduced by; `WHOLE` for a picture that is no JPEG.
    """

    width: int
    height: int
    decoded: dict[int, Picture] = field(default_factory=dict)


class Pictures:
    """Squares of `size` pixels out of the pictures of pairs; threads may share it.

    What came first stays in memory: every epoch shows every picture once, so any picture is as
    likely to be asked for next as any other, and replacing one by another would gain nothing.

    Args:
        encoded: Reads the pictures.
        size: Pixels of a side.
        augment: How crops are drawn.
        cache_bytes: Bound on decoded pictures in memory.
    """

    def __init__(self, encoded: Encoded, *, size: int, augment: Augment, cache_bytes: int) -> None:
        self.encoded = encoded
        self.size = size
        self.augment = augment
        # Crops of the smallest area are not enlarged.
        self.side = math.ceil(size / math.sqrt(augment.min_area))
        self.full = cache_bytes == 0
        self._free_bytes = cache_bytes
        self._cache: dict[int, Kept] = {}
        self._broken: set[int] = set()
        self._lock = threading.Lock()

    def has(self, row: int) -> bool:
        """Tell whether something of a row is in memory."""
        return row in self._cache

    def show(self, row: int, rng: DrawFrom, read: Read | None = None) -> tuple[int, Picture]:
        """Return a random square of the first picture at or after `row` that can be decoded.

        After the last row the first one follows.

        Args:
            row: Of the picture.
            rng: Makes the generator that the crop is drawn with.
            read: Reads the row; by default it is read when it is needed.

        Returns:
            The row that was decoded, and uint8 [size, size, 3].

        Raises:
            OSError: A shard cannot be read.
            ValueError: No picture of the pairs can be decoded.
        """
        for candidate in chain(range(row, len(self.encoded)), range(row)):
            found = self.decoded(candidate, rng, read if candidate == row else None)
            if found is not None:
                crop, picture = found
                return candidate, random_crop(picture, crop, self.size)
        raise ValueError(
            f"pairs: got {len(self.encoded)} pictures none of which can be decoded, expected "
            "pictures; check that the shards are those the subset was made from"
        )

    def decoded(
        self, row: int, rng: DrawFrom, read: Read | None = None
    ) -> tuple[Crop, Picture] | None:
        """Return a crop and the picture it is to be cut from, None if it cannot be decoded."""
        kept = self._cache.get(row)
        if kept is not None:
            crop = self._draw(kept.width, kept.height, rng)
            factor = WHOLE if WHOLE in kept.decoded else self._factor(crop, kept.width, kept.height)
            if factor in kept.decoded:
                return crop, kept.decoded[factor]
        try:
            return self._decode(row, rng, read() if read else self.encoded.read(row))
        except DecodeError as error:
            self._tell(row, error)
            return None

    def _decode(self, row: int, rng: DrawFrom, data: bytes) -> tuple[Crop, Picture]:
        header = read_header(data)
        if header is None:
            picture = decode_rgb(data, min_side=self.side)
            height, width = picture.shape[:2]
            header, factor = Header(width, height, orientation=1), WHOLE
            crop = self._draw(width, height, rng)
        else:
            crop = self._draw(header.width, header.height, rng)
            factor = self._factor(crop, header.width, header.height)
            picture = decode_jpeg(data, header, factor=factor)
        if not self.full:
            self._keep(row, header, factor, picture)
        return crop, picture

    def _draw(self, width: int, height: int, rng: DrawFrom) -> Crop:
        return draw_crop(width, height, augment=self.augment, rng=rng())

    def _factor(self, crop: Crop, width: int, height: int) -> int:
        return reduction(crop.short_side(width, height), self.size)

    def _keep(self, row: int, header: Header, factor: int, picture: Picture) -> None:
        with self._lock:
            self.full = self.full or picture.nbytes > self._free_bytes
            if self.full:
                return
            kept = self._cache.setdefault(row, Kept(header.width, header.height))
            if factor not in kept.decoded:
                self._free_bytes -= picture.nbytes
                kept.decoded[factor] = picture

    def _tell(self, row: int, error: DecodeError) -> None:
        with self._lock:
            if row in self._broken or len(self._broken) > TOLD:
                return
            self._broken.add(row)
            count = len(self._broken)
        if count > TOLD:
            logger.warning("further pictures cannot be decoded; `replaced` in the log counts them")
            return
        pairs = self.encoded.pairs
        logger.warning(
            "pair %d (%s, byte %d): %s; the next picture stands in for it", row,
            pairs.shards[int(pairs.shard_N[row])], int(pairs.offset_N[row]), error,
        )  # fmt: skip
