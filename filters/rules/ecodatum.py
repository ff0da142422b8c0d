"""EcoDatum's votes: a threshold with a margin on either side, inside of which a rule abstains.

Source of all: EcoDatum (AAAI 2025, arXiv:2502.08211), as its public code has them. A value at the
end of a margin votes. The detector's `threshold` has to be 0.3 for the two rules over boxes;
EcoDatum counts boxes above it, an extractor those at or above.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

from filters.rules.band import Band
from filters.rules.condition import Condition
from filters.rules.ready import Primitive, ReadyMade


@dataclass(frozen=True, kw_only=True, slots=True)
class QualityBand(ReadyMade):
    """A score that is small for bad pictures: drop below the margin, never keep.

    Attributes:
        threshold: In the score's unit, [0, 1].
        margin: Below the threshold; from its far end down the vote is drop.
    """

    threshold: float
    margin: float
    veto: bool = False
    column: ClassVar[str]

    def primitive(self) -> Primitive:
        """Return a one-sided band."""
        cut = self.threshold - self.margin
        return Band(name=self.name, column=self.column, drop=cut, veto=self.veto)


@dataclass(frozen=True, kw_only=True, slots=True)
class EcoDatumBlur(QualityBand):
    """A blurred picture: drop.

    Source: arXiv:2502.08211, quality operators.
    """

    kind: Literal["ecodatum_blur"] = "ecodatum_blur"
    name: str = "ecodatum_blur"
    threshold: float = 0.29
    margin: float = 0.01
    column: ClassVar[str] = "blur"


@dataclass(frozen=True, kw_only=True, slots=True)
class EcoDatumDark(QualityBand):
    """A dark picture: drop.

    Source: arXiv:2502.08211, quality operators.
    """

    kind: Literal["ecodatum_dark"] = "ecodatum_dark"
    name: str = "ecodatum_dark"
    threshold: float = 0.32
    margin: float = 0.05
    column: ClassVar[str] = "dark"


@dataclass(frozen=True, kw_only=True, slots=True)
class EcoDatumLight(QualityBand):
    """An overexposed picture: drop; with the margin of the source only a score of 0 does.

    Source: arXiv:2502.08211, quality operators.
    """

    kind: Literal["ecodatum_light"] = "ecodatum_light"
    name: str = "ecodatum_light"
    threshold: float = 0.05
    margin: float = 0.05
    column: ClassVar[str] = "light"


@dataclass(frozen=True, kw_only=True, slots=True)
class EcoDatumInformation(QualityBand):
    """A picture with little in it: drop.

    Source: arXiv:2502.08211, quality operators.
    """

    kind: Literal["ecodatum_information"] = "ecodatum_information"
    name: str = "ecodatum_information"
    threshold: float = 0.3
    margin: float = 0.05
    column: ClassVar[str] = "low_information"


@dataclass(frozen=True, kw_only=True, slots=True)
class EcoDatumAspect(QualityBand):
    """A picture much longer than wide: drop.

    Source: arXiv:2502.08211, quality operators.
    """

    kind: Literal["ecodatum_aspect"] = "ecodatum_aspect"
    name: str = "ecodatum_aspect"
    threshold: float = 0.33
    margin: float = 0.0
    column: ClassVar[str] = "odd_aspect"


@dataclass(frozen=True, kw_only=True, slots=True)
class ClipBand(ReadyMade):
    """A cosine of picture and caption: keep above the margin, drop below it.

    Attributes:
        threshold: Cosine, [-1, 1].
        margin: On either side of the threshold; at its ends the rule votes.
    """

    threshold: float
    margin: float = 0.02
    veto: bool = False
    column: ClassVar[str]

    def primitive(self) -> Primitive:
        """Return a band with the margin as its abstaining middle."""
        return Band(
            name=self.name, column=self.column, keep=self.threshold + self.margin,
            drop=self.threshold - self.margin, veto=self.veto,
        )  # fmt: skip


@dataclass(frozen=True, kw_only=True, slots=True)
class EcoDatumClip(ClipBand):
    """Picture and caption fit, or do not: keep above the margin, drop below.

    Source: arXiv:2502.08211, image-text similarity by CLIP. Another `alignment` has another scale:
    set the threshold.
    """

    kind: Literal["ecodatum_clip"] = "ecodatum_clip"
    name: str = "ecodatum_clip"
    threshold: float = 0.21
    column: ClassVar[str] = "alignment"


@dataclass(frozen=True, kw_only=True, slots=True)
class EcoDatumFlipped(ClipBand):
    """The mirrored picture and the caption fit, or do not: keep above the margin, drop below.

    Source: arXiv:2502.08211, CLIP score of the picture flipped left to right, which makes text
    unreadable; threshold 0 as in its demo, where nothing falls below: set it for real work.
    """

    kind: Literal["ecodatum_flipped"] = "ecodatum_flipped"
    name: str = "ecodatum_flipped"
    threshold: float = 0.0
    column: ClassVar[str] = "alignment_flipped"


@dataclass(frozen=True, kw_only=True, slots=True)
class EcoDatumUpsideDown(ClipBand):
    """The picture upside down and the caption fit, or do not: keep above the margin, drop below.

    Source: arXiv:2502.08211, CLIP score of the picture flipped top to bottom; threshold 0 as in its
    demo, where nothing falls below: set it for real work.
    """

    kind: Literal["ecodatum_upside_down"] = "ecodatum_upside_down"
    name: str = "ecodatum_upside_down"
    threshold: float = 0.0
    column: ClassVar[str] = "alignment_upside_down"


@dataclass(frozen=True, kw_only=True, slots=True)
class EcoDatumConcrete(ReadyMade):
    """A concrete caption: keep; an abstract one: drop.

    Source: arXiv:2502.08211, ICC caption score. No model of ours gives that score: `column` is what
    a plug-in or a derived head of your own writes.

    Attributes:
        column: Concreteness, [0, 1].
        threshold: From here on the vote is keep.
        margin: Below the threshold; from its far end down the vote is drop.
    """

    kind: Literal["ecodatum_concrete"] = "ecodatum_concrete"
    name: str = "ecodatum_concrete"
    column: str = "icc"
    threshold: float = 0.035
    margin: float = 0.03
    veto: bool = False

    def primitive(self) -> Primitive:
        """Return a band with a margin below the threshold."""
        return Band(
            name=self.name, column=self.column, keep=self.threshold,
            drop=self.threshold - self.margin, veto=self.veto,
        )  # fmt: skip


@dataclass(frozen=True, kw_only=True, slots=True)
class EcoDatumLanguage(ReadyMade):
    """Not English, or English with no confidence at all: drop.

    Source: arXiv:2502.08211, language operator.

    Attributes:
        above: Confidence in English that is not enough, [0, 1].
    """

    kind: Literal["ecodatum_language"] = "ecodatum_language"
    name: str = "ecodatum_language"
    above: float = 0.0
    veto: bool = False

    def primitive(self) -> Primitive:
        """Return a one-sided condition."""
        return Condition(
            name=self.name,
            columns=("language", "language_score"),
            drop=f"language <> 'en' OR language_score <= {self.above}",
            veto=self.veto,
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class EcoDatumCount(ReadyMade):
    """Many objects: keep; none: drop; a few: abstain.

    Source: arXiv:2502.08211, detector operator, first version.

    Attributes:
        many: Boxes from which the vote is keep.
    """

    kind: Literal["ecodatum_count"] = "ecodatum_count"
    name: str = "ecodatum_count"
    many: int = 5
    veto: bool = False

    def primitive(self) -> Primitive:
        """Return a band over the number of boxes."""
        return Band(
            name=self.name, column="object_count", keep=self.many, drop=0, veto=self.veto
        )  # fmt: skip


@dataclass(frozen=True, kw_only=True, slots=True)
class EcoDatumRatio(ReadyMade):
    """No object, or boxes that are slivers or squares on average: drop.

    Source: arXiv:2502.08211, detector operator, second version: the mean of short over long side.

    Attributes:
        low: Smallest ratio that is not dropped.
        high: Largest ratio that is not dropped.
    """

    kind: Literal["ecodatum_ratio"] = "ecodatum_ratio"
    name: str = "ecodatum_ratio"
    low: float = 0.05
    high: float = 0.95
    veto: bool = False

    def primitive(self) -> Primitive:
        """Return a one-sided condition."""
        return Condition(
            name=self.name,
            columns=("object_count", "object_ratio"),
            drop=f"object_count = 0 OR object_ratio < {self.low} OR object_ratio > {self.high}",
            veto=self.veto,
        )
