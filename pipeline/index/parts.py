"""Rows of one table in several files: memory-mapped by position, or one table in memory.

Letters: N rows, P parts.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, overload

import numpy as np
import pyarrow as pa
from numpy.typing import ArrayLike, NDArray

from pipeline.schema import UID_BYTES, UID_DTYPE

# Prefixes of columns: captions and values by name, and copies in a subset by its number.
CAPTION, COPIES, FIELD, WEIGHT = "caption:", "copies:", "field:", "weight:"
SOME = 4096  # texts that are turned into Python at a time


@dataclass(frozen=True, slots=True)
class Parts:
    """Tables of one schema, one after the other; each is opened when it is first asked for.

    Attributes:
        files: Arrow IPC files without compression, each of one record batch; none for a table
            in memory.
        start_P: Row at which each begins and, last, N; int64 [P + 1].
        held: Tables that are open, by part.
    """

    files: tuple[str, ...]
    start_P: NDArray[np.int64]
    held: dict[int, pa.Table] = field(default_factory=dict, compare=False)

    def __len__(self) -> int:
        """Return N."""
        return int(self.start_P[-1])

    def __getstate__(self) -> tuple[Any, ...]:
        """Send paths, but no tables that can be opened again."""
        return self.files, self.start_P, {} if self.files else self.held

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        for name, value in zip(("files", "start_P", "held"), state, strict=True):
            object.__setattr__(self, name, value)

    @property
    def count(self) -> int:
        """Return P."""
        return len(self.start_P) - 1

    @property
    def schema(self) -> pa.Schema:
        """The schema of all parts."""
        return self.table(0).schema

    def table(self, part: int) -> pa.Table:
        """Return the rows of a part, without a copy."""
        if part not in self.held:
            self.held[part] = map_table(self.files[part])
        return self.held[part]

    def grouped(self, row_n: NDArray[np.int64]) -> Iterator[tuple[int, Any, NDArray[np.int64]]]:
        """Yield, of each part that has some of these rows, which of them, and where they lie."""
        if self.count == 1:
            yield 0, slice(None), row_n
            return
        part_n = np.searchsorted(self.start_P, row_n, "right") - 1
        for part in np.unique(part_n).tolist():
            which = np.flatnonzero(part_n == part)
            yield part, which, row_n[which] - self.start_P[part]

    def positions(self, index: Any) -> NDArray[np.int64]:
        """Return the rows that an index, a slice or a mask means; negative ones from the end.

        Raises:
            IndexError: There is no such row.
        """
        if isinstance(index, slice):
            return np.arange(*index.indices(len(self)))
        row_n = np.asarray(index)
        row_n = np.flatnonzero(row_n) if row_n.dtype == bool else row_n.astype(np.int64)
        row_n = np.where(row_n < 0, row_n + len(self), row_n)
        if len(row_n) and not (row_n.min() >= 0 and row_n.max() < len(self)):
            raise IndexError(
                f"pairs: got a position in [{row_n.min()}, {row_n.max()}] of {len(self)}"
            )
        return row_n

    def take(self, index: ArrayLike) -> pa.Table:
        """Return rows in memory, in this order; they may repeat."""
        row_n = self.positions(index)
        order, tables = [np.zeros(0, np.int64)], [self.table(0).slice(0, 0)]
        for part, which, at in self.grouped(row_n):
            order.append(np.arange(len(row_n))[which])
            tables.append(self.table(part).take(at))
        back = np.argsort(np.concatenate(order), kind="stable")
        return pa.concat_tables(tables).take(back).combine_chunks()


def in_memory(table: pa.Table) -> Parts:
    """Return a table as its only part."""
    return Parts((), np.array([0, len(table)]), {0: table.combine_chunks()})


def map_table(path: str) -> pa.Table:
    """Open an Arrow file; its columns lie in the file."""
    with pa.memory_map(path) as source:
        return pa.ipc.open_file(source).read_all()


@dataclass(frozen=True, slots=True)
class Values:
    """A column of numbers or uids, as NumPy arrays of what is asked for.

    Attributes:
        parts: Where it lies.
        name: Of the column.
        arrays: What is open, by part.
    """

    parts: Parts
    name: str
    arrays: dict[int, NDArray[Any]] = field(default_factory=dict, compare=False)

    def __getstate__(self) -> tuple[Any, ...]:
        return self.parts, self.name

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        for name, value in zip(("parts", "name", "arrays"), (*state, {}), strict=True):
            object.__setattr__(self, name, value)

    def __len__(self) -> int:
        """Return N."""
        return len(self.parts)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of an element."""
        return self[:0].dtype

    def __getitem__(self, index: Any) -> Any:
        """Return an element, or an array for a slice, positions or a mask."""
        if isinstance(index, (int, np.integer)):
            return self[[int(index)]][0]
        row_n = self.parts.positions(index)
        out_n = np.empty(len(row_n), self.part(0).dtype)
        for part, which, at in self.parts.grouped(row_n):
            out_n[which] = self.part(part)[at]
        return uids_from_bytes(out_n.tobytes()) if out_n.dtype.kind == "S" else out_n

    def __iter__(self) -> Iterator[Any]:
        for start in range(0, len(self), SOME):
            yield from self[start : start + SOME]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        """Return the whole column in memory."""
        del copy
        return self[:].astype(dtype) if dtype is not None else self[:]

    def tolist(self) -> list[Any]:
        """Return the whole column as Python values."""
        return self[:].tolist()

    def tobytes(self) -> bytes:
        """Return the whole column as bytes."""
        return self[:].tobytes()

    def part(self, part: int) -> NDArray[Any]:
        """Return a part of the column without a copy; uids as S16."""
        if part not in self.arrays:
            self.arrays[part] = _numpy(self.parts.table(part).column(self.name))
        return self.arrays[part]


@dataclass(frozen=True, slots=True)
class Strings(Sequence[str]):
    """A column of texts; only those that are asked for become Python's."""

    parts: Parts
    name: str

    def __len__(self) -> int:
        """Return N."""
        return len(self.parts)

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice | ArrayLike) -> list[str]: ...
    def __getitem__(self, index: Any) -> Any:
        """Return a text, or a list of them for a slice or positions."""
        if isinstance(index, (int, np.integer)):
            return self[[int(index)]][0]
        row_n = self.parts.positions(index)
        out: list[str] = [""] * len(row_n)
        for part, which, at in self.parts.grouped(row_n):
            texts = self.parts.table(part).column(self.name).take(at).to_pylist()
            for i, text in zip(np.arange(len(row_n))[which].tolist(), texts, strict=True):
                out[i] = text
        return out

    def __iter__(self) -> Iterator[str]:
        for part in range(self.parts.count):
            column = self.parts.table(part).column(self.name)
            for start in range(0, len(column), SOME):
                yield from column.slice(start, SOME).to_pylist()


def named(parts: Parts, prefix: str, view: Callable[[Parts, str], Any]) -> dict[str, Any]:
    """Return views of the columns that are called `<prefix><name>`, by name."""
    names = [name for name in parts.schema.names if name.startswith(prefix)]
    return {name.removeprefix(prefix): view(parts, name) for name in names}


def uids_from_bytes(data: bytes) -> NDArray[np.void]:
    """View N x 16 big-endian bytes as N records of `UID_DTYPE` (high word first)."""
    words = np.frombuffer(data, ">u8").astype("<u8")
    return words.view(UID_DTYPE)


def uid_array(uids: Iterable[bytes]) -> pa.Array:
    """Lay out uids of 16 bytes."""
    return pa.array(list(uids), pa.binary(UID_BYTES))


def _numpy(column: pa.ChunkedArray) -> NDArray[Any]:
    if not pa.types.is_fixed_size_binary(column.type):
        return column.to_numpy()
    (array,) = column.chunks or [pa.array([], column.type)]
    start = array.offset * UID_BYTES
    data = memoryview(array.buffers()[1] or b"")[start : start + len(array) * UID_BYTES]
    return np.frombuffer(data, f"S{UID_BYTES}")
