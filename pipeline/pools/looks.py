"""What pictures look like: size, format, and the perceptual hash that scoring uses too."""

import io
import os
import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from filters.extract.image import HASH_REDUCED_SIDE, hash_thumbnail, perceptual_hash
from pipeline.decode import FORMATS, MAX_PIXELS
from pipeline.pools.item import Picture

FLAT = 2.0  # grey levels of standard deviation; below it the hash is noise
EXTENSIONS = {
    "JPEG": "jpg",
    "PNG": "png",
    "WEBP": "webp",
    "GIF": "gif",
    "BMP": "bmp",
    "TIFF": "tif",
}
THREADS = min(8, os.cpu_count() or 1)  # Pillow decodes outside the interpreter lock


@dataclass(frozen=True, slots=True)
class Look:
    """What is known of a picture.

    Attributes:
        extension: By content, not by name; `bin` where it is no picture.
        width: Pixels, 0 where unknown.
        height: Pixels, 0 where unknown.
        phash: 64 bits; None where the picture cannot be decoded, is too large to be, or is flat.
    """

    extension: str = "bin"
    width: int = 0
    height: int = 0
    phash: int | None = None


def look_at(pictures: Sequence[Picture]) -> list[Look]:
    """Look at many pictures, in threads."""
    with warnings.catch_warnings(), ThreadPoolExecutor(THREADS) as pool:
        warnings.simplefilter("ignore")  # Pillow warns of odd files; what counts is if they decode
        return list(pool.map(lambda picture: look(picture.read()), pictures))


def look(data: bytes, *, hashed: bool = True) -> Look:
    """Look at one encoded picture; never raises for its content.

    Args:
        data: The encoded picture.
        hashed: False reads the header only.
    """
    seen = Look()
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as picture:
            width, height = picture.size
            seen = Look(EXTENSIONS.get(picture.format or "", "bin"), width, height)
            if not hashed or width * height > MAX_PIXELS:
                return seen
            grey = _thumbnail(picture)
    except Exception:  # decoders raise anything on junk
        return seen
    if grey.std() < FLAT:
        return seen
    return Look(seen.extension, width, height, perceptual_hash(grey))


def _thumbnail(picture: Image.Image) -> NDArray[np.float64]:
    rgba = picture.convert("RGBA")
    rgba = rgba.reduce(max(1, min(rgba.size) // HASH_REDUCED_SIDE))  # first: 2x faster in all
    return hash_thumbnail(Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba))
