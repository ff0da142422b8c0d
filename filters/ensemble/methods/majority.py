"""Every vote counts alike."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from filters.ensemble.methods.base import Known, Method
from filters.ensemble.model import Share


@dataclass(frozen=True, kw_only=True, slots=True)
class Majority(Method):
    """A class gets the share of the votes that are for it; a row without votes gets the prior.

    The prior says nothing about other rows. `weighted_majority` has it count.

    Attributes:
        ties: "share" keeps the proportions: two votes against one are 2/3, as WRENCH has it (Zhang
            et al., arXiv:2109.11377). "winners" gives everything to the class with most votes, and
            as much to each where several have it, as Snorkel's MajorityLabelVoter does.
    """

    most_classes: ClassVar[int] = 0
    kind: Literal["majority"] = "majority"
    ties: Literal["share", "winners"] = "share"

    def fit(self, known: Known) -> Share:
        """Weigh every rule alike."""
        rules = known.moments.rules
        return Share(
            kind=self.kind,
            prior=tuple(known.prior_K.tolist()),
            accuracy=(float("nan"),) * rules,
            share=(1.0,) * rules,
            told={},
            weight=(1.0,) * rules,
            winners=self.ties == "winners",
        )
