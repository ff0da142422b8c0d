"""Column stages: new columns for every shard of a pool, made once, wherever there are cores."""

import time
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from filters.extract import Column
from filters.extract.base import Values
from pipeline.columns.publish import Stage, publish
from pipeline.executors import Executor, some_at_once
from pipeline.fingerprint import fingerprint
from pipeline.folder import Folder
from pipeline.ledger import Ledger, Record, Writer
from pipeline.scores import Located, Scores, locate
from pipeline.shards import Shard

DECISIONS = "decisions"  # in a run folder: the store of what deciding writes
SCRATCH = "scratch"  # in a store: what runs need while they are at it

Make = Callable[[Any, Scores, int], Mapping[str, Values]]


@dataclass(frozen=True, slots=True)
class Place:
    """Where columns are made, and where they go.

    Attributes:
        shards: Of the pool.
        store: Folder that holds `scores/` and `ledger/`.
        execute: Where it is done.
    """

    shards: Sequence[Shard]
    store: Folder
    execute: Executor


@dataclass(frozen=True, slots=True)
class ColumnStage:
    """Columns that every shard is to have: some may have them already.

    Attributes:
        name: `<kind>-<fingerprint>`.
        columns: What they are.
        scores: What is known of the pool without them.
        place: Where it is done.
        located: Which shards have them.
        attempt: Who is at it: another run may be at the same columns in the same store.
    """

    name: str
    columns: tuple[Column, ...]
    scores: Scores
    place: Place
    located: Located
    attempt: str = field(default_factory=lambda: uuid.uuid4().hex)

    @property
    def folder(self) -> Folder:
        """The folder of its tables; a file that holds for all of them may lie beside them."""
        return self.place.store / "scores" / self.name

    @property
    def scratch(self) -> Folder:
        """A folder of its own for what is not needed any more once it is done."""
        return self.place.store / SCRATCH / f"{self.name}-{self.attempt}"

    @property
    def is_whole(self) -> bool:
        """Whether no shard lacks them."""
        return self.located.is_whole

    def known(self) -> Scores:
        """Return the scores with these columns; every shard has to have them."""
        (source,) = self.located.scores(self.place.store).sources
        return self.scores.plus(source)

    def fill(self, make: Make, shared: Any) -> Scores:
        """Have the shards that lack them get them, and return the scores with these columns.

        Args:
            make: `make(shared, scores, shard)` returns a value for each good row, by column; of a
                module, so that it can be sent to a task; may be called again.
            shared: What every call needs; sent once.
        """
        store, ledger = self.place.store, Ledger(self.place.store)
        ledger.declare(self.name, self.located.writes)
        stage = Stage(store=store, name=self.name, columns=self.columns, newest=ledger.newest)
        lacking_S = np.asarray((self.located.stage_SW < 0).any(axis=1))
        todo = some_at_once(np.flatnonzero(lacking_S).tolist())
        work = _Work(make, shared, self.scores, stage)
        with Writer(store, f"{self.name}-{uuid.uuid4().hex}") as journal:
            for records in self.place.execute.map(_fill_some, work, todo, weights={}):
                for record in records:
                    journal.add(record)
        self.scratch.remove_all()
        located = locate(self.place.shards, self.located.writes, Ledger(store))
        return ColumnStage(self.name, self.columns, self.scores, self.place, located).known()


def column_stage(
    scores: Scores,
    kind: str,
    columns: Iterable[Column],
    *,
    place: Place,
    reads: Sequence[str],
    version: int,
    **settings: Any,
) -> ColumnStage:
    """Look up which shards have the columns of a stage.

    Args:
        scores: What is known of the pool.
        kind: Name of the stage.
        columns: What it writes.
        place: Where it is done.
        reads: Columns that decide what it writes; their tables' digests are part of its identity.
            Which rows are good depends on all, so where that matters, all are to be named; `uid`
            where it decides, say between equals.
        version: Raised when the same settings write something else.
        settings: What else its columns depend on.
    """
    columns = tuple(columns)
    writer = fingerprint(kind, version=version, of=scores.digest(reads), **settings)
    writes = {writer: [column.name for column in columns]}
    located = locate(place.shards, writes, Ledger(place.store))
    return ColumnStage(f"{kind}-{writer}", columns, scores, place, located)


@dataclass(frozen=True, slots=True)
class _Work:
    make: Make
    shared: Any
    scores: Scores
    stage: Stage


def _fill_some(work: _Work, weights: Mapping[str, Path], shards: Sequence[int]) -> list[Record]:
    del weights
    records = []
    for shard in shards:
        start = time.perf_counter()
        values = work.make(work.shared, work.scores, shard)
        seconds = time.perf_counter() - start
        records.append(publish(work.stage, work.scores, shard, values, seconds=seconds))
    return records
