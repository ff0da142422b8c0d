"""Score every shard once: what is finished is never opened again, what is missing is leased out."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from filters.extract import Extractor
from pipeline.cells import CellPlan
from pipeline.config import Cells
from pipeline.executors import Executor, Job, Progress
from pipeline.fingerprint import file_digest, fingerprint, named_models
from pipeline.folder import Folder
from pipeline.ledger import Ledger, Writes
from pipeline.scores import Located, Scores, locate
from pipeline.shards import Shard

READER_VERSION = 3  # raised when shards or pictures are read in another way


@dataclass(frozen=True, slots=True)
class Pass:
    """What is still to be run on some shards, in one decode."""

    job: Job
    writes: Writes


def score_shards(
    shards: Sequence[Shard],
    extractors: Sequence[Extractor],
    *,
    store: Folder,
    weights: Callable[[str], Path],
    cells: Cells,
    execute: Executor,
    progress: Progress,
) -> Scores:
    """Run every extractor on every shard, except where the ledger says it was done.

    An extractor is the unit of identity: adding one to a config runs that one alone over the
    pixels, and the tables that are there stay valid. All that is missing of a shard is done in one
    pass with one decode.
    """
    passes, located = plan_passes(
        shards, extractors, store=store, weights=weights, cells=cells, ledger=Ledger(store)
    )
    for todo in passes:
        ledger = Ledger(store)
        ledger.declare(todo.job.plan.stage, todo.writes)
        ledger.merge()  # what a run that was killed has left
        ledger.merge(gone=execute(todo.job, progress))
        todo.job.plan.parts.remove_all()
    if passes:
        located = locate(shards, located.writes, Ledger(store))
    return located.scores(store)


def plan_passes(
    shards: Sequence[Shard],
    extractors: Sequence[Extractor],
    *,
    store: Folder,
    weights: Callable[[str], Path],
    cells: Cells,
    ledger: Ledger,
) -> tuple[list[Pass], Located]:
    """Group shards by what they still lack; also return where what they have is."""
    paths = {name: weights(name) for e in extractors for name in e.weights}
    prints = [_fingerprint(e, paths, cells) for e in extractors]
    writes = {p: [c.name for c in e.columns] for p, e in zip(prints, extractors, strict=True)}
    located = locate(shards, writes, ledger)
    passes = []
    for lacking, which in located.lacking():
        missing = [extractors[i] for i in lacking]
        stage = f"score-{fingerprint('score', of=[prints[i] for i in lacking])}"
        plan = CellPlan(
            extractors=tuple(missing),
            weights={name: str(paths[name]) for e in missing for name in e.weights},
            store=store.url,
            stage=stage,
            newest=ledger.newest,
            settings=cells,
        )
        todo = tuple(shards[s] for s in np.flatnonzero(which).tolist())
        passes.append(Pass(Job(plan, todo), {prints[i]: writes[prints[i]] for i in lacking}))
    return passes, located


def _fingerprint(extractor: Extractor, paths: dict[str, Path], cells: Cells) -> str:
    """Identify what an extractor writes: settings, version, weights, and what decoding may do."""
    return fingerprint(
        "extractor",
        settings=extractor,
        version=extractor.version,
        reader=READER_VERSION,
        files=[file_digest(place) for place in named_models(extractor)],
        weights=[file_digest(paths[name]) for name in extractor.weights],
        cell=[cells.threads, cells.batch, cells.member_bytes, cells.pixels],
    )
