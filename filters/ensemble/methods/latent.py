"""Latent classes: the most probable vote shares of each rule given each class, by EM on patterns.

Letters: P distinct patterns, M rules, K classes; X is a vote, X = 0 abstain and X = 1 + k class k.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from filters.ensemble.patterns import PatternCounts

LEAST_SHARE = 1e-4  # no vote is impossible
BOUND = (0.01, 0.99)  # of an estimated class probability
TOLERANCE = 1e-6  # of any share, between two steps


@dataclass(frozen=True, slots=True)
class Latent:
    """What rules do with rows of each class.

    Attributes:
        prior_K: Class probabilities.
        share_MXK: P(vote | class). Its row of abstains is 1 where an abstain says nothing.
    """

    prior_K: NDArray[np.float64]
    share_MXK: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Fitted:
    """Where EM has ended.

    Attributes:
        latent: Its parameters.
        posterior_PK: P(class | pattern).
        loss: Negative log-likelihood per row, nats.
        steps: Passes over the patterns.
        converged: No share moved by more than `TOLERANCE` in the last one.
    """

    latent: Latent
    posterior_PK: NDArray[np.float64]
    loss: float
    steps: int
    converged: bool


def expected(
    votes_MX: NDArray[np.float64], prior_K: NDArray[np.float64], precision: float
) -> NDArray[np.float64]:
    """Return the vote shares of rules for whose class a vote speaks, [M, X, K].

    P(vote k | class k) : P(vote k | another) = precision : (1 - precision) / (K - 1), and every
    rule casts each vote as often as it does.
    """
    share_MX = votes_MX / votes_MX.sum(axis=1, keepdims=True)
    classes = len(prior_K)
    odds_KK = np.full((classes, classes), (1 - precision) / (classes - 1))
    np.fill_diagonal(odds_KK, precision)
    cast_MKK = share_MX[:, 1:, None] * (odds_KK / (odds_KK @ prior_K)[:, None])
    cast_MKK /= np.maximum(cast_MKK.sum(axis=1, keepdims=True) / (1 - LEAST_SHARE), 1.0)
    abstain_M1K = 1 - cast_MKK.sum(axis=1, keepdims=True)
    return _shares(np.concatenate([abstain_M1K, cast_MKK], axis=1))


def maximise(
    counts: PatternCounts,
    start: Latent,
    *,
    pseudo_MXK: NDArray[np.float64],
    telling_M: NDArray[np.bool_],
    fixed: bool,
    most_steps: int,
) -> Fitted:
    """Climb to the most probable parameters.

    EM, two steps of it extrapolated at a time (SQUAREM, Varadhan and Roland 2008), which is undone
    where it does not raise the objective. Sums run over patterns in their order: the result does
    not depend on how rows were sharded.

    Args:
        counts: Patterns, of any number of classes.
        start: Where to start; which class is which is decided here.
        pseudo_MXK: Votes added to those counted.
        telling_M: Whether a rule's abstains are evidence; else they are taken for missing.
        fixed: Keep the prior as it is.
        most_steps: Passes over the patterns, at most.
    """
    climb = _Climb(counts, pseudo_MXK, telling_M, fixed)
    here, steps, converged = climb.silent(start), 1, False
    once, value = climb.step(here)
    while steps < most_steps and not converged:
        twice, _ = climb.step(once)
        converged = _distance(once, twice) < TOLERANCE
        leap = climb.leap(here, once, twice)
        beyond, reached = climb.step(leap)
        steps += 2
        if reached >= value and not converged:
            here, once, value = leap, beyond, reached
        else:
            here = twice
            once, value = climb.step(twice)
            steps += 1
    posterior_PK, log_likelihood = climb.posterior(here)
    return Fitted(here, posterior_PK, -log_likelihood / counts.rows, steps, converged)


@dataclass(frozen=True, slots=True)
class _Climb:
    """One EM step, and what it needs."""

    counts: PatternCounts
    pseudo_MXK: NDArray[np.float64]
    telling_M: NDArray[np.bool_]
    fixed: bool

    def posterior(self, here: Latent) -> tuple[NDArray[np.float64], float]:
        """Return P(class | pattern), and the log-likelihood of all rows."""
        log_MXK = np.log(here.share_MXK)
        log_PK = np.tile(np.log(here.prior_K), (len(self.counts.count_P), 1))
        for m, vote_P in enumerate(self.counts.votes_PM.T):
            log_PK += log_MXK[m][vote_P + 1]
        most_P1 = log_PK.max(axis=1, keepdims=True)
        odds_PK = np.exp(log_PK - most_P1)
        sum_P1 = odds_PK.sum(axis=1, keepdims=True)
        log_likelihood = float((self.counts.count_P * (most_P1 + np.log(sum_P1))[:, 0]).sum())
        return odds_PK / sum_P1, log_likelihood

    def step(self, here: Latent) -> tuple[Latent, float]:
        """Return the next parameters, and the objective at those given."""
        posterior_PK, log_likelihood = self.posterior(here)
        rows_PK = posterior_PK * self.counts.count_P[:, None]
        cast_MXK = self.pseudo_MXK.copy()
        for m, vote_P in enumerate(self.counts.votes_PM.T):
            for k in range(self.counts.classes):
                cast_MXK[m, :, k] += np.bincount(
                    vote_P + 1, rows_PK[:, k], minlength=self.counts.classes + 1
                )
        prior_K = here.prior_K if self.fixed else _prior(rows_PK.sum(axis=0))
        value = log_likelihood + float((self.pseudo_MXK * np.log(here.share_MXK)).sum())
        return self.silent(Latent(prior_K, cast_MXK)), value

    def silent(self, latent: Latent) -> Latent:
        """Make shares add up, over votes alone where abstains say nothing."""
        share_MXK = latent.share_MXK.copy()
        share_MXK[~self.telling_M, 0] = 0.0
        share_MXK = _shares(share_MXK)
        share_MXK[~self.telling_M, 0] = 1.0
        return replace(latent, share_MXK=share_MXK)

    def leap(self, here: Latent, once: Latent, twice: Latent) -> Latent:
        """Extrapolate two steps."""
        first = _flat(once) - _flat(here)
        bend = _flat(twice) - _flat(once) - first
        length = max(1.0, float(np.sqrt((first @ first) / max(bend @ bend, 1e-300))))
        flat = _flat(here) + 2 * length * first + length**2 * bend
        classes = len(here.prior_K)
        prior_K = here.prior_K if self.fixed else _prior(np.maximum(flat[:classes], 0.0))
        share_MXK = np.maximum(flat[classes:], 0.0).reshape(here.share_MXK.shape)
        return self.silent(Latent(prior_K, share_MXK))


def _prior(rows_K: NDArray[np.float64]) -> NDArray[np.float64]:
    prior_K = np.clip(rows_K / rows_K.sum(), *BOUND)
    return prior_K / prior_K.sum()


def _shares(cast_MXK: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return shares of votes that add up to 1 in each class, none of them zero."""
    total_M1K = cast_MXK.sum(axis=1, keepdims=True)
    share_MXK = np.maximum(cast_MXK / np.where(total_M1K > 0, total_M1K, 1.0), LEAST_SHARE)
    return share_MXK / share_MXK.sum(axis=1, keepdims=True)


def _flat(latent: Latent) -> NDArray[np.float64]:
    return np.concatenate([latent.prior_K, latent.share_MXK.ravel()])


def _distance(a: Latent, b: Latent) -> float:
    return float(np.abs(_flat(a) - _flat(b)).max())
