"""Two kinds of rows, and what each rule does with rows of each kind: maximum likelihood.

Letters: P distinct patterns, M rules, K classes; X is a vote, X = 0 abstain and X = 1 + k class k.
"""

from dataclasses import dataclass
from math import inf
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from filters.ensemble.methods.base import Known, Method
from filters.ensemble.methods.latent import Fitted, Latent, expected, maximise
from filters.ensemble.model import Bayes
from filters.ensemble.patterns import PatternCounts

TOGETHER = 0.1  # a correlation of abstains that classes do not explain
SIGMAS = 5.0  # by which it is not chance


@dataclass(frozen=True, kw_only=True, slots=True)
class LatentClass(Method):
    """Learn each rule's conditional vote shares as those that make the votes most likely (EM).

    Dawid and Skene's model (1979) of rules that are independent given the class, where every rule
    has shares of its own in each class. So rules that vote one way only, that know one class better
    than the other, or that are worse than chance are modelled as they are. Where we differ:

    - Each rule comes with `pseudo_votes` that are right with `precision`, so one that hardly ever
      votes stays near that instead of collapsing onto noise; one that votes often forgets them.
      They also decide which class is which: most rules beat chance.
    - An abstain is evidence only where that is safe. A rule that votes one way gives its other
      answer by abstaining. One that votes both ways may abstain because a column was missing, and
      rules of one extractor then abstain together, which a model of independent rules takes for a
      class of its own (half the accuracy with 10 % of rows missing). So it is fitted without those
      first, and again with the abstains of rules that no other rule's abstains go with, classes
      apart.

    Attributes:
        precision: Of the votes that a rule comes with.
        pseudo_votes: How many.
        most_steps: Passes over the patterns.
    """

    needs_counts: ClassVar[bool] = True
    least_rules: ClassVar[int] = 3
    most_classes: ClassVar[int] = 0
    kind: Literal["latent_class"] = "latent_class"
    precision: float = 0.7
    pseudo_votes: float = 20.0
    most_steps: int = 3000

    def __post_init__(self) -> None:
        """Check the numbers."""
        if not (0 < self.precision < 1 and 0 <= self.pseudo_votes < inf and self.most_steps >= 1):
            raise ValueError(
                f"latent_class: got precision {self.precision}, pseudo_votes {self.pseudo_votes}, "
                f"most_steps {self.most_steps}, expected above 0 and below 1, at least 0, at least "
                "1"
            )

    def fit(self, known: Known) -> Bayes:
        """Fit it on distinct patterns, with the prior that is known."""
        assert known.counts is not None
        fitted, telling_M = self.climb(known.counts, known.prior_K, fixed=True)
        share_MXK = fitted.latent.share_MXK
        votes_MX = _votes(known.counts)
        log_MXK = np.log(share_MXK)
        log_MXK[votes_MX == 0] = 0.0  # never cast
        right_M = np.einsum("mkk,k->m", share_MXK[:, 1:], known.prior_K)
        accuracy_M = right_M / (share_MXK[:, 1:] @ known.prior_K).sum(axis=1)
        accuracy_M[votes_MX[:, 1:].sum(axis=1) == 0] = np.nan
        return Bayes(
            kind=self.kind,
            prior=tuple(known.prior_K.tolist()),
            accuracy=tuple(accuracy_M.tolist()),
            share=(1.0,) * len(accuracy_M),
            told={
                "loss": fitted.loss,
                "steps": fitted.steps,
                "converged": fitted.converged,
                "abstains_tell": np.flatnonzero(telling_M & (votes_MX[:, 0] > 0)).tolist(),
            },
            evidence=tuple(tuple(map(tuple, table)) for table in log_MXK.tolist()),
        )

    def climb(
        self, counts: PatternCounts, prior_K: NDArray[np.float64], *, fixed: bool
    ) -> tuple[Fitted, NDArray[np.bool_]]:
        """Fit without doubtful abstains, then with those that are safe.

        Returns:
            The fit, and of which rules abstains are evidence, bool [M].
        """
        votes_MX = _votes(counts)
        one_way_M = (votes_MX[:, 1:] > 0).sum(axis=1) < counts.classes
        telling_M = one_way_M | (votes_MX[:, 0] == 0)
        here = start = Latent(prior_K, expected(votes_MX, prior_K, self.precision))
        pseudo_MXK = self._pseudo(counts, start)
        for _ in range(counts.rules + 1):
            fitted = self._maximise(counts, here, pseudo_MXK, telling_M, fixed)
            safe_M = telling_M | ~_abstain_together(counts, fitted.posterior_PK, ~telling_M)
            if (safe_M == telling_M).all():
                break
            here = Latent(fitted.latent.prior_K, _shares(counts, fitted.posterior_PK))
            telling_M = safe_M
        return fitted, telling_M

    def held(
        self,
        counts: PatternCounts,
        fit: tuple[Fitted, NDArray[np.bool_]],
        prior_K: NDArray[np.float64],
    ) -> Fitted:
        """Fit again with another prior, all else as it was, so that losses can be compared."""
        fitted, telling_M = fit
        here_K = fitted.latent.prior_K
        around = Latent(here_K, expected(_votes(counts), here_K, self.precision))
        start = Latent(prior_K, fitted.latent.share_MXK)
        return self._maximise(counts, start, self._pseudo(counts, around), telling_M, fixed=True)

    def _pseudo(self, counts: PatternCounts, around: Latent) -> NDArray[np.float64]:
        """Return the votes that rules come with; `pseudo_votes` of each, abstains beside."""
        cast_M11 = np.maximum(_votes(counts)[:, 1:].sum(axis=1), 1.0)[:, None, None]
        return around.share_MXK * (self.pseudo_votes * counts.rows / cast_M11)

    def _maximise(
        self,
        counts: PatternCounts,
        start: Latent,
        pseudo_MXK: NDArray[np.float64],
        telling_M: NDArray[np.bool_],
        fixed: bool,
    ) -> Fitted:
        return maximise(
            counts,
            start,
            pseudo_MXK=pseudo_MXK,
            telling_M=telling_M,
            fixed=fixed,
            most_steps=self.most_steps,
        )


def _votes(counts: PatternCounts) -> NDArray[np.float64]:
    """Count the votes of each rule, [M, X]."""
    symbols = counts.classes + 1
    cast = [np.bincount(vote_P + 1, counts.count_P, symbols) for vote_P in counts.votes_PM.T]
    return np.array(cast, np.float64)


def _shares(counts: PatternCounts, posterior_PK: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return vote shares in rows of each class, [M, X, K]."""
    rows_PK = posterior_PK * counts.count_P[:, None]
    cast = [
        [np.bincount(vote_P + 1, rows_P, minlength=counts.classes + 1) for rows_P in rows_PK.T]
        for vote_P in counts.votes_PM.T
    ]
    return np.array(cast).transpose(0, 2, 1) / rows_PK.sum(axis=0)


def _abstain_together(
    counts: PatternCounts, posterior_PK: NDArray[np.float64], doubtful_M: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    """Tell the doubtful rules whose abstains go with another's by more than classes explain."""
    weight_P1 = counts.count_P[:, None] / counts.rows
    abstains_PM = (counts.votes_PM < 0).astype(np.float64)
    abstains_PM -= (weight_P1 * abstains_PM).sum(axis=0)
    prior_K = (weight_P1 * posterior_PK).sum(axis=0)
    apart_PK = posterior_PK - prior_K
    # Posteriors vary less than classes do: a regression on them gives the difference by class.
    by_class_KM = np.linalg.pinv((weight_P1 * apart_PK).T @ apart_PK) @ (
        (weight_P1 * apart_PK).T @ abstains_PM
    )
    class_KK = np.diag(prior_K) - np.outer(prior_K, prior_K)
    within_MM = (weight_P1 * abstains_PM).T @ abstains_PM - by_class_KM.T @ class_KK @ by_class_KM
    variance_M = (weight_P1 * abstains_PM**2).sum(axis=0)
    deviation_M = np.sqrt(variance_M)
    inverse_M = np.where(deviation_M > 0, 1 / np.where(deviation_M > 0, deviation_M, 1.0), 0.0)
    correlation_MM = within_MM * np.outer(inverse_M, inverse_M)
    np.fill_diagonal(correlation_MM, 0.0)
    correlation_MM[:, ~doubtful_M] = 0.0
    least = max(TOGETHER, SIGMAS / np.sqrt(counts.rows))
    return doubtful_M & (np.abs(correlation_MM).max(axis=1) > least)
