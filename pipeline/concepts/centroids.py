"""Clusters of a sample, found once and kept beside the tables of the stage that assigns them."""

import logging
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from filters.concepts import AnyClustering, Concepts
from pipeline.columns.arrays import kept_arrays
from pipeline.columns.draw import draw
from pipeline.columns.mapped import mapped
from pipeline.columns.remaining import Remaining
from pipeline.columns.stages import ColumnStage

CENTROIDS = "centroids.npz"

logger = logging.getLogger(__name__)


def find_concepts(
    stage: ColumnStage, remaining: Remaining, column: str, clustering: AnyClustering, *, seed: int
) -> Concepts:
    """Return the clusters that lie beside a stage's tables; find them, if none do yet.

    Args:
        stage: Whose tables say which pair is in which cluster.
        remaining: The pairs to cluster.
        column: Their embedding.
        clustering: How clusters are found.
        seed: Of sample and clusters.
    """
    found = kept_arrays(
        stage.folder, CENTROIDS, lambda: _train(stage, remaining, column, clustering, seed)
    )
    return Concepts.from_arrays(found)


def _train(
    stage: ColumnStage, remaining: Remaining, column: str, clustering: AnyClustering, seed: int
) -> Mapping[str, NDArray[Any]]:
    execute = stage.place.execute
    sample = draw(remaining, [column], most=clustering.points, seed=seed, execute=execute)
    sample_ND = sample.embeddings[column]
    logger.info(
        "%s: clusters are found from %d of %d pairs, %d bytes",
        column, len(sample), sample.pairs, sample_ND.nbytes,
    )  # fmt: skip
    if len(sample_ND):
        concepts = clustering.train(sample_ND, seed=seed, map=mapped(execute))
    else:
        concepts = Concepts(np.zeros((0, sample_ND.shape[1]), np.float32))
    logger.info(
        "%s: %d clusters, mean distance %.4f to their centroids, %d mended",
        column, concepts.clusters, concepts.inertia, concepts.mended,
    )  # fmt: skip
    return concepts.to_arrays()
