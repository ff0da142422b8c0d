"""What text says: lines cut out of pictures and read by PP-OCR's recogniser."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from filters.extract.base import normalised, onnx_session, resize
from filters.extract.text.detector import groups_of

HEIGHT = 48  # pixels of a line, as the network was trained
STEP = 32  # widths are padded to a multiple of this, so that lines share a run
WIDEST = 40 * HEIGHT  # a longer line is squeezed; some 100 letters
# Pixels of one run: on one core nothing is gained by more (24 ms for 320 of width, one by one or
# eight together), and the output has 18,710 characters for each 8 of width.
PIXELS_AT_ONCE = {"cpu": HEIGHT * 1280, "cuda": HEIGHT * 16384}
BLANK = 0  # CTC's


@dataclass(frozen=True, slots=True)
class Line:
    """A line as it was read.

    Attributes:
        text: Its characters; may be empty.
        score: Mean probability of the characters, in [0, 1]; 0 without any.
    """

    text: str
    score: float


class TextReader:
    """RapidOCR's recogniser: PP-OCR, a line of 48 pixels to characters by CTC."""

    def __init__(self, model: Path, *, threads: int) -> None:
        """Load the network; its alphabet lies in the file's metadata, one character a line."""
        self._session = onnx_session(model, threads=threads)
        self._input = self._session.get_inputs()[0].name
        metadata = self._session.get_modelmeta().custom_metadata_map
        self._alphabet = np.array(["", *metadata["character"].splitlines(), " "])
        on_gpu = "CUDAExecutionProvider" in self._session.get_providers()
        self._at_once = PIXELS_AT_ONCE["cuda" if on_gpu else "cpu"]

    def __call__(self, crops: Sequence[NDArray[np.uint8]]) -> list[Line]:
        """Read upright crops of one line each, uint8 [height, width, 3], of any size."""
        inputs = [pixels_of(crop) for crop in crops]
        read = [Line("", 0.0)] * len(crops)
        for group in groups_of([i.shape[1:] for i in inputs], pixels=self._at_once):
            pixels = np.stack([inputs[i] for i in group])
            (probability_LTC,) = self._session.run(None, {self._input: pixels})
            for i, probability_TC in zip(group, probability_LTC, strict=True):
                read[i] = ctc(probability_TC, self._alphabet)
        return read


def crop_of(picture: NDArray[np.uint8], quad_42: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Cut a quad out of a picture and set it upright; one much higher than wide is laid down.

    Args:
        picture: uint8 [height, width, 3].
        quad_42: Corners in [0, 1].
    """
    from rapidocr.utils.process_img import get_rotate_crop_image

    size = np.array([picture.shape[1], picture.shape[0]], np.float32)
    return get_rotate_crop_image(np.ascontiguousarray(picture), quad_42 * size)


def pixels_of(crop: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return what the recogniser takes: BGR in [-1, 1], float32 [3, 48, width], 0 as padding."""
    height, width = crop.shape[:2]
    fitted = min(WIDEST, max(1, math.ceil(HEIGHT * width / height)))
    pixels = np.zeros((3, HEIGHT, STEP * math.ceil(fitted / STEP)), np.float32)
    line = resize(crop, (fitted, HEIGHT))[:, :, ::-1]
    pixels[:, :, :fitted] = normalised(line, [127.5] * 3, [127.5] * 3)
    return pixels


def ctc(probability_TC: NDArray[np.float32], alphabet: NDArray[Any]) -> Line:
    """Decode greedily: the likeliest character of each step, repeats and blanks left out.

    Args:
        probability_TC: Of each character, for each step from left to right.
        alphabet: The C characters, the blank first.
    """
    character_T = probability_TC.argmax(1)
    new_T = np.diff(character_T, prepend=BLANK) != 0
    kept_T = new_T & (character_T != BLANK)
    if not kept_T.any():
        return Line("", 0.0)
    text = "".join(alphabet[character_T[kept_T]])
    return Line(text, float(probability_TC.max(1)[kept_T].mean()))
