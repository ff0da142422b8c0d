"""Faces made unrecognisable: boxes of a picture are blurred, the rest keeps every bit."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

PADDING = 0.1  # of a box's longer side, on each side
SOFTNESS = 0.1  # deviation of the Gaussian, of the longest side of all boxes


def blur_faces(picture: NDArray[np.uint8], boxes: Sequence[Sequence[float]]) -> NDArray[np.uint8]:
    """Return the picture with its boxes blurred, and their edges with it.

    As DataComp's shards were made (img2dataset's blurrer, after ImageNet's): each box grows by a
    tenth of its longer side, one Gaussian, as wide as a tenth of the longest side of all boxes,
    blurs the picture and the mask of the boxes, and the soft mask says how much of the blurred
    picture shows. We differ in three points. What the mask does not reach keeps its values, where
    img2dataset may round them down by one; a box that touches the left or upper edge is blurred,
    where img2dataset's grows past it and is lost; and the Gaussian is three box filters (Pillow),
    so that large faces cost no more than small ones.

    Args:
        picture: uint8 [height, width, 3]; it is not changed.
        boxes: Left, top, right, bottom in [0, 1] of the picture; what lies outside is cut off.

    Raises:
        ValueError: A box is not four numbers in order.
    """
    height, width = picture.shape[:2]
    sides = [_in_pixels(box, width, height) for box in boxes]
    longest = max(
        (max(right - left, bottom - top) for left, top, right, bottom in sides), default=0
    )
    if longest == 0:
        return picture.copy()
    mask = np.zeros((height, width), np.uint8)
    for left, top, right, bottom in sides:
        grown = PADDING * max(right - left, bottom - top)
        rows = slice(max(0, int(top - grown)), int(bottom + grown))
        mask[rows, max(0, int(left - grown)) : int(right + grown)] = 255
    gaussian = ImageFilter.GaussianBlur(SOFTNESS * longest)
    sharp, soft = Image.fromarray(picture), Image.fromarray(mask).filter(gaussian)
    return np.array(Image.composite(sharp.filter(gaussian), sharp, soft))


def _in_pixels(box: Sequence[float], width: int, height: int) -> tuple[int, int, int, int]:
    if len(box) != 4 or not (box[0] <= box[2] and box[1] <= box[3]):  # noqa: PLR2004
        raise ValueError(
            f"face box: got {list(box)}, expected left <= right and top <= bottom, as shares of "
            "the picture; give boxes as [x_min, y_min, x_max, y_max]"
        )
    left, top, right, bottom = (min(1.0, max(0.0, share)) for share in box)
    return int(left * width), int(top * height), int(right * width), int(bottom * height)
