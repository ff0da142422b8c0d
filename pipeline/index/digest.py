"""What training sees of pairs as one number, however they are cut into parts.

Letters: n rows.
"""

import hashlib
import itertools

import numpy as np
import pyarrow as pa

from pipeline.index.parts import CAPTION, COPIES, WEIGHT, Parts

BITS = 128
SOME = 65_536  # rows that are turned into Python at a time
SEEN = (CAPTION, COPIES, WEIGHT)  # beside the uid; fields and places play no part


def digest_rows(table: pa.Table) -> int:
    """Return the sum of the rows' 128 bits of BLAKE2b: parts of a table add up to the whole."""
    names = ["uid", *(name for name in table.column_names if name.startswith(SEEN))]
    total = 0
    for start in range(0, len(table), SOME):
        some = table.slice(start, SOME)
        columns = [_bytes(some.column(name)) for name in names]
        for row in zip(*columns, strict=True):
            data = b"".join(len(value).to_bytes(4, "little") + value for value in row)
            total += int.from_bytes(hashlib.blake2b(data, digest_size=BITS // 8).digest(), "big")
    return total % 2**BITS


def digest_name(columns: list[str], total: int, *, rows: int) -> str:
    """Return the digest of a whole table, hex: of its columns' names and the sum of its rows."""
    names = sorted(name for name in columns if name.startswith(SEEN))
    about = repr((names, rows, total % 2**BITS))
    return hashlib.blake2b(about.encode(), digest_size=BITS // 8).hexdigest()


def digest_of(parts: Parts) -> str:
    """Return the digest of a table that may be in any order; sorted by uid is the plain case."""
    tables = [parts.table(part) for part in range(parts.count)]
    total = sum(digest_rows(table) for table in tables)
    uids = [uid for table in tables for uid in table.column("uid").to_pylist()]
    if any(a >= b for a, b in itertools.pairwise(uids)):
        order = hashlib.blake2b(b"".join(uids), digest_size=BITS // 8).digest()
        total += int.from_bytes(order, "big")
    return digest_name(parts.schema.names, total, rows=len(parts))


def _bytes(column: pa.ChunkedArray) -> list[bytes]:
    if pa.types.is_string(column.type):
        return column.cast(pa.binary()).to_pylist()
    if pa.types.is_fixed_size_binary(column.type):
        return column.to_pylist()
    values_n = np.ascontiguousarray(column.to_numpy())
    return [value.tobytes() for value in values_n]
