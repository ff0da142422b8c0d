"""Text in the picture: the caption that is only read there, watermarks, pictures of text."""

from dataclasses import dataclass
from typing import Literal

from filters.rules.condition import Condition
from filters.rules.ready import Primitive, ReadyMade, best_share, drop_from


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
    """Text that can be read covers much of the picture: drop.

    Source: ours. The detector alone takes 43 % of openclipart's clean pictures for one glyph that
    fills them; what is read covers as much in 0.7 %.

    Attributes:
        most: Share of the picture from which it is dropped.
    """

    kind: Literal["text_area"] = "text_area"
    name: str = "text_area"
    most: float = 0.3
    veto: bool = False

    def primitive(self) -> Primitive:
        """Return a one-sided band."""
        return drop_from(self, "text_read_area", self.most)


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
        return drop_from(self, "text_overlap", self.most)


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
        return drop_from(self, "text_watermark", self.most)


@dataclass(frozen=True, kw_only=True, slots=True)
class TextOnly(ReadyMade):
    """Text and plain ground and nothing else: drop.

    Source: ours, measured on two planted pools of openclipart: all 128 pictures of text are found,
    and 9 of 2,165 clean pairs are dropped, most of which are words on a sign.

    Attributes:
        letters: Letters and digits that are read, from which it may be a picture of text.
        rest: Share of the picture that is neither text nor plain ground, below which it is one.
    """

    kind: Literal["text_only"] = "text_only"
    name: str = "text_only"
    letters: int = 4
    rest: float = 0.02
    veto: bool = False

    def primitive(self) -> Primitive:
        """Return a one-sided condition."""
        return Condition(
            name=self.name,
            columns=("text_letters", "text_rest"),
            drop=f"text_letters >= {self.letters} AND text_rest < {self.rest}",
            veto=self.veto,
        )
