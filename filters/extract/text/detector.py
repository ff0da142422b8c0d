"""Where text is: quads of text lines by PP-OCR's detector, for every extractor that wants them."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from filters.extract.base import Batch, normalised, onnx_session, resize
from filters.extract.text.quads import in_reading_order

STRIDE = 32  # the network wants sides that are multiples of this
# Pixels of one run of the network. On one core large pictures are fastest one by one, since two of
# them leave the cache; small ones gain a little by company.
PIXELS_AT_ONCE = {"cpu": 256 * 256, "cuda": 64 * 256 * 256}
MAP_THRESHOLD, UNCLIP = 0.3, 1.6  # RapidOCR's defaults


class TextDetector:
    """RapidOCR's detector (DB, Liao et al., arXiv:1911.08947).

    Attributes:
        settings: Side and threshold, to tell its quads from another's.
    """

    def __init__(self, model: Path, *, side: int, threshold: float, threads: int) -> None:
        """Load the network.

        Args:
            model: ONNX file.
            side: Longest side it sees, pixels.
            threshold: Least mean probability inside a quad.
            threads: Of the network.
        """
        from rapidocr.ch_ppocr_det.utils import DBPostProcess

        self._session = onnx_session(model, threads=threads)
        self._input = self._session.get_inputs()[0].name
        on_gpu = "CUDAExecutionProvider" in self._session.get_providers()
        self._at_once = PIXELS_AT_ONCE["cuda" if on_gpu else "cpu"]
        self._side, self.settings = side, (side, threshold)
        self._quads_of_map = DBPostProcess(
            thresh=MAP_THRESHOLD, box_thresh=threshold, unclip_ratio=UNCLIP, use_dilation=True
        )

    def quads_of(self, batch: Batch, *, originals: bool = False) -> list[NDArray[np.float32]]:
        """Return the quads of each picture (or original) of a batch, found once per batch."""
        pictures = batch.originals if originals else batch.pictures
        return batch.once(("text_quads", *self.settings, originals), lambda: self(pictures))

    def __call__(self, pictures: Sequence[NDArray[np.uint8]]) -> list[NDArray[np.float32]]:
        """Find text; for each picture float32 [n, 4, 2] in [0, 1], in reading order."""
        shrunk = [fit(picture, self._side) for picture in pictures]
        found: list[NDArray[np.float32]] = [np.zeros((0, 4, 2), np.float32)] * len(pictures)
        for group in groups_of([s.shape[:2] for s in shrunk], pixels=self._at_once):
            pixels = np.stack([pixels_of(shrunk[i]) for i in group])
            (probability,) = self._session.run(None, {self._input: pixels})
            for i, one in zip(group, probability, strict=True):
                height, width = pictures[i].shape[:2]
                found[i] = self._quads(one[None], (height, width))
        return found

    def _quads(
        self, probability: NDArray[np.float32], shape: tuple[int, int]
    ) -> NDArray[np.float32]:
        """Turn a map into quads, rounded to pixels of the picture as it was given."""
        quads, _ = self._quads_of_map(probability, shape)
        corners = np.asarray(quads, np.float32).reshape(-1, 4, 2)
        return in_reading_order(corners / np.array(shape[::-1], np.float32))


def fit(picture: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    """Resize so that the longest side is at most `side` and both are multiples of `STRIDE`."""
    height, width = picture.shape[:2]
    scale = min(1.0, side / max(height, width))
    multiple = lambda pixels: max(STRIDE, round(pixels * scale / STRIDE) * STRIDE)  # noqa: E731
    return resize(picture, (multiple(width), multiple(height)))


def pixels_of(shrunk: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return what the detector takes: BGR in [-1, 1], float32 [3, height, width]."""
    return normalised(shrunk[:, :, ::-1], [127.5] * 3, [127.5] * 3)


def groups_of(shapes: Sequence[tuple[int, ...]], *, pixels: int) -> list[list[int]]:
    """Group positions of equal shapes, no group with more than `pixels` unless it is one picture.

    Pictures are not padded to a common shape: that costs what the padding has of pixels, and quads
    would depend on the neighbours.
    """
    alike: dict[tuple[int, ...], list[int]] = {}
    for i, shape in enumerate(shapes):
        alike.setdefault(shape, []).append(i)
    groups = []
    for (height, width), members in alike.items():
        count = max(1, pixels // (height * width))
        groups += [members[at : at + count] for at in range(0, len(members), count)]
    return groups
