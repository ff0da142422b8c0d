"""A matrix of logits is walked in square tiles, each made, used and forgotten."""

from collections.abc import Iterator

SIDE = 2048  # 16 MiB of float32


def tiles(rows: int, columns: int, side: int) -> Iterator[tuple[slice, slice]]:
    """Cut a matrix into tiles of at most side x side; the last of a row or column are smaller.

    Args:
        rows: Of the matrix.
        columns: Of the matrix.
        side: 0 takes `SIDE`.
    """
    side = side or SIDE
    for i in range(0, rows, side):
        for j in range(0, columns, side):
            yield slice(i, min(i + side, rows)), slice(j, min(j + side, columns))
