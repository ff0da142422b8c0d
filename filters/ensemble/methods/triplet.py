"""Agreement alone tells how much each rule knows: any three rules determine each other.

Letters: M rules; x is a vote (0 drop, 1 keep).
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from filters.ensemble.methods.base import Known, Method
from filters.ensemble.methods.flying_squid import joint_tables
from filters.ensemble.model import Bayes
from filters.ensemble.moments import Moments

MOST_ODDS = 50.0  # no single vote is trusted beyond 50 : 1
LEAST_RULES = 3  # a triplet

Table = tuple[tuple[float, ...], ...]  # what each vote adds to the log of each class


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

    With "mean" or "median" it is FlyingSquid to the letter instead (`flying_squid.py`), to compare.

    Attributes:
        estimator: "centred" is ours; "mean" or "median" is what FlyingSquid makes of a rule's
            triplets.
    """

    least_rules: ClassVar[int] = LEAST_RULES
    kind: Literal["triplet"] = "triplet"
    estimator: Literal["centred", "mean", "median"] = "centred"

    def fit(self, known: Known) -> Bayes:
        """Fit it on pairs of votes.

        Raises:
            ValueError: The votes of fewer than three rules vary ("centred").
        """
        if self.estimator == "centred":
            evidence, accuracy = _centred(known.moments, float(known.prior_K[1]))
        else:
            evidence, accuracy = _to_the_letter(known, self.estimator)
        return Bayes(
            kind=self.kind,
            prior=tuple(known.prior_K.tolist()),
            accuracy=tuple(accuracy),
            share=(1.0,) * known.moments.rules,
            told={},
            evidence=tuple(evidence),
        )


def _to_the_letter(
    known: Known, estimator: Literal["mean", "median"]
) -> tuple[list[Table], list[float]]:
    """Return FlyingSquid's evidence and accuracies; abstaining is evidence as well."""
    moments = known.moments
    joint_MXK, equal_M = joint_tables(moments, known.prior_K, estimator=estimator)
    log_MXK = np.nan_to_num(np.log(joint_MXK / known.prior_K), nan=0.0)
    coverage_M = moments.votes.sum(axis=1) / moments.rows
    accuracy_M = np.full(moments.rules, np.nan)
    np.divide(equal_M, coverage_M, out=accuracy_M, where=coverage_M > 0)
    evidence = [tuple(map(tuple, table)) for table in log_MXK.tolist()]
    return evidence, np.clip(accuracy_M, 0.0, 1.0).tolist()


def _centred(moments: Moments, prior: float) -> tuple[list[Table], list[float]]:
    """Return our evidence and accuracies, of each rule one."""
    signed = _Signed.of(moments)
    strength_M = _strength(signed)
    evidence, accuracy = [], []
    for i in range(moments.rules):
        shares = [_conditional_shares(signed, strength_M, i, x, prior) for x in (0, 1)]
        logs = [tuple(float(np.log(s)) for s in (bad, good)) for good, bad in shares]
        evidence.append(((0.0, 0.0), *logs))
        (drop_good, drop_bad), (keep_good, keep_bad) = shares
        right = prior * keep_good + (1 - prior) * drop_bad
        wrong = prior * drop_good + (1 - prior) * keep_bad
        varies = signed.deviation_M[i] > 0
        accuracy.append(float(right / (right + wrong)) if varies else float("nan"))
    return evidence, accuracy


@dataclass(frozen=True, slots=True)
class _Signed:
    """Moments of votes as -1 for drop, 0 for abstain, 1 for keep.

    Attributes:
        share_M2: Of the rows, that vote drop and keep.
        deviation_M: Of the votes; 0 for a rule whose votes do not vary.
        covariance_M2M: Of (rule i votes x) and the vote of rule j.
    """

    share_M2: NDArray[np.float64]
    deviation_M: NDArray[np.float64]
    covariance_M2M: NDArray[np.float64]

    @classmethod
    def of(cls, moments: Moments) -> "_Signed":
        # Integers of any size, so that votes which do not agree have a covariance of 0 and not of
        # what rounding leaves, which a triplet would divide by.
        rows, pair = moments.rows, moments.pair_MKMK.astype(object)
        votes_M2 = moments.votes.astype(object)
        sum_M = votes_M2[:, 1] - votes_M2[:, 0]
        joint_M2M = pair[:, :, :, 1] - pair[:, :, :, 0]
        covariance_M2M = (rows * joint_M2M - votes_M2[:, :, None] * sum_M) / rows**2
        variance_M = (rows * votes_M2.sum(axis=1) - sum_M**2) / rows**2
        return cls(
            moments.votes / rows,
            np.sqrt(variance_M.astype(np.float64)),
            covariance_M2M.astype(np.float64),
        )

    @property
    def correlation(self) -> NDArray[np.float64]:
        """Correlations of votes, 0 where one does not vary."""
        covariance_MM = self.covariance_M2M[:, 1] - self.covariance_M2M[:, 0]
        scale_M = _inverse(self.deviation_M)
        return covariance_MM * np.outer(scale_M, scale_M)


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
    covariance_O = (signed.covariance_M2M[i, x] * _inverse(signed.deviation_M))[others]
    difference = covariance_O @ strength_O / (norm * np.sqrt(prior * (1 - prior)))
    good = share + (1 - prior) * difference
    bad = share - prior * difference
    largest = max(good, bad)
    return max(good, largest / MOST_ODDS), max(bad, largest / MOST_ODDS)


def _inverse(deviation_M: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return 1 / deviation, 0 where votes do not vary."""
    return np.where(deviation_M > 0, 1 / np.where(deviation_M > 0, deviation_M, 1.0), 0.0)
