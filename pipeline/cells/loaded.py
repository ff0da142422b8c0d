"""Extractors that are ready to score; one that fails costs its columns, a vital one the pair."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa

from filters.extract import Batch, Extractor, Score
from filters.extract.base import Values
from pipeline.cells.plan import Stopwatch
from pipeline.tables import array_of, field_of

logger = logging.getLogger(__name__)

MOST_TOLD = 10  # failures of one extractor in the log; the report counts all of them


@dataclass(frozen=True, slots=True)
class Loaded:
    """An extractor with its model.

    Attributes:
        kind: Its name.
        score: What it does.
        vital: Whether a pair is lost without it.
        fields: The columns it declares; what else it returns is not kept.
        told: Failures so far, a line each.
    """

    kind: str
    score: Score
    vital: bool
    fields: tuple[pa.Field, ...]
    told: list[str] = field(default_factory=list)


def load_all(
    extractors: Sequence[Extractor], weights: Mapping[str, Path], *, threads: int
) -> list[Loaded]:
    """Load extractors; one that does not load is left out, and its columns stay null.

    Raises:
        FileNotFoundError: A model file is not there.
        RuntimeError: A vital one does not load.
        Exception: MemoryError and OSError of any, since those tell of the machine and not of the
            model.
    """
    loaded = []
    for each in extractors:
        _require(each, weights)
        try:
            score = each.load(weights, threads=threads)
        except Exception as error:  # a damaged file may raise anything
            if isinstance(error, MemoryError | OSError):
                raise
            if each.vital:
                raise RuntimeError(
                    f"{each.kind}: got {_line(error)}, expected a model that loads, as no pair is "
                    "good without it; let its file be fetched or installed again"
                ) from error
            logger.error("%s does not load, its columns stay null: %s", each.kind, _line(error))  # noqa: TRY400
        else:
            fields = tuple(field_of(column) for column in each.columns)
            loaded.append(Loaded(each.kind, score, each.vital, fields))
    return loaded


def _require(extractor: Extractor, weights: Mapping[str, Path]) -> None:
    for name in extractor.weights:
        if not weights[name].exists():
            raise FileNotFoundError(
                f"{extractor.kind}: got {weights[name]}, which is not there, expected the model "
                f"{name}; let it be fetched again, or correct the path"
            )


def values_of(
    loaded: Sequence[Loaded], batch: Batch, watch: Stopwatch
) -> list[dict[str, Any] | None]:
    """Score B good pairs: values by column, without those of extractors that raised on a pair.

    Returns:
        One for each pair; None where a vital extractor raised.
    """
    values: list[dict[str, Any] | None] = [{} for _ in range(len(batch))]
    for each in loaded if len(batch) else ():
        with watch.on(each.kind):
            scored = _by_row(each, batch)
        for i, found in enumerate(scored):
            have = values[i]
            if have is not None:
                values[i] = None if found is None and each.vital else have | (found or {})
    return values


def _by_row(each: Loaded, batch: Batch) -> list[dict[str, Any] | None]:
    """Score a batch; if it raises, score it row by row, and only the culprit becomes None."""
    try:
        columns = _checked(each, each.score(batch), len(batch))
        return [{name: values[i] for name, values in columns.items()} for i in range(len(batch))]
    except Exception as error:  # a model may raise anything on hostile input
        if len(batch) == 1:
            _tell(each, error)
            return [None]
        return [_by_row(each, batch.row(i))[0] for i in range(len(batch))]


def _checked(each: Loaded, columns: Mapping[str, Values], count: int) -> dict[str, Values]:
    """Return the declared columns of a batch, after seeing that a table can hold them.

    Raises:
        ValueError: There are too few or too many values, or some of another type.
        pa.ArrowInvalid: The same, as Arrow says it.
    """
    kept = {f.name: columns[f.name] for f in each.fields if f.name in columns}
    for name, values in kept.items():
        if len(values) != count:
            raise ValueError(f"got {len(values)} values of {name}, expected {count}, one a pair")
    for each_field in each.fields:
        array_of(list(kept.get(each_field.name, ())), each_field)
    return kept


def _tell(each: Loaded, error: Exception) -> None:
    """Log a failure on one line, unless there were many."""
    if len(each.told) < MOST_TOLD:
        each.told.append(_line(error))
        last = "; the report counts further ones" if len(each.told) == MOST_TOLD else ""
        logger.warning("%s raised on a pair: %s%s", each.kind, each.told[-1], last)


def _line(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())
