"""Noisy rules with known parameters: what is drawn, and the best that can be made of it.

Letters: N rows, M rules.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Rule = tuple[float, float, float, float]  # P(keep | good), P(drop | good), of bad the same two


@dataclass(frozen=True, kw_only=True, slots=True)
class Case:
    """Rules that cut columns; columns are independent given the class.

    Attributes:
        prior: P(good).
        rules: What each does with rows of each class.
        columns: The column that each rule cuts; empty is one each. Two equal rules on one column
            are copies, two others cuts of it at different places.
        told: Ours is told what each rule reads, as a config does; otherwise the votes have to tell.
        opposite: Rules whose votes are then turned round.
        flipped: Share of the votes of a rule that is not alone on its column that it gets wrong.
        missing: Share of rows on which the first three rules have nothing to vote on.
    """

    prior: float
    rules: Sequence[Rule]
    columns: Sequence[int] = ()
    told: bool = False
    opposite: Sequence[int] = ()
    flipped: float = 0.0
    missing: float = 0.0

    def draw(
        self, rows: int, rng: np.random.Generator
    ) -> tuple[NDArray[np.bool_], NDArray[np.int8]]:
        """Return N truths, and votes, int8 [N, M]."""
        good_N = rng.random(rows) < self.prior
        column = self._column()
        u_NC = rng.random((rows, max(column) + 1))
        votes_NM = np.empty((rows, len(self.rules)), np.int8)
        for m, (keep_good, drop_good, keep_bad, drop_bad) in enumerate(self.rules):
            u_N = u_NC[:, column[m]]
            keep_N = u_N < np.where(good_N, keep_good, keep_bad)
            drop_N = u_N >= 1 - np.where(good_N, drop_good, drop_bad)
            turned_N = np.full(rows, m in self.opposite)
            if list(column).count(column[m]) > 1:
                turned_N ^= rng.random(rows) < self.flipped
            votes_NM[:, m] = np.where(keep_N | drop_N, keep_N ^ turned_N, -1)
        votes_NM[rng.random(rows) < self.missing, :3] = -1
        return good_N, votes_NM

    def optimal(self, votes_NM: NDArray[np.int8]) -> NDArray[np.float64]:
        """Return P(good | votes) by the true parameters; of noisy copies only the first is read."""
        odds_N = np.full(len(votes_NM), np.log(self.prior / (1 - self.prior)))
        column = self._column()
        for c in sorted(set(column)):
            rules = [m for m in range(len(column)) if column[m] == c][: 1 if self.flipped else None]
            good_N = self._likelihood(votes_NM, rules, 0)
            odds_N += np.log(good_N / self._likelihood(votes_NM, rules, 2))
        return 1 / (1 + np.exp(-odds_N))

    def _likelihood(
        self, votes_NM: NDArray[np.int8], rules: Sequence[int], side: int
    ) -> NDArray[np.float64]:
        """Return how much of a column has the votes that its rules cast."""
        low_N, high_N = np.zeros(len(votes_NM)), np.ones(len(votes_NM))
        for m in rules:
            keep, drop = self.rules[m][side : side + 2]
            said_N = votes_NM[:, m]
            vote_N = np.where(said_N < 0, -1, said_N ^ 1 if m in self.opposite else said_N)
            low_N = np.maximum(low_N, np.choose(vote_N + 1, [keep, 1 - drop, 0.0]))
            high_N = np.minimum(high_N, np.choose(vote_N + 1, [1 - drop, 1.0, keep]))
        return np.maximum(high_N - low_N, 1e-12)

    def _column(self) -> Sequence[int]:
        return self.columns or range(len(self.rules))


def right(accuracy: float, coverage: float = 1.0) -> Rule:
    """Return a rule that is right on a share of its votes, whatever the class."""
    a, b = accuracy * coverage, (1 - accuracy) * coverage
    return a, b, b, a


def keeps(good: float, bad: float) -> Rule:
    """Return a rule that votes keep or not at all."""
    return good, 0.0, bad, 0.0


def drops(good: float, bad: float) -> Rule:
    """Return a rule that votes drop or not at all."""
    return 0.0, good, 0.0, bad


def above(good: float, bad: float) -> Rule:
    """Return a rule that votes keep above a cut and drop below."""
    return good, 1 - good, bad, 1 - bad


FOUR = [right(a) for a in (0.85, 0.8, 0.75, 0.7)]
COPIES = [*FOUR, *[right(0.6)] * 5]
ONE_COLUMN = (0, 1, 2, 3, 4, 4, 4, 4, 4)
CASES = {
    "independent": Case(prior=0.5, rules=[right(a, 0.8) for a in (0.8, 0.75, 0.7, 0.65, 0.6)]),
    "four good, one of 0.60 five times": Case(prior=0.5, rules=COPIES, columns=ONE_COLUMN),
    "one good in ten": Case(prior=0.1, rules=[right(a, 0.8) for a in (0.8, 0.75, 0.7, 0.7, 0.65)]),
    "one adversarial (0.20)": Case(
        prior=0.5, rules=[right(a, 0.8) for a in (0.75, 0.7, 0.7, 0.65, 0.2)]
    ),
    "coverage 1 %": Case(prior=0.5, rules=[right(a, 0.01) for a in (0.85, 0.8, 0.75, 0.7, 0.65)]),
    "one-sided, 4 keep and 2 drop": Case(
        prior=0.3,
        rules=[
            keeps(0.5, 0.1), keeps(0.4, 0.15), keeps(0.3, 0.1), keeps(0.6, 0.3),
            drops(0.1, 0.4), drops(0.15, 0.5),
        ],
    ),
    "the copies, each wrong on 5 % by itself": Case(
        prior=0.5, rules=COPIES, columns=ONE_COLUMN, flipped=0.05
    ),
    "the copies, two of them opposite": Case(
        prior=0.5, rules=COPIES, columns=ONE_COLUMN, opposite=(5, 7)
    ),
    "five cuts of one weak column, columns told": Case(
        prior=0.4,
        told=True,
        rules=[
            *FOUR, above(0.85, 0.7), above(0.7, 0.5), above(0.6, 0.4), above(0.5, 0.3),
            above(0.3, 0.15),
        ],
        columns=ONE_COLUMN,
    ),
    "three rules without a value on 10 %": Case(
        prior=0.4, rules=[right(a, 0.8) for a in (0.75, 0.7, 0.7, 0.7, 0.65, 0.8)], missing=0.1
    ),
}  # fmt: skip
