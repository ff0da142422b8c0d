"""Columns of the caption alone: lengths, repetition, boilerplate, parts of speech, fingerprints."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np

from filters.extract.base import Batch, Column, Extractor, Score, Values
from filters.extract.hashes import LONGEST_READ, minhash, text_hash, words_of
from filters.extract.words import Lexicon, count_words, read_lexicon

# Alt texts that say nothing of the picture. Each pattern covers the words it explains away.
BOILERPLATE = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        r"(?<![\w-])[\w-]{1,200}\.(?:jpe?g|png|gif|webp|bmp|svg|tiff?)\b",  # a file name
        r"\b(?:img|dsc|dscn|dscf|pict|screen\s?shot)[\s_-]?\d{2,}\w*\b",  # a camera's name for it
        r"\bhttps?://\S+|\bwww\.\S+",
        r"\bclick (?:here|to \w+|on \w+)(?: (?:to|for) \w+)*",
        r"\b(?:buy|order|shop) (?:now|online|today)\b",
        r"\b(?:free )?(?:shipping|delivery|download)\b",
        r"\b(?:image|photo|picture|thumbnail) ?(?:not available|unavailable|coming soon"
        r"|placeholder|no\.? ?\d+|\d+(?: of \d+)?)",
        r"\bno (?:image|photo|picture|description)(?: available)?\b",
        r"\b(?:all rights reserved|copyright)\b|\(c\)",
        r"\b(?:default|untitled|unnamed|placeholder|lorem ipsum)\b",
        r"\b(?:add to cart|view (?:larger|full size|details|image)|read more|log ?in|sign up)\b",
        r"\b(?:share|follow us|like us|find us) on \w+",
        r"\b(?:back to top|(?:next|previous) page|advertisement|sponsored)\b",
        r"\b(?:product|stock) (?:photo|image|picture)\b|\b(?:best|lowest) price\b",
        r"(?<!\w)\w{0,80}\d{2,4}x\d{2,4}\b",  # a size in pixels, and what it is glued to
        r"^\s*(?:image|photo|picture|banner|logo|icon|thumbnail)s?\s*\d*\s*$",
    )
)


@dataclass(frozen=True, kw_only=True, slots=True)
class CaptionStatistics(Extractor):
    """Lengths, repetition, boilerplate, parts of speech and fingerprints of the caption."""

    kind: Literal["caption"] = "caption"
    columns = (
        Column("caption_chars", "int32", "character", "[1, inf)", "characters of the caption"),
        Column("caption_words", "int32", "word", "[0, inf)", "white-space separated words"),
        Column("caption_repetition", "float32", "", "[0, 1]", "share of words said before"),
        Column("caption_boilerplate", "float32", "", "[0, 1]", "share of letters in stock phrases"),
        Column("caption_objects", "int32", "noun", "[0, inf)", "nouns, names among them"),
        Column("caption_actions", "int32", "verb", "[0, inf)", "verbs except be, have, do"),
        Column("caption_adjectives", "int32", "adjective", "[0, inf)", "adjectives"),
        Column("caption_hash", "uint64", "", "[0, 2^64)", "hash of the normalised caption"),
        Column("caption_minhash", "uint32s", "", "[0, 2^32)", "MinHash of pairs of words"),
    )
    weights = ("english_lexicon",)
    pixels = False
    version: ClassVar[int] = 3

    def load(self, weights: Mapping[str, Path], *, threads: int) -> Score:
        """Read the list of words."""
        del threads
        lexicon = read_lexicon(weights["english_lexicon"])

        def score(batch: Batch) -> dict[str, Values]:
            words = [words_of(c) for c in batch.captions]
            return {
                **_statistics(batch.captions),
                **_parts_of_speech(batch.captions, lexicon),
                "caption_hash": np.array([text_hash(w) for w in words], np.uint64),
                "caption_minhash": [minhash(w) for w in words],
            }

        return score


def _statistics(captions: Sequence[str]) -> dict[str, Values]:
    return {
        "caption_chars": np.array([len(c) for c in captions], np.int32),
        "caption_words": np.array([len(c.split()) for c in captions], np.int32),
        "caption_repetition": np.array([repetition(c) for c in captions], np.float32),
        "caption_boilerplate": np.array([boilerplate(c) for c in captions], np.float32),
    }


def _parts_of_speech(captions: Sequence[str], lexicon: Lexicon) -> dict[str, Values]:
    counted = [count_words(c[:LONGEST_READ], lexicon) for c in captions]
    return {
        "caption_objects": np.array([c.nouns for c in counted], np.int32),
        "caption_actions": np.array([c.verbs for c in counted], np.int32),
        "caption_adjectives": np.array([c.adjectives for c in counted], np.int32),
    }


def repetition(caption: str) -> float:
    """Share of words that already occurred, case ignored, in [0, 1]; 0 for a caption of one word.

    >>> repetition("buy buy buy now")
    0.5
    """
    words = caption.lower().split()
    return 1.0 - len(set(words)) / len(words) if words else 0.0


def boilerplate(caption: str) -> float:
    """Share of letters and digits that lie inside a stock phrase, in [0, 1].

    >>> boilerplate("IMG_0231.jpg"), boilerplate("a red kite")
    (1.0, 0.0)
    """
    caption = caption[:LONGEST_READ]
    covered = bytearray(len(caption))
    for pattern in BOILERPLATE:
        for match in pattern.finditer(caption):
            covered[match.start() : match.end()] = b"\1" * (match.end() - match.start())
    counted = [i for i, character in enumerate(caption) if character.isalnum()]
    return sum(covered[i] for i in counted) / len(counted) if counted else 1.0
