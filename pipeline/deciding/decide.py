"""From votes and p(keep) to a subset: why each pair is out, or that it is in.

Every step reads columns of the pairs that are still in and writes one that says who is left; each
is done a shard at a time, wherever there are cores, and once. Nothing holds the pool.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from filters.extract import Column
from filters.extract.base import Values
from filters.rules import Primitive
from pipeline.columns.remaining import Remaining
from pipeline.columns.stages import SCRATCH, Place, column_stage
from pipeline.concepts.copies import drop_copies
from pipeline.concepts.dedup import drop_alike
from pipeline.concepts.prune import prune
from pipeline.config import Curation
from pipeline.deciding.balance import balance
from pipeline.deciding.best import keep_best
from pipeline.deciding.decisions import Decisions, count_reasons
from pipeline.deciding.screen import screen
from pipeline.scores import Scores, Source
from pipeline.settings import Dedup
from pipeline.tables import field_of

DECIDED = (
    Column("reason", "string", "", "", "why the pair is out of the subset, or ok"),
    Column("concept", "int32", "", "[0, K)", "the cluster it is in"),
    Column("distance", "float32", "", "[0, 2]", "cosine distance to that cluster's centroid"),
    Column("twin", "uid", "", "", "the pair that it is a copy of"),
)
# Which column of which step each of them is, the first that has a value; steps may be left out.
SOURCES = {
    "concept": ("concept_cluster",),
    "distance": ("concept_distance",),
    "twin": ("copy_of", "twin_of"),
}


def decide(
    scores: Scores,
    rules: Sequence[Primitive],
    cfg: Curation,
    *,
    place: Place,
    weights: Callable[[str], Path],
) -> Decisions:
    """Decide on every pair.

    Args:
        scores: What is known of the pool, `p_keep` and votes included.
        rules: Whose votes they are.
        cfg: What was asked for.
        place: Where the steps' columns go.
        weights: Path by name of a file, such as the balance's entries.
    """
    try:
        remaining, concepts = _steps(scores, rules, cfg, place, weights)
    finally:
        (place.store / SCRATCH).remove_all()  # of a run that was killed, too
    known = scores.plus(_settle(remaining, place))
    return Decisions(known, tuple(rules), count_reasons(known, place), concepts)


def _steps(
    scores: Scores,
    rules: Sequence[Primitive],
    cfg: Curation,
    place: Place,
    weights: Callable[[str], Path],
) -> tuple[Remaining, pa.Table | None]:
    """Return what is left in the end, and the table of concepts, if any were found."""
    remaining, concepts = screen(scores, rules, place=place), None
    if cfg.dedup.first:
        remaining = _dedup(remaining, cfg.dedup, seed=cfg.seed, place=place)
    remaining = keep_best(remaining, cfg.ensemble, place=place)
    if not cfg.dedup.first:
        remaining = _dedup(remaining, cfg.dedup, seed=cfg.seed, place=place)
    if remaining.count(place.execute):
        pruned = prune(remaining, cfg.concepts, seed=cfg.seed, place=place)
        remaining, concepts = pruned.remaining, pruned.table
    if cfg.balance.metadata:
        remaining = balance(remaining, cfg.balance, place=place, seed=cfg.seed, weights=weights)
    return remaining, concepts


def _dedup(remaining: Remaining, cfg: Dedup, *, seed: int, place: Place) -> Remaining:
    """Put out copies, and what looks like another pair."""
    remaining = drop_copies(remaining, cfg, seed=seed, place=place)
    if cfg.is_semantic and remaining.count(place.execute):
        remaining = drop_alike(remaining, cfg, seed=seed, place=place)
    return remaining


def _settle(remaining: Remaining, place: Place) -> Source:
    """Write what is left of the steps: the columns that everybody reads, and no one else's."""
    scores = remaining.scores
    reads = [name for names in SOURCES.values() for name in names if name in scores.columns]
    stage = column_stage(
        scores, "decided", DECIDED, place=place, reads=[remaining.reason, *reads], version=1
    )
    known = stage.known() if stage.is_whole else stage.fill(_decided, remaining.reason)
    return known.sources[-1]


def _decided(reason: str, scores: Scores, shard: int) -> Mapping[str, Values]:
    held = [n for names in SOURCES.values() for n in names if n in scores.columns]
    table = scores.good(shard, [reason, *held])
    values: dict[str, Values] = {"reason": table.column(reason).combine_chunks()}
    for column in DECIDED[1:]:
        found = [table.column(n).combine_chunks() for n in SOURCES[column.name] if n in held]
        empty = pa.nulls(len(table), field_of(column).type)
        values[column.name] = pc.coalesce(*found, empty)
    return values
