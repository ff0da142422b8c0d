"""Each rule has a rate of voting and an accuracy; rules and classes explain each other.

Letters: P patterns, M rules, K classes; X is a symbol, X = 0 abstain, X = 1 + k class k.
"""

from dataclasses import dataclass
from math import inf
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from filters.ensemble.methods.base import Known, Method
from filters.ensemble.methods.symbols import (
    Floats,
    Symbols,
    climb,
    model_of,
    normalised,
    ratio,
)
from filters.ensemble.model import Bayes


@dataclass(frozen=True, kw_only=True, slots=True)
class NaiveBayes(Method):
    """The generative model of data programming (Ratner et al., arXiv:1605.07723), by MAP.

    A rule votes on a row of class k with a propensity; the vote is right with the rule's accuracy
    on that class, and a wrong one is any of the others alike. Model and starting values are those
    of the package labelmodels (Safranchik et al., AAAI 2020), which climbs by stochastic gradients;
    expectation maximisation on distinct patterns needs no step size and no seed.

    Where we differ: the prior is not a norm of log odds but rows that are taken to have been seen
    beforehand, `strength` of those that there are, with classes as by the class prior, on which
    every rule voted as often as it does on average, and was right with `accuracy`. Propensities may
    depend on the class. A wrong vote is one of those that the rule ever casts, so a rule of one
    side is not taken to have withheld votes for the others.

    Attributes:
        propensity: "by_class" lets a rule vote more often on one class than on another, which is
            all that a rule of one side can say; "shared" does not, as in the package: abstaining
            is no evidence, and neither are the votes of a rule of one side.
        learn_prior: Start at the prior and learn it; otherwise the prior is held.
        accuracy: Of votes at the start, and of those that are taken to have been seen.
        strength: Rows that are taken to have been seen, as a share of those that there are.
        tolerance: It stops when the prior and the tables each change by less, summed.
        most_steps: It stops then in any case; `told` says so.
    """

    needs_counts: ClassVar[bool] = True
    most_classes: ClassVar[int] = 0
    kind: Literal["naive_bayes"] = "naive_bayes"
    propensity: Literal["by_class", "shared"] = "by_class"
    learn_prior: bool = False
    accuracy: float = 0.9
    strength: float = 0.025
    tolerance: float = 1e-7
    most_steps: int = 10_000

    def __post_init__(self) -> None:
        """Check the numbers."""
        if not 0 < self.accuracy < 1:
            raise ValueError(
                f"naive_bayes.accuracy: got {self.accuracy}, expected above 0 and below 1"
            )
        if not (0 <= self.strength < inf and 0 < self.tolerance < inf and self.most_steps >= 1):
            raise ValueError(
                f"naive_bayes: got strength {self.strength}, tolerance {self.tolerance}, "
                f"most_steps {self.most_steps}, expected at least 0, above 0, at least 1"
            )

    def fit(self, known: Known) -> Bayes:
        """Fit propensities and accuracies, and the prior if asked to."""
        counts = known.counts
        assert counts is not None  # needs_counts
        symbols = Symbols.of(counts)
        casts_MK = known.moments.votes > 0

        pull_K = self.strength * known.prior_K

        def step(share_MXK: Floats) -> tuple[Floats, Floats]:
            learned_K = (share_MXK[0].sum(axis=0) + pull_K) / (1 + self.strength)
            table_MXK = _table(*self._rates(share_MXK, pull_K), casts_MK)
            return table_MXK, learned_K if self.learn_prior else known.prior_K

        average_M1 = known.moments.votes.sum(axis=1, keepdims=True) / counts.rows
        coverage_MK = np.repeat(average_M1, counts.classes, axis=1)
        at_first = _table(coverage_MK, np.full(casts_MK.shape, self.accuracy), casts_MK)
        top = climb(
            symbols, normalised(symbols.logs(known.prior_K, at_first)), step,
            tolerance=self.tolerance, most_steps=self.most_steps,
        )  # fmt: skip
        return model_of(self.kind, symbols, top, {"learned_prior": self.learn_prior})

    def _rates(self, share_MXK: Floats, pull_K: Floats) -> tuple[Floats, Floats]:
        """Return the propensity of each rule on each class, and the accuracy of its votes there."""
        cast_MK = share_MXK[:, 1:].sum(axis=1)
        coverage_M1 = cast_MK.sum(axis=1, keepdims=True)
        pull_MK = pull_K * coverage_M1
        propensity_MK = np.repeat(coverage_M1, len(pull_K), axis=1)
        if self.propensity == "by_class":
            mass_K = share_MXK[0].sum(axis=0)
            propensity_MK = ratio(cast_MK + pull_MK, mass_K + pull_K, propensity_MK)
        right_MK = np.einsum("mkk->mk", share_MXK[:, 1:])
        at_first_MK = np.full(cast_MK.shape, self.accuracy)
        right_MK = ratio(right_MK + pull_MK * at_first_MK, cast_MK + pull_MK, at_first_MK)
        return propensity_MK, right_MK


def _table(propensity_MK: Floats, accuracy_MK: Floats, casts_MK: NDArray[np.bool_]) -> Floats:
    """Return P(X | class), given which votes each rule ever casts."""
    others_MK = casts_MK.sum(axis=1, keepdims=True) - casts_MK
    right_MK = np.where(others_MK > 0, accuracy_MK, 1.0) * casts_MK
    wrong_MK = (1 - right_MK) / np.maximum(others_MK, 1)
    vote_MKK = np.where(np.eye(casts_MK.shape[1], dtype=bool), right_MK[:, None], wrong_MK[:, None])
    vote_MKK = vote_MKK * casts_MK[:, :, None] * propensity_MK[:, None]
    return np.concatenate([1 - propensity_MK[:, None], vote_MKK], axis=1)
