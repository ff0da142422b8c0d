"""Columns in, columns out: what needs no picture, but may need counts over the whole pool.

The union below is the registry: one line per kind.
"""

from filters.derive.base import Columns, Derive, Map
from filters.derive.combine import Combine
from filters.derive.copies import Copies
from filters.derive.counts import Counts, merge
from filters.derive.head import Head
from filters.derive.neg_clip_loss import NegClipLoss
from filters.derive.pooled import Pooled
from filters.derive.surprise import Surprise
from filters.derive.target import ImageBased, NormSim
from filters.derive.templates import Templates
from filters.derive.text_based import TextBased

AnyDerive = (
    Surprise | Templates | Copies | Head | Combine | NegClipLoss | NormSim | ImageBased | TextBased
)

__all__ = [
    "AnyDerive", "Columns", "Combine", "Copies", "Counts", "Derive", "Head", "ImageBased", "Map",
    "NegClipLoss", "NormSim", "Pooled", "Surprise", "Templates", "TextBased", "merge",
]  # fmt: skip
