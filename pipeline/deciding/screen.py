"""What no model decides: a uid counts once, and a veto is a veto."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pyarrow as pa

from filters.extract.base import Values
from filters.hashing import hashed
from filters.rules import DROP, Primitive
from pipeline.columns.exchange import SHARD, Answers, exchange
from pipeline.columns.remaining import ROW, Remaining, reason_column
from pipeline.columns.shuffle import Rows, Runs, partitions_for
from pipeline.columns.stages import Place, column_stage
from pipeline.schema import Reason
from pipeline.scores import Scores
from pipeline.tables import uid_words, uids
from pipeline.votes import unpack, vote_columns

REASON = reason_column("screen")
ROW_BYTES = 32  # a uid, and where it is from


def screen(scores: Scores, rules: Sequence[Primitive], *, place: Place) -> Remaining:
    """Put out every pair whose uid an earlier row has, and what a rule with a veto drops."""
    votes = [column.name for column in vote_columns(rules)]
    stage = column_stage(
        scores, "screen", [REASON], place=place, reads=["uid", *votes], version=1,
        rules=list(rules),
    )  # fmt: skip
    if stage.is_whole:
        return Remaining(stage.known(), REASON.name)
    rows = Remaining(scores).count(place.execute)
    partitions = partitions_for(rows, row_bytes=ROW_BYTES)
    repeated = exchange(
        _send_uids, _find_repeated, (scores, partitions), shards=len(scores),
        partitions=partitions, folder=stage.scratch, execute=place.execute,
    )  # fmt: skip
    return Remaining(stage.fill(_reasons, (repeated, tuple(rules))), REASON.name)


def _send_uids(shared: tuple[Scores, int], shard: int) -> Iterator[Rows]:
    scores, partitions = shared
    table = scores.good(shard, ["uid"])
    partition_N = (hashed(uid_words(uids(table))) % np.uint64(partitions)).astype(np.int32)
    row_N = pa.array(np.arange(len(table), dtype=np.int32))
    yield Rows(table.append_column(ROW, row_N), partition_N)


def _find_repeated(_: object, runs: Runs, partition: int) -> Iterator[pa.Table]:
    """Return all rows of a uid but the first, in order of shard and row."""
    table = runs.read(partition)
    assert table is not None, "only partitions with rows are asked"
    uid_N, columns = uids(table), [table.column(name).to_numpy() for name in (ROW, SHARD)]
    order_N = np.lexsort((*columns, uid_N))
    again_N = order_N[1:][uid_N[order_N][1:] == uid_N[order_N][:-1]]
    yield table.select([SHARD, ROW]).take(np.sort(again_N))


def _reasons(
    shared: tuple[Answers, tuple[Primitive, ...]], scores: Scores, shard: int
) -> Mapping[str, Values]:
    repeated, rules = shared
    table = scores.good(shard, [column.name for column in vote_columns(rules)])
    reason_n = np.full(len(table), str(Reason.OK), object)
    veto_M = np.array([rule.veto for rule in rules])
    votes_nM = unpack(table, len(rules))
    reason_n[(votes_nM[:, veto_M] == DROP).any(axis=1)] = str(Reason.VETO)
    again = repeated.of(shard)
    if again is not None:
        reason_n[again.column(ROW).to_numpy()] = str(Reason.REPEATED_UID)
    return {REASON.name: reason_n.tolist()}
