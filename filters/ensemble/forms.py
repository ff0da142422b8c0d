"""Forms of label models that labels are needed for; `Bayes` and `Share` are in model.py.

Both know the share of each class among their labels. Where the pool's prior is another one, the
odds of the classes are shifted by prior / share: exact if the labelled rows of a class look like
the pool's rows of that class. Letters: P patterns, M rules, K classes.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from filters.ensemble.model import LabelModel

SUREST = 1e-3  # least probability that a straight line gives a class


@dataclass(frozen=True, kw_only=True, slots=True)
class Linear(LabelModel):
    """A straight line in the votes, cut off where it leaves (0, 1).

    p(k) = bias_k + sum over rules that vote of weight_m (1[vote is k] - 1 / K); adds up to 1 as it
    is. With two classes a vote moves p(keep) by half its weight.

    Attributes:
        weight: M weights.
        bias: K numbers that add up to 1; what a row without votes would get.
        labelled: Shares of the K classes among the labels.
    """

    weight: tuple[float, ...]
    bias: tuple[float, ...]
    labelled: tuple[float, ...]

    def posterior(self, votes_PM: NDArray[np.int8]) -> NDArray[np.float64]:
        """Return the class probabilities of P patterns."""
        line_PK = np.tile(np.array(self.bias), (len(votes_PM), 1))
        for m, weight in enumerate(self.weight):  # rule by rule: the sum has one order
            line_PK += weight * centred_votes(votes_PM[:, m], self.classes)
        return _shifted(np.clip(line_PK, SUREST, 1.0), self.prior, self.labelled)


@dataclass(frozen=True, kw_only=True, slots=True)
class Trees(LabelModel):
    """Boosted trees that ask for single votes; scores add up to the log-odds of the classes.

    Nodes of all trees lie one after another. An inner node asks whether a rule votes a class, and
    goes on to one of two nodes behind it; a leaf has a score.

    Attributes:
        start: K scores of a row before any tree.
        root: By tree, its first node.
        of_class: By tree, the class that it scores.
        rule: By node, the rule that is asked; -1 at a leaf.
        vote: By node, the class that its vote is compared with.
        no: By node, where to go if its vote is another or none.
        yes: By node, where to go if it is.
        score: By node, what a leaf adds.
        labelled: Shares of the K classes among the labels.
    """

    start: tuple[float, ...]
    root: tuple[int, ...]
    of_class: tuple[int, ...]
    rule: tuple[int, ...]
    vote: tuple[int, ...]
    no: tuple[int, ...]
    yes: tuple[int, ...]
    score: tuple[float, ...]
    labelled: tuple[float, ...]

    def __post_init__(self) -> None:
        """Refuse nodes that do not lead on, so that asking ends, and rules that are not there."""
        if max(self.rule, default=-1) >= len(self.accuracy):
            raise ValueError(
                f"label model: got rule {max(self.rule)}, expected less than {len(self.accuracy)}; "
                "fit it again"
            )
        for node, (rule, *ahead) in enumerate(zip(self.rule, self.no, self.yes, strict=True)):
            if rule >= 0 and not all(node < to < len(self.score) for to in ahead):
                raise ValueError(
                    f"label model: got node {node} that leads to {ahead}, expected nodes behind "
                    "it; fit it again"
                )

    def posterior(self, votes_PM: NDArray[np.int8]) -> NDArray[np.float64]:
        """Return the class probabilities of P patterns."""
        score_PK = np.tile(np.array(self.start), (len(votes_PM), 1))
        rule, vote, no, yes = (np.array(x) for x in (self.rule, self.vote, self.no, self.yes))
        score = np.array(self.score)
        for root, k in zip(self.root, self.of_class, strict=True):
            node_P = np.full(len(votes_PM), root)
            while (inner_P := rule[node_P] >= 0).any():
                at = node_P[inner_P]
                is_vote = votes_PM[inner_P, rule[at]] == vote[at]
                node_P[inner_P] = np.where(is_vote, yes[at], no[at])
            score_PK[:, k] += score[node_P]
        odds_PK = np.exp(score_PK - score_PK.max(axis=1, keepdims=True))
        return _shifted(odds_PK, self.prior, self.labelled)


def centred_votes(vote_P: NDArray[np.int8], classes: int) -> NDArray[np.float64]:
    """Return 1[vote is k] - 1 / K of one rule's votes, 0 where it abstains; float64 [P, K]."""
    is_PK = (vote_P[:, None] == np.arange(classes)).astype(np.float64)
    return np.where(vote_P[:, None] < 0, 0.0, is_PK - 1 / classes)


def _shifted(
    odds_PK: NDArray[np.float64], prior: tuple[float, ...], labelled: tuple[float, ...]
) -> NDArray[np.float64]:
    """Return probabilities, from odds among labels to odds in the pool."""
    odds_PK = odds_PK * (np.array(prior) / np.array(labelled))
    return odds_PK / odds_PK.sum(axis=1, keepdims=True)
