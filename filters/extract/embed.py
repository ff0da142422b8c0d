"""Frozen towers: a picture's and a caption's embedding, the ground for concepts and alignment."""

from collections.abc import Mapping, Sequence
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
    letterbox,
    normalised,
    onnx_session,
)

IMAGE_SIDE = 224
IMAGE_DIM, TEXT_DIM = 1280, 384
LONGEST_CAPTION = 128  # tokens; MiniLM was trained on captions of at most 128


@dataclass(frozen=True, kw_only=True, slots=True)
class Embeddings(Extractor):
    """EfficientNet-Lite0 features of the picture and MiniLM-L6 of the caption, unit norm.

    The image tower was trained on ImageNet classes, the text tower on sentence pairs; they share no
    space. What makes them comparable is the alignment stage (training/alignment/fit.py).
    """

    kind: Literal["embed"] = "embed"
    columns = (
        Column("image_embedding", "embedding", "", "[-1, 1]", "EfficientNet-Lite0", IMAGE_DIM),
        Column("text_embedding", "embedding", "", "[-1, 1]", "MiniLM-L6", TEXT_DIM),
    )
    weights = ("efficientnet_lite0", "minilm", "minilm_tokenizer")
    vital: ClassVar[bool] = True
    version: ClassVar[int] = 2

    @property
    def side(self) -> int:
        """Pixels that the image tower takes."""
        return IMAGE_SIDE

    def load(self, weights: Mapping[str, Path], *, threads: int) -> Score:
        """Load both towers."""
        image_tower = ImageTower(weights["efficientnet_lite0"], threads=threads)
        text_tower = TextTower(weights["minilm"], weights["minilm_tokenizer"], threads=threads)

        def score(batch: Batch) -> dict[str, Values]:
            return {
                "image_embedding": unit_norm(image_tower.of(batch).features_BD),
                "text_embedding": unit_norm(text_tower(batch.captions)),
            }

        return score


def pixels_of(picture: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return what EfficientNet-Lite takes of a picture, float32 [3, 224, 224] in [-1, 1]."""
    return pixels_of_square(letterbox(picture, IMAGE_SIDE))


def pixels_of_square(square: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return the same of a picture that is letterboxed already."""
    return normalised(square, [127.0] * 3, [128.0] * 3)


def squares_of(batch: Batch) -> list[NDArray[np.uint8]]:
    """Return the pictures letterboxed, uint8 [224, 224, 3] each, made once per batch."""
    key = ("letterbox", IMAGE_SIDE)
    return batch.once(key, lambda: [letterbox(p, IMAGE_SIDE) for p in batch.pictures])


@dataclass(frozen=True, slots=True)
class Seen:
    """What EfficientNet-Lite0 makes of B pictures, not normalised.

    Attributes:
        features_BD: float32 [B, 1280], what its classifier would read.
        stages_BD: float32 [B, 816], the average of each channel after each stage.
    """

    features_BD: NDArray[np.float32]
    stages_BD: NDArray[np.float32]


class ImageTower:
    """EfficientNet-Lite0 on letterboxed pictures; extractors of one batch share a forward pass."""

    def __init__(self, model: Path, *, threads: int) -> None:
        """Load the graph."""
        self._session = onnx_session(model, threads=threads)
        self._key = ("efficientnet_lite0", str(model), threads)

    def __call__(self, squares: Sequence[NDArray[np.uint8]]) -> Seen:
        """Run it on pictures, uint8 [224, 224, 3] each."""
        pixels = np.stack([pixels_of_square(square) for square in squares])
        return Seen(*self._session.run(["features", "stages"], {"pixels": pixels}))

    def of(self, batch: Batch) -> Seen:
        """Run it on the pictures of a batch as they are, unless somebody has."""
        return batch.once(self._key, lambda: self(squares_of(batch)))


class TextTower:
    """MiniLM-L6 by mean pooling over tokens, as its authors use it; B captions -> [B, 384]."""

    def __init__(self, model: Path, tokenizer: Path, *, threads: int) -> None:
        """Load the graph and its tokenizer."""
        from tokenizers import Tokenizer

        self._session = onnx_session(model, threads=threads)
        self._tokenizer = Tokenizer.from_file(str(tokenizer))
        self._tokenizer.enable_truncation(LONGEST_CAPTION)
        self._tokenizer.enable_padding()

    def __call__(self, captions: Sequence[str]) -> NDArray[np.float32]:
        """Embed captions; float32 [B, 384], not normalised."""
        tokens = self._tokenizer.encode_batch(list(captions))
        ids_BL = np.array([t.ids for t in tokens], np.int64)
        mask_BL = np.array([t.attention_mask for t in tokens], np.int64)
        (embedding_BD,) = self._session.run(None, {"ids": ids_BL, "mask": mask_BL})
        return embedding_BD


def unit_norm(vectors_BD: NDArray[np.float32]) -> NDArray[np.float16]:
    """Scale rows to unit length and round to float16; a zero row stays zero."""
    norm_B1 = np.linalg.norm(vectors_BD, axis=1, keepdims=True)
    return (vectors_BD / np.maximum(norm_B1, 1e-12)).astype(np.float16)
