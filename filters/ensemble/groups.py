"""Rules that vote alike: copies, opposites, and one column cut at several places.

A label model that takes them for independent believes the largest such group whatever it says:
five copies of a rule that is right on 0.60 of the rows outvote four that are right on 0.85. So only
one of a group takes part in a fit, and each gets a share of its evidence.

How alike two rules are is read from pairs of votes. With drop < abstain < keep as numbers,

    likeness = Cov(s, t) / (the largest covariance that rules with these vote shares can have),

Loevinger's H (1948). It is 1 where the votes never contradict an order of the rows: for copies,
and for any two cuts of one column, however far apart and however little they agree. Of opposites
it is 1 with the smallest covariance. The same of the rows where both vote finds copies that abstain
on different rows.

Two rules right on a share a of balanced rows, and independent given the class, reach
(2 a - 1)^2 by their accuracy alone: 0.49 at 0.85, 0.74 at 0.93. So below `ALIKE` there is nothing
to explain, and what is above is a group unless the accuracies of both, as other rules witness
them, explain it: by any two k, l, Corr(i, j) = Corr(i, k) Corr(j, l) / Corr(k, l) where nothing but
the class connects them. What cannot be told:

- Noisy copies, that differ on more than 7 % of balanced rows, look like rules that know something.
- Copies of a rule that is right on 0.95 and more look like several such rules; believing one of
  those twice costs little.
- Without two witnesses, which are not alike themselves, only rules that as good as never contradict
  each other are taken for a group.

Letters: M rules, K classes.
"""

import numpy as np
from numpy.typing import NDArray

from filters.ensemble.moments import Moments

BINARY = 2  # classes whose votes are numbers
ALIKE = 0.75  # likeness from which on accuracies have to explain it
SIGMAS = 3.0  # by which it is at least SURE
SURE = 0.5
EXPLAINED = 0.8  # of the correlation, from which on accuracies do
NOTHING = 1e-9  # of a covariance
NEVER = 0.98  # likeness of rules that never contradict each other, where nobody witnesses


def groups(moments: Moments) -> list[list[int]]:
    """Return all rules in groups of one and more, each led by the rule whose votes vary most.

    Two rules that both vote like a third are in one group.
    """
    correlation_MM, likeness_MM, varies_M = _over_all_rows(moments)
    near_MM = np.maximum(likeness_MM, _where_both_vote(moments)) >= ALIKE
    if moments.classes == BINARY:  # else votes are no numbers, and cannot be witnessed
        near_MM &= ~_explained(correlation_MM, likeness_MM, near_MM, moments.rows)
    group_M = _connected(near_MM)
    parts = [np.flatnonzero(group_M == g).tolist() for g in np.unique(group_M)]
    return [sorted(part, key=lambda m: (-varies_M[m], m)) for part in parts]


def within_class(
    moments: Moments, difference_M: NDArray[np.float64], variance: float
) -> NDArray[np.float64]:
    """Return the correlations of votes as numbers that are left among rows of one class.

    Args:
        moments: Pairs of votes, of two classes.
        difference_M: Of the mean vote between good and bad rows.
        variance: Of the class, prior (1 - prior).

    Returns:
        Absolute values at most 1, [M, M]; 1 on the diagonal.
    """
    covariance_MM, _ = _signed(moments)
    within_MM = covariance_MM - variance * np.outer(difference_M, difference_M)
    floor_M = 1e-6 * np.diag(covariance_MM) + NOTHING
    scale_M = 1 / np.sqrt(np.maximum(np.diag(within_MM), floor_M))
    correlation_MM = np.clip(np.abs(within_MM * np.outer(scale_M, scale_M)), 0.0, 1.0)
    np.fill_diagonal(correlation_MM, 1.0)
    return correlation_MM


def _signed(moments: Moments) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return covariances of votes as numbers, and the shares of votes above drop, above abstain."""
    share_M2 = moments.votes / moments.rows
    mean_M = share_M2[:, 1] - share_M2[:, 0]
    sign_2 = np.array([-1.0, 1.0])
    product_MM = np.einsum("iajb,a,b->ij", moments.pair_MKMK / moments.rows, sign_2, sign_2)
    above_M2 = np.stack([1 - share_M2[:, 0], share_M2[:, 1]], axis=1)
    return product_MM - np.outer(mean_M, mean_M), above_M2


def _over_all_rows(
    moments: Moments,
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return correlations, likenesses and variances of votes as numbers; K = 2."""
    if moments.classes > BINARY:
        nothing_MM = np.zeros((moments.rules, moments.rules))
        return nothing_MM, nothing_MM, moments.votes.sum(axis=1).astype(np.float64)
    covariance_MM, above_M2 = _signed(moments)
    varies_M = np.maximum(np.diag(covariance_MM), 0.0)
    product_MM = np.sqrt(np.outer(varies_M, varies_M))
    a, b = above_M2[:, None, :, None], above_M2[None, :, None, :]
    most_MM = (np.minimum(a, b) - a * b).sum(axis=(2, 3))  # nested indicators
    least_MM = (np.maximum(a + b - 1, 0.0) - a * b).sum(axis=(2, 3))  # as disjoint as can be
    correlation_MM = _ratio(covariance_MM, product_MM)
    sigma_MM = product_MM / np.sqrt(moments.rows)
    return correlation_MM, _likeness(covariance_MM, most_MM, least_MM, sigma_MM), varies_M


def _where_both_vote(moments: Moments) -> NDArray[np.float64]:
    """Return likenesses on the rows where both rules vote; chance-corrected agreement if K > 2."""
    pair = moments.pair_MKMK.astype(np.float64)
    both_MM = pair.sum(axis=(1, 3))
    first_MMK = _ratio(pair.sum(axis=3).transpose(0, 2, 1), both_MM[:, :, None])
    second_MMK = first_MMK.transpose(1, 0, 2)
    sigma_MM = _ratio(np.ones_like(both_MM), np.sqrt(both_MM))
    if moments.classes > BINARY:
        chance_MM = (first_MMK * second_MMK).sum(axis=2)
        beyond_MM = _ratio(np.einsum("iaja->ij", pair), both_MM) - chance_MM
        sigma_MM *= np.sqrt(chance_MM * (1 - chance_MM))
        return _likeness(beyond_MM, 1 - chance_MM, np.zeros_like(both_MM), sigma_MM)
    a, b = first_MMK[:, :, 1], second_MMK[:, :, 1]
    covariance_MM = _ratio(pair[:, 1, :, 1], both_MM) - a * b
    sigma_MM *= np.sqrt(np.maximum(a * (1 - a) * b * (1 - b), 0.0))
    least_MM = np.maximum(a + b - 1, 0.0) - a * b
    return _likeness(covariance_MM, np.minimum(a, b) - a * b, least_MM, sigma_MM)


def _likeness(
    covariance_MM: NDArray[np.float64],
    most_MM: NDArray[np.float64],
    least_MM: NDArray[np.float64],
    sigma_MM: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Return covariances over the largest, or the least, that can be; 0 where chance may be all."""
    bound_MM = np.where(covariance_MM > 0, most_MM, -least_MM)
    bound_MM = np.where(bound_MM > NOTHING, bound_MM, 0.0)  # votes that do not vary
    sure_MM = _ratio(np.abs(covariance_MM) - SIGMAS * sigma_MM, bound_MM) >= SURE
    likeness_MM = np.where(sure_MM, _ratio(np.abs(covariance_MM), bound_MM), 0.0)
    np.fill_diagonal(likeness_MM, 0.0)
    return likeness_MM


def _explained(
    correlation_MM: NDArray[np.float64],
    likeness_MM: NDArray[np.float64],
    near_MM: NDArray[np.bool_],
    rows: int,
) -> NDArray[np.bool_]:
    """Tell the pairs whose accuracies, as rules of other groups witness them, are explanation."""
    group_M = _connected(near_MM)
    tell_MM = (np.abs(correlation_MM) > SIGMAS / np.sqrt(rows)) & (group_M[:, None] != group_M)
    explained_MM = np.zeros_like(near_MM)
    for i, j in zip(*np.nonzero(np.triu(near_MM)), strict=True):
        others_M = group_M != group_M[i]
        weight_MM = np.where(tell_MM & np.outer(others_M, others_M), correlation_MM, 0.0)
        total = float((weight_MM**2).sum())
        if total > 0:
            by_class = float(correlation_MM[i] @ weight_MM @ correlation_MM[j]) / total
            explains = by_class * np.sign(correlation_MM[i, j]) >= EXPLAINED * abs(
                correlation_MM[i, j]
            )
        else:
            explains = likeness_MM[i, j] < NEVER
        explained_MM[i, j] = explained_MM[j, i] = explains
    return explained_MM


def _connected(near_MM: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return for each rule the first one that it is connected with."""
    first_M = np.arange(len(near_MM))
    for i, j in zip(*np.nonzero(near_MM), strict=True):
        low, high = sorted((first_M[i], first_M[j]))
        first_M[first_M == high] = low
    return first_M


def _ratio(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    """Divide, 0 where the divisor is."""
    return np.divide(a, b, out=np.zeros(np.broadcast_shapes(a.shape, b.shape)), where=b > 0)
