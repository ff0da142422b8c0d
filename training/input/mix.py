"""Several subsets in given shares: which of them a position belongs to is fixed by the shares.

The sources take turns by a table that repeats itself: at every position the one whose next turn
is due soonest, among those that have not run ahead. That keeps each within one pair of its share
of every prefix (EDF on windows of a fluid schedule; Baruah et al., 1996).

Letters: S sources, A positions of the table, n positions, G pairs of a batch.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import lcm

import numpy as np
from numpy.typing import NDArray

from filters.hashing import hashed
from pipeline.pairs import Pairs
from training.config import Sampling
from training.input.order import Order, Rows
from training.input.showings import Showings, showings_of

LONGEST = 1 << 16  # table; shares that need a longer one are rounded to so many parts
TRIES = 256  # pairs that are looked at in a row for one that may stand in


class Turns:
    """Whose turn it is: a table of A positions, over and over.

    Attributes:
        source_A: int64 [A].
        turns_S: Turns of each source in the table, int64 [S].
    """

    def __init__(self, shares: Sequence[float]) -> None:
        self.turns_S = _parts(shares)
        self.source_A = _table(self.turns_S)
        one_hot_AS = self.source_A[:, None] == np.arange(len(self.turns_S))
        self._before_AS = np.concatenate([np.zeros((1, len(shares)), int), one_hot_AS.cumsum(0)])
        self._places = [np.flatnonzero(one_hot_S) for one_hot_S in one_hot_AS.T]

    def before(self, position: int, source: int) -> int:
        """Return how many positions below this one belong to a source."""
        rounds, within = divmod(position, len(self.source_A))
        return rounds * int(self.turns_S[source]) + int(self._before_AS[within, source])

    def position(self, turn: int, source: int) -> int:
        """Return the position of a source's turn."""
        rounds, within = divmod(turn, int(self.turns_S[source]))
        return rounds * len(self.source_A) + int(self._places[source][within])

    def sources(self, start: int, stop: int) -> Rows:
        """Return whose the positions from `start` to `stop` are, int64 [n]."""
        return self.source_A[np.arange(start, stop) % len(self.source_A)]

    def most(self, source: int, batch_size: int) -> int:
        """Return the most turns of a source in a batch that begins anywhere."""
        rounds, left = divmod(batch_size, len(self.source_A))
        twice = np.concatenate([self._before_AS, self._before_AS[1:] + self.turns_S])[:, source]
        turns = (twice[left : left + len(self.source_A)] - twice[: len(self.source_A)]).max()
        return rounds * int(self.turns_S[source]) + int(turns)


@dataclass(frozen=True, slots=True)
class _Windows:
    """Which turns of a source are in one batch."""

    turns: Turns
    source: int
    batch_size: int

    def __call__(self, turn: int) -> tuple[int, int]:
        """Return the first and the last + 1 of the batch in which a turn is."""
        begin = self.turns.position(turn, self.source) // self.batch_size * self.batch_size
        ends = (begin, begin + self.batch_size)
        first, last = (self.turns.before(end, self.source) for end in ends)
        return first, last


class Mix:
    """The endless sequence of pairs of several sources; each has an order of its own.

    A pair that is in several sources is shown for each, but not twice in one batch: there, another
    pair of the later source stands in for it, so a source's epochs are not exact for such pairs.

    Args:
        sources: How often each source shows which pairs.
        shares: Of the sources.
        seed: Of the orders.
        batch_size: G.
        apart: Whether no pair is in two sources.
    """

    def __init__(
        self,
        sources: Sequence[Showings],
        shares: Sequence[float],
        *,
        seed: int,
        batch_size: int = 1,
        apart: bool = False,
    ) -> None:
        self.turns = Turns(shares)
        self.seed = seed
        self._batch = batch_size
        self._apart = apart or batch_size == 1 or len(sources) == 1
        self.orders = [self._order(source, showings) for source, showings in enumerate(sources)]
        self.count = sum(order.count for order in self.orders)

    def rows(self, start: int, stop: int) -> tuple[Rows, Rows]:
        """Return lap and row of the positions from `start` to `stop` (exclusive).

        Laps of all sources have numbers of their own.
        """
        if self._apart:
            return self._drawn(start, stop)
        begin, end = start // self._batch * self._batch, -(-stop // self._batch) * self._batch
        laps, rows = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
        for first in range(begin, end, self._batch):
            lap_G, row_G = self._drawn(first, first + self._batch)
            self._replace_repeated(first, row_G)
            laps.append(lap_G)
            rows.append(row_G)
        here = slice(start - begin, stop - begin)
        return np.concatenate(laps)[here], np.concatenate(rows)[here]

    def _order(self, source: int, showings: Showings) -> Order:
        most = self.turns.most(source, self._batch)
        seed = int(
            hashed(np.array([[self.seed, source]], np.uint64), salt="mix")[0] >> np.uint64(1)
        )
        bounds = _Windows(self.turns, source, self._batch)
        return Order(showings, seed=seed, batch_size=max(1, most), bounds=bounds)

    def _drawn(self, start: int, stop: int) -> tuple[Rows, Rows]:
        source_n = self.turns.sources(start, stop)
        lap_n, row_n = np.empty_like(source_n), np.empty_like(source_n)
        for source, order in enumerate(self.orders):
            first, last = (self.turns.before(at, source) for at in (start, stop))
            lap, row = order.rows(first, last)
            is_its = source_n == source
            lap_n[is_its], row_n[is_its] = lap * len(self.orders) + source, row
        return lap_n, row_n

    def _replace_repeated(self, first: int, row_G: Rows) -> None:
        """Put other pairs of the same source where a batch has a pair for the second time."""
        kept = np.unique(row_G, return_index=True)[1]
        repeated = np.setdiff1d(np.arange(len(row_G)), kept)
        if not len(repeated):
            return
        seen = set(row_G.tolist())
        source_G = self.turns.sources(first, first + len(row_G))
        for place in repeated.tolist():
            row = self._unseen(first + place, int(source_G[place]), seen)
            row_G[place] = row
            seen.add(row)

    def _unseen(self, position: int, source: int, seen: set[int]) -> int:
        """Return the first pair that is not in a batch, of a source's from some place on."""
        order = self.orders[source]
        word = np.array([[self.seed, position]], np.uint64)
        start = int(hashed(word, salt="stand-in")[0] % np.uint64(order.count))
        for at in range(start, start + order.count, TRIES):
            for row in order.rows(at, at + TRIES)[1].tolist():
                if row not in seen:
                    return row
        raise ValueError(
            f"batch_size: got {self._batch}, but all pairs of source {source} of sampling.mix are "
            "in the batch for others already; lower it, or show more pairs"
        )


def order_of(sampling: Sampling, pairs: Pairs, *, seed: int, batch_size: int) -> Order | Mix:
    """Return the order in which the settings show the pairs.

    Args:
        sampling: The settings.
        pairs: Of the subset, or of all subsets of the mix, in this order.
        seed: Of the order.
        batch_size: Of a whole batch.

    Raises:
        ValueError: There are too few pairs for a batch, or no such weight.
    """
    if not sampling.mix:
        showings = showings_of(pairs, weight=sampling.weight)
        return Order(showings, seed=seed, batch_size=batch_size)
    numbers = range(len(sampling.mix))
    sources = [showings_of(pairs, subset=i, weight=sampling.weight) for i in numbers]
    shares = [source.share for source in sampling.mix]
    apart = sum(int(source.start_C[-1]) for source in sources) == len(pairs)
    return Mix(sources, shares, seed=seed, batch_size=batch_size, apart=apart)


def shown(order: Order | Mix, pairs: Pairs, *, step: int, batch_size: int) -> NDArray[np.void]:
    """Return the uids that a step sees, in its order: records of `UID_DTYPE` [G]."""
    return pairs.uid_N[order.rows(step * batch_size, (step + 1) * batch_size)[1]]


def _parts(shares: Sequence[float]) -> NDArray[np.int64]:
    """Return shares as whole parts: exactly as they are written, if that takes few."""
    exact = [Fraction(str(share)) for share in shares]
    parts = [share / sum(exact) for share in exact]
    table = lcm(*(part.denominator for part in parts))
    if table > LONGEST:
        rounded = [max(1, round(part * LONGEST)) for part in parts]
        parts = [Fraction(part, sum(rounded)) for part in rounded]
        table = lcm(*(part.denominator for part in parts))
    return np.array([int(part * table) for part in parts], np.int64)


def _table(turns_S: NDArray[np.int64]) -> Rows:
    """Return whose each of the A positions is."""
    length = int(turns_S.sum())
    taken_S = np.zeros(len(turns_S), np.int64)
    source_A = np.empty(length, np.int64)
    for position in range(length):
        is_ready_S = taken_S * length < (position + 1) * turns_S
        is_ready_S &= taken_S < turns_S
        due_S = -(-(taken_S + 1) * length // turns_S)
        source = int(np.where(is_ready_S, due_S, 2 * length + 1).argmin())
        source_A[position] = source
        taken_S[source] += 1
    return source_A
