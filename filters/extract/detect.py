"""Objects by NanoDet (80 COCO classes): how many, how sure, where, and which of the caption's.

Shape letters: B pictures, P places of the network's head, C classes, n boxes of a picture.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from filters.extract.base import (
    Batch,
    Extractor,
    Score,
    Values,
    normalised,
    onnx_session,
    resize,
)
from filters.extract.embed import TextTower
from filters.extract.objects.boxes import COLUMNS, Found, columns_of, suppress
from filters.extract.objects.naming import NO_CLASS, ClassNames
from filters.extract.objects.phrases import phrases_of

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
# "man" is further from "person" than most things are, so this class has more names than its own.
PERSON = (
    "person", "man", "woman", "boy", "girl", "child", "baby", "men", "women", "people", "couple",
)  # fmt: skip
CLASS_NAMES = (PERSON, *((name,) for name in COCO_CLASSES[1:]))


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
    """Objects found by NanoDet, and the caption phrases that mean their classes.

    A phrase means the class whose name has the nearest MiniLM embedding, from a cosine of
    `phrase_threshold` on. Measured on 720 pictures with a box and an English caption (417 stamps of
    Tux Paint, 303 of openclipart), the share with a box for one of the caption's phrases, own
    caption against those of other pictures: 13.3 to 2.6 % from 0.5 on, 11.4 to 2.1 % from 0.55,
    9.2 to 1.8 % from 0.6, 7.9 to 1.6 % from 0.7. Read one by one without their pictures, half of
    the phrases from 0.60 to 0.65 mean their class (vulture: bird), a quarter from 0.55 to 0.60, a
    tenth below; and a detector that knows no donkey finds a horse.

    Attributes:
        threshold: Least score of a box. 0.4 to 0.5 is sensible: cut-outs on white with no COCO
            class get the nearest animal below that.
        phrase_threshold: Least cosine of a phrase and a class that means it.
    """

    kind: Literal["objects"] = "objects"
    threshold: float = 0.4
    phrase_threshold: float = 0.55
    columns = COLUMNS
    weights = ("nanodet", "minilm", "minilm_tokenizer")
    version: ClassVar[int] = 4

    @property
    def side(self) -> int:
        """Pixels that the detector takes."""
        return SIDE

    def load(self, weights: Mapping[str, Path], *, threads: int) -> Score:
        """Load the detector and the text tower."""
        session = onnx_session(weights["nanodet"], threads=threads)
        name = session.get_inputs()[0].name
        tower = TextTower(weights["minilm"], weights["minilm_tokenizer"], threads=threads)
        meant = ClassNames(tower, CLASS_NAMES, threshold=self.phrase_threshold)

        def score(batch: Batch) -> dict[str, Values]:
            pixels = np.stack([pixels_of(p) for p in batch.pictures])
            score_BPC, bins_BPS = head(session.run(None, {name: pixels}), count=len(batch))
            boxes = [
                detections(score_PC, bins_PS, threshold=self.threshold)
                for score_PC, bins_PS in zip(score_BPC, bins_BPS, strict=True)
            ]
            return columns_of(matched(boxes, batch, meant))

        return score


def matched(boxes: list[Detections], batch: Batch, meant: ClassNames) -> list[Found]:
    """Say which phrases of its caption each box stands for.

    The phrases of all captions are embedded in one go; those of pictures without a box, about half,
    are not.
    """
    phrases = phrases_of(batch)
    wanted = [p for d, own in zip(boxes, phrases, strict=True) if len(d.class_n) for p in own]
    class_of = dict(zip(wanted, meant(wanted).tolist(), strict=True))
    found = []
    for d, own, size in zip(boxes, phrases, batch.sizes, strict=True):
        class_P = np.array([class_of.get(phrase, NO_CLASS) for phrase in own], np.int64)
        labels = [COCO_CLASSES[c] for c in d.class_n]
        found.append(Found(d.box_n4, d.score_n, labels, d.class_n[:, None] == class_P, size))
    return found


def pixels_of(picture: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return what NanoDet takes of a picture, squeezed into a square; float32 [3, 320, 320]."""
    return normalised(resize(picture, (SIDE, SIDE))[:, :, ::-1], MEAN_BGR, STD_BGR)


def head(
    outputs: list[NDArray[np.float32]], *, count: int
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Put the six outputs (two a level, in any order) together.

    Returns:
        Scores [B, P, C] in [0, 1] and, for the four sides of a box, logits over `BINS` distances
        [B, P, 4 * BINS], over P = 2100 places, finest level first.
    """
    by_places = {o.reshape(count, -1, o.shape[-1]).shape[1:]: o for o in outputs}
    levels = [(SIDE // stride) ** 2 for stride in STRIDES]
    score_BPC, bins_BPS = (
        np.concatenate([by_places[p, width].reshape(count, p, width) for p in levels], 1)
        for width in (len(COCO_CLASSES), 4 * BINS)
    )
    return score_BPC, bins_BPS


def detections(
    score_PC: NDArray[np.float32], bins_PS: NDArray[np.float32], *, threshold: float
) -> Detections:
    """Turn one picture's head into boxes: threshold, then suppression per class.

    A side's distance from its place is the expectation over bins, times the stride (Li et al.,
    arXiv:2006.04388); it is computed where a box is.
    """
    place_n, class_n = np.divmod(np.flatnonzero(score_PC >= threshold), score_PC.shape[1])
    score_n = score_PC[place_n, class_n]
    centre_P2, stride_P = places()
    share_n4S = _softmax(bins_PS[place_n].reshape(-1, 4, BINS))
    sides_n4 = share_n4S @ np.arange(BINS, dtype=np.float32) * stride_P[place_n, None]
    left_top = centre_P2[place_n] - sides_n4[:, :2]
    right_bottom = centre_P2[place_n] + sides_n4[:, 2:]
    box_n4 = np.concatenate([left_top, right_bottom], 1) / SIDE
    box_n4 = np.clip(box_n4, 0.0, 1.0).astype(np.float32)
    kept = suppress(box_n4, score_n, class_n, overlap=NMS_OVERLAP)
    return Detections(box_n4[kept], score_n[kept], class_n[kept])


@cache
def places() -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Centres (x, y) and strides of all P places in input pixels, finest first; [P, 2], [P]."""
    centres, strides = [], []
    for stride in STRIDES:
        at = np.arange(SIDE // stride, dtype=np.float32) * stride + (stride - 1) / 2
        y, x = np.meshgrid(at, at, indexing="ij")
        centres.append(np.stack([x.ravel(), y.ravel()], 1))
        strides.append(np.full(x.size, stride, np.float32))
    return np.concatenate(centres), np.concatenate(strides)


def _softmax(x: NDArray[np.float32]) -> NDArray[np.float32]:
    shifted = np.exp(x - x.max(-1, keepdims=True))
    return shifted / shifted.sum(-1, keepdims=True)
