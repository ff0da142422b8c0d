"""Pixels or caption in, columns out. The union below is the registry: one line per extractor."""

from filters.extract.base import Batch, Column, Extractor, Score
from filters.extract.caption import CaptionStatistics
from filters.extract.clip import ClipScore
from filters.extract.clip_embed import ClipEmbed
from filters.extract.clip_views import ClipViews
from filters.extract.detect import Objects
from filters.extract.embed import Embeddings
from filters.extract.grounding import Grounding
from filters.extract.image import ImageStatistics
from filters.extract.language import Language
from filters.extract.ocr import TextInImage
from filters.extract.prompt import Prompt
from filters.extract.quality import Quality
from filters.extract.safety import Faces, Nsfw
from filters.extract.stages import Stages
from filters.extract.views import Masked, Views

AnyExtractor = (
    ImageStatistics
    | CaptionStatistics
    | Language
    | Quality
    | Embeddings
    | Stages
    | Views
    | Masked
    | Objects
    | Grounding
    | TextInImage
    | Nsfw
    | Faces
    | ClipScore
    | ClipEmbed
    | ClipViews
    | Prompt
)

__all__ = [
    "AnyExtractor", "Batch", "CaptionStatistics", "ClipEmbed", "ClipScore", "ClipViews", "Column",
    "Embeddings", "Extractor", "Faces", "Grounding", "ImageStatistics", "Language", "Masked",
    "Nsfw", "Objects", "Prompt", "Quality", "Score", "Stages", "TextInImage", "Views",
]  # fmt: skip
