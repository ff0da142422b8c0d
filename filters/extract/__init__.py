"""Pixels or caption in, columns out. The union below is the registry: one line per extractor."""

from filters.extract.base import Batch, Column, Extractor, Score
from filters.extract.caption import CaptionStatistics
from filters.extract.clip import ClipScore
from filters.extract.detect import Objects
from filters.extract.embed import Embeddings
from filters.extract.image import ImageStatistics
from filters.extract.language import Language
from filters.extract.ocr import TextInImage
from filters.extract.prompt import Prompt

AnyExtractor = (
    ImageStatistics
    | CaptionStatistics
    | Language
    | Embeddings
    | Objects
    | TextInImage
    | ClipScore
    | Prompt
)

__all__ = [
    "AnyExtractor", "Batch", "CaptionStatistics", "ClipScore", "Column", "Embeddings", "Extractor",
    "ImageStatistics", "Language", "Objects", "Prompt", "Score", "TextInImage",
]  # fmt: skip
