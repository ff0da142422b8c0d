"""Pixels or caption in, columns out. The union below is the registry: one line per extractor."""

from filters.extract.base import Batch, Column, Extractor, Score
from filters.extract.caption import CaptionStatistics
from filters.extract.clip import ClipScore
from filters.extract.clip_views import ClipViews
from filters.extract.detect import Objects
from filters.extract.embed import Embeddings
from filters.extract.image import ImageStatistics
from filters.extract.language import Language
from filters.extract.ocr import TextInImage
from filters.extract.views import Masked, Views

AnyExtractor = (
    ImageStatistics
    | CaptionStatistics
    | Language
    | Embeddings
    | Views
    | Masked
    | Objects
    | TextInImage
    | ClipScore
    | ClipViews
)

__all__ = [
    "AnyExtractor", "Batch", "CaptionStatistics", "ClipScore", "ClipViews", "Column", "Embeddings",
    "Extractor", "ImageStatistics", "Language", "Masked", "Objects", "Score", "TextInImage",
    "Views",
]  # fmt: skip
