"""`curate`: the whole of it, one screen."""

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

from filters.ensemble import LabelModel
from pipeline.config import Curation
from pipeline.decide import HASH, Decisions, decide
from pipeline.derive import derive
from pipeline.executors import Executor, Progress
from pipeline.folder import Folder
from pipeline.relate import READS, Relation, columns_of, relate
from pipeline.score import score_shards
from pipeline.scores import Scores
from pipeline.shards import Shard, find_shards
from pipeline.subset import write_subset
from pipeline.votes import Votes, cast_votes, fit_votes


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
    alignment: Relation,
    weights: Callable[[str], Path],
    execute: Executor,
    progress: Progress,
    clock: Clock,
) -> Curated:
    """Turn raw shards into a subset; every pixel is read at most once, deciding reads none."""
    relations = (alignment, cfg.consensus)
    check_columns(cfg, relations)
    shards, store = find_shards(cfg.data.shards), Folder(cfg.data.scores or run.url)
    with clock.stage("score"):
        scores = score_shards(
            shards, cfg.extract, store=store, weights=weights, cells=cfg.cells,
            execute=execute, progress=progress,
        )  # fmt: skip
    with clock.stage("relate"):
        for relation in relations:
            scores = relate(scores, relation, shards=shards, store=store, seed=cfg.seed)
    with clock.stage("derive"):
        for what in cfg.derive:
            scores = derive(
                scores, what, shards=shards, store=store, weights=weights, execute=execute
            )
    with clock.stage("vote"):
        votes = cast_votes(scores, cfg.rules)
    with clock.stage("ensemble"):
        model = fit_votes(votes, cfg.ensemble, seed=cfg.seed)
    with clock.stage("concepts"):
        decisions = decide(
            scores, votes, model, ensemble=cfg.ensemble, concepts=cfg.concepts, seed=cfg.seed
        )
    with clock.stage("subset"):
        digest = write_subset(run / "subset", decisions)
        (run / "subset").write("scores.parquet", scores.dump())
        (run / "subset").write("label_model.json", model.to_json().encode())
        rules = [asdict(rule) for rule in votes.rules]
        (run / "subset").write("rules.json", json.dumps(rules, indent=2).encode())
    return Curated(tuple(shards), scores, votes, model, decisions, digest)


def check_columns(cfg: Curation, relations: Sequence[Relation]) -> None:
    """Refuse what reads columns that nothing will write, before anything is scored.

    Raises:
        ValueError: There is such a column.
    """
    written = {column.name: column.dtype for e in cfg.extract for column in e.columns}
    _require(written, [
        ("concepts.embedding", cfg.concepts.embedding, "embedding"),
        ("concepts.copy_bits", HASH, "uint64"),
        *(("alignment and consensus", column, "embedding") for column in READS),
    ])  # fmt: skip
    for relation in relations:
        written |= {column.name: column.dtype for column in columns_of(relation, list(written))}
    written["caption"] = "string"
    for what in cfg.derive:
        _require(written, [(f"derive {what.kind!r}", column, None) for column in what.reads])
        written |= {column.name: column.dtype for column in what.columns}
    _require(written, [(f"rule {r.name!r}", c, None) for r in cfg.rules for c in r.columns])


def _require(written: Mapping[str, str], wanted: Sequence[tuple[str, str, str | None]]) -> None:
    """Refuse columns (who wants it, name, dtype if only one will do) that nothing will write."""
    for who, column, dtype in wanted:
        if column not in written or dtype not in {None, written[column]}:
            fit = sorted(name for name, have in written.items() if dtype in {None, have})
            raise ValueError(
                f"{who}: got column {column!r}, expected one of {', '.join(fit) or 'none'}; "
                "correct the name, or add the extractor that writes it to the config"
            )
