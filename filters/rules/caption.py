"""Captions that say nothing of their picture: templates, copies, word salad, other languages."""

from dataclasses import dataclass
from typing import Literal

from filters.rules.band import Band
from filters.rules.condition import Condition
from filters.rules.ready import Primitive, ReadyMade, drop_from


@dataclass(frozen=True, kw_only=True, slots=True)
class CaptionTemplate(ReadyMade):
    """Most of the caption is a phrase that the pool repeats: drop.

    Source: ours.

    Attributes:
        most: Share of its words in such phrases from which it is dropped.
    """

    kind: Literal["caption_template"] = "caption_template"
    name: str = "caption_template"
    most: float = 0.8
    veto: bool = False

    def primitive(self) -> Primitive:
        """Return a one-sided band."""
        return drop_from(self, "caption_template", self.most)


@dataclass(frozen=True, kw_only=True, slots=True)
class CaptionCopies(ReadyMade):
    """The same caption stands under many pictures: drop.

    Source: ALIGN (arXiv:2102.05918, section 3), which drops alt-texts shared by more than 10
    pictures.

    Attributes:
        most: Pairs of the pool that may share a caption.
    """

    kind: Literal["caption_copies"] = "caption_copies"
    name: str = "caption_copies"
    most: int = 10
    veto: bool = False

    def primitive(self) -> Primitive:
        """Return a one-sided band."""
        return drop_from(self, "caption_copies", self.most + 1)


@dataclass(frozen=True, kw_only=True, slots=True)
class CaptionSurprise(ReadyMade):
    """A caption that could be guessed without its picture: drop.

    Source: the signal is PRIOR's (arXiv:2505.08971), which weighs tokens by how badly a model of
    text alone predicts them, and drops no caption; share and end are ours.

    Attributes:
        share: Share of the pool at that end, which is dropped.
        end: `low` drops the fewest bits per token, stock phrases; `high` the most, word salad.
    """

    kind: Literal["caption_surprise"] = "caption_surprise"
    name: str = "caption_surprise"
    share: float = 0.05
    end: Literal["low", "high"] = "low"
    veto: bool = False

    def primitive(self) -> Primitive:
        """Return a one-sided band over quantiles."""
        cut = self.share if self.end == "low" else 1 - self.share
        return Band(
            name=self.name, column="caption_surprise", drop=cut, by="quantile", veto=self.veto,
            direction="high" if self.end == "low" else "low",
        )  # fmt: skip


@dataclass(frozen=True, kw_only=True, slots=True)
class CaptionBoilerplate(ReadyMade):
    """Half of the caption is file names, shop phrases and the like: drop.

    Source: ours.

    Attributes:
        most: Share of its letters in stock phrases from which it is dropped.
    """

    kind: Literal["caption_boilerplate"] = "caption_boilerplate"
    name: str = "caption_boilerplate"
    most: float = 0.5
    veto: bool = False

    def primitive(self) -> Primitive:
        """Return a one-sided band."""
        return drop_from(self, "caption_boilerplate", self.most)


@dataclass(frozen=True, kw_only=True, slots=True)
class CaptionLanguage(ReadyMade):
    """Two detectors name the same other language: drop; both name the wanted one: keep.

    Source: ours, the fewest false drops on a grid over two planted pools of openclipart: 93 to 96 %
    of foreign captions, 1 in 800 of the others. DataComp's basic filter (arXiv:2304.14108) drops by
    fastText's first guess alone, which is wrong on captions of a word or two.

    Attributes:
        language: The wanted one, as the detectors spell it (ISO 639).
        first: Probability that fastText has to give the other one.
        second: Probability that py3langid has to give it.
        words: Shorter captions are dropped only if the second is sure. Scripts without spaces are
            always shorter.
        sure: From here on it is.
    """

    kind: Literal["caption_language"] = "caption_language"
    name: str = "caption_language"
    language: str = "en"
    first: float = 0.5
    second: float = 0.7
    words: int = 4
    sure: float = 0.9
    veto: bool = False

    def primitive(self) -> Primitive:
        """Return a condition on both detectors."""
        if not self.language.replace("-", "").isalpha():
            raise ValueError(
                f"rule {self.name!r}: got language {self.language!r}, expected a code such as en"
            )
        return Condition(
            name=self.name,
            columns=("language", "language_score", "language_2", "language_2_score",
                     "caption_words"),
            keep=f"language = '{self.language}' AND language_2 = '{self.language}'",
            drop=f"language <> '{self.language}' AND language_2 = language AND "
            f"language_score > {self.first} AND language_2_score > {self.second} AND "
            f"(caption_words >= {self.words} OR language_2_score > {self.sure})",
            veto=self.veto,
        )  # fmt: skip
