"""Score columns that need the whole pool: how picture and caption relate to all the others."""

import time
import uuid
from collections.abc import Mapping, Sequence
from typing import ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from filters.extract import Column
from pipeline.fingerprint import fingerprint
from pipeline.folder import Folder
from pipeline.ledger import Ledger, Writer
from pipeline.publish import Stage, publish
from pipeline.scores import Located, Scores, locate
from pipeline.shards import Shard

READS = ("image_embedding", "text_embedding")


class Relation(Protocol):
    """Frozen settings and one verb: `Consensus`, or what the front door hands in (`Alignment`)."""

    column: ClassVar[Column]
    views: ClassVar[Mapping[str, Column]]  # by the embedding of the changed picture it is made of
    version: ClassVar[int]  # raised when the meaning of a column changes

    def fit(
        self,
        image_ND: NDArray[np.float16],
        text_ND: NDArray[np.float16],
        *,
        views: Mapping[str, NDArray[np.float16]],
        seed: int,
    ) -> dict[str, NDArray[np.float32]]:
        """Return numbers for each of N pairs by column, float32 [N]; NaN where there is none."""
        ...


def columns_of(relation: Relation, scored: Sequence[str]) -> list[Column]:
    """Return what a relation adds to the columns that are there: one more for each view.

    Nothing if an extractor has written its first (CLIP does).
    """
    if relation.column.name in scored:
        return []
    return [relation.column, *(c for view, c in relation.views.items() if view in scored)]


def relate(
    scores: Scores, relation: Relation, *, shards: Sequence[Shard], store: Folder, seed: int
) -> Scores:
    """Add the relation's columns.

    Pairs are handed over sorted by uid, so that nothing depends on how they are sharded.
    """
    columns = tuple(columns_of(relation, scores.columns))
    if not columns:
        return scores
    stage, located = locate_relation(
        scores, relation, shards=shards, ledger=Ledger(store), seed=seed
    )
    if not located.is_whole:
        start = time.perf_counter()
        parts = _fit(scores, relation, _views(scores, relation), seed)
        seconds = (time.perf_counter() - start) / len(parts)
        ledger = Ledger(store)
        ledger.declare(stage, located.writes)
        to = Stage(store=store, name=stage, columns=columns, newest=ledger.newest)
        with Writer(store, f"{relation.column.name}-{uuid.uuid4().hex}") as journal:
            for shard, values in enumerate(parts):
                journal.add(publish(to, scores, shard, values, seconds=seconds))
        located = locate(shards, located.writes, Ledger(store))
    (source,) = located.scores(store).sources
    return scores.plus(source)


def locate_relation(
    scores: Scores, relation: Relation, *, shards: Sequence[Shard], ledger: Ledger, seed: int
) -> tuple[str, Located]:
    """Return the stage of a relation's columns, and which shards have theirs."""
    name = relation.column.name
    writer = fingerprint(
        name, settings=relation, version=relation.version, seed=seed,
        of=scores.digest([*READS, *_views(scores, relation)]),
    )  # fmt: skip
    writes = {writer: [column.name for column in columns_of(relation, scores.columns)]}
    return f"{name}-{writer}", locate(shards, writes, ledger)


def _views(scores: Scores, relation: Relation) -> list[str]:
    return [view for view in relation.views if view in scores.columns]


def _fit(
    scores: Scores, relation: Relation, views: Sequence[str], seed: int
) -> list[dict[str, NDArray[np.float32]]]:
    """Return the good rows' values, a dict of columns per shard."""
    uids = [scores.good(s, ["uid"]).column("uid").to_pylist() for s in range(len(scores))]
    order_N = np.argsort(np.array([u for part in uids for u in part], "S16"), kind="stable")
    if not len(order_N):
        raise ValueError(
            f"{relation.column.name}: got no readable pair in the whole pool, expected some; "
            "`thresher status` tells what is wrong with them"
        )
    image_ND, text_ND = (scores.embeddings(column)[order_N] for column in READS)
    seen = {view: scores.embeddings(view)[order_N] for view in views}
    values = relation.fit(image_ND, text_ND, views=seen, seed=seed)
    by_shard = np.cumsum([len(part) for part in uids])[:-1]
    return [dict(zip(values, parts, strict=True)) for parts in zip(
        *(np.split(_put_back(value_N, order_N), by_shard) for value_N in values.values()),
        strict=True,
    )]  # fmt: skip


def _put_back(value_N: NDArray[np.float32], order_N: NDArray[np.int64]) -> NDArray[np.float32]:
    """Undo the sorting."""
    in_place_N = np.empty_like(value_N)
    in_place_N[order_N] = value_N
    return in_place_N
