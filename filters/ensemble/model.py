"""What a label model is, whatever fitted it: per rule, how likely each vote is for good and bad."""

import json
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from filters.ensemble.patterns import decode, encode


@dataclass(frozen=True, kw_only=True, slots=True)
class LabelModel:
    """Naive-Bayes posterior over votes; abstaining is no evidence.

    Attributes:
        kind: What fitted it.
        prior: P(good), in (0, 1).
        evidence: M pairs (log-odds added by a drop vote, by a keep vote).
        accuracy: M estimates of P(vote is right | votes), NaN where a rule never votes.
    """

    kind: str
    prior: float
    evidence: tuple[tuple[float, float], ...]
    accuracy: tuple[float, ...]

    def predict(self, votes_NM: NDArray[np.int8]) -> NDArray[np.float64]:
        """Return p(keep) of N rows, float64 in [0, 1]; a row without votes gets the prior.

        The posterior is computed once per distinct pattern and looked up, so equal votes get equal
        bits whatever shard they are in.
        """
        pattern_P, position_N = np.unique(encode(votes_NM), return_inverse=True)
        votes_PM = decode(pattern_P, rules=votes_NM.shape[1])
        drop_M, keep_M = np.array(self.evidence, np.float64).reshape(-1, 2).T
        log_odds_PM = np.where(votes_PM == 1, keep_M, np.where(votes_PM == 0, drop_M, 0.0))
        log_odds_P = np.log(self.prior / (1 - self.prior)) + log_odds_PM.sum(axis=1)
        return (1.0 / (1.0 + np.exp(-log_odds_P)))[position_N]

    def to_json(self) -> str:
        """Write it as JSON."""
        return json.dumps(asdict(self), indent=2)
