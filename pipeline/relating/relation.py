"""What relates picture and caption to those of the whole pool: its columns, and where they are."""

from collections.abc import Mapping, Sequence
from typing import ClassVar, Protocol

from filters.extract import Column
from pipeline.fingerprint import fingerprint
from pipeline.ledger import Ledger
from pipeline.scores import Located, Scores, locate
from pipeline.shards import Shard

READS = ("image_embedding", "text_embedding")
FITTED = "fitted.npz"  # beside a stage's tables


class Relation(Protocol):
    """Frozen settings: `Consensus`, or what the front door hands in (`Alignment`)."""

    column: ClassVar[Column]
    views: ClassVar[Mapping[str, Column]]  # by the embedding of the changed picture it is made of
    version: ClassVar[int]  # raised when the meaning of a column changes


def columns_of(relation: Relation, scored: Sequence[str]) -> list[Column]:
    """Return what a relation adds to the columns that are there: one more for each view.

    Nothing if an extractor has written its first (CLIP does).
    """
    if relation.column.name in scored:
        return []
    return [relation.column, *(relation.views[view] for view in views_of(relation, scored))]


def views_of(relation: Relation, scored: Sequence[str]) -> list[str]:
    """Return the embeddings of changed pictures that are there and can be used."""
    return [view for view in relation.views if view in scored]


def locate_relation(
    scores: Scores, relation: Relation, *, shards: Sequence[Shard], ledger: Ledger, seed: int
) -> tuple[str, Located]:
    """Return the stage of a relation's columns, and which shards have theirs."""
    name = relation.column.name
    reads = [*READS, *views_of(relation, scores.columns)]
    writer = fingerprint(
        name, settings=relation, version=relation.version, seed=seed, of=scores.digest(reads)
    )
    writes = {writer: [column.name for column in columns_of(relation, scores.columns)]}
    return f"{name}-{writer}", locate(shards, writes, ledger)
