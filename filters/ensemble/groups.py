"""Rules that vote alike: copies, opposites, and one column cut at several places.

A label model that takes them for independent believes the largest such group whatever it says:
five copies of a rule that is right on 0.60 of the rows outvote four that are right on 0.85. So only
one of a group takes part in a fit, and each gets a share of its evidence.

Rules that read the same columns are a group by what they are: all their errors come from there.
Of others, the votes have to tell. How alike two rules are is read from pairs of votes. With two
classes these are numbers, drop < abstain < keep, and have a correlation; opposites have -1. With
more classes it is agreement beyond chance (Cohen's kappa) on the rows where both vote.

Rules that are independent given the class, and right on a share a of balanced rows, reach
(2 a - 1)^2 by their accuracy alone: 0.49 at 0.85, 0.74 at 0.93. So below `ALIKE` there is nothing
to explain, and what is above is a group unless the accuracies of both, as other rules witness
them, explain it: by any two k, l, Corr(i, j) = Corr(i, k) Corr(j, l) / Corr(k, l) where nothing but
the class connects them. What cannot be told:

- Copies that abstain on different rows, of two classes.
- Noisy copies, that differ on more than 7 % of balanced rows, look like rules that know something.
- Copies of a rule that is right on 0.95 and more look like several such rules; believing one of
  those twice costs little.
- Without two witnesses, which are not alike themselves, only rules that as good as never contradict
  each other are taken for a group.
- Cuts of one column that lie far apart hardly agree, so the columns have to be said. (Loevinger's
  H, covariance over the largest that the shares admit, would find them; but it is as large for any
  rare drop rule that finds part of what a broad one does, and those know different things.)

Letters: M rules, K classes.
"""

from collections.abc import Hashable, Sequence

import numpy as np
from numpy.typing import NDArray

from filters.ensemble.moments import Moments

BINARY = 2  # classes whose votes are numbers
ALIKE = 0.75  # from which on accuracies have to explain it
SIGMAS = 3.0  # standard errors by which it is at least SURE
SURE = 0.5
EXPLAINED = 0.8  # of the correlation, from which on accuracies do
NOTHING = 1e-9  # of a covariance
NEVER = 0.98  # of rules that never contradict each other, where nobody witnesses


def groups(moments: Moments, columns: Sequence[Hashable] = ()) -> list[list[int]]:
    """Return all rules in groups of one and more, each led by the rule whose votes vary most.

    Two rules that are both like a third are in one group.

    Args:
        moments: Pairs of votes.
        columns: M times what a rule reads; empty if that is not known.
    """
    rules = range(moments.rules)
    same_MM = np.zeros((len(rules), len(rules)), bool)
    if columns:
        same_MM[:] = [[columns[i] == columns[j] for j in rules] for i in rules]
    is_binary = moments.classes == BINARY
    alike_MM, error_MM = _correlation(moments) if is_binary else _agreement(moments)
    alike_MM = np.where(np.abs(alike_MM) - SIGMAS * error_MM >= SURE, alike_MM, 0.0)
    np.fill_diagonal(alike_MM, 0.0)
    near_MM = same_MM | (np.abs(alike_MM) >= ALIKE)
    if is_binary:  # else votes are no numbers, and cannot be witnessed
        near_MM = same_MM | (near_MM & ~_explained(_correlation(moments)[0], near_MM, moments.rows))
    votes_MK = moments.votes
    spread_M = votes_MK.sum(axis=1) - (votes_MK**2).sum(axis=1) / moments.rows
    group_M = _connected(near_MM)
    parts = [np.flatnonzero(group_M == g).tolist() for g in np.unique(group_M)]
    return [sorted(part, key=lambda m: (-spread_M[m], m)) for part in parts]


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
    covariance_MM = _covariance(moments)
    within_MM = covariance_MM - variance * np.outer(difference_M, difference_M)
    floor_M = 1e-6 * np.diag(covariance_MM) + NOTHING
    scale_M = 1 / np.sqrt(np.maximum(np.diag(within_MM), floor_M))
    correlation_MM = np.clip(np.abs(within_MM * np.outer(scale_M, scale_M)), 0.0, 1.0)
    np.fill_diagonal(correlation_MM, 1.0)
    return correlation_MM


def _covariance(moments: Moments) -> NDArray[np.float64]:
    """Return covariances of votes as -1 for drop, 0 for abstain, 1 for keep."""
    share_M2 = moments.votes / moments.rows
    mean_M = share_M2[:, 1] - share_M2[:, 0]
    sign_2 = np.array([-1.0, 1.0])
    product_MM = np.einsum("iajb,a,b->ij", moments.pair_MKMK / moments.rows, sign_2, sign_2)
    return product_MM - np.outer(mean_M, mean_M)


def _correlation(moments: Moments) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return correlations of votes as numbers, and their standard errors without any; K = 2."""
    covariance_MM = _covariance(moments)
    deviation_M = np.sqrt(np.maximum(np.diag(covariance_MM), 0.0))
    scale_MM = np.outer(deviation_M, deviation_M)
    correlation_MM = _ratio(covariance_MM, np.where(scale_MM > NOTHING, scale_MM, 0.0))
    return correlation_MM, np.full_like(correlation_MM, 1 / np.sqrt(moments.rows))


def _agreement(moments: Moments) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return agreement where both rules vote, beyond chance, and its standard errors; any K."""
    pair = moments.pair_MKMK.astype(np.float64)
    both_MM = pair.sum(axis=(1, 3))
    first_MMK = _ratio(pair.sum(axis=3).transpose(0, 2, 1), both_MM[:, :, None])
    chance_MM = (first_MMK * first_MMK.transpose(1, 0, 2)).sum(axis=2)
    beyond_MM = _ratio(np.einsum("iaja->ij", pair), both_MM) - chance_MM
    room_MM = np.where(1 - chance_MM > NOTHING, 1 - chance_MM, 0.0)
    error_MM = np.sqrt(_ratio(chance_MM, both_MM * room_MM))
    return _ratio(beyond_MM, room_MM), error_MM


def _explained(
    correlation_MM: NDArray[np.float64], near_MM: NDArray[np.bool_], rows: int
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
            explains = abs(correlation_MM[i, j]) < NEVER
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
