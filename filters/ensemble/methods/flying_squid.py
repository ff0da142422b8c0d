"""FlyingSquid to the letter: one joint table of vote and label for each rule.

Letters: M rules, X votes (0 abstain, 1 drop, 2 keep), K classes (0 bad, 1 good).
"""

from collections.abc import Callable
from itertools import combinations
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from filters.ensemble.moments import Moments

LEAST = np.finfo(np.float64).tiny  # a probability of 0 is this, so that its log is a number


def joint_tables(
    moments: Moments, prior_K: NDArray[np.float64], *, estimator: Literal["mean", "median"]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Fit them (Fu et al., arXiv:2002.11955, alg. 1, as the authors' package has it).

    With votes l and labels Y in {-1, 1} and 0 for abstain, |E[l_i Y]| is
    sqrt(|M_ij M_ik / M_jk|) with M_ij = E[l_i l_j], over all triplets of a rule, or 0 where M_jk
    is 0; every rule is taken to beat chance. Entries of a table that come out negative change
    sign, and the table is normalised.

    Where we differ: a rule that never votes is left out, its triplets are not counted as 0; and
    whoever multiplies the tables divides by P(Y)^(M - 1), as the paper says, where the package has
    M - 2, so that its prior counts twice.

    Args:
        moments: Of two classes.
        prior_K: Class probabilities, float64 [2].
        estimator: How the triplets of a rule are combined.

    Returns:
        P(vote and label), float64 [M, X, K], NaN for rules that never vote; and
        P(vote = label), an abstention not being equal, float64 [M].
    """
    votes_M2 = moments.votes
    voting = np.flatnonzero(votes_M2.sum(axis=1))
    pair = moments.pair_MKMK[voting][:, :, voting]
    product = pair[:, 0, :, 0] + pair[:, 1, :, 1] - pair[:, 0, :, 1] - pair[:, 1, :, 0]
    strength_V = _strength(product / moments.rows, np.mean if estimator == "mean" else np.median)
    table_MXK = np.full((moments.rules, 3, 2), np.nan)
    equal_M = np.full(moments.rules, np.nan)
    for i, strength in zip(voting, strength_V, strict=True):
        keep = votes_M2[i, 1] / moments.rows
        abstain = (moments.rows - votes_M2[i].sum()) / moments.rows
        equal_M[i] = (1 + strength - abstain) / 2
        table_MXK[i] = _table(equal_M[i], keep, abstain, prior_K)
    return table_MXK, equal_M


def _strength(product_VV: NDArray[np.float64], combine: Callable) -> NDArray[np.float64]:
    """Return |E[l_i Y]| of each rule from E[l_i l_j], float64 [V]."""
    strength_V = np.empty(len(product_VV))
    for i, row in enumerate(product_VV):
        others = [j for j in range(len(row)) if j != i]
        j, k = np.array(list(combinations(others, 2))).T
        both = product_VV[j, k]
        square = np.where(both != 0, row[j] * row[k] / np.where(both != 0, both, 1.0), 0.0)
        strength_V[i] = combine(np.sqrt(np.abs(square)))
    return strength_V


def _table(
    equal: float, keep: float, abstain: float, prior_K: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return P(vote and label), float64 [X, K], that has the given margins."""
    bad, good = prior_K
    keep_good = (equal - bad + abstain * bad + keep) / 2
    drop_good = good * (1 - abstain) - keep_good
    drop_bad = bad * (1 - abstain) - (keep - keep_good)
    table_XK = np.abs(
        [[abstain * bad, abstain * good], [drop_bad, drop_good], [keep - keep_good, keep_good]]
    )
    return np.maximum(table_XK / table_XK.sum(), LEAST)
