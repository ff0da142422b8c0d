"""Which pairs of a pool are still in, while it is decided step by step.

Letters: n good rows of a shard, m of them still in.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from filters.extract import Column
from pipeline.executors import Executor, some_at_once
from pipeline.schema import Reason
from pipeline.scores import Scores

ROW = "row"  # place of a row among its shard's good rows, int32


@dataclass(frozen=True, slots=True)
class Remaining:
    """The pairs that no step so far has put out.

    Attributes:
        scores: What is known of the pool, what the steps have written included.
        reason: The column that says why a good pair is out, or `ok`; the last step's.
    """

    scores: Scores
    reason: str = "status"

    def reasons(self, shard: int) -> NDArray[np.object_]:
        """Return the reason of a shard's good rows, text [n]; `ok` for those still in."""
        column = self._good(shard, [self.reason]).column(self.reason)
        return np.array(column.to_pylist(), object)

    def left(self, shard: int, columns: Sequence[str]) -> pa.Table:
        """Return columns of a shard's pairs that are still in, m rows, and `row`, where each is."""
        table = self._good(shard, list(dict.fromkeys([*columns, self.reason])))
        is_in = pc.equal(table.column(self.reason), str(Reason.OK))
        rows = np.flatnonzero(is_in.to_numpy()).astype(np.int32)
        return table.filter(is_in).select(list(columns)).append_column(ROW, pa.array(rows))

    def _good(self, shard: int, columns: list[str]) -> pa.Table:
        """Read columns of good rows, from the tables that have them only.

        Beside a step's reason lies the status that all tables before it have found.
        """
        by_step = self.reason != "status"
        return (self.scores.holding(columns) if by_step else self.scores).good(shard, columns)

    def count(self, execute: Executor) -> int:
        """Return how many pairs are still in."""
        todo = some_at_once(range(len(self.scores)))
        return sum(execute.map(_count_some, self, todo, weights={}))


def reason_column(step: str) -> Column:
    """Return the column in which a step says why a pair is out, or `ok`."""
    return Column(f"reason_{step}", "string", "", "", f"why a pair is out after {step}, or ok")


def spread(values_m: NDArray, row_m: NDArray[np.int32], rows: int) -> pa.Array:
    """Place values at their rows, null at the others; [rows]."""
    dense = np.zeros(rows, values_m.dtype)
    dense[row_m] = values_m
    missing = np.ones(rows, bool)
    missing[row_m] = False
    return pa.array(dense, mask=missing)


def _count_some(remaining: Remaining, weights: Mapping[str, Path], shards: Sequence[int]) -> int:
    del weights
    return sum(int((remaining.reasons(shard) == Reason.OK).sum()) for shard in shards)
