"""Text in the picture by PP-OCR's detector: where it is and how much of the picture it covers."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from filters.extract.base import (
    Batch,
    Column,
    Extractor,
    Score,
    Values,
    normalised,
    onnx_session,
    resize,
)

STRIDE = 32  # the network wants sides that are multiples of this


@dataclass(frozen=True, kw_only=True, slots=True)
class TextInImage(Extractor):
    """Quads of text lines found by RapidOCR's detector (DB, Liao et al., arXiv:1911.08947).

    Attributes:
        side: Longest side the detector sees, pixels. 224 to 320 finds captions and slogans; fine
            print needs more and costs quadratically.
        threshold: Least mean probability inside a quad.
    """

    kind: Literal["text_in_image"] = "text_in_image"
    side: int = 256
    threshold: float = 0.5
    columns: ClassVar[tuple[Column, ...]] = (
        Column("text_count", "int32", "quad", "[0, 1000]", "text lines found"),
        Column("text_area", "float32", "", "[0, 1]", "share of the picture that quads cover"),
        Column("text_quads", "floats", "", "[0, 1]", "x, y of four corners, of each quad"),
    )
    weights: ClassVar[tuple[str, ...]] = ("rapidocr_detector",)
    version: ClassVar[int] = 2

    def load(self, weights: Mapping[str, Path], *, threads: int) -> Score:
        """Load the detector."""
        session = onnx_session(weights["rapidocr_detector"], threads=threads)
        name = session.get_inputs()[0].name
        from rapidocr.ch_ppocr_det.utils import DBPostProcess

        quads_of_map = DBPostProcess(
            thresh=0.3, box_thresh=self.threshold, unclip_ratio=1.6, use_dilation=True
        )

        def score(batch: Batch) -> dict[str, Values]:
            found = []
            for picture in batch.pictures:
                shrunk = fit(picture, self.side)
                pixels = normalised(shrunk[:, :, ::-1], [127.5] * 3, [127.5] * 3)
                (probability,) = session.run(None, {name: pixels[None]})
                height, width = shrunk.shape[:2]
                quads, _ = quads_of_map(probability, (height, width))
                corners = np.asarray(quads, np.float32).reshape(-1, 4, 2)
                found.append(corners / np.array([width, height], np.float32))
            return {
                "text_count": np.array([len(quads) for quads in found], np.int32),
                "text_area": np.array([covered_share(quads) for quads in found], np.float32),
                "text_quads": [quads.ravel().tolist() for quads in found],
            }

        return score


def fit(picture: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    """Resize so that the longest side is at most `side` and both are multiples of `STRIDE`."""
    height, width = picture.shape[:2]
    scale = min(1.0, side / max(height, width))
    multiple = lambda pixels: max(STRIDE, round(pixels * scale / STRIDE) * STRIDE)  # noqa: E731
    return resize(picture, (multiple(width), multiple(height)))


def covered_share(quad_n42: NDArray[np.float32], *, grid: int = 128) -> float:
    """Share of the unit square that lies in at least one quad, in [0, 1], on a grid of points."""
    at = (np.arange(grid, dtype=np.float32) + 0.5) / grid
    x, y = np.meshgrid(at, at)
    inside = np.zeros((grid, grid), bool)
    for quad_42 in quad_n42:
        side_4 = [
            (bx - ax) * (y - ay) - (by - ay) * (x - ax)
            for (ax, ay), (bx, by) in zip(quad_42, np.roll(quad_42, -1, axis=0), strict=True)
        ]
        inside |= np.all(np.array(side_4) >= 0, 0) | np.all(np.array(side_4) <= 0, 0)
    return float(inside.mean())
