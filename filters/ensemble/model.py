"""What a label model is, whatever fitted it: votes of a row in, a probability of each class out.

Letters: N rows, P distinct patterns, M rules, K classes; X is a vote, X = 0 abstain and X = 1 + k
class k, so there are K + 1.
"""

import json
import math
from abc import ABC, abstractmethod
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from filters.ensemble.patterns import decode, distinct, encode

ROUNDING = 1e-9  # sums of the same weights in another order differ by less


@dataclass(frozen=True, kw_only=True, slots=True)
class LabelModel(ABC):
    """A posterior over K classes for every vote pattern; saved as JSON.

    Attributes:
        kind: The method that fitted it.
        prior: K class probabilities that add up to 1; what a row without votes gets.
        accuracy: M estimates of P(vote is right | votes), NaN where a rule never votes or the
            method learns none.
        share: M shares in (0, 1] of a rule's evidence that count: 1 / g in a group of g rules that
            vote alike, else 1. `evidence` has it in it already.
        told: What the fit says of itself: loss, steps, where the prior is from, groups.
    """

    kind: str
    prior: tuple[float, ...]
    accuracy: tuple[float, ...]
    share: tuple[float, ...]
    told: dict[str, Any]

    @property
    def classes(self) -> int:
        """Classes, K."""
        return len(self.prior)

    @abstractmethod
    def posterior(self, votes_PM: NDArray[np.int8]) -> NDArray[np.float64]:
        """Return the class probabilities of P patterns, float64 [P, K]; rows add up to 1."""

    def predict_proba(self, votes_NM: NDArray[np.int8]) -> NDArray[np.float64]:
        """Return the class probabilities of N rows, float64 [N, K].

        They are computed once per distinct pattern and looked up, so equal votes get equal bits
        whatever shard they are in. A row without votes gets the prior.
        """
        key_PW, position_N = distinct(encode(votes_NM, classes=self.classes))
        votes_PM = decode(key_PW, rules=votes_NM.shape[1], classes=self.classes)
        posterior_PK = self.posterior(votes_PM)
        posterior_PK[(votes_PM < 0).all(axis=1)] = self.prior
        return posterior_PK[position_N]

    def predict(self, votes_NM: NDArray[np.int8]) -> NDArray[np.float64]:
        """Return p(keep) of N rows, float64 in [0, 1]: the probability of the last class."""
        return self.predict_proba(votes_NM)[:, -1]

    def to_json(self) -> str:
        """Write it as JSON; NaN becomes null."""
        return json.dumps({"form": type(self).__name__, **_without_nan(asdict(self))}, indent=2)


@dataclass(frozen=True, kw_only=True, slots=True)
class Bayes(LabelModel):
    """Votes that are independent given the class: their log-likelihoods add up.

    Attributes:
        evidence: [M][K + 1][K] natural logs; what vote X of rule m adds to the log-odds of each
            class, up to a constant over classes. All zero where a vote says nothing.
    """

    evidence: tuple[tuple[tuple[float, ...], ...], ...]

    def posterior(self, votes_PM: NDArray[np.int8]) -> NDArray[np.float64]:
        """Return the class probabilities of P patterns."""
        with np.errstate(divide="ignore"):
            log_PK = np.log(np.tile(self.prior, (len(votes_PM), 1)))
        for m, table in enumerate(self.evidence):
            log_PK += np.array(table)[votes_PM[:, m] + 1]
        odds_PK = np.exp(log_PK - log_PK.max(axis=1, keepdims=True))
        return odds_PK / odds_PK.sum(axis=1, keepdims=True)


@dataclass(frozen=True, kw_only=True, slots=True)
class Share(LabelModel):
    """Votes are counted: a class has the share of the votes that are for it.

    Attributes:
        weight: M weights of a vote, each at least 0; votes without weight count as abstaining.
        class_weight: K factors of a vote for each class; empty stands for ones.
        winners: The classes with most of the votes share everything, the others get nothing.
    """

    weight: tuple[float, ...]
    class_weight: tuple[float, ...] = ()
    winners: bool = False

    def posterior(self, votes_PM: NDArray[np.int8]) -> NDArray[np.float64]:
        """Return the class probabilities of P patterns."""
        weight_M = np.array(self.weight)
        factor_K = np.array(self.class_weight or [1.0] * self.classes)
        sum_PK = np.stack([(votes_PM == k) @ weight_M for k in range(self.classes)], axis=1)
        sum_PK *= factor_K
        if self.winners:
            most_P1 = sum_PK.max(axis=1, keepdims=True)
            sum_PK = ((most_P1 > 0) & (sum_PK >= most_P1 * (1 - ROUNDING))).astype(np.float64)
        total_P1 = sum_PK.sum(axis=1, keepdims=True)
        return np.where(total_P1 > 0, sum_PK / np.where(total_P1 > 0, total_P1, 1.0), self.prior)


def _without_nan(value: Any) -> Any:
    """Return a tree that strict JSON can hold."""
    if isinstance(value, dict):
        return {key: _without_nan(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(item) for item in value]
    return None if isinstance(value, float) and math.isnan(value) else value
