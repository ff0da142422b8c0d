"""Snorkel's label model: vote rates of each class that reproduce how often rules agree.

Letters: M rules, K classes, R votes that are cast (pairs of a rule and a class, at most M K).
"""

from dataclasses import dataclass
from math import inf
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from filters.ensemble.methods.base import Known, Method
from filters.ensemble.methods.matrix_loss import MatrixLoss
from filters.ensemble.model import Bayes

START = 0.5  # share of the first guess that L-BFGS starts from; Snorkel draws one in [0, 1)
MOMENTUM = 0.9
MOST_EPSILON = 0.01
MEMORY = 20  # steps that L-BFGS remembers
EPSILON_OF_LOSS, EPSILON_OF_SLOPE = 1e-13, 1e-9  # where it stops, of the agreements' squares
PRIOR_DECIMALS = 3  # classes are as likely as each other if their priors are equal so far
LEAST_WEIGHT = 1e-6


@dataclass(frozen=True, kw_only=True, slots=True)
class Snorkel(Method):
    """Complete the matrix of agreements (MeTaL, Ratner et al., arXiv:1810.02840, as in Snorkel).

    With O the share of rows on which rule i votes a and rule j votes b, P = diag(prior) and
    mu[(i, a), y] = P(rule i votes a | y), the loss is |O - mu P mu^T|^2 over pairs of different
    rules, plus |mu P 1 - diag(O)|^2, plus |l2 (mu - first guess)|^2. An abstention says nothing.

    Where we differ: it is minimised by L-BFGS with rates kept in [epsilon, 1 - epsilon], from half
    the first guess, in float64; nothing is random. With more than two classes pairs of votes do not
    determine the rates (a rotation between classes is free); the first guess decides, and a small
    `l2` says so explicitly. "sgd" takes Snorkel 0.10's own steps from its own random start.

    Attributes:
        optimiser: "lbfgs", or "sgd" for full-batch gradient descent as Snorkel has it: momentum
            0.9, and `l2` as weight decay too.
        steps: Most steps of L-BFGS, all of SGD (Snorkel takes 100 by default).
        lr: Learning rate of SGD.
        l2: Pull towards the first guess.
        prec_init: P(vote is right) in the first guess.
    """

    least_rules: ClassVar[int] = 3
    most_classes: ClassVar[int] = 0
    kind: Literal["snorkel"] = "snorkel"
    optimiser: Literal["lbfgs", "sgd"] = "lbfgs"
    steps: int = 1000
    lr: float = 0.01
    l2: float = 0.0
    prec_init: float = 0.7

    def __post_init__(self) -> None:
        finite = 0 < self.lr < inf and 0 <= self.l2 < inf
        if self.steps < 1 or not finite or not 0 < self.prec_init <= 1:
            raise ValueError(
                f"snorkel: got steps {self.steps}, lr {self.lr}, l2 {self.l2}, prec_init "
                f"{self.prec_init}, expected steps, lr above 0, l2 at least 0, prec_init in (0, 1]"
            )

    def fit(self, known: Known) -> Bayes:
        """Fit it on pairs of votes.

        Raises:
            ValueError: SGD diverged.
        """
        prior_K = known.prior_K
        loss = MatrixLoss.of(known.moments, prior_K, precision=self.prec_init, l2=self.l2)
        epsilon = min(MOST_EPSILON, 10.0 ** -np.ceil(np.log10(known.moments.rows)))
        if self.optimiser == "sgd":
            mu_RK, steps = self._descend(loss, known.seed), self.steps
        else:
            mu_RK, steps = self._minimise(loss, epsilon)
        mu_RK = np.clip(mu_RK, epsilon, 1 - epsilon)
        shape = known.moments.votes.shape
        mu_MKK = np.full((*shape, shape[1]), epsilon)  # nobody cast the others; they say nothing
        mu_MKK[known.moments.votes > 0] = mu_RK
        mu_MKK = mu_MKK[:, :, most_trusting(mu_MKK, prior_K)]
        told = {"loss": loss.at(mu_MKK[known.moments.votes > 0])[0], "steps": steps}
        return _model(self.kind, known, mu_MKK, told)

    def _minimise(self, loss: MatrixLoss, epsilon: float) -> tuple[NDArray[np.float64], int]:
        """Return the rates, float64 [R, K], and the steps taken.

        Rates are in units of the root of a vote's share, so that rare votes do not wait for
        frequent ones.
        """
        from scipy.optimize import minimize

        shape, unit_R1 = loss.guess_RK.shape, np.sqrt(loss.share_R)[:, None]
        whole = loss.whole

        def scaled(x: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
            value, slope_RK = loss.at(x.reshape(shape) * unit_R1)
            return value / whole, (slope_RK * unit_R1 / whole).ravel()

        limits_RK = [np.broadcast_to(end / unit_R1, shape) for end in (epsilon, 1 - epsilon)]
        start_RK = np.clip(START * loss.guess_RK, epsilon, 1 - epsilon) / unit_R1
        found = minimize(
            scaled, start_RK.ravel(), jac=True, method="L-BFGS-B",
            bounds=list(zip(*(limit.ravel().tolist() for limit in limits_RK), strict=True)),
            options={"maxiter": self.steps, "maxfun": 10 * self.steps, "maxcor": MEMORY,
                     "ftol": EPSILON_OF_LOSS, "gtol": EPSILON_OF_SLOPE},
        )  # fmt: skip
        return found.x.reshape(shape) * unit_R1, int(found.nit)

    def _descend(self, loss: MatrixLoss, seed: int) -> NDArray[np.float64]:
        """Return the rates after Snorkel's steps, float64 [R, K]."""
        # Snorkel's one random number is numpy's first after numpy.random.seed(seed).
        mu_RK = loss.guess_RK * np.random.RandomState(seed).random_sample()
        moving_RK = np.zeros_like(mu_RK)
        with np.errstate(over="ignore", invalid="ignore"):
            for _ in range(self.steps):
                slope_RK = loss.at(mu_RK)[1] + self.l2 * mu_RK
                moving_RK = MOMENTUM * moving_RK + slope_RK
                mu_RK = mu_RK - self.lr * moving_RK
        if not np.isfinite(mu_RK).all():
            raise ValueError(
                f"snorkel: got a loss without bounds at lr {self.lr}, expected it to fall; lower "
                'lr, or take optimiser = "lbfgs"'
            )
        return mu_RK


def most_trusting(mu_MKK: NDArray[np.float64], prior_K: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return the order of columns under which most votes are right.

    Classes that are as likely as each other can change places without changing the loss.
    """
    from scipy.optimize import linear_sum_assignment

    right_KK = mu_MKK.sum(axis=0) * prior_K
    rounded_K = np.round(prior_K, PRIOR_DECIMALS)
    order_K = np.arange(len(prior_K))
    for prior in np.unique(rounded_K):
        group = np.flatnonzero(rounded_K == prior)
        vote, column = linear_sum_assignment(right_KK[np.ix_(group, group)], maximize=True)
        order_K[group[vote]] = group[column]
    return order_K


def _model(kind: str, known: Known, mu_MKK: NDArray[np.float64], told: dict[str, Any]) -> Bayes:
    moments, prior_K = known.moments, known.prior_K
    coverage_M = moments.votes.sum(axis=1) / moments.rows
    right_M = np.einsum("iyy,y->i", mu_MKK, prior_K)
    with np.errstate(divide="ignore", invalid="ignore"):
        accuracy_M = np.clip(right_M / coverage_M, LEAST_WEIGHT, 1.0)
    log_MKK = np.where((moments.votes > 0)[:, :, None], np.log(mu_MKK), 0.0)
    nothing = (0.0,) * moments.classes
    return Bayes(
        kind=kind,
        prior=tuple(prior_K.tolist()),
        accuracy=tuple(np.where(coverage_M > 0, accuracy_M, np.nan).tolist()),
        share=(1.0,) * moments.rules,
        told=told,
        evidence=tuple((nothing, *map(tuple, log_KK)) for log_KK in log_MKK.tolist()),
    )
