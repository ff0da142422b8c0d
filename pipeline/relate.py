"""Score columns that need the whole pool: how picture and caption relate to all the others."""

import hashlib
import time
from typing import ClassVar, Protocol

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from filters.extract import Column
from pipeline.fingerprint import fingerprint
from pipeline.folder import Folder
from pipeline.ledger import Ledger, Record, shard_identities
from pipeline.schema import BASE_SCHEMA, Reason
from pipeline.score import sidecars_of
from pipeline.scores import Scores
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


def relate(scores: Scores, relation: Relation, *, run: Folder, seed: int) -> Scores:
    """Add the relation's column, unless an extractor has written one of that name (CLIP does).

    Pairs are handed over sorted by uid, so that nothing depends on how they are sharded.
    """
    column = relation.column
    if column.name in scores.columns:
        return scores
    writer = fingerprint(
        column.name, settings=relation, version=relation.version, seed=seed, of=scores.digest(READS)
    )
    ledger, identities = Ledger(run), shard_identities(scores.shards)
    ids = [identities[shard].id for shard in scores.shards]
    writers = {writer: [column.name]}
    if not all(sidecars_of(ledger.of(i), writers, run) for i in ids):
        start = time.perf_counter()
        parts = _fit(scores, relation, seed)
        seconds = {column.name: round((time.perf_counter() - start) / len(parts), 4)}
        for shard, values in enumerate(parts):
            table = _table(scores, shard, values, column)
            ledger.add(_publish(table, run, ids[shard], column.name, writer, seconds))
    return scores.plus([sidecars_of(ledger.of(i), writers, run)[0] for i in ids])


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
    table: pa.Table, run: Folder, shard: str, name: str, writer: str, seconds: dict[str, float]
) -> Record:
    data, status = encode(table), table.column("status").to_pylist()
    stage = f"{name}-{writer}"
    (run / "scores" / stage).write(f"{shard}.parquet", data)
    return Record(
        shard=shard,
        stage=stage,
        name=f"{shard}.parquet",
        writes={writer: [name]},
        rows=len(status),
        reasons={reason: status.count(reason) for reason in sorted(set(status))},
        sha256=hashlib.sha256(data).hexdigest(),
        output_bytes=len(data),
        input_bytes=0,
        seconds=seconds,
    )
