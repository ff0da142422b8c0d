"""Embeddings of changed pictures: mirrored, upside down, cropped, without their text.

Where they differ much from the picture's own, or agree with the caption when that does not, what
was changed is what decided (EcoDatum, arXiv:2502.08211; T-MARS, arXiv:2307.03132).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from filters.extract.base import Batch, Column, Extractor, Score, Values, letterbox
from filters.extract.embed import IMAGE_DIM, IMAGE_SIDE, ImageTower, squares_of, unit_norm
from filters.extract.text.finder import TextSearch
from filters.extract.text.masking import masked

View = Literal["flipped", "upside_down", "cropped"]
TOWER = "efficientnet_lite0"
CROP = 0.7  # of width and of height
MEANING = {
    "flipped": "left and right exchanged",
    "upside_down": "top and bottom exchanged",
    "cropped": "the middle 70 %",
    "masked": "text painted over",
}


def mirrored(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Exchange left and right; a view."""
    return picture[:, ::-1]


def upside_down(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Exchange top and bottom (not a half turn); a view."""
    return picture[::-1]


def cropped(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Cut out the middle 70 % of width and height, 49 % of the picture; a view.

    The share is our choice: what a caption is about mostly survives it, a frame does not.
    """
    height, width = picture.shape[:2]
    top, left = round(height * (1 - CROP) / 2), round(width * (1 - CROP) / 2)
    return picture[top : height - top, left : width - left]


CHANGES: dict[View, Callable[[NDArray[np.uint8]], NDArray[np.uint8]]] = {
    "flipped": mirrored,
    "upside_down": upside_down,
    "cropped": cropped,
}


def embedding_column(view: str) -> Column:
    """Return the column of a view's embedding."""
    meaning = f"EfficientNet-Lite0, {MEANING[view]}"
    return Column(f"{view}_embedding", "embedding", "", "[-1, 1]", meaning, IMAGE_DIM)


def alignment_column(view: str) -> Column:
    """Return the column of how well the caption fits a view."""
    meaning = f"alignment, {MEANING[view]}"
    return Column(f"alignment_{view}", "float32", "", "[-1, 1]", meaning)


@dataclass(frozen=True, kw_only=True, slots=True)
class Views(Extractor):
    """EfficientNet-Lite0 features of changed pictures, unit norm, one column for each change.

    Attributes:
        views: `flipped` exchanges left and right, `upside_down` top and bottom, `cropped` leaves
            the middle 70 % of width and height.
    """

    kind: Literal["views"] = "views"
    views: tuple[View, ...] = ("flipped", "upside_down", "cropped")
    weights = (TOWER,)

    def __post_init__(self) -> None:
        """Refuse no view, and one twice."""
        require_distinct(self.views, kind=self.kind)

    @property
    def columns(self) -> tuple[Column, ...]:
        """One for each view."""
        return tuple(embedding_column(view) for view in self.views)

    @property
    def side(self) -> int:
        """Pixels that the tower takes, of what is left."""
        return round(IMAGE_SIDE / CROP) if "cropped" in self.views else IMAGE_SIDE

    def load(self, weights: Mapping[str, Path], *, threads: int) -> Score:
        """Load the tower."""
        tower = ImageTower(weights[TOWER], threads=threads)

        def score(batch: Batch) -> dict[str, Values]:
            changed = [squares_of_view(batch, view) for view in self.views]
            seen = tower([square for squares in changed for square in squares])
            parts = np.split(unit_norm(seen.features_BD), len(self.views))
            names = [f"{view}_embedding" for view in self.views]
            return dict(zip(names, parts, strict=True))

        return score


@dataclass(frozen=True, kw_only=True, slots=True)
class Masked(TextSearch, Extractor):
    """EfficientNet-Lite0 features of the picture without its text, unit norm (T-MARS).

    With `recognise` only what can be read is painted over: the detector alone takes many drawings
    for one big letter. A picture without text keeps its own embedding, at no cost.
    """

    kind: Literal["masked"] = "masked"
    columns = (embedding_column("masked"),)

    @property
    def weights(self) -> tuple[str, ...]:
        """The tower, and what finds text."""
        return (TOWER, *self.networks)

    def load(self, weights: Mapping[str, Path], *, threads: int) -> Score:
        """Load the tower and what finds text."""
        tower = ImageTower(weights[TOWER], threads=threads)
        finder = self.finder(weights, threads=threads)

        def score(batch: Batch) -> dict[str, Values]:
            regions = [text.region_m42 for text in finder.of(batch)]
            written = [i for i, region_m42 in enumerate(regions) if len(region_m42)]
            embedding_BD = unit_norm(tower.of(batch).features_BD)
            if written:
                bare = [masked(batch.pictures[i], regions[i]) for i in written]
                seen = tower([letterbox(p, IMAGE_SIDE) for p in bare])
                embedding_BD[written] = unit_norm(seen.features_BD)
            return {"masked_embedding": embedding_BD}

        return score


def squares_of_view(batch: Batch, view: View) -> list[NDArray[np.uint8]]:
    """Return changed pictures as the tower takes them; mirroring is done after the resizing."""
    if view == "cropped":
        return [letterbox(cropped(picture), IMAGE_SIDE) for picture in batch.pictures]
    return [CHANGES[view](square) for square in squares_of(batch)]


def require_distinct(views: Sequence[str], *, kind: str) -> None:
    """Refuse no view, and one twice.

    Raises:
        ValueError: As said.
    """
    if not views or len(set(views)) < len(views):
        raise ValueError(
            f"{kind}: got views {list(views)}, expected at least one and none twice; correct them"
        )
