"""Technical quality by cleanvision's scores: blurred, dark, pale, empty, or a strip.

Formulas and constants are those of cleanvision 0.3.7 with its default settings, so thresholds that
were chosen for it hold here.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter, ImageStat

from filters.extract.base import Batch, Column, Extractor, Score, Values

# Perceived brightness is the root of a weighted mean of squares (the HSP colour model).
RED, GREEN, BLUE = (weight * np.arange(256.0) ** 2 for weight in (0.241, 0.691, 0.068))
DARK_PERCENTILE, LIGHT_PERCENTILE = 99, 5
BLUR_SIDE = 64  # longest side that edges are looked for at
BLUR_SCALE = 0.01
SPREAD_ENOUGH = 0.18  # from here on an uneven histogram counts for sharpness
INFORMATION_SCALE = 0.1  # per bit


@dataclass(frozen=True, kw_only=True, slots=True)
class Quality(Extractor):
    """Five scores of technical quality, small is bad.

    They are cleanvision's to seven digits on the same RGB pixels (it takes grey pictures as they
    are: one channel, log2(3) bits less). A picture of 640 pixels and more on its short side comes
    reduced, and averaged pixels have fewer extremes. Measured: photographs moved by up to 0.06, in
    `dark`; drawings by up to 0.27 in `light` (thin dark lines) and 0.08 in `low_information`.

    Attributes:
        preprocess: `exact` looks at the whole picture, at the price of a second decode.
    """

    kind: Literal["quality"] = "quality"
    preprocess: Literal["fast", "exact"] = "fast"
    columns = (
        Column("blur", "float32", "", "[0, 1]", "strength of edges; small is blurred"),
        Column("dark", "float32", "", "[0, 1]", "brightness of the lightest pixels"),
        Column("light", "float32", "", "[0, 1]", "darkness of the darkest pixels"),
        Column("low_information", "float32", "", "[0, 1]", "a tenth of the entropy, at most 1"),
        Column("odd_aspect", "float32", "", "(0, 1]", "short side over long side"),
    )

    @property
    def exact(self) -> bool:
        """Whether it reads `Batch.originals`."""
        return self.preprocess == "exact"

    def load(self, weights: Mapping[str, Path], *, threads: int) -> Score:
        """Return the function that scores a batch; there is no model."""
        del weights, threads

        def score(batch: Batch) -> dict[str, Values]:
            pictures = batch.seen(self.kind, exact=self.exact)
            sizes_and_pictures = list(zip(batch.sizes, pictures, strict=True))
            dark_light_B2 = np.array([dark_and_light(p) for p in pictures]).reshape(-1, 2)
            return {
                "blur": _float32([blur(p, size) for size, p in sizes_and_pictures]),
                "dark": _float32(dark_light_B2[:, 0]),
                "light": _float32(dark_light_B2[:, 1]),
                "low_information": _float32([information(p) for p in pictures]),
                "odd_aspect": _float32([min(size) / max(size) for size in batch.sizes]),
            }

        return score


def dark_and_light(picture: NDArray[np.uint8]) -> tuple[float, float]:
    """Return how light the lightest and how dark the darkest pixels are, each in [0, 1].

    The 99th percentile of brightness, and 1 minus the 5th: a picture is dark if even its lightest
    pixels are, and pale if even its darkest ones are light. Linear between neighbours.
    """
    squared_n = (RED[picture[..., 0]] + GREEN[picture[..., 1]] + BLUE[picture[..., 2]]).ravel()
    last = squared_n.size - 1
    at_2 = np.array([DARK_PERCENTILE, LIGHT_PERCENTILE]) * last / 100
    below_2 = at_2.astype(int)
    above_2 = np.minimum(below_2 + 1, last)
    squared_n.partition(np.unique([below_2, above_2]))  # a root keeps the order
    low_2, high_2 = np.sqrt(squared_n[below_2]) / 255, np.sqrt(squared_n[above_2]) / 255
    lightest, darkest = low_2 + (high_2 - low_2) * (at_2 - below_2)
    return float(lightest), float(1 - darkest)


def information(picture: NDArray[np.uint8]) -> float:
    """Return a tenth of the entropy in bits, at most 1; 0 is one value in every channel.

    One histogram holds all three channels, 768 bins: a grey picture has log2(3) bits for having
    channels at all.
    """
    return min(1.0, INFORMATION_SCALE * Image.fromarray(picture).entropy())


def blur(picture: NDArray[np.uint8], size: tuple[int, int]) -> float:
    """Return how strong the edges of a thumbnail are, in [0, 1]; 0 is blurred.

    1 - exp(-deviation / 100) of the thumbnail after an edge filter. Few grey levels, as in line art
    and lettering, are no blur: the same of the deviation of the 256 bins of its histogram is added,
    unless it is tiny. So a flat picture scores 1; that it is empty is for `information` to say.

    Args:
        picture: uint8 [height, width, 3], not smaller than the thumbnail.
        size: Original width and height.
    """
    ratio = max(size) / BLUR_SIDE
    grey = Image.fromarray(picture)
    if ratio > 1:
        width, height = (max(int(pixels // ratio), 1) for pixels in size)
        grey = grey.resize((width, height), Image.Resampling.BICUBIC)
    grey = grey.convert("L")
    edges = math.sqrt(ImageStat.Stat(grey.filter(ImageFilter.FIND_EDGES)).var[0])
    spread = _saturated(float(np.std(grey.histogram())))
    return min(1.0, _saturated(edges) + (spread if spread > SPREAD_ENOUGH else 0.0))


def _saturated(deviation: float) -> float:
    return 1 - math.exp(-BLUR_SCALE * deviation)


def _float32(values: NDArray[np.float64] | list[float]) -> NDArray[np.float32]:
    return np.asarray(values, np.float32)
