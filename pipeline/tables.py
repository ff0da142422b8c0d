"""Parquet beside the shards: declared columns, deterministic bytes, reads by column."""

import io
from collections.abc import Iterable, Sequence
from typing import Any

import fsspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from filters.extract import Column
from pipeline.schema import BASE_SCHEMA, UID_BYTES

ARROW_TYPES = {
    "int32": pa.int32(),
    "uint64": pa.uint64(),
    "float32": pa.float32(),
    "float64": pa.float64(),
    "uid": pa.binary(UID_BYTES),
    "string": pa.string(),
    "floats": pa.list_(pa.float32()),
    "strings": pa.list_(pa.string()),
    "uint32s": pa.list_(pa.uint32()),
}


def score_schema(columns: Iterable[Column]) -> pa.Schema:
    """Return the schema of a score table: base columns, then `columns` with unit and range."""
    return pa.schema([*BASE_SCHEMA, *(field_of(column) for column in columns)])


def field_of(column: Column) -> pa.Field:
    """Return the Arrow field of a declared column.

    An embedding is fixed-size binary, float16 little-endian, with dtype and shape in the field's
    metadata: one copy in and none out, where a fixed-size list is built value by value.
    """
    about = {"unit": column.unit, "range": column.range, "meaning": column.meaning}
    if column.dtype == "embedding":
        about |= {"dtype": "<f2", "shape": str(column.dim)}
        return pa.field(column.name, pa.binary(2 * column.dim), metadata=about)
    return pa.field(column.name, ARROW_TYPES[column.dtype], metadata=about)


def to_array(values: Any, field: pa.Field, *, valid_N: NDArray[np.bool_]) -> pa.Array:
    """Place the values of the valid rows among nulls.

    Args:
        values: One value for each True of `valid_N`, in order; an embedding as float16 [n, dim],
            what has nulls of its own as an Arrow array.
        field: The column.
        valid_N: Which of the N rows have a value.

    Raises:
        ValueError: There are not as many values as valid rows.
    """
    if len(values) != valid_N.sum():
        raise ValueError(
            f"{field.name}: got {len(values)} values, expected {valid_N.sum()}, one for each good "
            "row; correct what writes the column"
        )
    if is_embedding(field):
        rows = np.ascontiguousarray(np.asarray(values, "<f2")).tobytes()
        width = field.type.byte_width
        values = [rows[at : at + width] for at in range(0, len(rows), width)]
    dense = values if isinstance(values, pa.Array) else pa.array(values, field.type)
    index = np.cumsum(valid_N) - 1
    return dense.take(pa.array(np.where(valid_N, index, 0), mask=~valid_N))


def array_of(values: Sequence[Any], field: pa.Field) -> pa.Array:
    """Lay out one value a row; None is null."""
    valid_N = np.array([value is not None for value in values], bool)
    return to_array([value for value in values if value is not None], field, valid_N=valid_N)


def parquet_writer(sink: Any, schema: pa.Schema) -> pq.ParquetWriter:
    """Return a writer whose bytes depend on tables and row groups alone."""
    dictionary = [f.name for f in schema if not pa.types.is_fixed_size_binary(f.type)]
    return pq.ParquetWriter(sink, schema, compression="zstd", use_dictionary=dictionary)


def encode(table: pa.Table) -> bytes:
    """Write Parquet into memory; the bytes depend on the table alone."""
    sink = io.BytesIO()
    with parquet_writer(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue()


def read(url: str, columns: Sequence[str] | None = None) -> pa.Table:
    """Read some columns of a Parquet file; only their bytes are fetched.

    Raises:
        ValueError: The file is damaged, missing, or lacks one of the columns.
    """
    try:
        with fsspec.open(url, "rb") as stream:
            file = pq.ParquetFile(stream)
            missing = [c for c in columns or () if c not in file.schema_arrow.names]
            if not missing:
                # To wake threads takes longer than few columns do; shards are read side by side.
                some = list(columns) if columns is not None else None
                return file.read(columns=some, use_threads=some is None)
    except (OSError, pa.ArrowInvalid) as error:
        raise ValueError(
            f"table: got {url}, expected a Parquet file that can be read; `thresher verify RUN "
            f"--repair` has damaged ones made again by the next run ({error})"
        ) from error
    raise ValueError(
        f"table {url}: got no column {missing[0]!r}, expected one of "
        f"{', '.join(file.schema_arrow.names)}"
    )


def is_embedding(field: pa.Field) -> bool:
    """Tell whether a column of a score table holds embeddings."""
    return b"shape" in (field.metadata or {})


def holds_numbers(field: pa.Field) -> bool:
    """Tell whether a column holds one number a row."""
    return pa.types.is_integer(field.type) or pa.types.is_floating(field.type)


def numbers(table: pa.Table, name: str, dtype: type[np.floating]) -> NDArray[Any]:
    """Return a column of numbers as floats [N]: large ones, say hashes, rounded; null is NaN."""
    column = table.column(name).cast(pa.from_numpy_dtype(dtype), safe=False)
    return column.fill_null(np.nan).to_numpy()


def uids(table: pa.Table, name: str = "uid") -> NDArray[np.bytes_]:
    """Return uids of a table, S16 [N]; they sort as their bytes do."""
    column = table.column(name).combine_chunks()
    if not len(column):
        return np.zeros(0, f"S{UID_BYTES}")
    start = column.offset * UID_BYTES
    data = memoryview(column.buffers()[1])[start : start + len(column) * UID_BYTES]
    return np.frombuffer(data, f"S{UID_BYTES}")


def uid_words(uid_N: NDArray[np.bytes_]) -> NDArray[np.uint64]:
    """Return uids as two numbers each, uint64 [N, 2], the high word first."""
    return np.ascontiguousarray(uid_N).view(">u8").astype(np.uint64).reshape(-1, 2)


def embedding(table: pa.Table, name: str) -> NDArray[np.float16]:
    """Return an embedding column as float16 [N, dim]; a null becomes a zero vector."""
    field = table.schema.field(name)
    dim = int(field.metadata[b"shape"])
    column = table.column(name).combine_chunks().fill_null(bytes(2 * dim))
    if not len(column):
        return np.zeros((0, dim), np.float16)
    start = column.offset * 2 * dim
    data = memoryview(column.buffers()[1])[start : start + len(column) * 2 * dim]
    return np.frombuffer(data, "<f2").reshape(len(column), dim)
