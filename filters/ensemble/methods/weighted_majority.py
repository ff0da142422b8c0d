"""Every vote counts as much as its rule and its class do.

Letters: P patterns, M rules, K classes.
"""

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from filters.ensemble.labelled import Labelled
from filters.ensemble.methods.base import Known, Method
from filters.ensemble.model import Share


@dataclass(frozen=True, kw_only=True, slots=True)
class WeightedMajority(Method):
    """The share of the votes for a class, each times the class prior and the weight of its rule.

    With equal weights it is WRENCH's weighted vote (Zhang et al., arXiv:2109.11377). The weights
    are, in this order: those that are given; with labels, the log odds that a vote of the rule is
    right over those of a guess, log(a (K - 1) / (1 - a)), but at least 0, where
    a = (right + 1) / (votes + K) counts labelled rows; else 1. A rule that no labelled row has a
    vote of, or that is worse than a guess, thus has no say; `told` names those.

    Attributes:
        weights: One of each rule, in order, each at least 0; empty if not given.
    """

    most_classes: ClassVar[int] = 0
    shares_copies: ClassVar[bool] = False
    kind: Literal["weighted_majority"] = "weighted_majority"
    weights: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        """Check the weights."""
        proper = all(math.isfinite(weight) and weight >= 0 for weight in self.weights)
        if self.weights and not (proper and any(self.weights)):
            raise ValueError(
                f"weighted_majority.weights: got {list(self.weights)}, expected numbers of at "
                "least 0, and one above it"
            )

    def fit(self, known: Known) -> Share:
        """Weigh the rules.

        Raises:
            ValueError: Weights are given, but not one of each rule.
        """
        rules = known.moments.rules
        accuracy_M = np.full(rules, np.nan)
        if self.weights:
            source, weight_M = "given", np.array(self.weights)
        elif known.labelled is not None:
            source, accuracy_M = "labels", _accuracy(known.labelled)
            weight_M = _log_odds(accuracy_M, known.labelled.classes)
        else:
            source, weight_M = "equal", np.ones(rules)
        if len(weight_M) != rules:
            raise ValueError(
                f"weighted_majority.weights: got {len(weight_M)}, expected one of each of "
                f"{rules} rules"
            )
        return Share(
            kind=self.kind,
            prior=tuple(known.prior_K.tolist()),
            accuracy=tuple(accuracy_M.tolist()),
            share=(1.0,) * rules,
            told={"weights": source, "without_a_say": np.flatnonzero(weight_M == 0).tolist()},
            weight=tuple(weight_M.tolist()),
            class_weight=tuple(known.prior_K.tolist()),
        )


def _accuracy(labelled: Labelled) -> NDArray[np.float64]:
    """Return the smoothed accuracy of each rule on labelled rows, NaN where it casts no vote."""
    judged_MKK = labelled.judged
    right_M, votes_M = np.einsum("mkk->m", judged_MKK), judged_MKK.sum(axis=(1, 2))
    smoothed_M = (right_M + 1) / (votes_M + labelled.classes)
    return np.where(votes_M > 0, smoothed_M, np.nan)


def _log_odds(accuracy_M: NDArray[np.float64], classes: int) -> NDArray[np.float64]:
    """Return the log odds over those of a guess, at least 0; 0 for NaN."""
    known_M = np.where(np.isnan(accuracy_M), 1 / classes, accuracy_M)
    return np.maximum(np.log(known_M * (classes - 1) / (1 - known_M)), 0.0)
