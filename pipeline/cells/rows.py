"""Batches to rows: every extractor on every good pair, and one bad pair costs one row."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa

from filters.extract import Batch
from pipeline.cells.decoding import Decoded, empty_picture
from pipeline.cells.loaded import Loaded, values_of
from pipeline.cells.plan import Stopwatch
from pipeline.samples import Sample
from pipeline.schema import BASE_SCHEMA, Reason
from pipeline.tables import array_of


@dataclass(frozen=True, slots=True)
class Row:
    """A sample without its picture, and its columns if it is good; some may be missing."""

    sample: Sample
    values: dict[str, Any] | None = None


def rows_of(
    decoded: Sequence[Decoded], loaded: Sequence[Loaded], watch: Stopwatch
) -> Iterator[Row]:
    """Run the extractors on a batch's good pairs and yield a row for every sample, in order.

    Args:
        decoded: The batch.
        loaded: The extractors.
        watch: Takes each one's time.
    """
    good = [d for d in decoded if d.sample.status is Reason.OK]
    values = iter(values_of(loaded, batch_of(good), watch))
    for each in decoded:
        if each.sample.status is not Reason.OK:
            yield Row(each.sample)
        elif (found := next(values)) is None:
            yield Row(replace(each.sample, status=Reason.EXTRACT_ERROR))
        else:
            yield Row(each.sample, found)


def batch_of(decoded: Sequence[Decoded]) -> Batch:
    """Lay good pairs out as extractors take them."""
    pictures = [d.picture for d in decoded]
    return Batch(
        [p.rgb if p else empty_picture() for p in pictures],
        [(p.width, p.height) if p else (0, 0) for p in pictures],
        [d.sample.caption or "" for d in decoded],
        [d.original for d in decoded if d.original is not None],
        [d.sample.uid for d in decoded],
        [d.content for d in decoded],
    )


def table_of(rows: Iterable[Row], schema: pa.Schema) -> pa.Table:
    """Lay rows out as a score table; what a row has no value for is null."""
    rows = list(rows)
    base = [
        pa.array([_base_value(row.sample, f.name) for row in rows], f.type) for f in BASE_SCHEMA
    ]
    extra = [
        array_of([(row.values or {}).get(f.name) for row in rows], f)
        for f in list(schema)[len(BASE_SCHEMA) :]
    ]
    return pa.Table.from_arrays([*base, *extra], schema=schema)


def _base_value(sample: Sample, name: str) -> Any:
    value = getattr(sample, name)
    return str(value) if name == "status" else value
