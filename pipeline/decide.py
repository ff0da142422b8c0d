"""One decision for every row of the pool: its p(keep), its concept, and why it is out, if it is."""

import logging
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from filters.ensemble.budget import best, rows_of
from filters.rules import DROP
from pipeline.config import Concepts, Ensemble
from pipeline.prune import Pruned, prune
from pipeline.schema import BASE_SCHEMA, UID_BYTES, Reason
from pipeline.scores import Scores
from pipeline.tables import uid_words, uids
from pipeline.votes import Votes, unpack, vote_columns

HASH = "phash"
VOTE = "vote:"
PKeep = Callable[[int], NDArray[np.float64]]

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Decisions:
    """One decision per row of the pool, rows in shard order.

    Attributes:
        table: `shard, uid, key, offset, size, caption, reason, p_keep, concept, distance, twin`
            and a `vote:<rule>` each; null where a row never came that far. `twin` is the uid of the
            pair that a duplicate is a copy of.
        pruned: Concepts of the pairs that the ensemble kept; None if it kept nothing.
    """

    table: pa.Table
    pruned: Pruned | None

    @property
    def reasons(self) -> dict[str, int]:
        """Rows by reason; they add up to the pool."""
        return dict(sorted(Counter(self.table.column("reason").to_pylist()).items()))


def decide(
    votes: Votes, p_keep: PKeep, *, ensemble: Ensemble, concepts: Concepts, seed: int
) -> Decisions:
    """Decide on every row, in order of uid, so that nothing depends on how pairs are sharded.

    Args:
        votes: Of the rules; `scores` beside them.
        p_keep: Tells p(keep) of a shard's good rows.
        ensemble: Threshold or budget.
        concepts: Clusters, copies and quotas.
        seed: Of k-means.
    """
    scores, pool = votes.scores, _pool(votes, p_keep)
    uid_N = uids(pool)
    good = np.flatnonzero(pc.equal(pool.column("status"), str(Reason.OK)).to_numpy())
    by_uid = np.argsort(uid_N[good], kind="stable")  # positions in `good`, which is in shard order
    p_n = pool.column("p_keep").drop_null().to_numpy()
    reason_N = np.array(pool.column("status").to_pylist(), object)
    reason_N[good[by_uid][1:][_equals_previous(uid_N[good][by_uid])]] = str(Reason.REPEATED_UID)
    vetoed_n = _vetoed(pool, votes)[good]
    reason_N[good] = _filtered(reason_N[good], vetoed_n, p_n, uid_N[good], cfg=ensemble)

    left = by_uid[reason_N[good][by_uid] == Reason.OK]  # positions in `good`
    pruned = None
    if len(left):
        vectors = scores.embeddings(concepts.embedding)[left]
        hashes = _hashes(scores)[left]
        pruned = prune(vectors, hashes, p_keep_N=p_n[left], cfg=concepts, seed=seed)
        reason_N[good[left[pruned.twin_N >= 0]]] = str(Reason.DUPLICATE)
        reason_N[good[left[pruned.over_quota_N]]] = str(Reason.QUOTA)
    base = [name for name in ("shard", *BASE_SCHEMA.names) if name != "status"]
    columns = {
        **{name: pool.column(name) for name in base},
        "reason": pa.array(reason_N, pa.string()),
        "p_keep": pool.column("p_keep"),
        **_concept_columns(pruned, good[left], uid_N),
        **{name: pool.column(name) for name in pool.column_names if name.startswith(VOTE)},
    }
    return Decisions(pa.table(columns), pruned)


def _pool(votes: Votes, p_keep: PKeep) -> pa.Table:
    """Return the base columns of all rows, with the index of their shard, p(keep) and votes."""
    words = [column.name for column in vote_columns(votes.rules)]
    parts = []
    for shard in range(len(votes.scores)):
        table = votes.scores.read(shard, [*BASE_SCHEMA.names, *words])
        rows = np.flatnonzero(pc.equal(table.column("status"), str(Reason.OK)).to_numpy())
        votes_nM = unpack(table.select(words).take(rows), len(votes.rules))
        parts.append(pa.table({
            "shard": np.full(len(table), shard, np.int32),
            **{name: table.column(name) for name in BASE_SCHEMA.names},
            "p_keep": _spread(p_keep(shard), rows, len(table)),
            **{
                f"{VOTE}{rule.name}": _spread(vote_n, rows, len(table))
                for rule, vote_n in zip(votes.rules, votes_nM.T, strict=True)
            },
        }))  # fmt: skip
    return pa.concat_tables(parts)


def _filtered(
    reason_n: NDArray[np.object_],
    vetoed_n: NDArray[np.bool_],
    p_n: NDArray[np.float64],
    uid_n: NDArray[np.bytes_],
    *,
    cfg: Ensemble,
) -> NDArray[np.object_]:
    """Return the reasons of n good rows after vetoes, and after the cut or the budget."""
    reason_n, pairs = reason_n.copy(), int((reason_n == Reason.OK).sum())
    reason_n[vetoed_n & (reason_n == Reason.OK)] = str(Reason.VETO)
    rest = np.flatnonzero(reason_n == Reason.OK)
    if cfg.budget:
        is_best = _within_budget(p_n[rest], uid_n[rest], rows_of(cfg.budget, pairs))
        reason_n[rest[~is_best]] = str(Reason.OVER_BUDGET)
    else:
        reason_n[rest[p_n[rest] < cfg.keep_above]] = str(Reason.LOW_P_KEEP)
    return reason_n


def _within_budget(
    p_N: NDArray[np.float64], uid_N: NDArray[np.bytes_], rows: int
) -> NDArray[np.bool_]:
    """Tell which of N rows are the best; all, and say so, where there are fewer."""
    if len(p_N) < rows:
        logger.warning(
            "ensemble.budget: got %d pairs that no rule vetoes, expected at least the %d of the "
            "budget; all are kept", len(p_N), rows,
        )  # fmt: skip
    uid_N2 = uid_words(uid_N)
    return best(lambda digit: digit.count((p_N, uid_N2)), rows).keeps(p_N, uid_N2)


def _hashes(scores: Scores) -> NDArray[np.uint64]:
    """Return the perceptual hash of all good rows, shard after shard."""
    parts = [scores.good(s, [HASH]).column(HASH).to_numpy() for s in range(len(scores))]
    return np.concatenate(parts)


def _vetoed(pool: pa.Table, votes: Votes) -> NDArray[np.bool_]:
    """Tell for every row whether a rule with a veto votes drop."""
    vetoed_N = np.zeros(len(pool), bool)
    for rule in votes.rules:
        if rule.veto:
            drops = pc.equal(pool.column(f"{VOTE}{rule.name}"), DROP)
            vetoed_N |= pc.fill_null(drops, False).to_numpy()
    return vetoed_N


def _equals_previous(sorted_N: NDArray[np.bytes_]) -> NDArray[np.bool_]:
    return sorted_N[1:] == sorted_N[:-1]


def _spread(values: NDArray, rows: NDArray[np.int64], length: int) -> pa.Array:
    """Place values at their rows, null elsewhere."""
    dense = np.zeros(length, values.dtype)
    dense[rows] = values
    missing = np.ones(length, bool)
    missing[rows] = False
    return pa.array(dense, mask=missing)


def _concept_columns(
    pruned: Pruned | None, rows: NDArray[np.int64], uid_N: NDArray[np.bytes_]
) -> dict[str, pa.Array]:
    length = len(uid_N)
    if pruned is None:
        empty = {"concept": pa.int32(), "distance": pa.float32(), "twin": pa.binary(UID_BYTES)}
        return {name: pa.nulls(length, kind) for name, kind in empty.items()}
    twin: list[bytes | None] = [None] * length
    for row, other in zip(rows, pruned.twin_N, strict=True):
        twin[row] = None if other < 0 else bytes(uid_N[rows[other]]).ljust(UID_BYTES, b"\0")
    return {
        "concept": _spread(pruned.concept_N, rows, length),
        "distance": _spread(pruned.distance_N, rows, length),
        "twin": pa.array(twin, pa.binary(UID_BYTES)),
    }
