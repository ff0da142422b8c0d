"""One decision for every row of the pool: its p(keep), its concept, and why it is out, if it is."""

from collections import Counter
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from filters.ensemble import LabelModel
from filters.rules import DROP
from pipeline.config import Concepts, Ensemble
from pipeline.prune import Pruned, prune
from pipeline.schema import BASE_SCHEMA, Reason
from pipeline.scores import Scores
from pipeline.votes import Votes

HASH = "phash"


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
    scores: Scores,
    votes: Votes,
    model: LabelModel,
    *,
    ensemble: Ensemble,
    concepts: Concepts,
    seed: int,
) -> Decisions:
    """Decide on every row, in order of uid, so that nothing depends on how pairs are sharded."""
    pool = _pool(scores)
    uid_N = np.array(pool.column("uid").to_pylist(), "S16")
    reason_N = np.array(pool.column("status").to_pylist(), object)
    good = np.flatnonzero(reason_N == Reason.OK)  # rows with votes and embeddings, shard order
    by_uid = np.argsort(uid_N[good], kind="stable")
    p_keep = model.predict(np.concatenate(votes.by_shard))

    reason_N[good[by_uid][1:][_equals_previous(uid_N[good][by_uid])]] = str(Reason.REPEATED_UID)
    vetoed = _vetoed(votes) & (reason_N[good] == Reason.OK)
    reason_N[good[vetoed]] = str(Reason.VETO)
    low = (reason_N[good] == Reason.OK) & (p_keep < ensemble.keep_above)
    reason_N[good[low]] = str(Reason.LOW_P_KEEP)

    left = by_uid[reason_N[good][by_uid] == Reason.OK]  # positions in `good`
    pruned = None
    if len(left):
        vectors = scores.embeddings(concepts.embedding)[left]
        hashes = _hashes(scores)[left]
        pruned = prune(vectors, hashes, p_keep_N=p_keep[left], cfg=concepts, seed=seed)
        reason_N[good[left[pruned.twin_N >= 0]]] = str(Reason.DUPLICATE)
        reason_N[good[left[pruned.over_quota_N]]] = str(Reason.QUOTA)
    columns = {
        "reason": pa.array(reason_N, pa.string()),
        "p_keep": _spread(p_keep, good, len(pool)),
        **_concept_columns(pruned, good[left], uid_N),
        **{
            f"vote:{rule.name}": _spread(vote_N, good, len(pool))
            for rule, vote_N in zip(votes.rules, np.concatenate(votes.by_shard).T, strict=True)
        },
    }
    kept = [name for name in pool.column_names if name != "status"]
    table = pa.table({**{name: pool.column(name) for name in kept}, **columns})
    return Decisions(table, pruned)


def _pool(scores: Scores) -> pa.Table:
    """Return the base columns of all rows, with the index of their shard."""
    parts = []
    for shard in range(len(scores)):
        table = scores.read(shard, BASE_SCHEMA.names)
        number = pa.array(np.full(len(table), shard, np.int32))
        parts.append(table.add_column(0, "shard", number))
    return pa.concat_tables(parts)


def _hashes(scores: Scores) -> NDArray[np.uint64]:
    """Return the perceptual hash of all good rows, shard after shard."""
    parts = [scores.good(s, [HASH]).column(HASH).to_numpy() for s in range(len(scores))]
    return np.concatenate(parts)


def _vetoed(votes: Votes) -> NDArray[np.bool_]:
    """Tell for every good row whether a rule with a veto votes drop."""
    veto_M = np.array([rule.veto for rule in votes.rules], bool)
    return np.concatenate([(vote_NM[:, veto_M] == DROP).any(axis=1) for vote_NM in votes.by_shard])


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
        empty = {"concept": pa.int32(), "distance": pa.float32(), "twin": pa.binary(16)}
        return {name: pa.nulls(length, kind) for name, kind in empty.items()}
    twin: list[bytes | None] = [None] * length
    for row, other in zip(rows, pruned.twin_N, strict=True):
        twin[row] = None if other < 0 else bytes(uid_N[rows[other]]).ljust(16, b"\0")
    return {
        "concept": _spread(pruned.concept_N, rows, length),
        "distance": _spread(pruned.distance_N, rows, length),
        "twin": pa.array(twin, pa.binary(16)),
    }
