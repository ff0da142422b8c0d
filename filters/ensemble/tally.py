"""Statistics of a pool that comes in shards: distinct patterns while there are few, then moments.

Few rules, or rules that agree, have few distinct patterns whatever the number of rows. Many rules
that do not can have almost as many as there are rows; then pairs of votes are added up instead,
which always fit, and which are the same integers that the patterns would have given.
"""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from filters.ensemble.moments import Moments, add
from filters.ensemble.patterns import PatternCounts, count, merge, same_votes

MOST_PATTERNS = 4_000_000  # 28 bytes each with 20 rules; merging takes half a gigabyte
FEW_PATTERNS = 1 << 18  # held before anything is merged


@dataclass(kw_only=True, slots=True)
class Tally:
    """Add shards in any order and cut, from one process or many; equal pools get equal statistics.

    There are patterns if and only if the whole pool has at most `most_patterns` distinct ones. No
    part can have more than the whole, so a part that went over to moments alone tells that the
    whole does, and neither order nor sharding shows.

    Attributes:
        classes: K.
        most_patterns: Distinct patterns that are kept; the same in all tallies of a pool.
    """

    classes: int = 2
    most_patterns: int = MOST_PATTERNS
    _counts: list[PatternCounts] = field(default_factory=list, init=False)  # the first is merged
    _moments: Moments | None = field(default=None, init=False)

    def add(self, part: NDArray[np.int8] | PatternCounts | Moments) -> None:
        """Add the votes of a shard, int8 [N, M], or what another tally made of them.

        Raises:
            ValueError: A vote is neither -1 nor a class, or rules or classes differ from the
                parts before.
        """
        if not isinstance(part, PatternCounts | Moments):
            part = self._counted(part)
        if part.classes != self.classes:
            raise ValueError(f"votes: got {part.classes} classes, expected {self.classes}")
        so_far = self._moments or (self._counts[0] if self._counts else part)
        same_votes([(p.rules, p.classes) for p in (so_far, part)])
        if isinstance(part, PatternCounts) and self._moments is None:
            self._counts.append(part)
            waiting = sum(len(counts.count_P) for counts in self._counts[1:])
            if waiting > max(len(self._counts[0].count_P), FEW_PATTERNS):
                self._merge()  # as many again: each pattern is merged a few times in all
        else:
            self._add_moments(part)

    def total(self) -> PatternCounts | Moments:
        """Return what `fit_label_model` takes.

        Raises:
            ValueError: Nothing was added.
        """
        if self._moments is None:
            self._merge()
        return self._counts[0] if self._moments is None else self._moments

    def _counted(self, votes_NM: NDArray[np.int8]) -> PatternCounts | Moments:
        if self._moments is None:
            return count(votes_NM, classes=self.classes)
        return Moments.of_votes(votes_NM, classes=self.classes)

    def _merge(self) -> None:
        """Leave one part, of moments if it has too many patterns."""
        if len(self._counts) != 1:
            self._counts = [merge(self._counts)]
        if len(self._counts[0].count_P) > self.most_patterns:
            self._add_moments(self._counts.pop())

    def _add_moments(self, part: PatternCounts | Moments) -> None:
        """Go over to moments, and take along what there is."""
        parts = [self._moments, *self._counts, part]
        self._counts = []
        self._moments = add(
            [Moments.of(p) if isinstance(p, PatternCounts) else p for p in parts if p is not None]
        )
