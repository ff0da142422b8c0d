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

from filters.ensemble.patterns import AT_ONCE, Keys, decode, distinct, encode

LOOKED_UP = 1 << 22  # rows whose patterns are held at a time
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
        """Return the class probabilities of P patterns, float64 [P, K]; rows add up to 1.

        The bits of a row must not depend on the other rows. What NumPy does element by element is
        fine; a product of matrices is not, for its order of adding up depends on their size.
        """

    def predict_proba(self, votes_NM: NDArray[np.int8]) -> NDArray[np.float64]:
        """Return the class probabilities of N rows, float64 [N, K].

        They are computed once per distinct pattern and looked up, so equal votes get equal bits
        whatever shard they are in. A row without votes gets the prior.

        Raises:
            ValueError: Votes of another number of rules, or that are no classes.
        """
        return self._look_up(votes_NM, slice(None))

    def predict(self, votes_NM: NDArray[np.int8]) -> NDArray[np.float64]:
        """Return p(keep) of N rows, float64 in [0, 1]: the probability of the last class."""
        return self._look_up(votes_NM, slice(-1, None))[:, 0]

    def _look_up(self, votes_NM: NDArray[np.int8], kept: slice) -> NDArray[np.float64]:
        """Return the probabilities of some classes, a stretch of rows at a time."""
        if votes_NM.shape[1:] != (len(self.accuracy),):
            raise ValueError(
                f"votes: got shape {votes_NM.shape}, expected [rows, {len(self.accuracy)}], as the "
                "label model was fitted on; fit it again for other rules"
            )
        proba_NK = np.empty((len(votes_NM), len(range(self.classes)[kept])))
        for start in range(0, len(votes_NM), LOOKED_UP):
            rows = slice(start, start + LOOKED_UP)
            key_PW, position_N = distinct(encode(votes_NM[rows], classes=self.classes))
            of_pattern_PK = self._of_patterns(key_PW, kept)
            np.take(of_pattern_PK, position_N, axis=0, out=proba_NK[rows], mode="clip")
        return proba_NK

    def _of_patterns(self, key_PW: Keys, kept: slice) -> NDArray[np.float64]:
        """Return the probabilities of some classes for P patterns in ascending order."""
        posterior_PK = np.empty((len(key_PW), len(range(self.classes)[kept])))
        for start in range(0, len(key_PW), AT_ONCE):
            patterns = slice(start, start + AT_ONCE)
            votes_PM = decode(key_PW[patterns], rules=len(self.accuracy), classes=self.classes)
            posterior_PK[patterns] = self.posterior(votes_PM)[:, kept]
        if not key_PW[:1].any():  # all abstain; the lowest there is
            posterior_PK[:1] = self.prior[kept]
        return posterior_PK

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
            log_KP = np.log(np.repeat(np.array(self.prior)[:, None], len(votes_PM), axis=1))
        for m, table_XK in enumerate(self.evidence):
            log_KP += np.take(np.array(table_XK).T, votes_PM[:, m] + 1, axis=1)
        odds_KP = np.exp(log_KP - log_KP.max(axis=0))
        return (odds_KP / _in_order(odds_KP)).T


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
        sum_KP = np.zeros((self.classes, len(votes_PM)))
        for m, weight in enumerate(self.weight):
            for k in range(self.classes):
                sum_KP[k] += (votes_PM[:, m] == k) * weight
        sum_PK = sum_KP.T * np.array(self.class_weight or [1.0] * self.classes)
        if self.winners:
            most_P1 = sum_PK.max(axis=1, keepdims=True)
            sum_PK = ((most_P1 > 0) & (sum_PK >= most_P1 * (1 - ROUNDING))).astype(np.float64)
        total_P1 = _in_order(sum_PK.T)[:, None]
        return np.where(total_P1 > 0, sum_PK / np.where(total_P1 > 0, total_P1, 1.0), self.prior)


def _in_order(value_KP: NDArray[np.float64]) -> NDArray[np.float64]:
    """Add classes up one after another: NumPy's sum of eight and more depends on P."""
    total_P = value_KP[0].copy()
    for value_P in value_KP[1:]:
        total_P += value_P
    return total_P


def _without_nan(value: Any) -> Any:
    """Return a tree that strict JSON can hold."""
    if isinstance(value, dict):
        return {key: _without_nan(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(item) for item in value]
    return None if isinstance(value, float) and math.isnan(value) else value
