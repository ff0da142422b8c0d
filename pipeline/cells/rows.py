"""Batches to rows: every extractor on every good pair, and one bad pair costs one row."""

import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa

from filters.extract import Batch, Score
from pipeline.cells.decoding import Decoded, empty_picture
from pipeline.cells.plan import Stopwatch
from pipeline.samples import Sample
from pipeline.schema import BASE_SCHEMA, Reason
from pipeline.tables import to_array

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Row:
    """A sample without its picture, and its columns if it is good."""

    sample: Sample
    values: dict[str, Any] | None = None


def rows_of(
    decoded: Sequence[Decoded], scores: Sequence[tuple[str, Score]], watch: Stopwatch
) -> Iterator[Row]:
    """Run the extractors on a batch's good pairs and yield a row for every sample, in order.

    Args:
        decoded: The batch.
        scores: Extractors by kind.
        watch: Takes each one's time.
    """
    good = [d for d in decoded if d.sample.status is Reason.OK]
    batch = batch_of(good)
    columns: list[dict[str, Any] | None] = [{} for _ in good]
    for kind, score in scores if good else ():
        with watch.on(kind):
            scored = score_rows(score, batch)
        columns = [
            None if have is None or new is None else have | new
            for have, new in zip(columns, scored, strict=True)
        ]
    values = iter(columns)
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
    )


def score_rows(score: Score, batch: Batch) -> list[dict[str, Any] | None]:
    """Score a batch; if it raises, score it row by row, and only the culprit becomes None."""
    try:
        columns = score(batch)
        return [{name: values[i] for name, values in columns.items()} for i in range(len(batch))]
    except Exception as error:  # a model may raise anything on hostile input
        if len(batch) == 1:
            logger.warning("extractor raised on a sample: %s: %s", type(error).__name__, error)
            return [None]
        return [score_rows(score, batch.row(i))[0] for i in range(len(batch))]


def table_of(rows: Iterable[Row], schema: pa.Schema) -> pa.Table:
    """Lay rows out as a score table; a row without values has nulls."""
    rows = list(rows)
    valid_N = np.array([row.values is not None for row in rows], bool)
    base = [
        pa.array([_base_value(row.sample, f.name) for row in rows], f.type) for f in BASE_SCHEMA
    ]
    found = [row.values for row in rows if row.values is not None]
    extra = [
        to_array([values[f.name] for values in found], f, valid_N=valid_N)
        for f in list(schema)[len(BASE_SCHEMA) :]
    ]
    return pa.Table.from_arrays([*base, *extra], schema=schema)


def _base_value(sample: Sample, name: str) -> Any:
    value = getattr(sample, name)
    return str(value) if name == "status" else value
