"""Columns that need no model: size, aspect, entropy, sharpness and a perceptual hash."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from filters.extract.base import Batch, Column, Score, Values, resize

LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R BT.601
SHARPNESS_SIDE = 256  # sharpness depends on scale: compare pictures at one longest side
HASH_SIDE, HASH_BITS_SIDE = 32, 8


@dataclass(frozen=True, kw_only=True, slots=True)
class ImageStatistics:
    """Size and simple statistics of the picture."""

    kind: Literal["image"] = "image"
    columns: ClassVar[tuple[Column, ...]] = (
        Column("width", "int32", "px", "[1, inf)", "width of the original picture"),
        Column("height", "int32", "px", "[1, inf)", "height of the original picture"),
        Column("aspect", "float32", "", "[1, inf)", "long side over short side"),
        Column("entropy", "float32", "bit", "[0, 8]", "entropy of the grey-level histogram"),
        Column("sharpness", "float32", "", "[0, inf)", "variance of the Laplacian"),
        Column("phash", "uint64", "", "[0, 2^64)", "perceptual hash (DCT signs)"),
    )
    weights: ClassVar[tuple[str, ...]] = ()
    pixels: ClassVar[bool] = True
    version: ClassVar[int] = 1

    def load(self, weights: Mapping[str, Path], *, threads: int) -> Score:
        """Return `score`; there is no model."""
        del weights, threads
        return score


def score(batch: Batch) -> dict[str, Values]:
    """Compute all columns of `ImageStatistics`."""
    width_B, height_B = np.array(batch.sizes, np.int32).reshape(-1, 2).T
    greys = [grey_of(picture) for picture in batch.pictures]
    return {
        "width": width_B,
        "height": height_B,
        "aspect": (np.maximum(width_B, height_B) / np.minimum(width_B, height_B)).astype(
            np.float32
        ),
        "entropy": np.array([entropy(grey) for grey in greys], np.float32),
        "sharpness": np.array([sharpness(grey) for grey in greys], np.float32),
        "phash": np.array([perceptual_hash(p) for p in batch.pictures], np.uint64),
    }


def grey_of(picture: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return BT.601 luma in [0, 255], longest side at most `SHARPNESS_SIDE`; float32 [h, w]."""
    height, width = picture.shape[:2]
    longest = max(height, width)
    if longest > SHARPNESS_SIDE:
        scale = SHARPNESS_SIDE / longest
        picture = resize(picture, (max(1, round(width * scale)), max(1, round(height * scale))))
    return picture.astype(np.float32) @ LUMA


def entropy(grey: NDArray[np.float32]) -> float:
    """Shannon entropy of the 256-bin grey-level histogram, in bits, [0, 8]; 0 is a flat colour."""
    count = np.bincount(grey.astype(np.uint8).ravel(), minlength=256)
    share = count[count > 0] / count.sum()
    return float(-(share * np.log2(share)).sum()) + 0.0


def sharpness(grey: NDArray[np.float32]) -> float:
    """Variance of the 4-neighbour Laplacian (Pech-Pacheco et al., ICPR 2000); small is blurred."""
    if min(grey.shape) < 3:  # noqa: PLR2004 -- no inner pixel
        return 0.0
    inner = grey[1:-1, 1:-1]
    around = grey[:-2, 1:-1] + grey[2:, 1:-1] + grey[1:-1, :-2] + grey[1:-1, 2:]
    return float(np.var(around - 4 * inner, dtype=np.float64))


def perceptual_hash(picture: NDArray[np.uint8]) -> int:
    """Hash the layout of a picture into 64 bits; copies differ in few bits (Zauner 2010, pHash).

    The picture is shrunk to 32 x 32 grey levels; of its DCT the 8 x 8 lowest frequencies (without
    the constant ones of each axis) are compared with their median.
    """
    grey = resize(picture, (HASH_SIDE, HASH_SIDE)).astype(np.float32) @ LUMA
    basis = _dct_rows()
    low = basis @ grey @ basis.T
    bits = (low > np.median(low)).ravel()
    return int.from_bytes(np.packbits(bits).tobytes(), "big")


def _dct_rows() -> NDArray[np.float32]:
    """Rows 1 to 8 of the DCT-II matrix of `HASH_SIDE`; float32 [8, 32]."""
    frequency = np.arange(1, HASH_BITS_SIDE + 1)[:, None]
    position = np.arange(HASH_SIDE)[None, :]
    return np.cos(np.pi * (2 * position + 1) * frequency / (2 * HASH_SIDE)).astype(np.float32)
