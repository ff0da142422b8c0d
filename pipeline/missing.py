"""Where an extractor has left nothing: rows that were scored and have no value in a column."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import fsspec
import pyarrow.compute as pc
import pyarrow.parquet as pq

from filters.derive import Derive
from filters.extract import Extractor
from pipeline.schema import Reason
from pipeline.scores import Scores


@dataclass(frozen=True, slots=True)
class Missing:
    """Columns of one writer that lack a value on equally many rows.

    Attributes:
        writer: Kind of what wrote it; the column's own name if that is not known.
        columns: Their names.
        rows: Rows without a value.
        of: Rows that its passes found fit to be scored.
        failed: Rows, at most, on which all of the writer's columns lack a value: where it failed,
            not where there was nothing to say.
    """

    writer: str
    columns: tuple[str, ...]
    rows: int
    of: int
    failed: int


def missing_values(scores: Scores, writers: Sequence[Extractor | Derive]) -> list[Missing]:
    """Count nulls among the rows that a table itself calls ok, by column.

    Nulls come from the footers of the Parquet files; of the data only `status` is read, and columns
    of lists, of which some may be empty.

    Args:
        scores: Score tables of a pool.
        writers: What wrote them, for their names.
    """
    nulls: dict[str, int] = dict.fromkeys(scores.columns, 0)
    good: dict[str, int] = dict.fromkeys(scores.columns, 0)
    for shard in range(len(scores)):
        for url, columns in scores.tables(shard):
            null_by_column, ok, rows = nulls_of(url)
            for column in columns:
                nulls[column] += null_by_column[column] - (rows - ok)
                good[column] += ok
    writer = {c.name: w.kind for w in writers for c in w.columns}
    least: dict[str, int] = {}
    for column, count in nulls.items():
        kind = writer.get(column, column)
        least[kind] = min(count, least.get(kind, count))
    groups: dict[tuple[str, int], list[str]] = {}
    for column, count in nulls.items():
        if count:
            groups.setdefault((writer.get(column, column), count), []).append(column)
    return [
        Missing(kind, tuple(columns), count, good[columns[0]], least[kind])
        for (kind, count), columns in groups.items()
    ]


def without_values(missing: Sequence[Mapping[str, Any]]) -> str:
    """Say which extractors failed on how many pairs, on one line; `""` if none did.

    Args:
        missing: `Missing` as in `summary.json`.
    """
    failed = {m["writer"]: f"{m['failed']:,} of {m['of']:,}" for m in missing if m["failed"]}
    told = ", ".join(f"{writer} {rows}" for writer, rows in failed.items())
    return f"pairs without a value: {told}" if told else ""


def nulls_of(url: str) -> tuple[dict[str, int], int, int]:
    """Return a table's nulls by column, its rows with status `ok`, and all its rows."""
    with fsspec.open(url, "rb") as stream:
        file = pq.ParquetFile(stream)
        rows = file.metadata.num_rows
        status = file.read(columns=["status"]).column("status")
        ok = pc.sum(pc.equal(status, str(Reason.OK))).as_py() or 0
        nulls: dict[str, int] = {}
        nested = set()
        for path, count in _nulls_of_leaves(file):
            name, _, inside = path.partition(".")
            nulls[name] = nulls.get(name, 0) + count
            nested |= {name} if inside else set()
        for name in nested:  # a footer counts empty lists as nulls, too
            if nulls[name] > rows - ok:
                nulls[name] = file.read(columns=[name]).column(name).null_count
    return nulls, ok, rows


def _nulls_of_leaves(file: pq.ParquetFile) -> Iterator[tuple[str, int]]:
    """Yield path and nulls of every column of every row group."""
    for number in range(file.metadata.num_row_groups):
        group = file.metadata.row_group(number)
        for i in range(group.num_columns):
            yield group.column(i).path_in_schema, group.column(i).statistics.null_count
