"""What an extractor is: a batch of pairs in, columns out; it never drops a row.

Shape letters: B pairs of a batch, D embedding dimensions.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

Dtype = Literal[
    "int32", "uint64", "float32", "float64", "uid", "string", "embedding", "floats", "strings",
    "uint32s",
]  # fmt: skip
T = TypeVar("T")
Values = NDArray[Any] | list[Any]
Score = Callable[["Batch"], dict[str, Values]]


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a score table.

    Attributes:
        name: Unique over all extractors.
        dtype: `embedding` is a unit-norm float16 vector of `dim`; `uid` is 16 bytes; `floats`,
            `strings` and `uint32s` are lists.
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
        originals: B uint8 arrays [height, width, 3] as open_clip's loader decodes them; empty
            unless an extractor is `exact`.
        uids: B uids of 16 bytes; empty where nobody knows them.
        contents: B hashes of the encoded pictures (`filters.extract.image.content_hash`), None for
            one without; empty where nobody knows them.
    """

    pictures: Sequence[NDArray[np.uint8]]
    sizes: Sequence[tuple[int, int]]
    captions: Sequence[str]
    originals: Sequence[NDArray[np.uint8]] = ()
    uids: Sequence[bytes] = ()
    contents: Sequence[int | None] = ()
    _made: dict[Hashable, Any] = field(default_factory=dict, compare=False, repr=False)

    def once(self, key: Hashable, make: Callable[[], T]) -> T:
        """Return what `make` returned the first time `key` was asked for.

        Extractors share by it what several of them need of a batch: pictures at one size, text
        lines, an embedding. The key names the function and all of its settings.
        """
        if key not in self._made:
            self._made[key] = make()
        return self._made[key]

    def seen(self, kind: str, *, exact: bool) -> Sequence[NDArray[np.uint8]]:
        """Return the pictures or, if `exact`, the originals, for an extractor of this kind.

        Raises:
            ValueError: There are no originals.
        """
        if exact and len(self.originals) != len(self):
            raise ValueError(
                f"{kind}: got {len(self.originals)} originals for {len(self)} pairs, expected one "
                "each; decode them with pipeline.decode.decode_exact"
            )
        return self.originals if exact else self.pictures

    def __len__(self) -> int:
        """Return B."""
        return len(self.captions)

    def row(self, i: int) -> "Batch":
        """Return a batch of the one pair `i`."""
        return self.rows(i, i + 1)

    def rows(self, start: int, stop: int) -> "Batch":
        """Return a batch of the pairs from `start` to before `stop`."""
        wanted = slice(start, stop)
        return Batch(
            self.pictures[wanted], self.sizes[wanted], self.captions[wanted],
            self.originals[wanted], self.uids[wanted], self.contents[wanted],
        )  # fmt: skip


class Extractor(ABC):
    """A frozen dataclass of settings that loads its model once and scores batches.

    A subclass sets `columns`, `weights` and `pixels` in its body, without an annotation, or
    defines them as properties of its settings.

    Attributes:
        accelerator: True: worth a GPU of its own.
        vital: True: a pair it raises on is out, since deciding cannot do without its columns. All
            others leave nulls there, on which rules abstain.
        version: Raised when the meaning of a column changes.
    """

    __slots__ = ()
    accelerator: ClassVar[bool] = False
    vital: ClassVar[bool] = False
    version: ClassVar[int] = 1

    @property
    @abstractmethod
    def kind(self) -> str:
        """Name in a config."""

    @property
    @abstractmethod
    def columns(self) -> tuple[Column, ...]:
        """What it writes."""

    @property
    def weights(self) -> tuple[str, ...]:
        """Names of packaged model files it needs."""
        return ()

    @property
    def pixels(self) -> bool:
        """Whether it looks at pictures; if not, none is decoded for it."""
        return True

    @property
    def side(self) -> int:
        """Pixels that a picture's short side must keep for it; 0 without pictures."""
        return 0

    @property
    def exact(self) -> bool:
        """Whether it reads `Batch.originals`."""
        return False

    @abstractmethod
    def load(self, weights: Mapping[str, Path], *, threads: int) -> Score:
        """Load the model and return the function that scores a batch.

        Args:
            weights: Path by name, for every name in `weights`.
            threads: Intra-op threads; part of the result's identity where sums depend on it.
        """


def letterbox(picture: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    """Fit a picture into a white square without changing its aspect; uint8 [side, side, 3]."""
    height, width = picture.shape[:2]
    scale = side / max(height, width)
    fitted = (max(1, round(width * scale)), max(1, round(height * scale)))
    # Channels first in memory, as `resize` makes it and models take it.
    canvas = np.full((3, side, side), 255, np.uint8).transpose(1, 2, 0)
    top, left = (side - fitted[1]) // 2, (side - fitted[0]) // 2
    canvas[top : top + fitted[1], left : left + fitted[0]] = resize(picture, fitted)
    return canvas


def resize(
    picture: NDArray[np.uint8],
    size: tuple[int, int],
    *,
    mode: Literal["bilinear", "bicubic"] = "bilinear",
) -> NDArray[np.uint8]:
    """Resize to (width, height) with antialiasing; uint8 [height, width, 3].

    Pillow's filters, four to six times as fast: torch has them with SIMD. Both round in each of
    two passes, so they are within two grey levels of each other, bilinear within one all but never;
    bicubic is further off where its overshoot is clipped (the passes come in another order). The
    bits do not depend on torch's threads.
    """
    import torch

    width, height = size
    if picture.shape[:2] == (height, width):
        return picture
    # torch takes no read-only and no mirrored memory.
    plain = picture.flags.writeable and min(picture.strides) > 0
    resized = torch.nn.functional.interpolate(
        torch.from_numpy(picture if plain else picture.copy()).permute(2, 0, 1)[None],
        (height, width),
        mode=mode,
        antialias=True,
    )
    return resized[0].permute(1, 2, 0).numpy()


def center_crop(
    picture: NDArray[np.uint8], side: int, *, mode: Literal["bilinear", "bicubic"] = "bilinear"
) -> NDArray[np.uint8]:
    """Cut the middle square and resize it; uint8 [side, side, 3]."""
    height, width = picture.shape[:2]
    short = min(height, width)  # cut first: the long side of a hostile picture has no bound
    top, left = (height - short) // 2, (width - short) // 2
    return resize(picture[top : top + short, left : left + short], (side, side), mode=mode)


def normalised(
    picture: NDArray[np.uint8], mean: Sequence[float], std: Sequence[float]
) -> NDArray[np.float32]:
    """Return (picture - mean) / std with the channels first; float32 [3, height, width].

    Args:
        picture: uint8 [height, width, 3].
        mean: Of each channel, on the scale of 0 to 255.
        std: Of each channel, on the same scale.
    """
    pixels = picture.transpose(2, 0, 1).astype(np.float32, order="C")
    pixels -= np.asarray(mean, np.float32)[:, None, None]
    pixels /= np.asarray(std, np.float32)[:, None, None]
    return pixels


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
