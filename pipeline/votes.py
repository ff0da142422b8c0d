"""Votes of every rule on every good row: cast once, stored beside the scores, counted by pattern.

The votes of a row are one or two integers (`filters.ensemble.patterns`), columns of a table per
shard like those of any other stage: done once, in tasks, wherever there are cores. A model is
fitted on counts that add up over shards, and looks p(keep) up a shard at a time. Every change of a
rule, or of what it might read, is a stage of its own; the tables of thresholds that were tried
before stay where they are, a byte or so a row.
Letters: N rows of a shard, n labelled rows, M rules, W words.
"""

import json
import time
import uuid
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pydantic import Field, TypeAdapter, ValidationError

from filters.ensemble import Labelled, Moments, PatternCounts, Tally, count_labels
from filters.ensemble.patterns import decode, encode
from filters.extract import Column
from filters.rules import Band, Condition, Primitive, ReadyMade
from pipeline.columns.publish import Stage, publish
from pipeline.executors import Executor, some_at_once
from pipeline.fingerprint import fingerprint
from pipeline.folder import Folder
from pipeline.labels import Hits, Labels, find_labelled, require_in_pool
from pipeline.ledger import Ledger, Record, Writer, Writes, table_name
from pipeline.quantiles import quantiles
from pipeline.schema import Reason
from pipeline.scores import Located, Scores, locate
from pipeline.shards import Shard
from pipeline.tables import read

KIND = "votes"
VERSION = 1  # raised when rules of the same settings vote, or votes are packed, in another way
RESOLVED = "rules.json"  # beside the tables, so that quantiles are found once
RULES = TypeAdapter(tuple[Annotated[Band | Condition, Field(discriminator="kind")], ...])

Rules = Sequence[Primitive | ReadyMade]


@dataclass(frozen=True, slots=True)
class Votes:
    """What the rules say of a pool.

    Attributes:
        rules: M rules, ready-made ones replaced by what they stand for, and quantiles by the
            values that they are in this pool.
        scores: What is known of the pool, with the columns of the votes.
        counts: How often each pattern of votes occurs among the good rows, or, where there are too
            many patterns, each pair of votes.
        labelled: What people say of a few of them, or None.
        at_random: The same of those that were shown at random: shares hold for these alone.
        without_votes: Labelled pairs that have no votes, such as broken pictures.
    """

    rules: tuple[Primitive, ...]
    scores: Scores
    counts: PatternCounts | Moments
    labelled: Labelled | None = None
    at_random: Labelled | None = None
    without_votes: int = 0

    def of(self, shard: int) -> NDArray[np.int8]:
        """Return the votes of a shard's good rows, int8 [N, M]: 1 keep, 0 drop, -1 abstain."""
        names = [column.name for column in vote_columns(self.rules)]
        return unpack(self.scores.good(shard, names), len(self.rules))


def vote_columns(rules: Rules) -> tuple[Column, ...]:
    """Return the columns that hold the votes of these rules.

    Raises:
        ValueError: There are more rules than can be counted.
    """
    words = encode(np.zeros((0, len(rules)), np.int8)).shape[1]
    meaning = "votes of all rules on this row, packed; pipeline.votes.unpack"
    return tuple(Column(f"{KIND}_{w}", "uint64", "", "[0, 2^64)", meaning) for w in range(words))


def unpack(table: pa.Table, rules: int) -> NDArray[np.int8]:
    """Return votes, int8 [N, M], from a table of nothing but their columns, without null."""
    word_NW = np.stack([column.to_numpy() for column in table.columns], axis=1)
    return decode(word_NW, rules=rules)


def locate_votes(
    scores: Scores, rules: Rules, *, shards: Sequence[Shard], ledger: Ledger
) -> tuple[str, Located]:
    """Return the stage of these rules' votes, and which shards have theirs.

    All columns count, not only those that are read: which rows are good depends on all of them.
    """
    primitives = [rule.primitive() if isinstance(rule, ReadyMade) else rule for rule in rules]
    writer = fingerprint(KIND, rules=primitives, version=VERSION, of=scores.digest(scores.columns))
    writes: Writes = {writer: [column.name for column in vote_columns(rules)]}
    return f"{KIND}-{writer}", locate(shards, writes, ledger)


def cast_votes(
    scores: Scores,
    rules: Rules,
    *,
    shards: Sequence[Shard],
    store: Folder,
    execute: Executor,
    labels: Labels | None = None,
) -> Votes:
    """Let every rule vote on every good row, and count; what is stored already is only counted.

    Args:
        scores: What the rules read.
        rules: At most 64.
        shards: Of the pool.
        store: Folder that holds `scores/` and `ledger/`.
        execute: Where it is done.
        labels: Of a few pairs: 1 keep, 0 drop.

    Raises:
        ValueError: A rule does not suit its columns, or a label is of a pair that is not there.
    """
    ledger = Ledger(store)
    name, located = locate_votes(scores, rules, shards=shards, ledger=ledger)
    resolved = _resolve(scores, rules, folder=store / "scores" / name, execute=execute)
    ledger.declare(name, located.writes)
    stage = Stage(store=store, name=name, columns=vote_columns(rules), newest=ledger.newest)
    is_stored_S = located.stage_SW[:, 0] >= 0
    work = _Work(resolved, scores, stage, is_stored_S, labels)
    todo = some_at_once(range(len(scores)))
    tally = Tally()
    found: list[_Found] = []
    with Writer(store, f"{KIND}-{uuid.uuid4().hex}") as journal:
        for part in execute.map(_cast_some, work, todo, weights={}):
            for record in part.records:
                journal.add(record)
            found += part.found
            tally.add(part.counts)
    located = locate(shards, located.writes, Ledger(store))
    (source,) = located.scores(store).sources
    known = scores.plus(source)
    if labels is None:
        return Votes(resolved, known, tally.total())
    return Votes(resolved, known, tally.total(), *_labelled(labels, found))


@dataclass(frozen=True, slots=True)
class _Work:
    rules: tuple[Primitive, ...]
    scores: Scores
    stage: Stage
    is_stored_S: NDArray[np.bool_]
    labels: Labels | None


@dataclass(frozen=True, slots=True)
class _Found:
    """The labelled pairs of a shard, and what the rules say of them, int8 [n, M]."""

    shard: int
    hits: Hits
    votes_nM: NDArray[np.int8]


@dataclass(frozen=True, slots=True)
class _Part:
    records: list[Record]
    counts: PatternCounts | Moments
    found: list[_Found]


def _resolve(
    scores: Scores, rules: Rules, *, folder: Folder, execute: Executor
) -> tuple[Primitive, ...]:
    """Replace quantiles by values, once; beside the tables it is written what they are."""
    if folder.exists(RESOLVED):
        with suppress(ValidationError):  # whoever damaged it: it is found again
            return RULES.validate_json(folder.read(RESOLVED))
    wanted = {quantile for rule in rules for quantile in rule.quantiles}
    cuts = quantiles(scores, wanted, execute=execute)
    resolved = tuple(rule.resolve(cuts) for rule in rules)
    folder.write(RESOLVED, rules_json(resolved))
    return resolved


def rules_json(rules: Sequence[Primitive]) -> bytes:
    """Write rules as JSON."""
    return json.dumps([asdict(rule) for rule in rules], indent=2).encode()


def _cast_some(work: _Work, weights: Mapping[str, Path], shards: Sequence[int]) -> _Part:
    del weights
    records, tally, found = [], Tally(), []
    for shard in shards:
        if work.is_stored_S[shard]:
            votes_NM = _stored(work, shard)
        else:
            votes_NM, record = _cast(work, shard)
            records.append(record)
        tally.add(votes_NM)
        if work.labels is not None:
            hits = find_labelled(work.scores, shard, work.labels)
            found.append(_Found(shard, hits, votes_NM[hits.row_n]))
    return _Part(records, tally.total(), found)


def _cast(work: _Work, shard: int) -> tuple[NDArray[np.int8], Record]:
    """Vote on a shard's good rows, and publish it."""
    start = time.perf_counter()
    names = sorted({column for rule in work.rules for column in rule.columns})
    columns = pl.DataFrame(work.scores.good(shard, names)).to_dict()
    votes_NM = np.stack([rule.vote(columns) for rule in work.rules], axis=1)
    word_NW = encode(votes_NM).astype(np.uint64)
    values = {c.name: word_N for c, word_N in zip(work.stage.columns, word_NW.T, strict=True)}
    seconds = time.perf_counter() - start
    return votes_NM, publish(work.stage, work.scores, shard, values, seconds=seconds)


def _stored(work: _Work, shard: int) -> NDArray[np.int8]:
    """Read the votes of a shard that has them."""
    place = (work.stage.store / "scores" / work.stage.name).path(table_name(work.scores.ids[shard]))
    names = [column.name for column in work.stage.columns]
    table = read(place, [*names, "status"])
    good = table.filter(pc.equal(table.column("status"), str(Reason.OK)))
    return unpack(good.select(names), len(work.rules))


def _labelled(labels: Labels, found: Sequence[_Found]) -> tuple[Labelled, Labelled, int]:
    """Count labels by pattern; of a uid that the pool has twice the first good row counts.

    Returns:
        All of them, those of pairs that were shown at random, and how many have no votes.
    """
    require_in_pool(labels, [f.hits.seen_h for f in found])
    found = sorted(found, key=lambda f: f.shard)
    position_n, first_n = np.unique(
        np.concatenate([f.hits.position_n for f in found]), return_index=True
    )
    votes_nM = np.concatenate([f.votes_nM for f in found])[first_n]
    label_n = labels.target_N[position_n].astype(np.int64)
    random_n = labels.random_N[position_n]
    at_random = count_labels(votes_nM[random_n], label_n[random_n])
    return count_labels(votes_nM, label_n), at_random, len(labels.uid_N) - len(position_n)
