"""Expectation maximisation over distinct patterns: what Dawid-Skene and naive Bayes have in common.

The hidden class makes rules independent; what differs is how a rule's table of symbols follows from
expected counts. Letters: P patterns, M rules, K classes; X is a symbol, X = 0 abstain and X = 1 + k
a vote for class k, so there are K + 1.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from filters.ensemble.model import Bayes
from filters.ensemble.patterns import PatternCounts

FLOOR = 1e-12  # of the probability of a symbol: the least that its logarithm is taken of
Floats = NDArray[np.float64]

# From expected shares of the rows [M, K + 1, K] to P(X | class) [M, K + 1, K] and the prior [K].
Step = Callable[[Floats], tuple[Floats, Floats]]


@dataclass(frozen=True, slots=True)
class Symbols:
    """Which symbols a pattern has, and its share of the rows.

    Attributes:
        is_PX: 0 or 1, float64 [P, M (K + 1)].
        is_XP: The same, transposed.
        weight_P: Shares of the rows, float64 [P]; they add up to 1.
        rules: M.
        classes: K.
    """

    is_PX: csr_array
    is_XP: csr_array
    weight_P: Floats
    rules: int
    classes: int

    @classmethod
    def of(cls, counts: PatternCounts) -> "Symbols":
        """Lay out what patterns hold."""
        votes_PM, symbols = counts.votes_PM, counts.classes + 1
        patterns, rules = votes_PM.shape
        column_PM = votes_PM + 1 + symbols * np.arange(rules, dtype=np.int32)
        start_P = np.arange(patterns + 1, dtype=np.int64) * rules
        is_PX = csr_array(
            (np.ones(column_PM.size), column_PM.ravel(), start_P),
            shape=(patterns, rules * symbols),
        )
        weight_P = counts.count_P / counts.rows
        return cls(is_PX, is_PX.T.tocsr(), weight_P, rules, counts.classes)

    def logs(self, prior_K: Floats, table_MXK: Floats) -> Floats:
        """Return log P(pattern and class), float64 [P, K]."""
        log_XK = np.log(np.maximum(table_MXK, FLOOR)).reshape(-1, self.classes)
        with np.errstate(divide="ignore"):  # a class that died out
            return self.is_PX @ log_XK + np.log(prior_K)

    def shares(self, posterior_PK: Floats) -> Floats:
        """Return the expected shares of the rows that have a symbol and a class, [M, K + 1, K]."""
        share_XK = self.is_XP @ (posterior_PK * self.weight_P[:, None])
        return share_XK.reshape(self.rules, self.classes + 1, self.classes)


@dataclass(frozen=True, slots=True)
class Maximum:
    """Where the climb ended.

    Attributes:
        prior_K: Class probabilities.
        table_MXK: P(X | class) of each rule.
        posterior_PK: Of each pattern.
        steps: Updates after the first.
        converged: Whether it ended before the most steps.
        log_likelihood: Mean over rows, in nats.
    """

    prior_K: Floats
    table_MXK: Floats
    posterior_PK: Floats
    steps: int
    converged: bool
    log_likelihood: float

    @property
    def told(self) -> dict[str, float]:
        """What a label model says of it."""
        return {
            "steps": self.steps,
            "converged": self.converged,
            "log_likelihood": self.log_likelihood,
        }


def climb(
    symbols: Symbols, start_PK: Floats, step: Step, *, tolerance: float, most_steps: int
) -> Maximum:
    """Climb from a posterior until prior and tables each change by less than the tolerance (L1)."""
    table_MXK, prior_K = step(symbols.shares(start_PK))
    converged, steps = False, 0
    while not converged and steps < most_steps:
        steps += 1
        before = table_MXK, prior_K
        posterior_PK = normalised(symbols.logs(prior_K, table_MXK))
        table_MXK, prior_K = step(symbols.shares(posterior_PK))
        change = [np.abs(b - a).sum() for a, b in zip(before, (table_MXK, prior_K), strict=True)]
        converged = bool(max(change) < tolerance)
    log_PK = symbols.logs(prior_K, table_MXK)
    most_P = log_PK.max(axis=1)
    total_P = most_P + np.log(np.exp(log_PK - most_P[:, None]).sum(axis=1))
    return Maximum(
        prior_K, table_MXK, normalised(log_PK), steps, converged, float(symbols.weight_P @ total_P)
    )


def normalised(log_PK: Floats) -> Floats:
    """Return the probabilities that logarithms stand for, up to a constant of each row."""
    odds_PK = np.exp(log_PK - log_PK.max(axis=1, keepdims=True))
    return odds_PK / odds_PK.sum(axis=1, keepdims=True)


def ratio(part: Floats, whole: Floats, otherwise: Floats) -> Floats:
    """Return part / whole; where there is next to nothing to divide by, something else."""
    thin = np.broadcast_to(whole < FLOOR, part.shape)
    return np.where(thin, otherwise, part / np.where(whole < FLOOR, 1.0, whole))


def model_of(kind: str, symbols: Symbols, top: Maximum, told: Mapping[str, Any]) -> Bayes:
    """Return the label model of a climb; `told` comes behind what the climb says of itself."""
    share_MXK = symbols.shares(top.posterior_PK)
    return Bayes(
        kind=kind,
        prior=tuple(top.prior_K.tolist()),
        accuracy=_accuracy(share_MXK),
        share=(1.0,) * symbols.rules,
        told={**top.told, **told},
        evidence=_evidence(top.table_MXK, share_MXK),
    )


def _evidence(table_MXK: Floats, share_MXK: Floats) -> tuple[tuple[tuple[float, ...], ...], ...]:
    """Return the tables' logarithms, zeros where nobody ever used a symbol."""
    used_MX1 = share_MXK.sum(axis=2, keepdims=True) > 0
    log_MXK = np.where(used_MX1, np.log(np.maximum(table_MXK, FLOOR)), 0.0)
    return tuple(tuple(tuple(log_K) for log_K in rule) for rule in log_MXK.tolist())


def _accuracy(share_MXK: Floats) -> tuple[float, ...]:
    """Return the expected share of each rule's votes that are right; NaN if it casts none."""
    right_M = np.einsum("mkk->m", share_MXK[:, 1:, :])
    cast_M = share_MXK[:, 1:, :].sum(axis=(1, 2))
    return tuple(ratio(right_M, cast_M, np.full(len(cast_M), np.nan)).tolist())
