"""Nulls counted from footers, against tables small enough to count by eye."""

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
import pyarrow as pa
import pytest

from filters.extract import Column, Extractor
from pipeline.missing import Missing, missing_values, without_values
from pipeline.schema import BASE_SCHEMA
from pipeline.scores import Scores, Source
from pipeline.tables import array_of, encode, score_schema

COLUMNS = (
    Column("boxes", "floats", "", "", "lists"),
    Column("count", "int32", "", "", "numbers"),
    Column("ratio", "float32", "", "", "numbers"),
    Column("vector", "embedding", "", "", "vectors", 2),
    Column("other", "string", "", "", "texts"),
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Boxes(Extractor):
    kind: Literal["boxes"] = "boxes"
    columns: ClassVar = COLUMNS[:4]

    def load(self, weights, *, threads):
        raise NotImplementedError


def table(rows):
    """Lay out rows of (status, boxes, count, ratio, vector, other)."""
    base = {
        "uid": [bytes(16)] * len(rows), "key": [""] * len(rows), "offset": [0] * len(rows),
        "size": [0] * len(rows), "status": [row[0] for row in rows], "caption": [""] * len(rows),
    }  # fmt: skip
    schema = score_schema(COLUMNS)
    arrays = [pa.array(base[field.name], field.type) for field in BASE_SCHEMA]
    for i, column in enumerate(COLUMNS):
        arrays.append(array_of([row[i + 1] for row in rows], schema.field(column.name)))
    return encode(pa.Table.from_arrays(arrays, schema=schema))


def scores_of(folder, shards):
    for i, rows in enumerate(shards):
        (folder / f"{i}.parquet").write_bytes(table(rows))
    digest = np.ones((len(shards), 32), np.uint8)
    source = Source(str(folder), tuple(c.name for c in COLUMNS), digest)
    ids = tuple(str(i) for i in range(len(shards)))
    return Scores(ids, ids, (source,))


FULL = ("ok", [0.5], 1, 0.5, [1.0, 0.0], "x")
EMPTY = ("ok", [], 0, None, [1.0, 0.0], "x")  # nothing in the picture: no ratio, but no failure
FAILED = ("ok", None, None, None, None, "x")
BAD = ("decode_error", None, None, None, None, None)


def test_failures_bad_rows_and_empty_lists_are_told_apart(tmp_path):
    scores = scores_of(tmp_path, [[FULL, EMPTY, FAILED, BAD], [BAD, FULL, EMPTY]])
    assert missing_values(scores, [Boxes()]) == [
        Missing("boxes", ("boxes", "count", "vector"), rows=1, of=5, failed=1),
        Missing("boxes", ("ratio",), rows=3, of=5, failed=1),
    ]


def test_a_model_that_never_loaded_leaves_everything_empty(tmp_path):
    scores = scores_of(tmp_path, [[FAILED, BAD], [FAILED]])
    (missing,) = missing_values(scores, [Boxes()])
    assert missing.columns == ("boxes", "count", "ratio", "vector")
    assert missing.rows == missing.failed == missing.of == 2


def test_a_pool_without_gaps_has_nothing_to_tell(tmp_path):
    scores = scores_of(tmp_path, [[FULL, BAD], [BAD]])
    assert missing_values(scores, [Boxes()]) == []
    assert without_values([]) == ""


@pytest.mark.parametrize(
    ("failed", "line"),
    [(3, "pairs without a value: boxes 3 of 1,200"), (0, "")],
)
def test_the_headline_names_who_failed_and_not_who_had_nothing_to_say(failed, line):
    about = {"writer": "boxes", "of": 1200, "failed": failed}
    parts = [{**about, "columns": ["ratio"], "rows": 700}]
    if failed:
        parts.append({**about, "columns": ["count"], "rows": failed})
    assert without_values(parts) == line
