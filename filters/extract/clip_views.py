"""CLIP score of changed pictures: mirrored, upside down, cropped, without their text.

A high score of the picture that is gone without its text was earned by the text (T-MARS, Maini et
al., arXiv:2307.03132); EcoDatum (arXiv:2502.08211) votes by the mirrored ones, too.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from filters.extract.base import Batch, Column, Score, Values
from filters.extract.clip import ClipModel, Encoder, cosine
from filters.extract.text.finder import TextFinder, TextSearch
from filters.extract.text.masking import masked
from filters.extract.views import CHANGES, alignment_column, require_distinct

ClipView = Literal["flipped", "upside_down", "cropped", "masked"]


@dataclass(frozen=True, kw_only=True, slots=True)
class ClipViews(ClipModel):
    """Cosine of the changed picture and the caption, one column for each change.

    The caption is encoded once, and not again beside a `ClipScore` of the same settings.

    Attributes:
        views: `flipped` exchanges left and right, `upside_down` top and bottom, `cropped` leaves
            the middle 70 % of width and height, `masked` paints text over.
        text: How text is looked for.
    """

    kind: Literal["clip_views"] = "clip_views"
    views: tuple[ClipView, ...] = ("flipped", "upside_down", "cropped", "masked")
    text: TextSearch = field(default_factory=TextSearch)

    def __post_init__(self) -> None:
        """Refuse a batch that no pair fits, no view, and one twice."""
        ClipModel.__post_init__(self)
        require_distinct(self.views, kind=self.kind)

    @property
    def columns(self) -> tuple[Column, ...]:
        """One for each view."""
        return tuple(alignment_column(view) for view in self.views)

    @property
    def weights(self) -> tuple[str, ...]:
        """What finds text, if it is wanted."""
        return self.text.networks if "masked" in self.views else ()

    def load(self, weights: Mapping[str, Path], *, threads: int) -> Score:
        """Load the model and, if wanted, what finds text."""
        encoder = self.encoder(threads=threads)
        finder = self.text.finder(weights, threads=threads) if "masked" in self.views else None

        def score(batch: Batch) -> dict[str, Values]:
            text_BD = encoder.captions_of(batch)
            columns: dict[str, Values] = {}
            for view in self.views:
                if view == "masked":
                    assert finder is not None
                    image_BD = embed_masked(batch, encoder, finder, exact=self.exact)
                else:
                    seen = batch.seen(self.kind, exact=self.exact)
                    changed = [CHANGES[view](picture) for picture in seen]
                    image_BD = encoder.pictures(pictures_only(changed))
                columns[f"alignment_{view}"] = cosine(image_BD, text_BD)
            return columns

        return score


def embed_masked(
    batch: Batch, encoder: Encoder, finder: TextFinder, *, exact: bool
) -> NDArray[np.float32]:
    """Embed the pictures without their text; one without any keeps its own embedding."""
    regions = [text.region_m42 for text in finder.of(batch, originals=exact)]
    written = [i for i, region_m42 in enumerate(regions) if len(region_m42)]
    image_BD = encoder.of(batch)
    if not written:
        return image_BD
    seen = batch.seen("clip_views", exact=exact)
    bare = [masked(seen[i], regions[i]) for i in written]
    image_BD = image_BD.copy()
    image_BD[written] = encoder.pictures(pictures_only(bare))
    return image_BD


def pictures_only(pictures: Sequence[NDArray[np.uint8]]) -> Batch:
    """Return a batch whose pictures and originals these are, for an image tower."""
    sizes = [(picture.shape[1], picture.shape[0]) for picture in pictures]
    return Batch(pictures, sizes, [""] * len(pictures), pictures)
