"""Consensus of a pool: pairs of similar pictures are brought together, and ask each other.

Letters: n good rows of a shard, K clusters, G groups: a cluster, or an even part of a large one.
"""

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from filters.concepts import Consensus
from filters.concepts.clustering import Concepts
from filters.concepts.direction import has_direction
from filters.hashing import hash_contents, hashed
from pipeline.columns.arrays import kept_arrays
from pipeline.columns.draw import draw
from pipeline.columns.exchange import SHARD, Answers, exchange
from pipeline.columns.remaining import ROW, Remaining
from pipeline.columns.shuffle import Rows, Runs, partitions_for
from pipeline.columns.stages import ColumnStage
from pipeline.relating.relation import FITTED, READS
from pipeline.scores import Scores
from pipeline.tables import embedding, uid_words, uids

logger = logging.getLogger(__name__)

GROUP, ANSWER = "group", "consensus"


@dataclass(frozen=True, slots=True)
class Groups:
    """Who asks whom.

    Attributes:
        concepts: Clusters of pictures.
        parts_K: Groups that a cluster is cut into, int64.
        seed: Of the hashes of uids by which it is cut.
    """

    concepts: Concepts
    parts_K: NDArray[np.int64]
    seed: int

    def of(self, image_nD: NDArray[np.float16], uid_n2: NDArray[np.uint64]) -> NDArray[np.int64]:
        """Return the group of each pair, int64 [n] in [0, G)."""
        cluster_n = self.concepts.assign(image_nD).cluster_N
        hash_n = hashed(uid_n2, salt=f"group:{self.seed}")
        part_n = hash_n % self.parts_K[cluster_n].astype(np.uint64)
        first_K = np.cumsum(self.parts_K) - self.parts_K
        return first_K[cluster_n] + part_n.astype(np.int64)


@dataclass(frozen=True, slots=True)
class _Asked:
    scores: Scores
    consensus: Consensus
    groups: Groups
    partitions: int


def agree(stage: ColumnStage, consensus: Consensus, *, seed: int) -> Scores:
    """Add the column of agreement; NaN for a pair that is alone, or lacks an embedding.

    Raises:
        ValueError: There is no readable pair in the whole pool.
    """
    arrays = kept_arrays(stage.folder, FITTED, lambda: _train(stage, consensus, seed))
    parts_K, (pairs,) = arrays.pop("parts_K"), arrays.pop("pairs")
    groups = Groups(Concepts.from_arrays(arrays), parts_K, seed)
    schema = stage.scores.good(0, READS).schema
    row_bytes = sum(schema.field(column).type.byte_width for column in READS) + 64
    partitions = partitions_for(int(pairs), row_bytes=row_bytes)
    try:
        answers = exchange(
            _ask, _answer, _Asked(stage.scores, consensus, groups, partitions),
            shards=len(stage.scores), partitions=partitions, folder=stage.scratch,
            execute=stage.place.execute,
        )  # fmt: skip
        return stage.fill(_write, answers)
    finally:
        stage.scratch.remove_all()


def _train(stage: ColumnStage, consensus: Consensus, seed: int) -> Mapping[str, NDArray[Any]]:
    """Find clusters on a sample, and cut those that are likely to be large."""
    execute = stage.place.execute
    sample = draw(
        Remaining(stage.scores), READS[:1], most=consensus.sample, seed=seed, execute=execute
    )
    sample.require_some(consensus.column.name)
    image_ND = sample.embeddings[READS[0]]
    concepts = consensus.cluster(image_ND, pairs=sample.pairs, seed=seed)
    cluster_N = concepts.assign(image_ND).cluster_N
    size_K = np.bincount(cluster_N, minlength=concepts.clusters) * (sample.pairs / len(sample))
    parts_K = np.maximum(np.ceil(size_K / consensus.largest), 1).astype(np.int64)
    logger.info("consensus: %d clusters in %d groups", concepts.clusters, parts_K.sum())
    return {**concepts.to_arrays(), "parts_K": parts_K, "pairs": np.array([sample.pairs])}


def _ask(asked: _Asked, shard: int) -> Iterator[Rows]:
    table = asked.scores.good(shard, ["uid", *READS])
    image_nD, text_nD = (embedding(table, column) for column in READS)
    at = np.flatnonzero(has_direction(image_nD) & has_direction(text_nD))
    group_n = asked.groups.of(image_nD[at], uid_words(uids(table))[at])
    table = table.take(at).append_column(ROW, pa.array(at.astype(np.int32)))
    table = table.append_column(GROUP, pa.array(group_n))
    yield Rows(table, (group_n % asked.partitions).astype(np.int32))


def _answer(asked: _Asked, runs: Runs, partition: int) -> Iterator[pa.Table]:
    """Have each group of a partition agree, its pairs in order of uid."""
    table = runs.read(partition)
    if table is None:
        return
    image_nD, text_nD = (embedding(table, column) for column in READS)
    uid_n2, group_n = uid_words(uids(table)), table.column(GROUP).to_numpy()
    digest_n = hash_contents(np.concatenate([image_nD, text_nD], axis=1))
    order_n = np.lexsort((digest_n, uid_n2[:, 1], uid_n2[:, 0], group_n))
    ends = np.flatnonzero(np.diff(group_n[order_n])) + 1
    answer_n = np.empty(len(order_n), np.float32)
    for rows in np.split(order_n, ends):
        answer_n[rows] = asked.consensus.agreement(image_nD[rows], text_nD[rows])
    yield table.select([SHARD, ROW]).append_column(ANSWER, pa.array(answer_n))


def _write(answers: Answers, scores: Scores, shard: int) -> dict[str, NDArray[np.float32]]:
    answer_n = np.full(len(scores.good(shard, ["status"])), np.nan, np.float32)
    found = answers.of(shard)
    if found is not None:
        answer_n[found.column(ROW).to_numpy()] = found.column(ANSWER).to_numpy()
    return {ANSWER: answer_n}
