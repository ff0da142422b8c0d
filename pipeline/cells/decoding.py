"""Samples to batches of decoded pictures: a pool of threads works ahead, within bounds."""

import logging
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from filters.extract import Extractor
from filters.extract.image import content_hash
from pipeline.cells.plan import Stopwatch
from pipeline.config import Cells
from pipeline.decode import (
    DecodeError,
    Picture,
    decode_exact,
    decode_picture,
    picture_bounds,
)
from pipeline.samples import Sample
from pipeline.schema import Reason

# Pictures reach the extractors with at least this short side, or in their original size: enough for
# the largest input among them (NanoDet's 320) in one decode.
PICTURE_SIDE = 320

BATCH_PIXELS = 64_000_000  # a batch ends early at this many, whatever its pictures' shapes
AHEAD = 2  # batches that are being decoded while one is in the models

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Decoded:
    """A sample without its picture's bytes, and the picture if it could be decoded.

    Attributes:
        sample: It carries the verdict.
        picture: For every extractor; None if there is none or none is wanted.
        original: For exact extractors, as open_clip's loader decodes it; None if none is wanted.
        content: Hash of the picture's bytes; None where it was not decoded.
    """

    sample: Sample
    picture: Picture | None = None
    original: NDArray[np.uint8] | None = None
    content: int | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Needs:
    """What extractors need of pictures.

    Attributes:
        pixels: Any at all.
        exact: The picture as open_clip's loader decodes it, too.
    """

    pixels: bool
    exact: bool

    @classmethod
    def of(cls, extractors: Iterable[Extractor]) -> "Needs":
        """Ask the extractors.

        Raises:
            ValueError: One needs larger pictures than cells give.
        """
        wanted = [e for e in extractors if e.pixels]
        for extractor in wanted:
            if extractor.side > PICTURE_SIDE and not extractor.exact:
                raise ValueError(
                    f"extract.{extractor.kind}: got an input of {extractor.side} pixels, expected "
                    f'at most {PICTURE_SIDE}; set preprocess = "exact", which reads whole pictures'
                )
        return cls(pixels=bool(wanted), exact=any(e.exact for e in wanted))


def decode_pair(sample: Sample, needs: Needs, *, max_pixels: int) -> Decoded:
    """Decode a sample's picture; the sample that comes back carries the verdict but no bytes."""
    picture, original, content, status = None, None, None, sample.status
    if status is Reason.OK and needs.pixels and sample.image is not None:
        try:
            picture = decode_picture(sample.image, min_side=PICTURE_SIDE, max_pixels=max_pixels)
            if needs.exact:
                original = decode_exact(sample.image, max_pixels=max_pixels)
            content = content_hash(sample.image)
        except DecodeError as error:
            status = error.reason
            logger.debug("%s: %s", sample.key, error)
    bare = replace(sample, image=None, meta={}, status=status)
    return Decoded(bare, picture, original, content)


def decoded_batches(
    samples: Iterable[Sample], settings: Cells, watch: Stopwatch, needs: Needs
) -> Iterator[list[Decoded]]:
    """Yield batches in order.

    Batch k holds the samples k B to (k + 1) B, good or bad, so that it does not depend on where in
    the shard reading began; one with too many pixels is cut further.
    """
    decoded = _ahead(iter(samples), settings, watch, needs)
    while batch := list(islice(decoded, settings.batch)):
        yield from _cut(batch)


def _ahead(
    samples: Iterator[Sample], settings: Cells, watch: Stopwatch, needs: Needs
) -> Iterator[Decoded]:
    """Decode with a pool of threads, in order, up to `AHEAD` batches and their pixels ahead."""

    def decode(sample: Sample) -> Decoded:
        with watch.on("decode"):
            return decode_pair(sample, needs, max_pixels=settings.pixels)

    waiting: deque[tuple[Future[Decoded], int]] = deque()
    load = 0
    with ThreadPoolExecutor(settings.decoders, "decode") as pool:
        while True:
            while len(waiting) < AHEAD * settings.batch and load < AHEAD * BATCH_PIXELS:
                with watch.on("read"):
                    sample = next(samples, None)
                if sample is None:
                    break
                weight = _pixels_of(sample, settings.pixels) if needs.pixels else 0
                waiting.append((pool.submit(decode, sample), weight))
                load += weight
            if not waiting:
                return
            future, weight = waiting.popleft()
            load -= weight
            yield future.result()


def _pixels_of(sample: Sample, most: int) -> int:
    """Pixels that the decoded picture will have at most; 0 where there will be none."""
    bounds = picture_bounds(sample.image) if sample.image and sample.status is Reason.OK else None
    if bounds is None or bounds[0] * bounds[1] > most:
        return 0
    factor = max(1, min(bounds) // (2 * PICTURE_SIDE))  # at least so much is reduced
    return bounds[0] * bounds[1] // factor**2


def _cut(batch: Sequence[Decoded]) -> Iterator[list[Decoded]]:
    part, load = list[Decoded](), 0
    for decoded in batch:
        part.append(decoded)
        load += decoded.picture.rgb.size // 3 if decoded.picture else 0
        load += decoded.original.size // 3 if decoded.original is not None else 0
        if load >= BATCH_PIXELS:
            yield part
            part, load = [], 0
    if part:
        yield part


def empty_picture() -> NDArray[np.uint8]:
    """Return what stands for a picture where no extractor looks at one, uint8 [0, 0, 3]."""
    return np.zeros((0, 0, 3), np.uint8)
