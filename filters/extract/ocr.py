"""Text in the picture by PP-OCR: where it is, how much of it, what it says, and what is left."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from filters.extract.base import Batch, Column, Extractor, Score, Values
from filters.extract.text.finder import Text, TextSearch, letters
from filters.extract.text.quads import covered, covered_share
from filters.extract.text.words import overlap, watermark_share

FOUND = (
    Column("text_count", "int32", "quad", "[0, 1000]", "text lines found"),
    Column("text_area", "float32", "", "[0, 1]", "share of the picture that quads cover"),
    Column("text_quads", "floats", "", "[0, 1]", "x, y of four corners, of each quad"),
)
READ = (
    Column("text_lines", "strings", "", "", "legible lines, largest only, in reading order"),
    Column("text_letters", "int32", "letter", "[0, inf)", "letters and digits in legible lines"),
    Column("text_read_area", "float32", "", "[0, 1]", "share that quads of real text cover"),
    Column("text_rest", "float32", "", "[0, 1]", "share that is neither text nor plain ground"),
    Column("text_overlap", "float32", "", "[0, 1]", "share of caption words read in the picture"),
    Column("text_watermark", "float32", "", "[0, 1]", "share of words read of stock agencies"),
)
REST_SIDE = 256  # pixels; what is left is counted at this longest side
REST_MARGIN = 2  # of them around a quad that belong to the text: edges of letters
REST_LEVELS = 32  # grey levels off the ground that count, above what JPEG does to a plain ground
GROUND_PIXELS = 4096  # that the ground's colour is the median of


@dataclass(frozen=True, kw_only=True, slots=True)
class TextInImage(TextSearch, Extractor):
    """Text lines found and, with `recognise`, read by RapidOCR's models.

    A picture of nothing but text is `text_letters >= 4 AND text_rest < 0.02`.
    """

    kind: Literal["text_in_image"] = "text_in_image"
    version: ClassVar[int] = 3

    @property
    def columns(self) -> tuple[Column, ...]:
        """What is found, and what is read if anything is."""
        return (*FOUND, *READ) if self.recognise else FOUND

    @property
    def weights(self) -> tuple[str, ...]:
        """Detector, and recogniser if anything is read."""
        return self.networks

    def load(self, weights: Mapping[str, Path], *, threads: int) -> Score:
        """Load the networks."""
        finder = self.finder(weights, threads=threads)

        def score(batch: Batch) -> dict[str, Values]:
            texts = finder.of(batch)
            return found(texts) | (read(texts, batch) if self.recognise else {})

        return score


def found(texts: list[Text]) -> dict[str, Values]:
    """Return the columns `FOUND` of B pictures."""
    return {
        "text_count": np.array([len(text.quad_n42) for text in texts], np.int32),
        "text_area": np.array([covered_share(text.quad_n42) for text in texts], np.float32),
        "text_quads": [text.quad_n42.ravel().tolist() for text in texts],
    }


def read(texts: list[Text], batch: Batch) -> dict[str, Values]:
    """Return the columns `READ` of B pictures."""
    pairs = list(zip(texts, batch.pictures, batch.captions, strict=True))
    return {
        "text_lines": [list(text.lines) for text in texts],
        "text_letters": np.array([letters("".join(text.lines)) for text in texts], np.int32),
        "text_read_area": np.array([covered_share(t.region_m42) for t in texts], np.float32),
        "text_rest": np.array([rest(p, text.region_m42) for text, p, _ in pairs], np.float32),
        "text_overlap": [overlap(caption, text.lines) for text, _, caption in pairs],
        "text_watermark": np.array([watermark_share(text.lines) for text in texts], np.float32),
    }


def rest(picture: NDArray[np.uint8], region_m42: NDArray[np.float32]) -> float:
    """Share of a picture that is neither text nor of the ground's colour, in [0, 1].

    The ground is the median colour outside of the text. 0 is a plain ground, with text on it or
    without.
    """
    step = -(-max(picture.shape[:2]) // REST_SIDE)
    sampled = picture[::step, ::step]
    height, width = sampled.shape[:2]
    outside = sampled[~covered(region_m42, (width, height), grow=REST_MARGIN)].astype(np.int16)
    if len(outside) == 0:
        return 0.0
    ground = np.median(outside[:: -(-len(outside) // GROUND_PIXELS)], axis=0).astype(np.int16)
    off = np.abs(outside - ground).max(1) > REST_LEVELS
    return float(off.sum() / (height * width))
