"""What is wrong with a picture whatever it shows: size, flatness, exposure, blur."""

from dataclasses import dataclass
from typing import Literal

from filters.rules.band import Band
from filters.rules.condition import Condition
from filters.rules.ready import Primitive, ReadyMade


@dataclass(frozen=True, kw_only=True, slots=True)
class PictureSize(ReadyMade):
    """A picture too small or too long: drop.

    Source: DataComp's basic filter (arXiv:2304.14108, section 3.2): short side of at least 200
    pixels, long side at most 3 times as long.

    Attributes:
        least: Pixels that the short side needs.
        aspect: Largest long side over short side.
    """

    kind: Literal["picture_size"] = "picture_size"
    name: str = "picture_size"
    least: int = 200
    aspect: float = 3.0
    veto: bool = False

    def primitive(self) -> Primitive:
        """Return a one-sided condition."""
        return Condition(
            name=self.name,
            columns=("width", "height", "aspect"),
            drop=f"width < {self.least} OR height < {self.least} OR aspect > {self.aspect}",
            veto=self.veto,
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class PictureEntropy(ReadyMade):
    """A picture of one colour: drop; one of many grey levels: keep.

    Source: ours, set on openclipart.

    Attributes:
        keep: Bits from which the vote is keep.
        drop: Bits up to which the vote is drop.
    """

    kind: Literal["picture_entropy"] = "picture_entropy"
    name: str = "picture_entropy"
    keep: float = 3.0
    drop: float = 0.5
    veto: bool = False

    def primitive(self) -> Primitive:
        """Return a band over the entropy."""
        return Band(
            name=self.name, column="entropy", keep=self.keep, drop=self.drop, veto=self.veto
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class PictureQuality(ReadyMade):
    """A blurred, dark, overexposed, empty or very long picture: drop.

    Source: CleanVision's default thresholds; a score below its threshold is an issue.

    Attributes:
        blur: Least score that is none, [0, 1].
        dark: The same for dark pictures.
        light: The same for overexposed ones.
        low_information: The same for those with little in them.
        odd_aspect: The same for very long ones.
    """

    kind: Literal["picture_quality"] = "picture_quality"
    name: str = "picture_quality"
    blur: float = 0.29
    dark: float = 0.32
    light: float = 0.05
    low_information: float = 0.3
    odd_aspect: float = 0.35
    veto: bool = False

    def primitive(self) -> Primitive:
        """Return a one-sided condition."""
        scores = ("blur", "dark", "light", "low_information", "odd_aspect")
        issues = (f"{score} < {getattr(self, score)}" for score in scores)
        return Condition(
            name=self.name, columns=scores, drop=" OR ".join(issues), veto=self.veto
        )  # fmt: skip
