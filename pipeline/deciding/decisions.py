"""What was decided on every row of a pool: columns beside the scores, read a shard at a time.

Letters: N rows of a shard, n good ones among them, M rules.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from filters.rules import Primitive
from pipeline.columns.remaining import spread
from pipeline.columns.stages import Place
from pipeline.executors import some_at_once
from pipeline.schema import Reason
from pipeline.scores import Scores
from pipeline.votes import unpack, vote_columns

VOTE = "vote:"
REASON = "reason"  # `ok`, or why a good row is out; of the other rows `status` says it


@dataclass(frozen=True, slots=True)
class Decisions:
    """One decision per row of the pool.

    Attributes:
        scores: The pool's columns, and of every good row `reason`, `p_keep`, `concept`, `distance`,
            `twin` and the votes; null where a row never came that far. `twin` is the uid of the
            pair that a duplicate is a copy of.
        rules: What voted.
        reasons: Rows by reason; they add up to the pool.
        concepts: `concept, size, quota, complexity`, a row for each; None if nothing was clustered.
    """

    scores: Scores
    rules: tuple[Primitive, ...]
    reasons: Mapping[str, int]
    concepts: pa.Table | None

    @property
    def rows(self) -> int:
        """Rows of the pool."""
        return sum(self.reasons.values())

    def tables(self, columns: Sequence[str], *, votes: bool = False) -> Iterator[pa.Table]:
        """Yield columns of `decisions_of` every shard, with the votes of all rules on request."""
        rules = self.rules if votes else ()
        return (decisions_of(self.scores, rules, s, columns) for s in range(len(self.scores)))


def decisions_of(
    scores: Scores, rules: Sequence[Primitive], shard: int, columns: Sequence[str]
) -> pa.Table:
    """Return what was decided on all rows of one shard, good or not, in its order.

    Args:
        scores: With the columns of `Decisions`.
        rules: All that voted, for a `vote:<rule>` each; none for no votes.
        shard: Its index.
        columns: Of `shard` (its index), `uid, key, offset, size, caption`, `reason` (the status of
            a row that could not be scored), `p_keep, concept, distance, twin`, or any score column.

    Returns:
        N rows; null where a row never came that far.

    Raises:
        ValueError: There is no such column.
    """
    words = [column.name for column in vote_columns(rules)] if rules else []
    stored = [column for column in columns if column not in ("shard", REASON)]
    wanted = list(dict.fromkeys([*stored, REASON, "status", *words]))
    table = scores.holding([*stored, REASON, *words]).read(shard, wanted)
    status = table.column("status")
    is_good = pc.equal(status, str(Reason.OK))
    known = {
        **{name: table.column(name) for name in stored},
        REASON: pc.if_else(is_good, table.column(REASON), status),
        "shard": pa.array(np.full(len(table), shard, np.int32)),
    }
    votes = _votes(table.select(words), rules, is_good)
    return pa.table({name: known[name] for name in columns} | votes)


def undecided(scores: Scores) -> Scores:
    """Return the scores without the votes, and without what came after them."""
    first = vote_columns(())[0].name
    at = [first in source.columns for source in scores.sources]
    return replace(scores, sources=scores.sources[: at.index(True)] if any(at) else scores.sources)


def count_reasons(scores: Scores, place: Place) -> dict[str, int]:
    """Count the rows of the whole pool by reason, in tasks."""
    counted = Counter[str]()
    todo = some_at_once(range(len(scores)))
    for part in place.execute.map(_count_some, scores, todo, weights={}):
        counted.update(part)
    return dict(sorted(counted.items()))


def _votes(
    words: pa.Table, rules: Sequence[Primitive], is_good: pa.ChunkedArray
) -> dict[str, pa.Array]:
    """Return a column of votes, int8 with nulls [N], for each of M rules."""
    if not rules:
        return {}
    row_n = np.flatnonzero(is_good.to_numpy()).astype(np.int32)
    votes_nM = unpack(words.take(row_n), len(rules))
    return {
        f"{VOTE}{rule.name}": spread(vote_n, row_n, len(words))
        for rule, vote_n in zip(rules, votes_nM.T, strict=True)
    }


def _count_some(scores: Scores, weights: Mapping[str, Path], shards: Sequence[int]) -> Counter[str]:
    del weights
    counted = Counter[str]()
    for shard in shards:
        table = decisions_of(scores, (), shard, [REASON])
        for item in pc.value_counts(table.column(REASON)).to_pylist():
            counted[item["values"]] += item["counts"]
    return counted
