"""DataComp's text-based filter: captions that name one of a list of things."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal

import numpy as np

from filters.concepts.metaclip import Matcher, read_entries
from filters.derive.base import Columns, Derive, Map, require_name
from filters.derive.pooled import Pooled
from filters.extract.base import Column, Values


@dataclass(frozen=True, kw_only=True, slots=True)
class TextBased(Derive):
    """Whether a caption of one language names an entry of a list (DataComp's text-based filter).

    DataComp (arXiv:2304.14108, section 3.2) keeps English captions with a word whose first WordNet
    synset is one of ImageNet-21k's. The list is to have the names of those synsets, and what
    WordNet would trace back to them, such as plurals. Names of several words, and words before
    punctuation, are found, too, which theirs does not.

    Attributes:
        name: The column it writes.
        file: Path or URL of the entries: a .txt file, one a line, or a .json list.
        language: What the caption has to be in; "" for any.
        column: Where its language is told, as the extractor `language` does.
        ignore_case: WordNet looks words up in lower case.
    """

    kind: Literal["text_based"] = "text_based"
    name: str = "text_based"
    file: str
    language: str = "en"
    column: str = "language"
    ignore_case: bool = True

    def __post_init__(self) -> None:
        """Refuse a name that is no column's."""
        require_name(self.kind, self.name)

    @property
    def weights(self) -> tuple[str, ...]:
        """Its file."""
        return (self.file,)

    @property
    def reads(self) -> tuple[str, ...]:
        """The caption, and its language."""
        return ("caption", self.column) if self.language else ("caption",)

    @property
    def columns(self) -> tuple[Column, ...]:
        """1 or 0; null where the language is not known."""
        return (Column(self.name, "int32", "", "[0, 1]", "1 if the caption names an entry"),)

    def load(self, weights: Mapping[str, Path], counts: Pooled | None) -> Map:
        """Return the function from captions to 1, 0 or None.

        Raises:
            ValueError: The file is no list of entries.
        """
        del counts
        path = weights[self.file]
        state = path.stat()
        matcher = _matcher_of(path, (state.st_mtime_ns, state.st_size), self.ignore_case)

        def judge(columns: Columns) -> dict[str, Values]:
            captions = list(columns["caption"])
            texts = [text.lower() for text in captions] if self.ignore_case else captions
            named_n = np.zeros(len(texts), np.int32)
            named_n[matcher.match(texts)[0]] = 1
            languages = list(columns[self.column]) if self.language else [""] * len(texts)
            return {
                self.name: [
                    None if language is None else int(one and language == self.language)
                    for one, language in zip(named_n.tolist(), languages, strict=True)
                ]
            }

        return judge


@lru_cache(maxsize=2)  # a worker does task after task; the stamp tells a file from its successor
def _matcher_of(path: Path, stamp: tuple[int, int], ignore_case: bool) -> Matcher:
    del stamp
    entries = read_entries(path)
    return Matcher([entry.lower() for entry in entries] if ignore_case else entries)
