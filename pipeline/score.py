"""Score every shard once: what is finished is never opened again, what is missing is leased out."""

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from filters.extract import Extractor
from pipeline.cells import CellPlan, Lease, Scored
from pipeline.config import Cells
from pipeline.executors import Executor
from pipeline.fingerprint import file_digest, fingerprint
from pipeline.folder import Folder
from pipeline.ledger import Identity, Ledger, Record, shard_identities
from pipeline.scores import Scores, Sidecar

READER_VERSION = 2  # raised when shards or pictures are read in another way

Progress = Callable[[int, int, Mapping[str, int]], None]  # shards done, of, rows by reason
Writers = Mapping[str, Sequence[str]]  # fingerprint of what writes -> columns


@dataclass(frozen=True, slots=True)
class Pass:
    """What is still to be run on some shards, in one decode."""

    plan: CellPlan
    stage: str
    writes: dict[str, list[str]]
    leases: tuple[Lease, ...]


def score_shards(
    shards: Sequence[str],
    extractors: Sequence[Extractor],
    *,
    run: Folder,
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
    ledger, identities = Ledger(run), shard_identities(shards)
    passes, writers = plan_passes(shards, extractors, run, weights, cells, ledger, identities)
    by_shard = {lease.shard: identities[lease.shard] for p in passes for lease in p.leases}
    reasons, done = Counter[str](), 0
    for todo in passes:
        for scored in execute(todo.plan, todo.leases):
            ledger.add(_record(scored, todo, by_shard[scored.lease.shard]))
            reasons.update(scored.reasons)
            done += 1
            progress(done, len(by_shard), reasons)
    return Scores(
        tuple(shards),
        tuple(sidecars_of(ledger.of(identities[s].id), writers, run) for s in shards),
    )


def plan_passes(
    shards: Sequence[str],
    extractors: Sequence[Extractor],
    run: Folder,
    weights: Callable[[str], Path],
    cells: Cells,
    ledger: Ledger,
    identities: Mapping[str, Identity],
) -> tuple[list[Pass], Writers]:
    """Group shards by what they still lack; also return which fingerprint writes which columns."""
    paths = {name: weights(name) for e in extractors for name in e.weights}
    prints = {e: _fingerprint(e, paths, cells) for e in extractors}
    lacking: dict[tuple[Extractor, ...], list[str]] = defaultdict(list)
    for shard in shards:
        have = {p for record in ledger.of(identities[shard].id) for p in record.writes}
        if missing := tuple(e for e in extractors if prints[e] not in have):
            lacking[missing].append(shard)
    writers = {prints[e]: [c.name for c in e.columns] for e in extractors}
    passes = []
    for missing, todo in lacking.items():
        stage = f"score-{fingerprint('score', of=[prints[e] for e in missing])}"
        plan = CellPlan(
            extractors=missing,
            weights={name: str(paths[name]) for e in missing for name in e.weights},
            output=(run / "scores" / stage).url,
            settings=cells,
        )
        leases = tuple(Lease(shard=s, name=f"{identities[s].id}.parquet") for s in todo)
        passes.append(Pass(plan, stage, {prints[e]: writers[prints[e]] for e in missing}, leases))
    return passes, writers


def sidecars_of(records: Sequence[Record], writers: Writers, run: Folder) -> tuple[Sidecar, ...]:
    """Pick the tables that hold the wanted columns, each column from one table only."""
    found, wanted = [], dict(writers)
    for record in records:
        columns = tuple(c for p in record.writes for c in wanted.pop(p, ()))
        if columns:
            url = (run / "scores" / record.stage).path(record.name)
            found.append(Sidecar(url, columns, record.sha256))
    return tuple(found)


def _fingerprint(extractor: Extractor, paths: Mapping[str, Path], cells: Cells) -> str:
    """Identify what an extractor writes: settings, version, weights, and what decoding may do."""
    return fingerprint(
        "extractor",
        settings=extractor,
        version=extractor.version,
        reader=READER_VERSION,
        files=[file_digest(Path(v)) for v in _strings(extractor) if Path(v).is_file()],
        weights=[file_digest(paths[name]) for name in extractor.weights],
        cell=[cells.threads, cells.batch, cells.member_bytes, cells.pixels],
    )


def _strings(extractor: Extractor) -> list[str]:
    """Return settings that may name a file, such as the weights of a CLIP model."""
    settings: Any = extractor
    values = [getattr(extractor, f.name) for f in fields(settings)]
    return [value for value in values if isinstance(value, str) and value]


def _record(scored: Scored, todo: Pass, identity: Identity) -> Record:
    return Record(
        shard=identity.id,
        stage=todo.stage,
        name=scored.lease.name,
        writes=todo.writes,
        rows=scored.rows,
        reasons=scored.reasons,
        sha256=scored.sha256,
        output_bytes=scored.output_bytes,
        input_bytes=identity.size,
        seconds=scored.seconds,
    )
