"""Boilerplate that is learned from the pool: phrases that stand in captions of many pictures.

Shape letters: C captions, S places in the stream of their words (numbers are all one word, #).
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from filters.derive.base import Columns, Derive, Map
from filters.derive.counts import Counts
from filters.derive.grams import HASH_BITS, LONGEST, Stream, gram_keys, pairs_of, stream_of
from filters.extract.base import Column, Values
from filters.extract.hashes import words_of

DIGITS = re.compile(r"\d+")
CAPTIONS = np.zeros(1, np.uint64)  # the key whose count is that of all captions


@dataclass(frozen=True, kw_only=True, slots=True)
class Templates(Derive[Counts]):
    """Share of a caption's words that lie in phrases frequent in the pool.

    A phrase is a run of `words` words, or a whole caption of fewer, with all numbers the same; it
    is a template if so many captions have it. Longer templates need no count of their own: all
    runs of `words` words of a frequent longer phrase are as frequent, and cover the same words.

    Counting costs 16 bytes for each different phrase: at most words - `words` + 1 of a caption,
    openclipart has 1.0 different ones a caption.

    Attributes:
        words: Length of a phrase, 1 to 7.
        least: Captions that must have it.
        share: Of the pool's captions that must have it.
        bits: Of a phrase's hash that are kept: the counts never take more than 8 * 16 * 2^bits
            bytes, and below 61 bits phrases may be taken for each other.
    """

    kind: Literal["templates"] = "templates"
    words: int = 4
    least: int = 20
    share: float = 1e-4
    bits: int = HASH_BITS
    version = 2
    reads = ("caption",)
    columns = (
        Column("caption_template", "float32", "", "[0, 1]", "share of words in frequent phrases"),
    )

    def __post_init__(self) -> None:
        """Refuse phrases that are too long for a key, and a template that one caption makes."""
        if not 1 <= self.words <= LONGEST:
            raise ValueError(f"templates: got words = {self.words}, expected 1 to {LONGEST}")
        if not (self.least >= 2 and 0 <= self.share <= 1):  # noqa: PLR2004 -- itself and another
            raise ValueError(
                f"templates: got least = {self.least} and share = {self.share}, expected at least "
                "2 captions and a share in [0, 1]"
            )
        if not 1 <= self.bits <= HASH_BITS:
            raise ValueError(f"templates: got bits = {self.bits}, expected 1 to {HASH_BITS}")

    def count(self, columns: Columns) -> Counts:
        """Count in how many captions each phrase is, and the captions."""
        stream = stream_of(list(columns["caption"]), numberless_words)
        key_S, ends_S = self._phrases(stream)
        key_K, _, pair_P = pairs_of(key_S[ends_S], stream.caption_S[ends_S])
        once = key_K[np.unique(pair_P) % len(key_K)]  # of a phrase that a caption says twice
        return Counts.of(np.concatenate([once, np.repeat(CAPTIONS, len(stream.length_C))]))

    def load(self, weights: Mapping[str, Path], counts: Counts | None) -> Map:
        """Return the function that measures what templates cover."""
        del weights
        assert counts is not None
        template_T = self.learned(counts)

        def cover(columns: Columns) -> dict[str, Values]:
            stream = stream_of(list(columns["caption"]), numberless_words)
            covered_S = self._covered(stream, template_T)
            covered_C = np.bincount(stream.caption_S[covered_S], minlength=len(stream.length_C))
            share_C = covered_C / np.maximum(stream.length_C, 1)
            return {"caption_template": share_C.astype(np.float32)}

        return cover

    def learned(self, counts: Counts) -> NDArray[np.uint64]:
        """Return the keys of the phrases that are templates, ascending."""
        needed = max(self.least, self.share * int(counts[CAPTIONS][0]))
        return counts.key_K[(counts.count_K >= needed) & (counts.key_K != CAPTIONS[0])]

    def _phrases(self, stream: Stream) -> tuple[NDArray[np.uint64], NDArray[np.bool_]]:
        """Return the key of the phrase that ends at each place, and where one does."""
        size_S = np.minimum(stream.length_C, self.words)[stream.caption_S]
        keys = np.stack(gram_keys(stream, self.words, bits=self.bits))
        return keys[size_S, np.arange(len(size_S))], stream.place_S + 1 >= size_S

    def _covered(self, stream: Stream, template_T: NDArray[np.uint64]) -> NDArray[np.bool_]:
        key_S, ends_S = self._phrases(stream)
        ends_S &= np.isin(key_S, template_T)
        size_S = np.minimum(stream.length_C, self.words)[stream.caption_S]
        covered_S = ends_S.copy()
        for back in range(1, self.words):
            covered_S[:-back] |= ends_S[back:] & (size_S[back:] > back)
        return covered_S


def numberless_words(caption: str) -> list[str]:
    """Return the caption's words with each run of digits as #.

    >>> numberless_words("IMG_0231.jpg, page 2")
    ['img', '#', 'jpg', 'page', '#']
    """
    return [DIGITS.sub("#", word) for word in words_of(caption)]
