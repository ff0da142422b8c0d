"""Every vote counts alike."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from filters.ensemble.methods.base import Known, Method
from filters.ensemble.model import Share


@dataclass(frozen=True, kw_only=True, slots=True)
class Majority(Method):
    """The share of the votes that are for a class; a row without votes gets the prior."""

    most_classes: ClassVar[int] = 0
    kind: Literal["majority"] = "majority"

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
        )
