"""Filters A to D over detected objects, and CLIP partners (arXiv:2401.12225).

Each filter of the paper is a membership: keep what it selects, drop the rest. Nothing in it points
to a band in which a filter abstains; rows without a value abstain here.
"""

from dataclasses import dataclass
from typing import Literal

from filters.rules.band import Band
from filters.rules.condition import Condition
from filters.rules.ready import Primitive, ReadyMade, best_share


@dataclass(frozen=True, kw_only=True, slots=True)
class ObjectsFound(ReadyMade):
    """No object: drop.

    Source: arXiv:2401.12225, filter A (drops about 38 % of its pool); Grounding DINO, prompted with
    the caption. The score from which a box counts is the detector's `threshold`, ours.

    Attributes:
        least: Boxes that a picture needs.
    """

    kind: Literal["objects_found"] = "objects_found"
    name: str = "objects_found"
    least: int = 1
    veto: bool = False

    def primitive(self) -> Primitive:
        """Return a band over the number of boxes."""
        return Band(
            name=self.name, column="object_count", keep=self.least, drop=self.least - 1,
            veto=self.veto,
        )  # fmt: skip


@dataclass(frozen=True, kw_only=True, slots=True)
class ObjectsSure(ReadyMade):
    """The detector is not sure enough of what it found: drop.

    Source: arXiv:2401.12225, filter B: the top 30 % by logit score. How the scores of several boxes
    become one is not known; the best box is our choice, mean and sum are the other readings.

    Attributes:
        share: Share of the pool that is kept.
        of: Which summary of the boxes' scores, each in [0, 1], is compared.
    """

    kind: Literal["objects_sure"] = "objects_sure"
    name: str = "objects_sure"
    share: float = 0.3
    of: Literal["best", "mean", "sum"] = "best"
    veto: bool = False

    def primitive(self) -> Primitive:
        """Return a band over quantiles of the score."""
        column = "object_score" if self.of == "best" else f"object_score_{self.of}"
        return best_share(self, column, self.share)


@dataclass(frozen=True, kw_only=True, slots=True)
class ObjectsCounted(ReadyMade):
    """Too few or too many objects: drop.

    Source: arXiv:2401.12225, filter C. Its bounds are not known; 1 to 20 boxes is our choice: below
    it says what filter A says, and more boxes than that are crowds and sheets of small pictures.

    Attributes:
        least: Fewest boxes that are kept.
        most: Most boxes that are kept.
    """

    kind: Literal["objects_counted"] = "objects_counted"
    name: str = "objects_counted"
    least: int = 1
    most: int = 20
    veto: bool = False

    def primitive(self) -> Primitive:
        """Return a condition on the number of boxes."""
        return within(self, "object_count", self.least, self.most)


@dataclass(frozen=True, kw_only=True, slots=True)
class ObjectsShaped(ReadyMade):
    """Boxes of an extreme ratio: drop.

    Source: arXiv:2401.12225, filter D: below 5 % or above 95 %. Whether the ratio is that of areas
    or of sides is not known; area is our choice, `of = "sides"` the reading that EcoDatum took. A
    picture without a box has area 0 and no ratio of sides: dropped by the one, left to filter A by
    the other.

    Attributes:
        of: `area`, the largest box's share of the picture, or `sides`, the mean of short over long
            side over all boxes.
        low: Smallest ratio that is kept.
        high: Largest ratio that is kept.
    """

    kind: Literal["objects_shaped"] = "objects_shaped"
    name: str = "objects_shaped"
    of: Literal["area", "sides"] = "area"
    low: float = 0.05
    high: float = 0.95
    veto: bool = False

    def primitive(self) -> Primitive:
        """Return a condition on the ratio."""
        column = "object_area" if self.of == "area" else "object_ratio"
        return within(self, column, self.low, self.high)


@dataclass(frozen=True, kw_only=True, slots=True)
class ClipShare(ReadyMade):
    """Picture and caption fit less well than in the best share of the pool: drop.

    Source: arXiv:2401.12225, CLIP partners: top 30, 50 and 55 % by OpenAI's L/14. Any `alignment`
    will do here.

    Attributes:
        share: Share of the pool that is kept.
    """

    kind: Literal["clip_share"] = "clip_share"
    name: str = "clip_share"
    share: float = 0.3
    veto: bool = False

    def primitive(self) -> Primitive:
        """Return a band over quantiles of the alignment."""
        return best_share(self, "alignment", self.share)


def within(rule: ReadyMade, column: str, low: float, high: float) -> Condition:
    """Keep where a column lies from `low` to `high`, both included, drop outside."""
    if not low <= high:
        raise ValueError(
            f"rule {rule.name!r}: got {low} to {high}, expected a range that is not empty; "
            "exchange them"
        )
    return Condition(
        name=rule.name,
        columns=(column,),
        keep=f"{column} >= {low} AND {column} <= {high}",
        drop=f"{column} < {low} OR {column} > {high}",
        veto=rule.veto,
    )
