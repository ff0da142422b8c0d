"""Each rule has a table of what it says of each class; rules and classes explain each other.

Letters: P patterns, M rules, K classes; X is a symbol, X = 0 abstain, X = 1 + k class k.
"""

from dataclasses import dataclass
from math import inf
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from filters.ensemble.methods.base import Known, Method
from filters.ensemble.methods.symbols import (
    FLOOR,
    Floats,
    Symbols,
    climb,
    model_of,
    ratio,
)
from filters.ensemble.model import Bayes
from filters.ensemble.patterns import PatternCounts

ROUNDING = 1e-9  # names that fit better by less do not


@dataclass(frozen=True, kw_only=True, slots=True)
class DawidSkene(Method):
    """Dawid and Skene's observers, fitted by expectation maximisation on distinct patterns.

    A. P. Dawid and A. M. Skene, Maximum likelihood estimation of observer error-rates using the EM
    algorithm, JRSS C 28 (1979); start, stop and abstaining as a symbol as in WRENCH (Zhang et al.,
    arXiv:2109.11377), with which it agrees if the prior is uniform and `learn_prior` is set.

    It starts from the vote shares, so a class is what most votes call it; if it ends where rules
    by and large call the classes the other way round, it climbs once more from there with the names
    that they give, and `told` says `renamed`. Where else we differ: logs instead of products; a
    class that dies out has tables that say nothing, instead of 0 / 0; a prior that was given is not
    learned over.

    Attributes:
        abstain: "symbol" has abstaining say what it says, which one-sided rules need; "missing"
            passes over it, for rules that abstain for reasons that have nothing to do with the
            class.
        learn_prior: Start at the prior and learn it; otherwise the prior is held.
        smoothing: Rows that each class is taken to have had beforehand, on which every rule did
            what it does on average, and, if it is learned, the prior held. With 0 a symbol that
            was never seen with a class rules the class out.
        tolerance: It stops when the prior and the tables each change by less, summed.
        most_steps: It stops then in any case; `told` says so.
    """

    needs_counts: ClassVar[bool] = True
    most_classes: ClassVar[int] = 0
    kind: Literal["dawid_skene"] = "dawid_skene"
    abstain: Literal["symbol", "missing"] = "symbol"
    learn_prior: bool = False
    smoothing: float = 0.0
    tolerance: float = 1e-5
    most_steps: int = 10_000

    def __post_init__(self) -> None:
        """Check the numbers."""
        if not (0 <= self.smoothing < inf and 0 < self.tolerance < inf and self.most_steps >= 1):
            raise ValueError(
                f"dawid_skene: got smoothing {self.smoothing}, tolerance {self.tolerance}, "
                f"most_steps {self.most_steps}, expected at least 0, above 0, at least 1"
            )

    def fit(self, known: Known) -> Bayes:
        """Fit tables, and the prior if asked to."""
        counts = known.counts
        assert counts is not None  # needs_counts
        symbols = Symbols.of(counts)
        pull = self.smoothing / counts.rows

        def step(share_MXK: Floats) -> tuple[Floats, Floats]:
            mass_K = share_MXK[0].sum(axis=0)
            learned_K = (mass_K + pull * known.prior_K) / (mass_K.sum() + pull)
            return self._table(share_MXK, pull), learned_K if self.learn_prior else known.prior_K

        start_PK = _vote_shares(counts, known.prior_K)
        limits = {"tolerance": self.tolerance, "most_steps": self.most_steps}
        top = climb(symbols, start_PK, step, **limits)
        order_K = _named(symbols.shares(top.posterior_PK))
        renamed = bool((order_K != np.arange(len(order_K))).any())
        if renamed:
            top = climb(symbols, top.posterior_PK[:, order_K], step, **limits)
        mass_K = symbols.shares(top.posterior_PK)[0].sum(axis=0)
        told = {
            "learned_prior": self.learn_prior,
            "renamed": renamed,
            "died_out": np.flatnonzero(mass_K < FLOOR).tolist(),
        }
        return model_of(self.kind, symbols, top, told)

    def _table(self, share_MXK: Floats, pull: float) -> Floats:
        """Return P(X | class); of what each rule does on average if a class has no rows."""
        first = 0 if self.abstain == "symbol" else 1
        share = share_MXK[:, first:]
        all_MX1 = share.sum(axis=2, keepdims=True)
        average_MX1 = ratio(all_MX1, all_MX1.sum(axis=1, keepdims=True), np.ones_like(all_MX1))
        mass_M1K = share.sum(axis=1, keepdims=True)
        table_MXK = np.ones_like(share_MXK)  # no evidence
        table_MXK[:, first:] = ratio(share + pull * average_MX1, mass_M1K + pull, average_MX1)
        return table_MXK


def _vote_shares(counts: PatternCounts, prior_K: Floats) -> Floats:
    """Return the share of the votes for each class, [P, K]; the prior where there are none."""
    votes_KP = [(counts.votes_PM == k).sum(axis=1) for k in range(counts.classes)]
    votes_PK = np.stack(votes_KP, axis=1).astype(np.float64)
    return ratio(votes_PK, votes_PK.sum(axis=1, keepdims=True), prior_K)


def _named(share_MXK: Floats) -> NDArray[np.int64]:
    """Return which hidden class to call 0, 1, ...: the names that rules give most, on the whole.

    The likelihood does not know the names; the start does, and a climb may wander off. What counts
    are rates of votes within a hidden class, summed over rules, so that a common class or a rule
    with many votes for it decides nothing.
    """
    from scipy.optimize import linear_sum_assignment

    mass_K = share_MXK[0].sum(axis=0)
    rate_KK = ratio(share_MXK[:, 1:].sum(axis=0), mass_K, np.zeros(1))  # votes x hidden classes
    _, order_K = linear_sum_assignment(rate_KK, maximize=True)
    as_is = np.trace(rate_KK) > rate_KK[np.arange(len(order_K)), order_K].sum() - ROUNDING
    return np.arange(len(order_K)) if as_is else order_K
