"""Rows go to whoever answers for their key, and the answers come back to their shards."""

import uuid
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.columns.shuffle import Rows, Runs, shuffle
from pipeline.executors import Executor, at_once, some_at_once
from pipeline.folder import Folder

SHARD = "shard"  # index of a row's shard, int32; its `row` is its place among the good ones

Ask = Callable[[Any, int], Iterable[Rows]]
Answer = Callable[[Any, Runs, int], Iterable[pa.Table]]


@dataclass(frozen=True, slots=True)
class Answers:
    """What came back.

    Attributes:
        runs: Tables with `shard`, `row` and what was answered.
        together: Shards whose answers are in one partition, as many as a task does.
        name: Of nothing else, so that what was read can be known again.
    """

    runs: Runs = field(compare=False)
    together: int
    name: str = field(default_factory=lambda: uuid.uuid4().hex)

    def of(self, shard: int) -> pa.Table | None:
        """Return the answers to a shard's rows, in order of `row`; None without any."""
        table = _read(self, shard // self.together)
        if table is None:
            return None
        return table.filter(pc.equal(table.column(SHARD), shard)).sort_by("row")


@lru_cache(maxsize=2)  # a task does shard after shard, and may have two kinds of answers
def _read(answers: Answers, partition: int) -> pa.Table | None:
    return answers.runs.read(partition)


def exchange(
    ask: Ask,
    answer: Answer,
    shared: Any,
    *,
    shards: int,
    partitions: int,
    folder: Folder,
    execute: Executor,
) -> Answers:
    """Bring rows together by partition, have each partition answered, and send the answers home.

    Args:
        ask: `ask(shared, shard)` yields what a shard sends: tables with its `row` among the good
            rows, to which `shard` is added. Both functions are of a module, and may be called
            again.
        answer: `answer(shared, runs, partition)` yields tables with `shard`, `row` and answers, of
            one schema; rows without an answer may be left out. Rows come in an order that depends
            on how the pool is sharded; what is answered must not.
        shared: What both need.
        shards: How many there are.
        partitions: How many answer; `partitions_for` tells.
        folder: For what lies on disk meanwhile.
        execute: Where it is done.
    """
    sent = shuffle(
        _ask, (ask, shared), some_at_once(range(shards)),
        partitions=partitions, folder=folder / "there", execute=execute,
    )  # fmt: skip
    todo, together = np.flatnonzero(sent.rows_P).tolist(), at_once(shards)
    back = shuffle(
        _answer, (answer, shared, sent, together), todo,
        partitions=-(-shards // together), folder=folder / "back", execute=execute,
    )  # fmt: skip
    sent.remove()
    return Answers(back, together)


def _ask(work: tuple[Ask, Any], shards: Iterable[int]) -> Iterator[Rows]:
    ask, shared = work
    for shard in shards:
        for rows in ask(shared, shard):
            index = pa.array(np.full(len(rows.table), shard, np.int32))
            yield Rows(rows.table.append_column(SHARD, index), rows.partition_N)


def _answer(work: tuple[Answer, Any, Runs, int], partition: int) -> Iterator[Rows]:
    answer, shared, sent, together = work
    for table in answer(shared, sent, partition):
        shard_N = table.column(SHARD).to_numpy()
        yield Rows(table, (shard_N // together).astype(np.int32))
