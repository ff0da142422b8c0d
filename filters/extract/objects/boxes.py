"""Columns of the boxes found in a picture: one set for every detector, so that they can be swapped.

Shape letters: n boxes of a picture, P phrases of its caption. Of a picture w by h pixels, box i has
the corners (l, t, r, b) in shares of the picture, the score s_i and the area share
a_i = (r - l) (b - t). The largest box is that of the largest a_i; of several, the best. Its sides
in pixels, (r - l) w and (b - t) h, count as at least one.

| column | formula |
| --- | --- |
| object_count | n |
| object_score, _mean, _sum | max, mean and sum of s_i; 0 without a box |
| object_area | max of a_i; 0 without a box |
| object_center | |c - (1/2, 1/2)| sqrt(2) for the largest box's centre c; null without a box |
| object_aspect | long side / short side of the largest box; null without a box |
| object_union | area of the union of all boxes, exactly; 0 without a box |
| object_ratio | mean over boxes of short side / long side; null without a box |
| object_phrases | phrases of the caption that at least one box stands for |
| object_grounded | object_phrases / P; null if P = 0 |
| object_classes, _scores, _boxes | label, score and corners of each box, best first |
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from filters.extract.base import Column, Values

COLUMNS = (
    Column("object_count", "int32", "box", "[0, inf)", "boxes at or above the threshold"),
    Column("object_score", "float32", "", "[0, 1]", "best score, 0 without a box"),
    Column("object_score_mean", "float32", "", "[0, 1]", "mean score, 0 without a box"),
    Column("object_score_sum", "float32", "", "[0, inf)", "sum of scores"),
    Column("object_area", "float32", "", "[0, 1]", "area share of the largest box"),
    Column("object_center", "float32", "", "[0, 1]", "largest box's way from the centre; 1 corner"),
    Column("object_aspect", "float32", "", "[1, inf)", "long over short side of the largest box"),
    Column("object_union", "float32", "", "[0, 1]", "area share that boxes cover together"),
    Column("object_ratio", "float32", "", "(0, 1]", "mean short over long side of the boxes"),
    Column("object_phrases", "int32", "phrase", "[0, inf)", "caption phrases with a box"),
    Column("object_grounded", "float32", "", "[0, 1]", "share of caption phrases with a box"),
    Column("object_classes", "strings", "", "", "label of each box, best first"),
    Column("object_scores", "floats", "", "[0, 1]", "score of each box"),
    Column("object_boxes", "floats", "", "[0, 1]", "left, top, right, bottom of each box"),
)


@dataclass(frozen=True, slots=True)
class Found:
    """What a detector found in one picture.

    Attributes:
        box_n4: float32 [n, 4], left, top, right, bottom in [0, 1] of the picture.
        score_n: float32 [n] in [0, 1].
        label_n: n labels.
        named_nP: bool [n, P], whether box n stands for phrase P of the caption.
        size: Width and height of the picture in pixels.
    """

    box_n4: NDArray[np.float32]
    score_n: NDArray[np.float32]
    label_n: Sequence[str]
    named_nP: NDArray[np.bool_]
    size: tuple[int, int]

    @classmethod
    def nothing(cls, size: tuple[int, int], *, phrases: int) -> "Found":
        """Return what is found where there is nothing to find."""
        empty = np.zeros((0, 4), np.float32)
        return cls(empty, empty[:, 0], (), np.zeros((0, phrases), bool), size)


def columns_of(found: Sequence[Found]) -> dict[str, Values]:
    """Compute `COLUMNS` for B pictures; a list with None where a column may be null.

    Every value but the order of equal boxes is independent of the order of `box_n4`.
    """
    rows = [_row(each) for each in found]
    columns: dict[str, Values] = {}
    for column in COLUMNS:
        values = [row[column.name] for row in rows]
        exact = column.dtype in {"int32", "float32"} and None not in values
        columns[column.name] = np.array(values, column.dtype) if exact else values
    return columns


def _row(found: Found) -> dict[str, object]:
    """Compute the columns of one picture."""
    box_n4, score_n = found.box_n4.astype(np.float64), found.score_n.astype(np.float64)
    best_first = np.lexsort((*box_n4.T[::-1], -score_n))
    area_n = area(box_n4)
    named = int(found.named_nP.any(0).sum())
    phrases = found.named_nP.shape[1]
    sizes = {"object_center": None, "object_aspect": None, "object_ratio": None}
    return {
        "object_count": len(score_n),
        "object_score": score_n.max(initial=0.0),
        "object_score_mean": score_n.mean() if len(score_n) else 0.0,
        "object_score_sum": score_n.sum(),
        "object_area": area_n.max(initial=0.0),
        "object_union": union_area(box_n4),
        "object_phrases": named,
        "object_grounded": named / phrases if phrases else None,
        "object_classes": [found.label_n[i] for i in best_first],
        "object_scores": found.score_n[best_first].tolist(),
        "object_boxes": found.box_n4[best_first].ravel().tolist(),
    } | (_of_sides(box_n4[best_first], area_n[best_first], found.size) if len(box_n4) else sizes)


def _of_sides(
    box_n4: NDArray[np.floating], area_n: NDArray[np.floating], size: tuple[int, int]
) -> dict[str, object]:
    """Compute what depends on places and sides of at least one box."""
    sides_n2 = np.maximum((box_n4[:, 2:] - box_n4[:, :2]) * size, 1.0)
    short_n, long_n = sides_n2.min(1), sides_n2.max(1)
    largest = int(area_n.argmax())
    centre = (box_n4[largest, :2] + box_n4[largest, 2:]) / 2
    return {
        "object_center": min(1.0, float(np.hypot(*(centre - 0.5)) * np.sqrt(2))),
        "object_aspect": float(long_n[largest] / short_n[largest]),
        "object_ratio": float((short_n / long_n).mean()),
    }


def area(box_n4: NDArray[np.floating]) -> NDArray[np.floating]:
    """Area of each box, in the square of its unit; 0 where right < left or bottom < top."""
    return np.prod(np.clip(box_n4[:, 2:] - box_n4[:, :2], 0, None), axis=1)


def union_area(box_n4: NDArray[np.floating]) -> float:
    """Area that n boxes in the unit square cover together, in [0, 1]; exact but for rounding.

    The corners' coordinates cut the square into at most (2n)^2 cells, each covered wholly or not at
    all. How many boxes cover a cell is a sum over differences at corners, so the cost is O(n^2).
    """
    box_n4 = box_n4[area(box_n4) > 0].astype(np.float64)
    if not len(box_n4):
        return 0.0
    x, left_right = np.unique(box_n4[:, [0, 2]], return_inverse=True)
    y, top_bottom = np.unique(box_n4[:, [1, 3]], return_inverse=True)
    left, right = left_right.reshape(-1, 2).T
    top, bottom = top_bottom.reshape(-1, 2).T
    covers = np.zeros((len(x), len(y)), np.int64)
    for across, down, sign in (
        (left, top, 1),
        (right, bottom, 1),
        (left, bottom, -1),
        (right, top, -1),
    ):
        np.add.at(covers, (across, down), sign)
    covered = covers.cumsum(0).cumsum(1)[:-1, :-1] > 0
    return float(np.clip(np.diff(x) @ covered @ np.diff(y), area(box_n4).max(), 1.0))


def suppress(
    box_n4: NDArray[np.floating],
    score_n: NDArray[np.floating],
    class_n: NDArray[np.integer],
    *,
    overlap: float,
) -> NDArray[np.int64]:
    """Greedy non-maximum suppression within each class; positions of the survivors, best first."""
    order = np.argsort(-score_n, kind="stable")
    kept: list[int] = []
    for i in order:
        rivals = [k for k in kept if class_n[k] == class_n[i]]
        if not rivals or intersection_over_union(box_n4[i], box_n4[rivals]).max() <= overlap:
            kept.append(int(i))
    return np.array(kept, np.int64)


def intersection_over_union(
    box_4: NDArray[np.floating], box_n4: NDArray[np.floating]
) -> NDArray[np.floating]:
    """Overlap of one box with n others, in [0, 1]; 0 where both are empty."""
    inner = np.minimum(box_4[2:], box_n4[:, 2:]) - np.maximum(box_4[:2], box_n4[:, :2])
    shared = np.prod(np.clip(inner, 0, None), axis=1)
    union = area(box_4[None]) + area(box_n4) - shared
    return shared / np.maximum(union, 1e-12)
