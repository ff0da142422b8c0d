"""Fit a label model on counts of vote patterns: majority, or triplets of moments.

Letters: P distinct patterns, M rules; x is a vote (drop or keep).
"""

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from filters.ensemble.model import LabelModel
from filters.ensemble.patterns import PatternCounts

MOST_ODDS = 50.0  # no single vote is trusted beyond 50 : 1
LEAST_RULES = 3  # a triplet


def fit_label_model(
    counts: PatternCounts, *, model: Literal["majority", "triplet"], prior: float, seed: int = 0
) -> LabelModel:
    """Fit how much each rule's votes say.

    Args:
        counts: Distinct vote patterns and how often they occur.
        model: `majority` trusts every rule alike; `triplet` learns from agreement.
        prior: P(good), in (0, 1); what a row without votes gets.
        seed: Unused by these closed forms; part of the interface of models that need one.

    Raises:
        ValueError: The prior is no probability, there are no rows, or too few rules vote.
    """
    del seed
    if not 0 < prior < 1:
        raise ValueError(f"ensemble: got prior {prior}, expected a number between 0 and 1")
    if counts.rows == 0:
        raise ValueError("ensemble: got no rows to vote on, expected at least one usable pair")
    if model == "majority":
        return _majority(counts, prior=prior)
    return _triplet(counts, prior=prior)


def _majority(counts: PatternCounts, *, prior: float) -> LabelModel:
    """Every vote weighs the same: one unit of log-odds, so p(keep) grows with keeps minus drops."""
    rules = counts.votes_PM.shape[1]
    return LabelModel(
        kind="majority",
        prior=prior,
        evidence=((-1.0, 1.0),) * rules,
        accuracy=(float("nan"),) * rules,
    )


def _triplet(counts: PatternCounts, *, prior: float) -> LabelModel:
    """Learn each rule's conditional vote shares from agreement alone (FlyingSquid's idea).

    With votes l in {-1, 0, 1} that are independent given the label Y,
    Cov(l_i, l_j) = v_i v_j with v_i = sqrt(prior (1 - prior)) (E[l_i | good] - E[l_i | bad]), so
    three rules determine each other: v_i^2 = C_ij C_ik / C_jk (Fu et al., arXiv:2002.11955, eq. 3).

    Where we differ: moments are centred, so rules that abstain or vote one way only are modelled as
    they are; all triplets of a rule are combined by least squares, which weighs a triplet by its
    evidence instead of dividing by a C_jk near zero; signs come from the leading eigenvector and
    are not assumed positive. Each vote's share among good and bad rows then follows from its
    covariance with the other rules.

    Raises:
        ValueError: Fewer than three rules vote at all.
    """
    share_P = counts.count_P / counts.rows
    vote_PM = counts.votes_PM
    signed_PM = np.where(vote_PM == 1, 1.0, np.where(vote_PM == 0, -1.0, 0.0))
    deviation_M = _deviation(signed_PM, share_P)
    active_M = deviation_M > 0
    if active_M.sum() < LEAST_RULES:
        raise ValueError(
            f"ensemble: got {int(active_M.sum())} rules whose votes vary, expected at least "
            f'{LEAST_RULES} for the triplet model; add rules or set model = "majority"'
        )
    scaled_PM = _standardise(signed_PM, share_P, deviation_M)
    strength_M = _triplet_strength(scaled_PM.T @ (share_P[:, None] * scaled_PM))
    evidence, accuracy = [], []
    for i in range(vote_PM.shape[1]):
        others = np.arange(vote_PM.shape[1]) != i
        shares = [
            _conditional_shares(
                vote_PM[:, i] == x, scaled_PM[:, others], strength_M[others], share_P, prior
            )
            for x in (0, 1)
        ]
        evidence.append(tuple(float(np.log(good / bad)) for good, bad in shares))
        (drop_good, drop_bad), (keep_good, keep_bad) = shares
        right = prior * keep_good + (1 - prior) * drop_bad
        wrong = prior * drop_good + (1 - prior) * keep_bad
        accuracy.append(float(right / (right + wrong)) if active_M[i] else float("nan"))
    return LabelModel(
        kind="triplet", prior=prior, evidence=tuple(evidence), accuracy=tuple(accuracy)
    )


def _deviation(signed_PM: NDArray[np.float64], share_P: NDArray[np.float64]) -> NDArray[np.float64]:
    mean_M = share_P @ signed_PM
    return np.sqrt(np.maximum(share_P @ signed_PM**2 - mean_M**2, 0.0))


def _standardise(
    signed_PM: NDArray[np.float64], share_P: NDArray[np.float64], deviation_M: NDArray[np.float64]
) -> NDArray[np.float64]:
    centred_PM = signed_PM - share_P @ signed_PM
    return np.where(deviation_M > 0, centred_PM / np.where(deviation_M > 0, deviation_M, 1.0), 0.0)


def _triplet_strength(correlation_MM: NDArray[np.float64]) -> NDArray[np.float64]:
    """Factor the off-diagonal correlations as v v^T; v_i^2 by least squares over its triplets."""
    shared = correlation_MM.copy()
    np.fill_diagonal(shared, 0.0)
    square_M = np.zeros(len(shared))
    for i, row in enumerate(shared):
        rest = np.delete(np.delete(shared, i, 0), i, 1)
        with_i = np.delete(row, i)
        weight = (rest**2).sum()
        square_M[i] = (with_i @ rest @ with_i) / weight if weight > 0 else 0.0
    values, vectors = np.linalg.eigh(shared)
    sign_M = np.where(vectors[:, np.argmax(values)] < 0, -1.0, 1.0)
    strength_M = sign_M * np.sqrt(np.clip(square_M, 0.0, 1.0))
    return -strength_M if strength_M.sum() < 0 else strength_M  # most rules beat chance


def _conditional_shares(
    voted_P: NDArray[np.bool_],
    others_PM: NDArray[np.float64],
    strength_M: NDArray[np.float64],
    share_P: NDArray[np.float64],
    prior: float,
) -> tuple[float, float]:
    """Return P(vote | good) and P(vote | bad) of one vote of one rule.

    From Cov(1[vote], l_j) = sqrt(prior (1 - prior)) (P(vote | good) - P(vote | bad)) v_j, solved
    for the difference by least squares over the other rules j.
    """
    share = float(share_P @ voted_P)
    norm = float(strength_M @ strength_M)
    if share == 0.0 or norm == 0.0:
        return 1.0, 1.0  # never cast, or nothing to compare with: no evidence
    covariance_M = share_P @ ((voted_P - share)[:, None] * others_PM)
    difference = covariance_M @ strength_M / (norm * np.sqrt(prior * (1 - prior)))
    good = share + (1 - prior) * difference
    bad = share - prior * difference
    largest = max(good, bad)
    return max(good, largest / MOST_ODDS), max(bad, largest / MOST_ODDS)
