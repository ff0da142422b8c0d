"""Extractors that are ready to score; one that fails costs its columns, a vital one the pair."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filters.extract import Batch, Extractor, Score
from pipeline.cells.plan import Stopwatch

logger = logging.getLogger(__name__)


TOLD = 5  # failures of one extractor that are warned of; the rest are counted in the report


@dataclass(slots=True)
class Loaded:
    """An extractor with its model, and on how many pairs it has raised."""

    kind: str
    score: Score
    vital: bool
    raised: int = 0


def load_all(
    extractors: Sequence[Extractor], weights: Mapping[str, Path], *, threads: int
) -> list[Loaded]:
    """Load extractors; one that does not load is left out, and its columns stay null.

    Raises:
        FileNotFoundError: A model file is not there.
        Exception: Whatever a vital one raises; MemoryError and OSError of any, since those tell of
            the machine and not of the model.
    """
    loaded = []
    for each in extractors:
        _require(each, weights)
        try:
            score = each.load(weights, threads=threads)
        except Exception as error:  # a damaged file may raise anything
            if each.vital or isinstance(error, MemoryError | OSError):
                raise
            what = f"{type(error).__name__}: {error}"
            logger.error("%s does not load, its columns stay null: %s", each.kind, what)  # noqa: TRY400
        else:
            loaded.append(Loaded(each.kind, score, each.vital))
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
        columns = each.score(batch)
        return [{name: values[i] for name, values in columns.items()} for i in range(len(batch))]
    except Exception as error:  # a model may raise anything on hostile input
        if len(batch) == 1:
            each.raised += 1
            level = logging.WARNING if each.raised <= TOLD else logging.DEBUG
            logger.log(level, "%s raised on a pair: %s: %s", each.kind, type(error).__name__, error)
            return [None]
        return [_by_row(each, batch.row(i))[0] for i in range(len(batch))]
