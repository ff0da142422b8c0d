"""Near-copies of pictures go: pairs whose embeddings say the same (SemDeDup, arXiv:2303.09540)."""

import logging
import math
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from filters.extract import Column
from filters.extract.base import Values
from pipeline.columns.exchange import Answers, exchange
from pipeline.columns.remaining import ROW, Remaining, reason_column, spread
from pipeline.columns.stages import Place, column_stage
from pipeline.concepts.clusters import Clustered, cluster_columns, cluster_pairs, reads_of
from pipeline.concepts.comparison import PREFIX, Comparison, answer, ask, bins
from pipeline.concepts.precedence import needed
from pipeline.concepts.twins import best_answers, spread_uids
from pipeline.quantiles import quantiles
from pipeline.schema import UID_BYTES, Reason
from pipeline.scores import Scores
from pipeline.settings import Dedup
from pipeline.tables import numbers

SIMILARITY = Column(
    "similarity", "float32", "", "[0, 1]", "cosine with the most similar pair that goes before it"
)
ALIKE = Column("alike", "uid", "", "", "uid of that pair; null where there is none")
TWIN_OF = Column("twin_of", "uid", "", "", "uid of the pair that puts this one out as a near-copy")
STEP = "dedup"
LEVELS = 20  # similarities in [0, 1] that visitors are chosen for, so that not every change counts

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Cut:
    remaining: Remaining
    above: float | None  # None: whatever has one that it is alike


def drop_alike(remaining: Remaining, cfg: Dedup, *, seed: int, place: Place) -> Remaining:
    """Put near-copies out; of those that are alike, the one that goes before the others stays.

    Pairs are compared inside clusters and, with `cfg.borders`, with the second nearest cluster of
    either. A pair whose embedding tells nothing is nobody's near-copy and has no similarity.

    In mode "any_earlier" similarities are kept apart from what is decided by them: another
    `cfg.similarity` compares nothing again, nor does another `cfg.keep`. With borders that holds
    from one twentieth to the next (0.95 to below 1, say), since visits that cannot matter at the
    lower of them are left out, while a share knows no similarity before and leaves out none.

    A share `cfg.keep` gives the least similarity at which at least that share of the pairs compared
    stays: more do where several pairs have that very similarity. What stays is logged.

    In the other modes, where the similarity decides who is compared, `alike` is the pair that stays
    in place of this one, null where this one stays.

    Args:
        remaining: The pairs.
        cfg: What near-copies are; if nothing is to be compared, nothing is done or written.
        seed: Of clusters, and of a random order.
        place: Where it is done.

    Returns:
        What stays; `similarity`, `alike`, `twin_of`, `reason_dedup` are known of every good pair.
    """
    if not cfg.is_semantic:
        return remaining
    clustered = cluster_pairs(
        remaining, embedding=cfg.embedding, clustering=cfg.cluster, prefix=PREFIX, seed=seed,
        place=place,
    )  # fmt: skip
    compared = _compared(clustered, cfg, seed=seed, place=place)
    return _cut(compared, cfg, place=place)


def _compared(clustered: Clustered, cfg: Dedup, *, seed: int, place: Place) -> Remaining:
    """Add `similarity` and `alike`."""
    remaining, any_earlier = clustered.remaining, cfg.mode == "any_earlier"
    # Elsewhere a pair's cluster need not be the one whose centroid is nearest.
    skips = any_earlier and cfg.borders and not cfg.keep and not clustered.concepts.parents
    above = math.floor(cfg.similarity * LEVELS) / LEVELS if skips else -1.0
    columns = [c.name for c in cluster_columns(PREFIX)]
    stage = column_stage(
        remaining.scores, "alike", [SIMILARITY, ALIKE], place=place,
        reads=reads_of(remaining, cfg.embedding, *columns, *needed(cfg.prefer, columns[1])),
        version=1, embedding=cfg.embedding, reason=remaining.reason, mode=cfg.mode,
        prefer=cfg.prefer, borders=cfg.borders, seed=seed if cfg.prefer == "random" else 0,
        similarity=above if any_earlier else cfg.similarity,
    )  # fmt: skip
    if stage.is_whole:
        return Remaining(stage.known(), remaining.reason)
    centroid_KD = clustered.concepts.centroid_KD
    row_bytes = 2 * centroid_KD.shape[1] * (2 if cfg.borders else 1)
    bin_K = bins(clustered.size_K, row_bytes=row_bytes)
    comparison = Comparison(remaining, cfg, seed, bin_K, centroid_KD, above)
    answers = exchange(
        ask, answer, comparison, shards=len(remaining.scores), partitions=comparison.partitions,
        folder=stage.scratch, execute=place.execute,
    )  # fmt: skip
    return Remaining(stage.fill(_similarities, (remaining, answers)), remaining.reason)


def _similarities(
    shared: tuple[Remaining, Answers], scores: Scores, shard: int
) -> dict[str, Values]:
    """Return the columns of one shard: of several answers to a pair, the greatest similarity."""
    del scores
    remaining, answers = shared
    rows = len(remaining.reasons(shard))
    told = best_answers([answers], shard, by="similarity", twin="alike", rank="alike_rank")
    if told is None:
        nulls = pa.nulls(rows, pa.float32()), pa.nulls(rows, pa.binary(UID_BYTES))
        return dict(zip((SIMILARITY.name, ALIKE.name), nulls, strict=True))
    row_m = told.column(ROW).to_numpy()
    similarity_m = told.column("similarity").to_numpy()
    is_number = ~np.isnan(similarity_m)
    return {
        SIMILARITY.name: spread(similarity_m[is_number], row_m[is_number], rows),
        ALIKE.name: spread_uids(told.column("alike"), row_m, rows),
    }


def _cut(compared: Remaining, cfg: Dedup, *, place: Place) -> Remaining:
    """Add the reasons: cheap, and done again whenever the similarity is another."""
    column = reason_column(STEP)
    stage = column_stage(
        compared.scores, STEP, [column, TWIN_OF], place=place,
        reads=(SIMILARITY.name, compared.reason), version=2, reason=compared.reason,
        mode=cfg.mode, similarity=cfg.similarity, keep=cfg.keep,
    )  # fmt: skip
    if stage.is_whole:
        return Remaining(stage.known(), column.name)
    above = cfg.similarity if cfg.mode == "any_earlier" else None
    if cfg.keep:
        key = SIMILARITY.name, cfg.keep
        above = quantiles(compared.scores, [key], execute=place.execute)[key]
    scores = stage.fill(_reasons, _Cut(compared, above))
    return _told(compared, Remaining(scores, column.name), above, place=place)


def _told(before: Remaining, after: Remaining, above: float | None, *, place: Place) -> Remaining:
    """Log what stays."""
    pairs, stay = before.count(place.execute), after.count(place.execute)
    cut = "" if above is None else f"; a similarity above {above:.6f} goes"
    logger.info("dedup: %d of %d pairs stay (%.4f)%s", stay, pairs, stay / max(pairs, 1), cut)
    return after


def _reasons(cut: _Cut, scores: Scores, shard: int) -> dict[str, Values]:
    """Return the columns of one shard."""
    del scores
    table = cut.remaining.scores.good(shard, [SIMILARITY.name, ALIKE.name])
    alike_n, reason_n = table.column(ALIKE.name), cut.remaining.reasons(shard)
    if cut.above is None:
        goes_n = alike_n.is_valid().to_numpy()
    else:
        goes_n = numbers(table, SIMILARITY.name, np.float32) > np.float32(cut.above)
    reason_n[goes_n] = str(Reason.DUPLICATE)
    gone = np.flatnonzero(goes_n).astype(np.int32)
    return {
        reason_column(STEP).name: reason_n,
        TWIN_OF.name: spread_uids(alike_n.take(gone), gone, len(table)),
    }
