"""What pictures have to do with a target's pictures: NormSim, and DataComp's image-based filter."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from filters.concepts.image_based import nearest, wanted
from filters.concepts.normsim import Norm, gram, normsim_2, normsim_inf
from filters.derive.base import Columns, Derive, Map, require_name
from filters.derive.pooled import Pooled
from filters.extract.base import Column, Values

MATRIX = 2  # axes


@dataclass(frozen=True, kw_only=True, slots=True)
class NormSim(Derive):
    """How much a picture has in common with a target's pictures (NormSim, arXiv:2405.19547).

    Attributes:
        name: The column it writes; a config may have several.
        column: The embedding it reads.
        file: Path or URL of the target's embeddings by the same model, a .npy file of float16 or
            float32 [T, D], unit norm. ImageNet's training set, for instance; training sets of the
            tasks that one will be measured on make the measurement say less.
        p: Which norm of the T cosines. "2" costs 2 D^2 operations a pair, "inf" 2 T D: 1.3 GFLOP
            with ImageNet's 1.28 million pictures and 512 dimensions.
    """

    takes: ClassVar[tuple[str, ...]] = ("embedding",)
    kind: Literal["normsim"] = "normsim"
    name: str = "normsim"
    column: str = "image_embedding"
    file: str
    p: Norm = "inf"

    def __post_init__(self) -> None:
        """Refuse a name that is no column's."""
        require_name(self.kind, self.name)

    @property
    def weights(self) -> tuple[str, ...]:
        """Its file."""
        return (self.file,)

    @property
    def reads(self) -> tuple[str, ...]:
        """The embedding."""
        return (self.column,)

    @property
    def columns(self) -> tuple[Column, ...]:
        """One number; NaN without an embedding."""
        meaning = f"norm {self.p} of cosines of {self.column} with a target"
        return (Column(self.name, "float32", "", "[0, inf)", meaning),)

    def load(self, weights: Mapping[str, Path], counts: Pooled | None) -> Map:
        """Return the function from embeddings to norms.

        Raises:
            ValueError: The file holds no embeddings.
        """
        del counts
        path = weights[self.file]
        target_TD = read_matrix(path, self.kind)

        def score(columns: Columns) -> dict[str, Values]:
            image_nD = np.asarray(columns[self.column])
            _require_dim(self.kind, self.column, image_nD, target_TD)
            if self.p == "2":
                score_n = normsim_2(image_nD, _gram_of(path, _stamp(path)))
            else:
                score_n = normsim_inf(image_nD, target_TD)
            return {self.name: score_n.astype(np.float32)}

        return score


@dataclass(frozen=True, kw_only=True, slots=True)
class ImageBased(Derive):
    """Whether a picture's nearest concept is one of a target's (DataComp's image-based filter).

    DataComp's section 3.2 (arXiv:2304.14108): the filter keeps pictures whose nearest centroid of
    100,000 is nearest to a picture of ImageNet, too. It takes English captions of more than one
    word and more than five characters only: that is for other rules. A pair costs 2 K D operations.

    Attributes:
        name: The column it writes.
        column: The embedding it reads.
        centroids: Path or URL of a .npy file, float16 or float32 [K, D]; any norm, compared by
            inner product.
        targets: Path or URL of a .npy file: the target's embeddings [T, D], or the integers of the
            centroids that are nearest to one. Embeddings are assigned by every worker anew, so a
            large target is better assigned once: `numpy.flatnonzero(filters.concepts.image_based.
            wanted(targets, centroids))`.
    """

    takes: ClassVar[tuple[str, ...]] = ("embedding",)
    kind: Literal["image_based"] = "image_based"
    name: str = "image_based"
    column: str = "image_embedding"
    centroids: str
    targets: str

    def __post_init__(self) -> None:
        """Refuse a name that is no column's."""
        require_name(self.kind, self.name)

    @property
    def weights(self) -> tuple[str, ...]:
        """Its files."""
        return (self.centroids, self.targets)

    @property
    def reads(self) -> tuple[str, ...]:
        """The embedding."""
        return (self.column,)

    @property
    def columns(self) -> tuple[Column, ...]:
        """1 or 0; null without an embedding."""
        meaning = "1 if the nearest centroid is one of the target's"
        return (Column(self.name, "int32", "", "[0, 1]", meaning),)

    def load(self, weights: Mapping[str, Path], counts: Pooled | None) -> Map:
        """Return the function from embeddings to 1, 0 or None.

        Raises:
            ValueError: One of the files does not hold what it should, or they do not fit.
        """
        del counts
        paths = weights[self.centroids], weights[self.targets]
        centroid_KD = read_matrix(paths[0], self.kind)
        _check_targets(paths[1], centroid_KD)

        def judge(columns: Columns) -> dict[str, Values]:
            image_nD = np.asarray(columns[self.column])
            _require_dim(self.kind, self.column, image_nD, centroid_KD)
            wanted_K = _wanted_of(*paths, _stamp(paths[0]), _stamp(paths[1]))
            at_n = nearest(image_nD, centroid_KD)
            found = np.where(at_n < 0, -1, wanted_K[at_n]).tolist()
            return {self.name: [None if one < 0 else one for one in found]}

        return judge


def read_matrix(path: Path, kind: str) -> NDArray[np.floating]:
    """Map a .npy file of embeddings into memory; float16 or float32 [rows, D].

    Raises:
        ValueError: It is something else, or holds no row.
    """
    array = _read(path, kind)
    if array.ndim != MATRIX or array.dtype not in (np.float16, np.float32) or not array.size:
        raise ValueError(
            f"{kind}: got {path} with {array.dtype} {list(array.shape)}, expected float16 or "
            "float32 of [rows, dimensions], at least one; save it so with numpy.save"
        )
    return array


def _read(path: Path, kind: str) -> NDArray[Any]:
    try:
        return np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise ValueError(
            f"{kind}: got {path}, expected an array as numpy.save writes it, without objects; save "
            f"it again ({' '.join(str(error).split())})"
        ) from error


def _check_targets(path: Path, centroid_KD: NDArray[np.floating]) -> None:
    """Refuse a file that holds neither embeddings nor centroids."""
    array = _read(path, "image_based")
    if np.issubdtype(array.dtype, np.integer):
        if array.size and not 0 <= array.min() <= array.max() < len(centroid_KD):
            raise ValueError(
                f"image_based: got {path} with centroids {array.min()} to {array.max()}, expected "
                f"0 to {len(centroid_KD) - 1}; it was made for other centroids, make it anew"
            )
    else:
        _require_dim("image_based", str(path), read_matrix(path, "image_based"), centroid_KD)


@lru_cache(maxsize=2)  # a worker does task after task; the stamp tells a file from its successor
def _gram_of(path: Path, stamp: tuple[int, int]) -> NDArray[np.float64]:
    del stamp
    return gram(read_matrix(path, "normsim"))


@lru_cache(maxsize=2)
def _wanted_of(centroids: Path, targets: Path, *stamps: tuple[int, int]) -> NDArray[np.bool_]:
    del stamps
    centroid_KD, array = read_matrix(centroids, "image_based"), _read(targets, "image_based")
    if not np.issubdtype(array.dtype, np.integer):
        return wanted(array, centroid_KD)
    wanted_K = np.zeros(len(centroid_KD), bool)
    wanted_K[array] = True
    return wanted_K


def _stamp(path: Path) -> tuple[int, int]:
    state = path.stat()
    return state.st_mtime_ns, state.st_size


def _require_dim(
    kind: str, column: str, vectors_nD: NDArray[Any], others_MD: NDArray[np.floating]
) -> None:
    if vectors_nD.ndim != MATRIX or vectors_nD.shape[1] != others_MD.shape[1]:
        raise ValueError(
            f"{kind}: got {column} of shape {list(vectors_nD.shape)}, expected embeddings of "
            f"{others_MD.shape[1]} dimensions as its file has; take those of one model"
        )
