"""How far vote rates are from the agreements that were counted, and which way is down.

Letters: M rules, K classes, R votes that are cast (pairs of a rule and a class, at most M K).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from filters.ensemble.moments import Moments


@dataclass(frozen=True, slots=True)
class MatrixLoss:
    """The loss of `Snorkel`; votes that nobody cast are left out, their rates are 0.

    Attributes:
        share_R: Of the rows, that have the vote; above 0.
        joint_RR: Of the rows, that have both votes; 0 for votes of one rule.
        others_RR: 1 for votes of different rules, 0 for votes of one.
        guess_RK: P(vote | class) if `precision` of each rule's votes are right.
        prior_K: Class probabilities.
        l2: Pull towards the guess; enters squared.
    """

    share_R: NDArray[np.float64]
    joint_RR: NDArray[np.float64]
    others_RR: NDArray[np.float64]
    guess_RK: NDArray[np.float64]
    prior_K: NDArray[np.float64]
    l2: float

    @classmethod
    def of(
        cls, moments: Moments, prior_K: NDArray[np.float64], *, precision: float, l2: float
    ) -> "MatrixLoss":
        """Read it off pairs of votes."""
        rule_R, vote_R = np.nonzero(moments.votes)
        pair_RR = moments.pair_MKMK[rule_R[:, None], vote_R[:, None], rule_R, vote_R]
        share_R = np.diag(pair_RR) / moments.rows
        others_RR = (rule_R[:, None] != rule_R).astype(np.float64)
        guess_RK = np.zeros((len(rule_R), moments.classes))
        guess_R = np.clip(share_R * precision / prior_K[vote_R], 0.0, 1.0)
        guess_RK[np.arange(len(rule_R)), vote_R] = guess_R
        return cls(share_R, others_RR * (pair_RR / moments.rows), others_RR, guess_RK, prior_K, l2)

    @property
    def whole(self) -> float:
        """The loss of rates that are all 0, without the pull: the scale of the problem."""
        return float((self.joint_RR**2).sum() + (self.share_R**2).sum())

    def at(self, mu_RK: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        """Return the loss at P(vote | class), and its gradient, float64 [R, K]."""
        joint_RK = mu_RK * self.prior_K
        missing_RR = self.others_RR * (joint_RK @ mu_RK.T) - self.joint_RR
        missing_R = joint_RK.sum(axis=1) - self.share_R
        pull_RK = self.l2 * (mu_RK - self.guess_RK)
        loss = (missing_RR**2).sum() + (missing_R**2).sum() + (pull_RK**2).sum()
        slope_RK = 4 * (missing_RR @ joint_RK) + 2 * np.outer(missing_R, self.prior_K)
        return float(loss), slope_RK + 2 * self.l2 * pull_RK
