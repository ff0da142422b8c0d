"""Text in the picture: the caption that is only read there, watermarks, pictures of text."""

from dataclasses import dataclass
from typing import Literal

from filters.rules.band import Band
from filters.rules.condition import Condition
from filters.rules.ready import Primitive, ReadyMade, best_share


@dataclass(frozen=True, kw_only=True, slots=True)
class TMars(ReadyMade):
    """The caption does not fit the picture once its text is painted over: drop.

    Source: T-MARS (arXiv:2307.03132), which keeps the best half of its pool by the CLIP score of
    pictures with masked text.

    Attributes:
        share: Share of the pool that is kept.
    """

    kind: Literal["t_mars"] = "t_mars"
    name: str = "t_mars"
    share: float = 0.5
    veto: bool = False

    def primitive(self) -> Primitive:
        """Return a band over quantiles of the alignment of masked pictures."""
        return best_share(self, "alignment_masked", self.share)


@dataclass(frozen=True, kw_only=True, slots=True)
class TextArea(ReadyMade):
    """Text covers much of the picture: drop.

    Source: ours. On drawings the detector often takes a whole shape for one line (of openclipart's
    clean pictures for nearly half), so that one line alone says nothing.

    Attributes:
        most: Share of the picture from which it is dropped.
        lines: Text lines from which it may be.
    """

    kind: Literal["text_area"] = "text_area"
    name: str = "text_area"
    most: float = 0.3
    lines: int = 2
    veto: bool = False

    def primitive(self) -> Primitive:
        """Return a one-sided condition."""
        return Condition(
            name=self.name,
            columns=("text_area", "text_count"),
            drop=f"text_area >= {self.most} AND text_count >= {self.lines}",
            veto=self.veto,
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class TextOverlap(ReadyMade):
    """The caption stands in the picture: drop.

    Source: T-MARS (arXiv:2307.03132) found text that overlaps the caption in about 40 % of LAION's
    pictures; the threshold is ours.

    Attributes:
        most: Share of the caption's words read in the picture from which it is dropped.
    """

    kind: Literal["text_overlap"] = "text_overlap"
    name: str = "text_overlap"
    most: float = 0.5
    veto: bool = False

    def primitive(self) -> Primitive:
        """Return a one-sided band."""
        return Band(
            name=self.name, column="text_overlap", direction="low", drop=self.most, veto=self.veto
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Watermark(ReadyMade):
    """The picture's text is a watermark: drop.

    Source: ours.

    Attributes:
        most: Share of the words in the picture that belong to watermarks, from which it is dropped.
    """

    kind: Literal["watermark"] = "watermark"
    name: str = "watermark"
    most: float = 0.2
    veto: bool = False

    def primitive(self) -> Primitive:
        """Return a one-sided band."""
        return Band(
            name=self.name, column="text_watermark", direction="low", drop=self.most,
            veto=self.veto,
        )  # fmt: skip


@dataclass(frozen=True, kw_only=True, slots=True)
class TextOnly(ReadyMade):
    """Lines of text and hardly anything else: drop.

    Source: ours, set on openclipart.

    Attributes:
        lines: Text lines from which it may be a picture of text.
        entropy: Of the grey levels, bits; a picture with less has nothing but text in it.
    """

    kind: Literal["text_only"] = "text_only"
    name: str = "text_only"
    lines: int = 2
    entropy: float = 2.0
    veto: bool = False

    def primitive(self) -> Primitive:
        """Return a one-sided condition."""
        return Condition(
            name=self.name,
            columns=("text_count", "entropy"),
            drop=f"text_count >= {self.lines} AND entropy < {self.entropy}",
            veto=self.veto,
        )
