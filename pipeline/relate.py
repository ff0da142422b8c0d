"""Score columns that need the whole pool: how picture and caption relate to all the others."""

import hashlib
import time
import uuid
from collections.abc import Sequence
from typing import ClassVar, Protocol

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from filters.extract import Column
from pipeline.fingerprint import fingerprint
from pipeline.folder import Folder
from pipeline.ledger import Ledger, Record, Writer, later_than, table_name
from pipeline.schema import BASE_SCHEMA, Reason
from pipeline.scores import Scores, locate
from pipeline.shards import Shard
from pipeline.tables import encode, score_schema, to_array

READS = ("image_embedding", "text_embedding")


class Relation(Protocol):
    """Frozen settings and one verb: `Consensus`, or what the front door hands in (`Alignment`)."""

    column: ClassVar[Column]
    version: ClassVar[int]  # raised when the meaning of the column changes

    def fit(
        self, image_ND: NDArray[np.float16], text_ND: NDArray[np.float16], *, seed: int
    ) -> NDArray[np.float32]:
        """Return a number for each of N pairs, float32 [N]; NaN where there is none."""
        ...


def relate(
    scores: Scores, relation: Relation, *, shards: Sequence[Shard], store: Folder, seed: int
) -> Scores:
    """Add the relation's column, unless an extractor has written one of that name (CLIP does).

    Pairs are handed over sorted by uid, so that nothing depends on how they are sharded.
    """
    column = relation.column
    if column.name in scores.columns:
        return scores
    writer = fingerprint(
        column.name, settings=relation, version=relation.version, seed=seed, of=scores.digest(READS)
    )
    writes, stage = {writer: [column.name]}, f"{column.name}-{writer}"
    if any(True for _ in locate(shards, writes, Ledger(store)).lacking()):
        start = time.perf_counter()
        parts = _fit(scores, relation, seed)
        seconds = {column.name: round((time.perf_counter() - start) / len(parts), 4)}
        ledger = Ledger(store)
        ledger.declare(stage, writes)
        with Writer(store, f"{column.name}-{uuid.uuid4().hex}") as journal:
            for shard, values in enumerate(parts):
                table = _table(scores, shard, values, column)
                journal.add(_publish(table, store, shards[shard].id, stage, seconds, ledger.newest))
    (source,) = locate(shards, writes, Ledger(store)).scores(store).sources
    return scores.plus(source)


def _fit(scores: Scores, relation: Relation, seed: int) -> list[NDArray[np.float32]]:
    """Return the good rows' values, an array per shard."""
    uids = [scores.good(s, ["uid"]).column("uid").to_pylist() for s in range(len(scores))]
    order_N = np.argsort(np.array([u for part in uids for u in part], "S16"), kind="stable")
    if not len(order_N):
        raise ValueError(
            f"{relation.column.name}: got no readable pair in the whole pool, expected some; "
            "`thresher status` tells what is wrong with them"
        )
    image_ND, text_ND = (scores.embeddings(column)[order_N] for column in READS)
    value_N = np.empty(len(order_N), np.float32)
    value_N[order_N] = relation.fit(image_ND, text_ND, seed=seed)
    return np.split(value_N, np.cumsum([len(part) for part in uids])[:-1])


def _table(scores: Scores, shard: int, values: NDArray[np.float32], column: Column) -> pa.Table:
    """Lay the values of a shard's good rows out beside the base columns."""
    base = scores.read(shard, BASE_SCHEMA.names)
    valid_N = np.array([s == Reason.OK for s in base.column("status").to_pylist()], bool)
    schema = score_schema([column])
    return pa.Table.from_arrays(
        [*base.columns, to_array(values, schema.field(column.name), valid_N=valid_N)],
        schema=schema,
    )


def _publish(
    table: pa.Table, store: Folder, shard: str, stage: str, seconds: dict[str, float], newest: float
) -> Record:
    data, status = encode(table), table.column("status").to_pylist()
    (store / "scores" / stage).write(table_name(shard), data)
    return Record(
        shard=shard,
        stage=stage,
        rows=len(status),
        reasons={reason: status.count(reason) for reason in sorted(set(status))},
        sha256=hashlib.sha256(data).hexdigest(),
        output_bytes=len(data),
        input_bytes=0,
        seconds=seconds,
        at=later_than(newest),
    )
