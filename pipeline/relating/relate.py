"""Score columns that need the whole pool: how picture and caption relate to all the others.

What is learned of the pool is learned of a bounded sample; what has to meet is brought together
through sorted runs. No process holds more than either.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from filters.concepts import Consensus
from filters.concepts.clustering import Map
from pipeline.columns.arrays import kept_arrays
from pipeline.columns.draw import draw
from pipeline.columns.mapped import mapped
from pipeline.columns.remaining import Remaining
from pipeline.columns.stages import ColumnStage, Place
from pipeline.ledger import Ledger
from pipeline.relating.agree import agree
from pipeline.relating.relation import (
    FITTED,
    READS,
    Relation,
    columns_of,
    locate_relation,
    views_of,
)
from pipeline.scores import Scores
from pipeline.tables import embedding

logger = logging.getLogger(__name__)


class Fitted(Protocol):
    """What was fitted; a value depends on its own row alone."""

    def score(
        self, pictures: Mapping[str, NDArray[np.float16]], text_ND: NDArray[np.float16]
    ) -> dict[str, NDArray[np.float32]]:
        """Return numbers for N pairs by the embedding of the picture; NaN where there is none."""
        ...

    def to_arrays(self) -> Mapping[str, NDArray[Any]]:
        """Return all of it as arrays by name."""
        ...


class Fits(Relation, Protocol):
    """A relation that is learned of a sample, then told of each pair for itself."""

    @property
    def sample(self) -> int:
        """Pairs to learn of, at most."""
        ...

    def fit(
        self,
        image_ND: NDArray[np.float16],
        text_ND: NDArray[np.float16],
        *,
        seed: int,
        map: Map,  # noqa: A002
    ) -> Fitted:
        """Learn of N pairs, whose order does not depend on how they are stored."""
        ...

    def restore(self, arrays: Mapping[str, NDArray[Any]]) -> Fitted:
        """Return what `to_arrays` was asked of."""
        ...


def relate(scores: Scores, relation: Fits | Consensus, *, place: Place, seed: int) -> Scores:
    """Add the relation's columns; shards that have them are left alone.

    Raises:
        ValueError: There is no readable pair, or there are too few.
    """
    columns = tuple(columns_of(relation, scores.columns))
    if not columns:
        return scores
    name, located = locate_relation(
        scores, relation, shards=place.shards, ledger=Ledger(place.store), seed=seed
    )
    stage = ColumnStage(name, columns, scores, place, located)
    if stage.is_whole:
        return stage.known()
    if isinstance(relation, Consensus):
        return agree(stage, relation, seed=seed)
    arrays = kept_arrays(stage.folder, FITTED, lambda: _fit(stage, relation, seed))
    fitted = relation.restore(arrays)
    return stage.fill(_score, _Work(fitted, _names(relation, scores.columns)))


def _fit(stage: ColumnStage, relation: Fits, seed: int) -> Mapping[str, NDArray[Any]]:
    execute = stage.place.execute
    sample = draw(Remaining(stage.scores), READS, most=relation.sample, seed=seed, execute=execute)
    sample.require_some(relation.column.name)
    logger.info("%s: fitted on %d of %d pairs", relation.column.name, len(sample), sample.pairs)
    image_ND, text_ND = (sample.embeddings[column] for column in READS)
    return relation.fit(image_ND, text_ND, seed=seed, map=mapped(execute)).to_arrays()


def _names(relation: Relation, scored: Sequence[str]) -> dict[str, str]:
    """Return the columns to write by the embedding of the picture that they are made of."""
    views = {view: relation.views[view].name for view in views_of(relation, scored)}
    return {READS[0]: relation.column.name, **views}


@dataclass(frozen=True, slots=True)
class _Work:
    fitted: Fitted
    names: Mapping[str, str]


def _score(work: _Work, scores: Scores, shard: int) -> dict[str, NDArray[np.float32]]:
    table = scores.good(shard, [*work.names, READS[1]])
    pictures = {column: embedding(table, column) for column in work.names}
    found = work.fitted.score(pictures, embedding(table, READS[1]))
    return {name: found[column] for column, name in work.names.items()}
