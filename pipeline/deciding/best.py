"""What the ensemble keeps: pairs above its cut, or the best ones, to the pair."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from filters.ensemble.budget import Cut, Digit, Rows, best, rows_of
from filters.extract.base import Values
from pipeline.columns.remaining import Remaining, reason_column
from pipeline.columns.stages import Place, column_stage
from pipeline.config import Ensemble
from pipeline.executors import Executor, some_at_once
from pipeline.schema import Reason
from pipeline.scores import Scores
from pipeline.tables import numbers, uid_words, uids

REASON = reason_column("ensemble")
P_KEEP = "p_keep"

logger = logging.getLogger(__name__)


def keep_best(remaining: Remaining, cfg: Ensemble, *, place: Place) -> Remaining:
    """Put out what is below the cut on p(keep), or, with a budget, all but the best pairs."""
    by = cfg.rank_by or P_KEEP
    stage = column_stage(
        remaining.scores, "kept", [REASON], place=place, reads=["uid", by, remaining.reason],
        version=1, by=by, keep_above=cfg.keep_above, budget=cfg.budget,
    )  # fmt: skip
    if stage.is_whole:
        return Remaining(stage.known(), REASON.name)
    cut = _budget_cut(remaining, by, cfg.budget, place.execute) if cfg.budget else cfg.keep_above
    return Remaining(stage.fill(_reasons, (remaining.reason, by, cut)), REASON.name)


@dataclass(frozen=True, slots=True)
class _Ranked:
    """The pairs still in, by what ranks them."""

    remaining: Remaining
    by: str

    def of(self, shard: int) -> Rows:
        table = self.remaining.left(shard, [self.by, "uid"])
        return _rank(numbers(table, self.by, np.float64)), uid_words(uids(table))


def _rank(value_N: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return what ranks pairs: one without a value comes last."""
    return np.where(np.isnan(value_N), -np.inf, value_N)


def _budget_cut(remaining: Remaining, by: str, budget: float, execute: Executor) -> Cut:
    """Find the last pair of the budget; its share is of the pairs left and of those vetoed."""
    todo = some_at_once(range(len(remaining.scores)))
    pairs = sum(execute.map(_count_pairs, remaining, todo, weights={}))
    ranked, rows = _Ranked(remaining, by), rows_of(budget, pairs)

    def count(digit: Digit) -> NDArray[np.int64]:
        total = np.zeros(1 << 16, np.int64)
        for value_B, count_B in execute.map(_count_digit, (ranked, digit), todo, weights={}):
            total[value_B] += count_B
        return total

    left = remaining.count(execute)
    if left < rows:
        logger.warning(
            "ensemble.budget: got %d pairs that no rule vetoes, expected at least the %d of the "
            "budget; all are kept", left, rows,
        )  # fmt: skip
    return best(count, rows)


def _count_pairs(remaining: Remaining, weights: Mapping[str, Path], shards: Sequence[int]) -> int:
    del weights
    counted = (Reason.OK, Reason.VETO)
    return sum(int(np.isin(remaining.reasons(shard), counted).sum()) for shard in shards)


def _count_digit(
    shared: tuple[_Ranked, Digit], weights: Mapping[str, Path], shards: Sequence[int]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    del weights
    ranked, digit = shared
    total_B = sum((digit.count(ranked.of(shard)) for shard in shards), np.zeros(1 << 16, np.int64))
    return np.flatnonzero(total_B), total_B[total_B > 0]


def _reasons(
    shared: tuple[str, str, Cut | float], scores: Scores, shard: int
) -> Mapping[str, Values]:
    before, by, cut = shared
    reason_n = Remaining(scores, before).reasons(shard)
    table = scores.good(shard, [by, "uid"])
    value_n = numbers(table, by, np.float64)
    if isinstance(cut, Cut):
        out_n, why = ~cut.keeps(_rank(value_n), uid_words(uids(table))), Reason.OVER_BUDGET
    else:
        out_n, why = ~(value_n >= cut), Reason.LOW_P_KEEP
    reason_n[out_n & (reason_n == Reason.OK)] = str(why)
    return {REASON.name: reason_n.tolist()}
