"""`curate`: the whole of it, one screen."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from filters.concepts.metaclip import read_entries
from filters.derive import Derive
from filters.ensemble import LabelModel
from filters.extract import Column
from filters.rules import Band, Primitive, ReadyMade
from pipeline.columns.stages import DECISIONS, Place
from pipeline.concepts.copies import CONTENT, PHASH
from pipeline.config import Curation
from pipeline.deciding.decide import decide
from pipeline.deciding.decisions import Decisions
from pipeline.deciding.subset import write_subset
from pipeline.derive import derive
from pipeline.ensemble import fit_votes, keep_probability, labels_for
from pipeline.executors import Executor, Progress, run_local
from pipeline.folder import Folder
from pipeline.relating.relate import Fits, relate
from pipeline.relating.relation import READS, Relation, columns_of
from pipeline.schema import BASE_SCHEMA
from pipeline.score import score_shards
from pipeline.scores import Scores
from pipeline.shards import Shard, find_shards
from pipeline.votes import Votes, cast_votes, rules_json, vote_columns

NUMBERS = ("int32", "uint64", "float32")  # dtypes that a band has cut points in
SMALL_BYTES = 2 * 2**30  # of shards; a smaller pool is decided before a first task starts


@dataclass(frozen=True, slots=True)
class Curated:
    """What `curate` made, for whoever goes on from here."""

    shards: tuple[Shard, ...]
    scores: Scores
    votes: Votes
    model: LabelModel
    decisions: Decisions
    subset_sha256: str


@dataclass(frozen=True, slots=True)
class Clock:
    """Wall seconds by stage, in order."""

    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Add the time of a `with` block to a stage."""
        start = time.perf_counter()
        yield
        self.seconds[name] = round(time.perf_counter() - start, 3)


def curate(
    cfg: Curation,
    *,
    run: Folder,
    alignment: Fits,
    weights: Callable[[str], Path],
    execute: Executor,
    progress: Progress,
    clock: Clock,
) -> Curated:
    """Turn raw shards into a subset; every pixel is read at most once, deciding reads none."""
    relations = (alignment, cfg.consensus)
    check(cfg, relations, weights)
    shards, store = find_shards(cfg.data.shards), Folder(cfg.data.scores or run.url)
    with clock.stage("score"):
        scores = score_shards(
            shards, cfg.extract, store=store, weights=weights, cells=cfg.cells,
            execute=execute, progress=progress,
        )  # fmt: skip
    place = Place(shards, store, execute)
    with clock.stage("relate"):
        for relation in relations:
            scores = relate(scores, relation, place=place, seed=cfg.seed)
    with clock.stage("derive"):
        for what in cfg.derive:
            scores = derive(
                scores, what, shards=shards, store=store, weights=weights, execute=execute
            )
    is_small = sum(shard.size for shard in shards) < SMALL_BYTES
    decide_on = run_local if is_small else execute  # the same bytes wherever it is
    with clock.stage("vote"):
        votes = cast_votes(
            scores, cfg.rules, shards=shards, store=store, execute=decide_on,
            labels=labels_for(cfg.ensemble),
        )  # fmt: skip
    with clock.stage("ensemble"):
        model = fit_votes(votes, cfg.ensemble, seed=cfg.seed)
        place = Place(shards, run / DECISIONS, decide_on)
        end, scores = keep_probability(votes, model, cfg.ensemble, place=place)
    with clock.stage("concepts"):
        decisions = decide(scores, votes.rules, cfg, place=place, weights=weights)
    with clock.stage("subset"):
        digest = write_subset(run / "subset", decisions, place)
        (run / "subset").write("scores.parquet", decisions.scores.dump())
        (run / "subset").write("label_model.json", model.to_json().encode())
        if end is not None:
            (run / "subset").write("end_model.json", end.to_json().encode())
        (run / "subset").write("rules.json", rules_json(votes.rules))
    return Curated(tuple(shards), votes.scores, votes, model, decisions, digest)


def check(cfg: Curation, relations: Sequence[Relation], weights: Callable[[str], Path]) -> None:
    """Refuse what could not be done to the end, before anything is scored.

    Raises:
        ValueError: A column that is read is written by nothing, there are too many rules, or a
            head's file, or that of the labels or of entries to balance, is damaged.
    """
    check_columns(cfg, relations)
    check_files(cfg.derive, weights)
    if cfg.balance.metadata:
        _check_entries(cfg.balance.metadata, weights)
    labels_for(cfg.ensemble)


def _check_entries(name: str, weights: Callable[[str], Path]) -> None:
    try:
        read_entries(weights(name))
    except (ValueError, OSError) as error:
        raise ValueError(
            f"balance.metadata: got {name!r}, expected a .txt file with an entry a line, or a list "
            f"in a .json; {error}"
        ) from error


def check_columns(cfg: Curation, relations: Sequence[Relation]) -> None:
    """Refuse what reads columns that nothing will write, before anything is scored.

    Args:
        cfg: The whole of it; a derived column may read those derived before it.
        relations: What is fitted over all pairs, before anything is derived.

    Raises:
        ValueError: There is such a column, or one that two would write.
    """
    # `Curation` has seen to it that no two extractors write a column.
    written: dict[str, str] = {c.name: c.dtype for e in cfg.extract for c in e.columns}
    for relation in relations:
        _write(relation.column.name, columns_of(relation, list(written)), written)
    for what in cfg.derive:
        reads = [c for c in what.reads if c != "uid" and (c != "caption" or what.takes)]
        _require([(f"derive {what.kind!r}", c, what.takes) for c in reads], written)
        _write(what.kind, what.columns, written)
    _require(
        [
            *((f"rule {r.name!r}", c, _taken_by(r)) for r in cfg.rules for c in r.columns),
            *(("ensemble.end_model", c, (*NUMBERS, "embedding")) for c in _end_columns(cfg)),
            *_read_by_concepts(cfg),
            *(("alignment and consensus", column, ("embedding",)) for column in READS),
        ],
        written,
    )
    _write("votes", vote_columns(cfg.rules), written)


def check_files(derives: Sequence[Derive], weights: Callable[[str], Path]) -> None:
    """Read the files that derived columns are made with, before anything is scored.

    Raises:
        ValueError: One is not there, or not what it has to be.
    """
    for what in derives:
        paths = {name: weights(name) for name in what.weights}
        if paths and type(what).count is Derive.count:
            what.load(paths, None)


def _write(kind: str, columns: Sequence[Column], written: dict[str, str]) -> None:
    """Add what something writes; nothing else may write it."""
    for column in columns:
        if column.name in written or column.name in BASE_SCHEMA.names:
            raise ValueError(
                f"{kind}: got column {column.name!r}, which something before it writes, or every "
                "table has, expected a new one; rename it, or take one of the two out"
            )
        written[column.name] = column.dtype


def _read_by_concepts(cfg: Curation) -> Iterator[tuple[str, str, Sequence[str]]]:
    """Yield (setting, column, dtypes) of what deciding reads beyond votes."""
    if cfg.ensemble.rank_by:
        yield "ensemble.rank_by", cfg.ensemble.rank_by, NUMBERS
    if cfg.dedup.content:
        yield "dedup.content", CONTENT, ("uint64",)
    if cfg.dedup.copy_bits >= 0:
        yield "dedup.copy_bits", PHASH, ("uint64",)
    if cfg.dedup.is_semantic:
        yield "dedup.embedding", cfg.dedup.embedding, ("embedding",)
    yield "concepts.embedding", cfg.concepts.embedding, ("embedding",)


def _end_columns(cfg: Curation) -> tuple[str, ...]:
    return cfg.ensemble.end_model.columns if cfg.ensemble.end_model else ()


def _taken_by(rule: Primitive | ReadyMade) -> tuple[str, ...]:
    """Return the dtypes that a rule takes; none is any."""
    primitive = rule.primitive() if isinstance(rule, ReadyMade) else rule
    return NUMBERS if isinstance(primitive, Band) else ()


def _require(wanted: Sequence[tuple[str, str, Sequence[str]]], written: Mapping[str, str]) -> None:
    """Refuse a (reader, column, dtypes or none for any) that is not written."""
    for who, column, dtypes in wanted:
        if column not in written or (dtypes and written[column] not in dtypes):
            fit = sorted(n for n, have in written.items() if not dtypes or have in dtypes)
            raise ValueError(
                f"{who}: got column {column!r}, expected one of {', '.join(fit) or 'none'}; "
                "correct the name, or add the extractor that writes it to the config"
            )
