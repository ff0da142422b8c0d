"""Faces in a picture: boxes from CenterFace's maps, and boxes as DataComp has them.

Shape letters: n faces of a picture, H and W cells of a map.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from filters.extract.objects.boxes import suppress

STRIDE = 4  # pixels of a cell
NMS_OVERLAP = 0.3
MOST_CANDIDATES = 1000  # cells that may become boxes, so that noise costs no minutes
DATACOMP_ABOVE = 0.3  # DataComp keeps boxes with higher scores


@dataclass(frozen=True, slots=True)
class FacesFound:
    """n faces of one picture, best first.

    Attributes:
        box_n4: float32 [n, 4], left, top, right, bottom in [0, 1] of the picture.
        score_n: float32 [n] in [0, 1].
    """

    box_n4: NDArray[np.float32]
    score_n: NDArray[np.float32]


def faces_found(
    score_HW: NDArray[np.float32],
    size_2HW: NDArray[np.float32],
    offset_2HW: NDArray[np.float32],
    *,
    threshold: float,
) -> FacesFound:
    """Turn one picture's maps into boxes (CenterFace, Xu et al., arXiv:1911.03599, section 3).

    A face lies at the cell of its centre. Where the paper takes local maxima of the score, boxes
    are suppressed here, as in the authors' own code.

    Args:
        score_HW: Probability that a face's centre is in this cell.
        size_2HW: Logarithm of the face's height and width, in cells.
        offset_2HW: From the cell's centre down and right to the face's centre, in cells.
        threshold: Least score.
    """
    row_n, column_n = np.nonzero(score_HW >= threshold)
    best = np.argsort(-score_HW[row_n, column_n], kind="stable")[:MOST_CANDIDATES]
    row_n, column_n = row_n[best], column_n[best]
    score_n = score_HW[row_n, column_n]
    half_n2 = np.exp(size_2HW[:, row_n, column_n].T) / 2
    centre_n2 = np.stack([row_n, column_n], 1) + 0.5 + offset_2HW[:, row_n, column_n].T
    box_n4 = np.concatenate([centre_n2 - half_n2, centre_n2 + half_n2], 1) / (score_HW.shape * 2)
    box_n4 = np.clip(box_n4, 0.0, 1.0)[:, [1, 0, 3, 2]].astype(np.float32)
    kept = suppress(box_n4, score_n, np.zeros(len(score_n), np.int64), overlap=NMS_OVERLAP)
    return FacesFound(box_n4[kept], score_n[kept])


def face_bboxes(
    boxes: Sequence[float], scores: Sequence[float], *, above: float = DATACOMP_ABOVE
) -> list[list[float]]:
    """Return one pair's `face_bboxes` as in DataComp's metadata.

    Args:
        boxes: The column `face_boxes`: four numbers of each face, end to end.
        scores: The column `face_scores`.
        above: Scores a face must exceed.

    Returns:
        `[x_min, y_min, x_max, y_max]` in [0, 1] for each face, best first; empty without one.

    Raises:
        ValueError: There are not four numbers for each score.
    """
    if len(boxes) != 4 * len(scores):
        raise ValueError(
            f"face_boxes: got {len(boxes)} numbers for {len(scores)} scores, expected four of "
            "each; take both columns from the same row"
        )
    rows = [[float(side) for side in boxes[4 * i : 4 * i + 4]] for i in range(len(scores))]
    return [box for box, score in zip(rows, scores, strict=True) if score > above]
