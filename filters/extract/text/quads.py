"""Quads, the four corners of a line of text: order, rasterising, area.

Corners are x, y in [0, 1] of the picture, upper left first, then clockwise. Shape letters: n quads
of one picture, 4 corners, 2 coordinates.
"""

import numpy as np
from numpy.typing import NDArray

GRID = 128  # points a side that an area is counted on
ROW = 0.5  # two quads are in one row if their tops differ by less than this share of a height


def in_reading_order(quad_n42: NDArray[np.float32]) -> NDArray[np.float32]:
    """Sort quads into rows from the top, and each row from the left."""
    if len(quad_n42) == 0:
        return quad_n42
    by_top = quad_n42[np.argsort(quad_n42[:, 0, 1], kind="stable")]
    top_n = by_top[:, 0, 1]
    height_n = np.ptp(by_top[:, :, 1], axis=1)
    new_row = np.diff(top_n) > ROW * np.minimum(height_n[1:], height_n[:-1])
    row_n = np.concatenate([[0], np.cumsum(new_row)])
    return by_top[np.lexsort((by_top[:, 0, 0], row_n))]


def depth(
    quad_42: NDArray[np.float32], x: NDArray[np.float32], y: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Distance to the nearest side, positive inside of a convex quad and negative outside.

    Outside, sides are lines without end: points at a given depth form the quad grown by it, with
    sharp corners.

    Args:
        quad_42: Corners in the unit of `x` and `y`, in either direction.
        x: Any shape.
        y: The same shape, or one that broadcasts.
    """
    next_42 = np.roll(quad_42, -1, axis=0)
    across_4, down_4 = (next_42 - quad_42).T
    long_4 = np.hypot(across_4, down_4)
    turn = np.sign((quad_42[:, 0] * next_42[:, 1] - next_42[:, 0] * quad_42[:, 1]).sum())
    depths = [
        (turn * (across * (y - from_y) - down * (x - from_x)) / long)
        for (from_x, from_y), across, down, long in zip(
            quad_42, across_4, down_4, long_4, strict=True
        )
        if long > 0
    ]
    if not depths or turn == 0:  # all corners on a line: nothing is inside
        return np.full(np.broadcast_shapes(x.shape, y.shape), -np.inf, np.float32)
    return np.minimum.reduce(depths).astype(np.float32)


def covered(
    quad_n42: NDArray[np.float32], size: tuple[int, int], *, grow: float = 0.0
) -> NDArray[np.bool_]:
    """Return which pixels have their centre in at least one quad; bool [height, width].

    Args:
        quad_n42: Corners in [0, 1].
        size: Width and height in pixels.
        grow: Pixels that every quad is larger by on each side.
    """
    width, height = size
    inside = np.zeros((height, width), bool)
    for quad_42 in quad_n42 * np.array(size, np.float32):
        window = window_of(quad_42, size, margin=grow)
        x, y = centres(window)
        inside[window] |= depth(quad_42, x, y) >= -grow
    return inside


def window_of(
    quad_42: NDArray[np.float32], size: tuple[int, int], *, margin: float
) -> tuple[slice, slice]:
    """Return rows and columns of a quad's bounding box, grown and cut to the picture.

    Sharp corners of a grown quad that lean out of the box by more than `margin` are left out.
    """
    low = np.floor(quad_42.min(0) - margin).astype(int)
    high = np.ceil(quad_42.max(0) + margin).astype(int)
    left, top = np.clip(low, 0, size)
    right, bottom = np.clip(high, 0, size)
    return slice(top, bottom), slice(left, right)


def centres(window: tuple[slice, slice]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return x [1, w] and y [h, 1] of the pixel centres of a window."""
    rows, columns = window
    x = np.arange(columns.start, columns.stop, dtype=np.float32) + np.float32(0.5)
    y = np.arange(rows.start, rows.stop, dtype=np.float32) + np.float32(0.5)
    return x[None], y[:, None]


def covered_share(quad_n42: NDArray[np.float32]) -> float:
    """Share of the picture that lies in at least one quad, in [0, 1], on a grid of points."""
    return float(covered(quad_n42, (GRID, GRID)).mean())
