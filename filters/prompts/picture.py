"""A picture as vision models take it: small enough, encoded, inside the request."""

import base64
import io
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from filters.prompts.calibration import BLANK

Encoding = Literal["jpeg", "png"]
QUALITY = 90  # of a JPEG


def data_url(picture: NDArray[np.uint8], *, side: int, encoding: Encoding) -> str:
    """Return a picture as a `data:` URL.

    Args:
        picture: uint8 [height, width, 3].
        side: Longest side in pixels; a smaller picture stays as it is.
        encoding: File format.
    """
    image = Image.fromarray(picture)
    image.thumbnail((side, side), Image.Resampling.BICUBIC)
    sink = io.BytesIO()
    image.save(sink, encoding.upper(), quality=QUALITY)
    return f"data:image/{encoding};base64,{base64.b64encode(sink.getvalue()).decode()}"


def blank(side: int) -> NDArray[np.uint8]:
    """Return the picture that shows nothing, uint8 [side, side, 3]."""
    return np.full((side, side, 3), BLANK, np.uint8)
