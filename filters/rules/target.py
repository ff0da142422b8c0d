"""What fits a pool's pairs, or a target: the best by negCLIPLoss and NormSim, DataComp's filters.

Each reads a derived column, which a config has to have (filters/derive).
"""

from dataclasses import dataclass
from typing import Literal

from filters.rules.band import Band
from filters.rules.ready import Primitive, ReadyMade, best_share


@dataclass(frozen=True, kw_only=True, slots=True)
class NegClipShare(ReadyMade):
    """The pairs with the highest negCLIPLoss: keep; all others: drop.

    Source: Wang et al. (arXiv:2405.19547), who keep the best 30 % of DataComp's medium pool.

    Attributes:
        share: Of the pool, that is kept.
    """

    kind: Literal["neg_clip_share"] = "neg_clip_share"
    name: str = "neg_clip_share"
    share: float = 0.3
    veto: bool = False

    def primitive(self) -> Primitive:
        """Return a band over quantiles."""
        return best_share(self, "neg_clip_loss", self.share)


@dataclass(frozen=True, kw_only=True, slots=True)
class NormSimShare(ReadyMade):
    """The pictures with the highest NormSim: keep; all others: drop.

    Source: Wang et al. (arXiv:2405.19547), who go down to 20 % of the pool by it. They choose among
    the best 30 % by negCLIPLoss, a rule among all.

    Attributes:
        share: Of the pool, that is kept.
    """

    kind: Literal["normsim_share"] = "normsim_share"
    name: str = "normsim_share"
    share: float = 0.2
    veto: bool = False

    def primitive(self) -> Primitive:
        """Return a band over quantiles."""
        return best_share(self, "normsim", self.share)


@dataclass(frozen=True, kw_only=True, slots=True)
class ImageBasedFilter(ReadyMade):
    """A picture near a target's pictures: keep; another: drop.

    Source: DataComp's image-based filter (arXiv:2304.14108, section 3.2), but for the captions that
    it leaves out beforehand.
    """

    kind: Literal["image_based_filter"] = "image_based_filter"
    name: str = "image_based_filter"
    veto: bool = False

    def primitive(self) -> Primitive:
        """Return a band."""
        return Band(name=self.name, column="image_based", keep=1, drop=0, veto=self.veto)


@dataclass(frozen=True, kw_only=True, slots=True)
class TextBasedFilter(ReadyMade):
    """A caption in the wanted language that names one of a list of things: keep; another: drop.

    Source: DataComp's text-based filter (arXiv:2304.14108, section 3.2).
    """

    kind: Literal["text_based_filter"] = "text_based_filter"
    name: str = "text_based_filter"
    veto: bool = False

    def primitive(self) -> Primitive:
        """Return a band."""
        return Band(name=self.name, column="text_based", keep=1, drop=0, veto=self.veto)
