"""New columns of a shard that is scored already: laid out beside its rows, published, recorded."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from filters.extract import Column
from filters.extract.base import Values
from pipeline.folder import Folder
from pipeline.ledger import Record, later_than, table_name
from pipeline.schema import BASE_SCHEMA, Reason
from pipeline.scores import Scores
from pipeline.tables import encode, field_of, to_array


@dataclass(frozen=True, kw_only=True, slots=True)
class Stage:
    """Where tables of new columns go.

    Attributes:
        store: Folder that holds `scores/` and `ledger/`.
        name: `<kind>-<fingerprint>`, the folder of the tables below `scores/`.
        columns: What they hold beside `status`.
        newest: Time of the ledger's newest entry; records must be newer.
    """

    store: Folder
    name: str
    columns: tuple[Column, ...]
    newest: float


def publish(
    stage: Stage, scores: Scores, shard: int, values: Mapping[str, Values], *, seconds: float
) -> Record:
    """Write the table of one shard.

    Args:
        stage: Where it goes.
        scores: What is known of the pool.
        shard: Position of the shard.
        values: By column, one for each good row, in order.
        seconds: What it took.

    Returns:
        The record for the ledger; the table is in place.
    """
    table = _table(scores.read(shard, ["status"]), values, stage.columns)
    data, status = encode(table), table.column("status").to_pylist()
    identity = scores.ids[shard]
    (stage.store / "scores" / stage.name).write(table_name(identity), data)
    return Record(
        shard=identity,
        stage=stage.name,
        rows=len(status),
        reasons={reason: status.count(reason) for reason in sorted(set(status))},
        sha256=hashlib.sha256(data).hexdigest(),
        output_bytes=len(data),
        input_bytes=0,
        seconds={stage.name.rpartition("-")[0]: round(seconds, 4)},
        at=later_than(stage.newest),
    )


def _table(base: pa.Table, values: Mapping[str, Values], columns: Sequence[Column]) -> pa.Table:
    """Lay the values of a shard's good rows out beside every row's status."""
    valid_N = pc.equal(base.column("status"), str(Reason.OK)).to_numpy()
    schema = pa.schema([BASE_SCHEMA.field("status"), *(field_of(column) for column in columns)])
    added = [to_array(values[c.name], schema.field(c.name), valid_N=valid_N) for c in columns]
    return pa.Table.from_arrays([*base.columns, *added], schema=schema)
