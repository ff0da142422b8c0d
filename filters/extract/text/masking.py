"""Text painted over with the colour around it (T-MARS, Maini et al., arXiv:2307.03132)."""

import numpy as np
from numpy.typing import NDArray

from filters.extract.text.quads import centres, covered, depth, window_of

# The surround of a quad: how far it reaches, as a share of the quad's shorter side, and at least.
SURROUND_SHARE = 0.25
SURROUND_PIXELS = 2.0


def masked(picture: NDArray[np.uint8], region_n42: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Fill each quad of text with the average colour of the pixels around it.

    The pixels around a quad are those up to a quarter of its shorter side (at least 2 pixels) off
    its sides that lie in no quad; where there are none, all pixels of the picture that lie in no
    quad; and where text is everywhere, the quad's own. A pixel belongs to a quad if its centre
    does. A pixel of several quads takes the colour of the last.

    Args:
        picture: uint8 [height, width, 3].
        region_n42: Convex quads, corners in [0, 1].

    Returns:
        A new picture; the same one if there is no quad.
    """
    if len(region_n42) == 0:
        return picture
    size = (picture.shape[1], picture.shape[0])
    free = ~covered(region_n42, size)
    filled = picture.copy()
    for quad_42 in region_n42 * np.array(size, np.float32):
        margin = max(SURROUND_PIXELS, SURROUND_SHARE * shorter_side(quad_42))
        window = window_of(quad_42, size, margin=margin)
        depth_hw = depth(quad_42, *centres(window))
        inside = depth_hw >= 0
        if inside.any():
            around = picture[window][(depth_hw >= -margin) & free[window]]
            choices = (around, picture[free], picture[window][inside])
            colour = next(pixels for pixels in choices if len(pixels)).mean(0)
            filled[window][inside] = np.rint(colour).astype(np.uint8)
    return filled


def shorter_side(quad_42: NDArray[np.float32]) -> float:
    """Length of a quad's shorter pair of sides, the height of a line: mean of the two."""
    long_4 = np.hypot(*(np.roll(quad_42, -1, axis=0) - quad_42).T)
    return float(min(long_4[0] + long_4[2], long_4[1] + long_4[3]) / 2)
