"""Clusters of a sample, found once and kept beside the tables of the stage that assigns them."""

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from filters.concepts import AnyClustering, Concepts
from pipeline.arrays import read_arrays, write_arrays
from pipeline.concepts.sample import training_sample
from pipeline.executors import Executor
from pipeline.remaining import Remaining
from pipeline.stages import ColumnStage

CENTROIDS = "centroids.npz"


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
    if stage.folder.exists(CENTROIDS):
        return Concepts.from_arrays(read_arrays(stage.folder, CENTROIDS))
    execute = stage.place.execute
    sample_ND = training_sample(
        remaining, column=column, rows=clustering.points, seed=seed, execute=execute
    )
    if len(sample_ND):
        concepts = clustering.train(sample_ND, seed=seed, map=partial(_in_tasks, execute))
    else:
        concepts = Concepts(np.zeros((0, sample_ND.shape[1]), np.float32))
    write_arrays(stage.folder, CENTROIDS, concepts.to_arrays())
    return concepts


def _in_tasks(
    execute: Executor, function: Callable[[Any], Any], items: Iterable[Any]
) -> Iterable[Any]:
    """Return `function` of each item, in order, done where the executor does things."""
    numbered = list(enumerate(items))
    found = dict(execute.map(_numbered, function, numbered, weights={}))
    return [found[number] for number, _ in numbered]


def _numbered(
    function: Callable[[Any], Any], weights: Mapping[str, Path], item: tuple[int, Any]
) -> tuple[int, Any]:
    del weights
    number, what = item
    return number, function(what)
