"""What a run would do: which stages are done, how much is missing, what it is likely to cost."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from pipeline.config import Curation
from pipeline.derive import locate_derived
from pipeline.folder import Folder
from pipeline.ledger import Ledger
from pipeline.relating.relation import Relation, columns_of, locate_relation
from pipeline.score import plan_passes
from pipeline.scores import Located, Scores
from pipeline.shards import Shard, find_shards
from pipeline.votes import locate_votes

Find = Callable[[Scores], tuple[str, Located]]


@dataclass(frozen=True, slots=True)
class Planned:
    """One line of a plan.

    Attributes:
        stage: What.
        extractors: Kinds that run, in one decode.
        shards: How many of the pool's shards it concerns.
        input_bytes: Bytes to be read.
        cell_seconds: Expected busy time of one cell, from this run's own ledger; None without one.
    """

    stage: str
    extractors: tuple[str, ...]
    shards: int
    input_bytes: int
    cell_seconds: float | None

    def __str__(self) -> str:
        """Say it on one line."""
        known = self.cell_seconds is not None
        cost = f"about {self.cell_seconds:.0f} s of one cell" if known else "cost unknown"
        size = f"{self.input_bytes / 2**20:.0f} MiB"
        return f"score  {self.shards} shards, {size}, {', '.join(self.extractors)}: {cost}"


@dataclass(frozen=True, slots=True)
class Step:
    """One line of a plan: columns made of columns.

    Attributes:
        verb: What is done.
        of: What it is done with.
        shards: How many of the pool's shards lack them.
    """

    verb: str
    of: str
    shards: int

    def __str__(self) -> str:
        """Say it on one line."""
        return f"{self.verb:6} {self.shards} shards, {self.of}: reads columns only"


@dataclass(frozen=True, slots=True)
class Plan:
    """What is still to be done; what is done is not in it."""

    passes: list[Planned]
    steps: list[Step]

    def __str__(self) -> str:
        """Say it, a line each."""
        done = [] if self.passes else ["score  done; deciding reads columns only"]
        return "\n".join(map(str, [*self.passes, *done, *self.steps]))


def plan(
    cfg: Curation,
    relations: Sequence[Relation],
    *,
    run: Folder,
    weights: Callable[[str], Path],
) -> Plan:
    """Return what is still to be done before deciding; runs nothing, opens no shard."""
    store = Folder(cfg.data.scores or run.url)
    shards, ledger = find_shards(cfg.data.shards), Ledger(store)
    rate = _seconds_per_byte(ledger)
    passes, located = plan_passes(
        shards, cfg.extract, store=store, weights=weights, cells=cfg.cells, ledger=ledger
    )
    found = []
    for todo in passes:
        size = sum(shard.size for shard in todo.job.shards)
        kinds = tuple(e.kind for e in todo.job.plan.extractors)
        expected = None if rate is None else round(rate * size, 1)
        found.append(Planned(todo.job.plan.stage, kinds, len(todo.job.shards), size, expected))
    steps = _finders(cfg, relations, shards=shards, ledger=ledger, weights=weights)
    return Plan(found, list(_lacking(steps, located, store=store)))


def _finders(
    cfg: Curation,
    relations: Sequence[Relation],
    *,
    shards: Sequence[Shard],
    ledger: Ledger,
    weights: Callable[[str], Path],
) -> Iterator[tuple[str, str, Find]]:
    """Yield what follows scoring: verb, what with, and what tells which shards have it."""
    at: dict[str, Any] = {"shards": shards, "ledger": ledger}
    scored = [column.name for extractor in cfg.extract for column in extractor.columns]
    for relation in relations:
        if columns_of(relation, scored):
            find = partial(locate_relation, relation=relation, seed=cfg.seed, **at)
            yield "relate", relation.column.name, find
    for what in cfg.derive:
        yield "derive", what.kind, partial(locate_derived, what=what, weights=weights, **at)
    yield "vote", f"{len(cfg.rules)} rules", partial(locate_votes, rules=cfg.rules, **at)


def _lacking(
    finders: Iterable[tuple[str, str, Find]], located: Located, *, store: Folder
) -> Iterator[Step]:
    """Yield the steps that are not done; after one of them nothing is, as its name is not known."""
    scores = located.scores(store) if located.is_whole else None
    for verb, of, find in finders:
        lacks = len(located.shards)
        if scores is not None:
            _, found = find(scores)
            lacks = int((found.stage_SW < 0).any(axis=1).sum())
            scores = None if lacks else scores.plus(*found.scores(store).sources)
        if lacks:
            yield Step(verb, of, lacks)


def _seconds_per_byte(ledger: Ledger) -> float | None:
    """Busy seconds per input byte of the passes this run has made."""
    seconds = size = 0.0
    for record in ledger.records():
        if record.input_bytes:
            seconds += sum(record.seconds.values())
            size += record.input_bytes
    return seconds / size if size else None
