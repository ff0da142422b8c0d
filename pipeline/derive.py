"""Derived columns: stored columns in, new columns out, a shard at a time, wherever there are cores.

What a derived column has to know of the whole pool is found shard by shard and added up first:
counts of hashed things, or a sample.
"""

import hashlib
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from filters.derive import Columns, Derive, Pooled
from pipeline.columns.publish import Stage, publish
from pipeline.executors import Executor, some_at_once
from pipeline.fingerprint import file_digest, fingerprint, named_models
from pipeline.folder import Folder
from pipeline.ledger import Ledger, Record, Writer
from pipeline.scores import Located, Scores, locate
from pipeline.shards import Shard
from pipeline.tables import (
    embedding,
    holds_numbers,
    is_embedding,
    numbers,
    uid_words,
    uids,
)

MERGED_AT_ONCE = 16  # of what shards tell, so much is held apart
GROWTH = 3  # so many times the tasks done so far are sent out with the next bar


def derive(
    scores: Scores,
    what: Derive,
    *,
    shards: Sequence[Shard],
    store: Folder,
    weights: Callable[[str], Path],
    execute: Executor,
) -> Scores:
    """Add derived columns; shards that have them are left alone.

    Raises:
        ValueError: It reads a column that nobody wrote.
    """
    reads = tuple(dict.fromkeys(("caption", *what.reads)))
    name, located = locate_derived(
        scores, what, shards=shards, weights=weights, ledger=Ledger(store)
    )
    lacking = [which for _, which in located.lacking()]
    if lacking:
        ledger, paths = Ledger(store), {name: weights(name) for name in what.weights}
        ledger.declare(name, located.writes)
        stage = Stage(store=store, name=name, columns=what.columns, newest=ledger.newest)
        work = _Work(what, reads, scores, stage)
        counts = _count(work, execute) if _counts_pool(what) else None
        todo = some_at_once(np.flatnonzero(lacking[0]).tolist())
        with Writer(store, f"{what.kind}-{uuid.uuid4().hex}") as journal:
            for records in execute.map(_derive_some, (work, counts), todo, weights=paths):
                for record in records:
                    journal.add(record)
        located = locate(shards, located.writes, Ledger(store))
    (source,) = located.scores(store).sources
    return scores.plus(source)


def locate_derived(
    scores: Scores,
    what: Derive,
    *,
    shards: Sequence[Shard],
    weights: Callable[[str], Path],
    ledger: Ledger,
) -> tuple[str, Located]:
    """Return the stage of derived columns, and which shards have them."""
    files = [*named_models(what), *(weights(name) for name in what.weights)]
    writer = fingerprint(
        what.kind, settings=what, version=what.version,
        of=scores.digest([c for c in what.reads if c in scores.columns] or scores.columns),
        pool=hashlib.sha256("".join(scores.ids).encode()).hexdigest() if _counts_pool(what) else "",
        weights=[file_digest(place) for place in files],
    )  # fmt: skip
    writes = {writer: [column.name for column in what.columns]}
    return f"{what.kind}-{writer}", locate(shards, writes, ledger)


def _counts_pool(what: Derive) -> bool:
    return type(what).count is not Derive.count


@dataclass(frozen=True, slots=True)
class _Work:
    what: Derive
    reads: tuple[str, ...]
    scores: Scores
    stage: Stage

    def columns(self, shard: int) -> Columns:
        table = self.scores.good(shard, self.reads)
        return {name: _values(table, name) for name in self.reads}


class _Sum:
    """Adds up what shards tell; holds a few of them apart, full ones not at all."""

    def __init__(self) -> None:
        self._parts: list[Pooled] = []

    def add(self, part: Pooled) -> None:
        """Add something."""
        self._parts.append(part)
        if len(self._parts) >= MERGED_AT_ONCE or part.bar() is not None:
            self.total()

    def total(self) -> Pooled | None:
        """Return all of it; None if nothing was added."""
        if len(self._parts) > 1:
            first, *others = self._parts
            self._parts = [first.plus(others)]
        return self._parts[0] if self._parts else None


def _count(work: _Work, execute: Executor) -> Pooled | None:
    """Add up what all shards tell; None if none does.

    Where what is known tells shards what can be left out, tasks go out in rounds, each so much
    larger than all before that there are few, and that a round tells little more than the sum.
    """
    todo = some_at_once(range(len(work.scores)))
    found, done, bar = _Sum(), 0, None
    while done < len(todo):
        size = 1 if not done else len(todo) if bar is None else GROWTH * done
        for part in execute.map(_count_some, (work, bar), todo[done : done + size], weights={}):
            if part is not None:
                found.add(part)
        done += size
        total = found.total()
        bar = total.bar() if total is not None else None
    return found.total()


def _count_some(
    shared: tuple[_Work, Any], weights: Mapping[str, Path], shards: Sequence[int]
) -> Pooled | None:
    del weights
    work, bar = shared
    found = _Sum()
    for shard in shards:
        part = work.what.count(work.columns(shard))
        if part is not None:
            found.add(part if bar is None else part.within(bar))
    return found.total()


def _derive_some(
    shared: tuple[_Work, Pooled | None], weights: Mapping[str, Path], shards: Sequence[int]
) -> list[Record]:
    work, counts = shared
    start = time.perf_counter()
    make = work.what.load(weights, counts)
    records = []
    for shard in shards:
        columns = work.columns(shard)
        try:
            values = make(columns)
            seconds = time.perf_counter() - start
            records.append(publish(work.stage, work.scores, shard, values, seconds=seconds))
        except (MemoryError, OSError):
            raise
        except Exception as error:  # a plug-in's may raise anything
            what = " ".join(f"{type(error).__name__}: {error}".split())
            raise ValueError(
                f"derive {work.what.kind}: got {what} on {work.scores.shards[shard]}, expected "
                f"{', '.join(c.name for c in work.what.columns)}, a value or null for each good "
                "pair; correct its settings, or take it out of the config"
            ) from error
        start = time.perf_counter()
    return records


def _values(table: pa.Table, name: str) -> NDArray[Any] | list[Any]:
    """Return a column as `filters.derive.base.Columns` has it."""
    field = table.schema.field(name)
    column = table.column(name)
    if name == "uid":
        return uid_words(uids(table))
    if is_embedding(field):
        return embedding(table, name)
    if pa.types.is_uint64(field.type):
        return column.fill_null(0).to_numpy()
    if holds_numbers(field):
        return numbers(table, name, np.float32)
    return column.to_pylist()
