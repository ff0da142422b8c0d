"""What an extractor is: a batch of pairs in, columns out; it never drops a row.

Shape letters: B pairs of a batch, D embedding dimensions.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Dtype = Literal["int32", "uint64", "float32", "string", "embedding", "floats", "strings"]
Values = NDArray[Any] | list[Any]
Score = Callable[["Batch"], dict[str, Values]]


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a score table.

    Attributes:
        name: Unique over all extractors.
        dtype: `embedding` is a unit-norm float16 vector of `dim`; `floats` and `strings` are lists.
        unit: What a value counts, `""` for a pure number.
        range: Smallest and largest possible value, as interval notation.
        meaning: One line for tables and reports.
        dim: Dimensions of an embedding.
    """

    name: str
    dtype: Dtype
    unit: str
    range: str
    meaning: str
    dim: int = 0


@dataclass(frozen=True, slots=True)
class Batch:
    """B decoded pairs.

    Attributes:
        pictures: B uint8 arrays [height, width, 3], of any size; may be reduced.
        sizes: B original (width, height) in pixels.
        captions: B captions, not empty.
    """

    pictures: Sequence[NDArray[np.uint8]]
    sizes: Sequence[tuple[int, int]]
    captions: Sequence[str]

    def __len__(self) -> int:
        """Return B."""
        return len(self.captions)

    def row(self, i: int) -> "Batch":
        """Return a batch of the one pair `i`."""
        return Batch(self.pictures[i : i + 1], self.sizes[i : i + 1], self.captions[i : i + 1])


class Extractor(Protocol):
    """A frozen dataclass of settings that loads its model once and scores batches."""

    columns: ClassVar[tuple[Column, ...]]
    weights: ClassVar[tuple[str, ...]]  # names of packaged model files it needs
    pixels: ClassVar[bool]  # False: the caption is enough, no picture is decoded
    version: ClassVar[int]  # raised when the meaning of a column changes

    @property
    def kind(self) -> str:
        """Name in a config."""
        ...

    def load(self, weights: Mapping[str, Path], *, threads: int) -> Score:
        """Load the model and return the function that scores a batch.

        Args:
            weights: Path by name, for every name in `weights`.
            threads: Intra-op threads; part of the result's identity where sums depend on it.
        """
        ...


def letterbox(picture: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    """Fit a picture into a white square without changing its aspect; uint8 [side, side, 3]."""
    height, width = picture.shape[:2]
    scale = side / max(height, width)
    fitted = (max(1, round(width * scale)), max(1, round(height * scale)))
    canvas = np.full((side, side, 3), 255, np.uint8)
    top, left = (side - fitted[1]) // 2, (side - fitted[0]) // 2
    canvas[top : top + fitted[1], left : left + fitted[0]] = resize(picture, fitted)
    return canvas


def resize(picture: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """Resize to (width, height), bilinear with antialiasing; uint8 [height, width, 3]."""
    image = Image.fromarray(picture)
    return np.asarray(image.resize(size, Image.Resampling.BILINEAR, reducing_gap=2.0))


def onnx_session(path: Path, *, threads: int) -> Any:
    """Open an ONNX model on the CPU (or CUDA, where that build is installed)."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(
        str(path), options, providers=onnxruntime.get_available_providers()
    )
