"""How many of the pairs are good: what the user says, what labels say, or what votes alone tell.

A wrong prior is worse than voting: with one pair in ten good and a uniform prior, Snorkel and
FlyingSquid are right on 0.63 to 0.70 of the pairs where always saying "drop" is right on 0.90. So
no value is the default. Letters: M rules, K classes.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from filters.ensemble.labelled import Labelled
from filters.ensemble.methods.latent import BOUND
from filters.ensemble.methods.latent_class import LatentClass
from filters.ensemble.patterns import PatternCounts

Prior = float | Sequence[float] | str
ESTIMATED, LABELS = "estimated", "labels"
LEAST_RULES = 3
WITHIN = 0.15  # of an estimate, another prior has to explain the votes less well
LEAST_GAP = 1.92  # nats; half the 95 % point of chi-square with one degree of freedom
ROUNDS = 5
SETTLED = 1e-3
SAY = (
    "say which share of the pairs is good (the share that you want to keep is a natural one) as "
    'ensemble.prior = 0.3, or give labels and ensemble.prior = "labels"'
)


@dataclass(frozen=True, slots=True)
class Believed:
    """Class probabilities, and where they are from.

    Attributes:
        prior_K: Class probabilities.
        origin: given, labels or estimated.
        at_bound: An estimate that ended on a bound, 0.01 or 0.99: the votes want less or more.
        gap: Nats by which the votes are likelier than with the better of the priors that are
            0.15 away; 0 where nothing was estimated.
    """

    prior_K: NDArray[np.float64]
    origin: str
    at_bound: bool = False
    gap: float = 0.0

    def told(self) -> dict[str, Any]:
        """Say it in JSON's types."""
        return {**asdict(self), "prior_K": self.prior_K.tolist()}


def believe(
    prior: Prior, *, counts: PatternCounts | None, labelled: Labelled | None, classes: int
) -> Believed:
    """Return class probabilities.

    Args:
        prior: P(keep), K class probabilities, "estimated" or "labels".
        counts: Patterns of rules that are not copies of each other; None if too many to hold.
        labelled: Rows with labels, chosen at random; "labels" is the smoothed share
            (count + 1) / (n + K).
        classes: K.

    Raises:
        ValueError: It is no probability, there are no labels, or the votes do not tell it.
    """
    if isinstance(prior, str):
        if prior == ESTIMATED:
            return _estimated(counts)
        if prior == LABELS:
            return _of_labels(labelled)
        raise ValueError(
            f'ensemble: got prior {prior!r}, expected a number, "estimated" or "labels"'
        )
    given = [1 - prior, prior] if isinstance(prior, float | int) else list(prior)
    prior_K = np.array(given, np.float64)
    if len(prior_K) != classes or not (prior_K > 0).all() or not np.isclose(prior_K.sum(), 1):
        raise ValueError(
            f"ensemble: got prior {prior}, expected a number between 0 and 1, or of each of "
            f"{classes} classes one, that add up to 1"
        )
    return Believed(prior_K, "given")


def _of_labels(labelled: Labelled | None) -> Believed:
    if labelled is None:
        raise ValueError(
            'ensemble: got no labels, expected some for prior = "labels"; make them with '
            '`thresher label RUN`, or set ensemble.prior to a number or "estimated"'
        )
    if not labelled.of_class.any():
        raise ValueError(
            "ensemble: got no label of a pair that has votes and was chosen at random, expected "
            'some for prior = "labels"; label more pairs, or set ensemble.prior to a number or '
            '"estimated"'
        )
    of_K = labelled.of_class + 1
    return Believed(of_K / of_K.sum(), LABELS)


def _estimated(counts: PatternCounts | None) -> Believed:
    """Estimate it with the vote shares, by maximum likelihood of whole patterns.

    Pairs of votes cannot tell a prior, triples can: it is in the skewness of agreement. Likelihood
    uses all orders. The pseudo-votes of the method are laid around the estimate anew, so that they
    do not pull it to the middle.
    """
    if counts is None:
        raise ValueError(
            "ensemble: got too many distinct vote patterns to hold, expected few enough to "
            f"estimate the prior, which pairs of votes do not tell; {SAY}, or take fewer rules"
        )
    voting = int((counts.votes_PM >= 0).any(axis=0).sum())
    if voting < LEAST_RULES:
        raise ValueError(
            f"ensemble: got {voting} rules that vote and are no copies, expected at least "
            f"{LEAST_RULES} to estimate the prior; {SAY}"
        )
    method = LatentClass()
    prior_K = np.full(counts.classes, 1 / counts.classes)
    for _ in range(ROUNDS):
        fitted, telling_M = method.climb(counts, prior_K, fixed=False)
        moved = np.abs(fitted.latent.prior_K - prior_K).max()
        prior_K = fitted.latent.prior_K
        if moved < SETTLED:
            break
    fit = (fitted, telling_M)
    losses = [method.held(counts, fit, other_K).loss for other_K in _others(prior_K)]
    gap = (min(losses) - method.held(counts, fit, prior_K).loss) * counts.rows
    if gap < LEAST_GAP:
        raise ValueError(
            f"ensemble: got votes that fit a prior of {prior_K[-1]:.2f} and one {WITHIN} away "
            f"alike ({gap:.1f} nats apart, expected at least {LEAST_GAP}), so they do not "
            f"tell it; {SAY}"
        )
    return Believed(prior_K, ESTIMATED, _at_bound(prior_K), gap)


def _others(prior_K: NDArray[np.float64]) -> list[NDArray[np.float64]]:
    """Return priors that are `WITHIN` nearer to an edge, where it is not nearer than that."""
    ways_KK = np.eye(len(prior_K)) - prior_K
    far_K = np.abs(ways_KK).max(axis=1)
    return [
        prior_K + way_K * (WITHIN / far)
        for way_K, far in zip(ways_KK, far_K, strict=True)
        if far > WITHIN + BOUND[0]
    ]


def _at_bound(prior_K: NDArray[np.float64]) -> bool:
    low, high = BOUND
    return bool((prior_K < low * 1.01).any() or (prior_K > 1 - (1 - high) * 1.01).any())
