"""Agreement alone tells how much each rule knows: any three rules determine each other.

Letters: M rules; x is a vote (0 drop, 1 keep).
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from filters.ensemble.methods.base import Known, Method
from filters.ensemble.model import Bayes
from filters.ensemble.moments import Moments

MOST_ODDS = 50.0  # no single vote is trusted beyond 50 : 1
LEAST_RULES = 3  # a triplet


@dataclass(frozen=True, kw_only=True, slots=True)
class Triplet(Method):
    """Learn each rule's conditional vote shares from agreement alone (FlyingSquid's idea).

    With votes l in {-1, 0, 1} that are independent given the label Y,
    Cov(l_i, l_j) = v_i v_j with v_i = sqrt(prior (1 - prior)) (E[l_i | good] - E[l_i | bad]), so
    three rules determine each other: v_i^2 = C_ij C_ik / C_jk (Fu et al., arXiv:2002.11955, eq. 3).

    Where we differ: moments are centred, so rules that abstain or vote one way only are modelled as
    they are; all triplets of a rule are combined by least squares, which weighs a triplet by its
    evidence instead of dividing by a C_jk near zero; signs come from the leading eigenvector and
    are not assumed positive. Each vote's share among good and bad rows then follows from its
    covariance with the other rules.
    """

    least_rules: ClassVar[int] = LEAST_RULES
    kind: Literal["triplet"] = "triplet"

    def fit(self, known: Known) -> Bayes:
        """Fit it on pairs of votes.

        Raises:
            ValueError: The votes of fewer than three rules vary.
        """
        prior = float(known.prior_K[1])
        signed = _Signed.of(known.moments)
        strength_M = _strength(signed)
        evidence, accuracy = [], []
        for i in range(known.moments.rules):
            shares = [_conditional_shares(signed, strength_M, i, x, prior) for x in (0, 1)]
            logs = [tuple(float(np.log(s)) for s in (bad, good)) for good, bad in shares]
            evidence.append(((0.0, 0.0), *logs))
            (drop_good, drop_bad), (keep_good, keep_bad) = shares
            right = prior * keep_good + (1 - prior) * drop_bad
            wrong = prior * drop_good + (1 - prior) * keep_bad
            varies = signed.deviation_M[i] > 0
            accuracy.append(float(right / (right + wrong)) if varies else float("nan"))
        return Bayes(
            kind=self.kind,
            prior=tuple(known.prior_K.tolist()),
            accuracy=tuple(accuracy),
            share=(1.0,) * known.moments.rules,
            told={},
            evidence=tuple(evidence),
        )


@dataclass(frozen=True, slots=True)
class _Signed:
    """Moments of votes as -1 for drop, 0 for abstain, 1 for keep.

    Attributes:
        share_M2: Of the rows, that vote drop and keep.
        mean_M: Of the votes.
        deviation_M: Of the votes; 0 for a rule whose votes do not vary.
        joint_M2M: Mean of (rule i votes x) times the vote of rule j.
    """

    share_M2: NDArray[np.float64]
    mean_M: NDArray[np.float64]
    deviation_M: NDArray[np.float64]
    joint_M2M: NDArray[np.float64]

    @classmethod
    def of(cls, moments: Moments) -> "_Signed":
        share_M2 = moments.votes / moments.rows
        mean_M = share_M2[:, 1] - share_M2[:, 0]
        square_M = share_M2.sum(axis=1)
        pair = moments.pair_MKMK / moments.rows
        joint_M2M = pair[:, :, :, 1] - pair[:, :, :, 0]
        deviation_M = np.sqrt(np.maximum(square_M - mean_M**2, 0.0))
        return cls(share_M2, mean_M, deviation_M, joint_M2M)

    @property
    def correlation(self) -> NDArray[np.float64]:
        """Correlations of votes, 0 where one does not vary."""
        product_MM = self.joint_M2M[:, 1] - self.joint_M2M[:, 0]
        scale_M = _inverse(self.deviation_M)
        return (product_MM - np.outer(self.mean_M, self.mean_M)) * np.outer(scale_M, scale_M)


def _strength(signed: _Signed) -> NDArray[np.float64]:
    """Factor the off-diagonal correlations as v v^T; v_i^2 by least squares over its triplets."""
    varies = int((signed.deviation_M > 0).sum())
    if varies < LEAST_RULES:
        raise ValueError(
            f"ensemble: got {varies} rules whose votes vary, expected at least {LEAST_RULES} for "
            'the triplet model; add rules or set ensemble.model.kind = "majority"'
        )
    shared = signed.correlation
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
    signed: _Signed, strength_M: NDArray[np.float64], i: int, x: int, prior: float
) -> tuple[float, float]:
    """Return P(vote x | good) and P(vote x | bad) of rule i.

    From Cov(1[vote], l_j) = sqrt(prior (1 - prior)) (P(vote | good) - P(vote | bad)) v_j, solved
    for the difference by least squares over the other rules j.
    """
    others = np.arange(len(strength_M)) != i
    strength_O, share = strength_M[others], float(signed.share_M2[i, x])
    norm = float(strength_O @ strength_O)
    if share == 0.0 or norm == 0.0:
        return 1.0, 1.0  # never cast, or nothing to compare with: no evidence
    covariance_M = signed.joint_M2M[i, x] - share * signed.mean_M
    covariance_O = (covariance_M * _inverse(signed.deviation_M))[others]
    difference = covariance_O @ strength_O / (norm * np.sqrt(prior * (1 - prior)))
    good = share + (1 - prior) * difference
    bad = share - prior * difference
    largest = max(good, bad)
    return max(good, largest / MOST_ODDS), max(bad, largest / MOST_ODDS)


def _inverse(deviation_M: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return 1 / deviation, 0 where votes do not vary."""
    return np.where(deviation_M > 0, 1 / np.where(deviation_M > 0, deviation_M, 1.0), 0.0)
