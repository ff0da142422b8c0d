"""What may harm people: nudity by Open-NSFW, and faces by CenterFace."""

import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from filters.extract.base import Batch, Column, Extractor, Score, Values, onnx_session
from filters.extract.faces import FacesFound, faces_found
from filters.extract.objects.boxes import union_area
from filters.extract.text.detector import fit

NSFW_RESIZED, NSFW_SIDE = 256, 224
NSFW_MEAN_BGR = np.array([104, 117, 123], np.float32)


@dataclass(frozen=True, kw_only=True, slots=True)
class Nsfw(Extractor):
    """Probability that a picture is not safe for work, by Yahoo's Open-NSFW (2016).

    Its authors call less than 0.2 safe and more than 0.8 unsafe. It knows pornographic photographs,
    not drawings, violence or text.
    """

    kind: Literal["nsfw"] = "nsfw"
    columns = (Column("nsfw", "float32", "", "[0, 1]", "probability of pornography (Open-NSFW)"),)
    weights = ("open_nsfw",)

    @property
    def side(self) -> int:
        """Pixels that a picture is resized to first."""
        return NSFW_RESIZED

    def load(self, weights: Mapping[str, Path], *, threads: int) -> Score:
        """Load the network."""
        session = onnx_session(weights["open_nsfw"], threads=threads)
        name = session.get_inputs()[0].name

        def score(batch: Batch) -> dict[str, Values]:
            pixels = np.stack([nsfw_pixels(p) for p in batch.pictures])
            (safe_and_not_B2,) = session.run(None, {name: pixels})
            return {"nsfw": safe_and_not_B2[:, 1]}

        return score


def nsfw_pixels(picture: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return what Open-NSFW takes of a picture, float32 [224, 224, 3], blue first.

    The square's trip through a JPEG of quality 75 is part of it: the network was trained on such
    pictures, and without it scores move by percents.
    """
    square = Image.fromarray(picture).resize((NSFW_RESIZED,) * 2, Image.Resampling.BILINEAR)
    encoded = io.BytesIO()
    square.save(encoded, "JPEG", quality=75)
    decoded = np.asarray(Image.open(encoded, formats=("JPEG",)), np.float32)
    edge = (NSFW_RESIZED - NSFW_SIDE) // 2
    middle = decoded[edge : edge + NSFW_SIDE, edge : edge + NSFW_SIDE]
    return middle[:, :, ::-1] - NSFW_MEAN_BGR


@dataclass(frozen=True, kw_only=True, slots=True)
class Faces(Extractor):
    """Faces found by CenterFace (Xu et al., arXiv:1911.03599): of photographs, seldom drawn ones.

    Attributes:
        side: Longest side the detector sees, pixels. Faces 20 pixels high there are found, of
            those of 15 three in four, of smaller ones fewer.
        threshold: Least score of a face.
    """

    kind: Literal["faces"] = "faces"
    side: int = 320
    threshold: float = 0.3
    columns = (
        Column("face_count", "int32", "face", "[0, 1000]", "faces at or above the threshold"),
        Column("face_area", "float32", "", "[0, 1]", "share of the picture that faces cover"),
        Column("face_boxes", "floats", "", "[0, 1]", "left, top, right, bottom of each face"),
        Column("face_scores", "floats", "", "[0, 1]", "score of each face, best first"),
    )
    weights = ("centerface",)

    def load(self, weights: Mapping[str, Path], *, threads: int) -> Score:
        """Load the detector."""
        session = onnx_session(weights["centerface"], threads=threads)

        def find(picture: NDArray[np.uint8]) -> FacesFound:
            pixels = fit(picture, self.side).transpose(2, 0, 1)[None].astype(np.float32)
            scores, sizes, offsets = session.run(["scores", "sizes", "offsets"], {"pixels": pixels})
            return faces_found(scores[0, 0], sizes[0], offsets[0], threshold=self.threshold)

        def score(batch: Batch) -> dict[str, Values]:
            found = [find(picture) for picture in batch.pictures]
            return {
                "face_count": np.array([len(f.score_n) for f in found], np.int32),
                "face_area": np.array([union_area(f.box_n4) for f in found], np.float32),
                "face_boxes": [f.box_n4.ravel().tolist() for f in found],
                "face_scores": [f.score_n.tolist() for f in found],
            }

        return score
