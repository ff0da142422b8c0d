"""Objects by NanoDet (80 COCO classes): how many, how sure, how much of the picture they fill."""

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

SIDE = 320  # what the converted graph takes (pipeline/models/nanodet.py)
STRIDES = (8, 16, 32)
BINS = 11  # a box side is a distribution over 0 .. 10 strides (Generalized Focal Loss)
MEAN_BGR = (103.53, 116.28, 123.675)
STD_BGR = (57.375, 57.12, 58.395)
NMS_OVERLAP = 0.5

COCO_CLASSES = tuple(
    """person|bicycle|car|motorcycle|airplane|bus|train|truck|boat|traffic light|fire hydrant
    |stop sign|parking meter|bench|bird|cat|dog|horse|sheep|cow|elephant|bear|zebra|giraffe|backpack
    |umbrella|handbag|tie|suitcase|frisbee|skis|snowboard|sports ball|kite|baseball bat
    |baseball glove|skateboard|surfboard|tennis racket|bottle|wine glass|cup|fork|knife|spoon|bowl
    |banana|apple|sandwich|orange|broccoli|carrot|hot dog|pizza|donut|cake|chair|couch|potted plant
    |bed|dining table|toilet|tv|laptop|mouse|remote|keyboard|cell phone|microwave|oven|toaster|sink
    |refrigerator|book|clock|vase|scissors|teddy bear|hair drier|toothbrush""".replace(
        "\n    ", ""
    ).split("|")
)


@dataclass(frozen=True, slots=True)
class Detections:
    """n boxes of one picture, best first.

    Attributes:
        box_n4: float32 [n, 4], left, top, right, bottom in [0, 1] of the picture.
        score_n: float32 [n] in [0, 1].
        class_n: int [n], index into `COCO_CLASSES`.
    """

    box_n4: NDArray[np.float32]
    score_n: NDArray[np.float32]
    class_n: NDArray[np.int64]


@dataclass(frozen=True, kw_only=True, slots=True)
class Objects(Extractor):
    """Objects found by NanoDet.

    Attributes:
        threshold: Least score of a box. 0.4 to 0.5 is sensible: cut-outs on white with no COCO
            class get the nearest animal below that.
    """

    kind: Literal["objects"] = "objects"
    threshold: float = 0.4
    columns: ClassVar[tuple[Column, ...]] = (
        Column("object_count", "int32", "box", "[0, 100]", "boxes at or above the threshold"),
        Column("object_score", "float32", "", "[0, 1]", "best score, 0 without a box"),
        Column("object_area", "float32", "", "[0, 1]", "area share of the largest box"),
        Column("object_classes", "strings", "", "COCO", "class of each box, best first"),
        Column("object_scores", "floats", "", "[0, 1]", "score of each box"),
        Column("object_boxes", "floats", "", "[0, 1]", "left, top, right, bottom of each box"),
    )
    weights: ClassVar[tuple[str, ...]] = ("nanodet",)
    version: ClassVar[int] = 3

    @property
    def side(self) -> int:
        """Pixels that the detector takes."""
        return SIDE

    def load(self, weights: Mapping[str, Path], *, threads: int) -> Score:
        """Load the detector."""
        session = onnx_session(weights["nanodet"], threads=threads)
        name = session.get_inputs()[0].name

        def score(batch: Batch) -> dict[str, Values]:
            pixels = np.stack([pixels_of(p) for p in batch.pictures])
            outputs = session.run(None, {name: pixels})
            score_BPC, sides_BP4 = head(outputs, count=len(batch))
            return _columns(
                [
                    detections(score_PC, sides_P4, threshold=self.threshold)
                    for score_PC, sides_P4 in zip(score_BPC, sides_BP4, strict=True)
                ]
            )

        return score


def pixels_of(picture: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return what NanoDet takes of a picture, squeezed into a square; float32 [3, 320, 320]."""
    return normalised(resize(picture, (SIDE, SIDE))[:, :, ::-1], MEAN_BGR, STD_BGR)


def head(
    outputs: list[NDArray[np.float32]], *, count: int
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Put the six outputs (two a level, in any order) together.

    Returns:
        Scores [B, P, 80] in [0, 1] and distances from a place to the four sides of its box
        [B, P, 4] in input pixels, over P = 2100 places, finest level first. A distance is the
        expectation over `BINS` bins, times the stride (Li et al., arXiv:2006.04388).
    """
    scores, sides = [], []
    for stride in STRIDES:
        places = (SIDE // stride) ** 2
        for output in outputs:
            level = output.reshape(count, -1, output.shape[-1])
            if level.shape[1] != places:
                continue
            if level.shape[2] == len(COCO_CLASSES):
                scores.append(level)
            else:
                share = _softmax(level.reshape(count, places, 4, BINS))
                sides.append((share @ np.arange(BINS, dtype=np.float32)) * stride)
    return np.concatenate(scores, 1), np.concatenate(sides, 1)


def detections(
    score_PC: NDArray[np.float32], sides_P4: NDArray[np.float32], *, threshold: float
) -> Detections:
    """Turn one picture's head into boxes: threshold, then suppression per class."""
    place_n, class_n = np.nonzero(score_PC >= threshold)
    score_n = score_PC[place_n, class_n]
    centre_n2 = place_centres()[place_n]
    left_top, right_bottom = sides_P4[place_n, :2], sides_P4[place_n, 2:]
    box_n4 = np.concatenate([centre_n2 - left_top, centre_n2 + right_bottom], 1)
    box_n4 = np.clip(box_n4 / SIDE, 0.0, 1.0).astype(np.float32)
    kept = suppress(box_n4, score_n, class_n, overlap=NMS_OVERLAP)
    return Detections(box_n4[kept], score_n[kept], class_n[kept])


def place_centres() -> NDArray[np.float32]:
    """Centres (x, y) of all P places in input pixels, finest level first; float32 [P, 2]."""
    levels = []
    for stride in STRIDES:
        at = np.arange(SIDE // stride, dtype=np.float32) * stride + (stride - 1) / 2
        y, x = np.meshgrid(at, at, indexing="ij")
        levels.append(np.stack([x.ravel(), y.ravel()], 1))
    return np.concatenate(levels)


def suppress(
    box_n4: NDArray[np.float32],
    score_n: NDArray[np.float32],
    class_n: NDArray[np.int64],
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
    box_4: NDArray[np.float32], box_n4: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Overlap of one box with n others, in [0, 1]; 0 where both are empty."""
    inner = np.minimum(box_4[2:], box_n4[:, 2:]) - np.maximum(box_4[:2], box_n4[:, :2])
    shared = np.prod(np.clip(inner, 0, None), axis=1)
    union = area(box_4[None]) + area(box_n4) - shared
    return shared / np.maximum(union, 1e-12)


def area(box_n4: NDArray[np.float32]) -> NDArray[np.float32]:
    """Area share of each box, in [0, 1]."""
    return np.prod(np.clip(box_n4[:, 2:] - box_n4[:, :2], 0, None), axis=1)


def _softmax(x: NDArray[np.float32]) -> NDArray[np.float32]:
    shifted = np.exp(x - x.max(-1, keepdims=True))
    return shifted / shifted.sum(-1, keepdims=True)


def _columns(found: list[Detections]) -> dict[str, Values]:
    return {
        "object_count": np.array([len(d.score_n) for d in found], np.int32),
        "object_score": np.array([d.score_n.max(initial=0.0) for d in found], np.float32),
        "object_area": np.array([area(d.box_n4).max(initial=0.0) for d in found], np.float32),
        "object_classes": [[COCO_CLASSES[c] for c in d.class_n] for d in found],
        "object_scores": [d.score_n.tolist() for d in found],
        "object_boxes": [d.box_n4.ravel().tolist() for d in found],
    }
