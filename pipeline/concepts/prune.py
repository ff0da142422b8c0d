"""Every cluster keeps its share: of many alike few are enough, of a varied one more are needed.

Letters: K clusters, n good rows of a shard.
"""

import io
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from filters.concepts import Concepts, balanced_quotas
from filters.concepts.grouping import Cuts
from filters.concepts.shares import quotas_of
from filters.ensemble.budget import rows_of
from filters.extract.base import Values
from pipeline.columns.remaining import Remaining, reason_column
from pipeline.columns.stages import Place, column_stage
from pipeline.concepts.clusters import Clustered, cluster_pairs, reads_of
from pipeline.concepts.prototypes import count_above
from pipeline.concepts.ranked import CLUSTER, DISTANCE, Ranked, find_cuts
from pipeline.concepts.table import cluster_table, complexities
from pipeline.folder import Folder
from pipeline.schema import Reason
from pipeline.scores import Scores
from pipeline.settings import Concepts as Settings
from pipeline.tables import encode

REASON = reason_column("quota")
PREFIX = "concept_"
CLUSTERS = "clusters.parquet"


@dataclass(frozen=True, slots=True)
class Pruned:
    """What the quotas have left.

    Attributes:
        remaining: The pairs still in.
        table: A row for each cluster, as `cluster_table` says.
        concepts: The clusters.
    """

    remaining: Remaining
    table: pa.Table
    concepts: Concepts


def prune(remaining: Remaining, cfg: Settings, *, seed: int, place: Place) -> Pruned:
    """Cluster the pairs still in, and put out of each cluster what is beyond its quota.

    The share to keep is one of the pairs in clusters. A pair whose embedding is zero or not finite
    is in none, and goes. Where all are kept nothing is put out, but the clusters are known.

    Args:
        remaining: The pairs.
        cfg: What was asked for.
        seed: Of clusters, and of what is random.
        place: Where it is done.
    """
    clustered = cluster_pairs(
        remaining, embedding=cfg.embedding, clustering=cfg.cluster, prefix=PREFIX, seed=seed,
        place=place,
    )  # fmt: skip
    remaining = clustered.remaining
    stage = column_stage(
        remaining.scores, "quota", [REASON], place=place,
        reads=reads_of(remaining, CLUSTER, DISTANCE), version=2, cfg=cfg, seed=seed,
        reason=remaining.reason,
    )  # fmt: skip
    ranked = Ranked(remaining, cfg.which, seed)
    if stage.folder.exists(CLUSTERS):
        table = _table(stage.folder)
    else:
        table = _share(clustered, ranked, cfg, place)
        stage.folder.write(CLUSTERS, encode(table))
    if cfg.keep == 1:
        return Pruned(remaining, table, clustered.concepts)
    if stage.is_whole:
        scores = stage.known()
    else:
        size_K, quota_K = (table.column(name).to_numpy() for name in ("size", "quota"))
        cuts = find_cuts(ranked, quota_K, size_K, folder=stage.scratch, execute=place.execute)
        scores = stage.fill(_reasons, (ranked, cuts))
    return Pruned(Remaining(scores, REASON.name), table, clustered.concepts)


def _table(folder: Folder) -> pa.Table:
    """Read the table of clusters.

    Raises:
        ValueError: It is damaged.
    """
    try:
        return pq.read_table(io.BytesIO(folder.read(CLUSTERS)))
    except (OSError, pa.ArrowInvalid) as error:
        raise ValueError(
            f"clusters: got {folder.path(CLUSTERS)}, expected a Parquet file that can be read; "
            f"delete it to have it made again ({str(error).strip()})"
        ) from error


def _share(clustered: Clustered, ranked: Ranked, cfg: Settings, place: Place) -> pa.Table:
    """Return the table of clusters, and so how many pairs each keeps."""
    size_K, pairs = clustered.size_K, int(clustered.size_K.sum())
    complexity_K = complexities(clustered, neighbours=cfg.neighbours)
    total = min(pairs, max(1, rows_of(cfg.keep, pairs)))
    if cfg.keep == 1:
        quota_K = size_K
    elif cfg.by == "balanced":
        parents, seed = clustered.concepts.parents, ranked.seed
        quota_K = balanced_quotas(size_K, parents, total=total, seed=seed)
    else:
        above_K = _above(ranked, total, len(size_K), place) if cfg.by == "ssp" else None
        quota_K = quotas_of(
            cfg.by, size_K=size_K, complexity_K=complexity_K, above_K=above_K, total=total,
            temperature=cfg.temperature, balance=cfg.balance, minimum=cfg.minimum,
        )  # fmt: skip
    return cluster_table(clustered, quota_K=quota_K, complexity_K=complexity_K)


def _above(ranked: Ranked, total: int, clusters: int, place: Place) -> NDArray[np.int64]:
    return count_above(ranked, total=total, clusters=clusters, execute=place.execute)


def _reasons(shared: tuple[Ranked, Cuts], scores: Scores, shard: int) -> Mapping[str, Values]:
    """Return why a shard's good rows are out."""
    ranked, cuts = shared
    table = scores.good(shard, [ranked.remaining.reason, "uid", CLUSTER, DISTANCE])
    reason_n = np.array(table.column(ranked.remaining.reason).to_pylist(), object)
    nowhere_n = table.column(CLUSTER).is_null().to_numpy()
    reason_n[nowhere_n & (reason_n == Reason.OK)] = str(Reason.NO_EMBEDDING)
    places = ranked.places(table.filter(pa.array(~nowhere_n)))
    over = np.flatnonzero(~nowhere_n)[~cuts.keeps(places.cluster_m, places.key_m, places.uid_m2)]
    assert (reason_n[over] == Reason.OK).all(), "only pairs still in are in a cluster"
    reason_n[over] = str(Reason.QUOTA)
    return {REASON.name: reason_n.tolist()}
