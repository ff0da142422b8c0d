"""p(keep) from stored columns: fitted on a sample of the pool, then a shard at a time.

The sample are the pairs with the lowest hashes of their uids, put in order of uid, so neither how
the pool is cut into shards nor who finished first can touch a bit of the model.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from filters.ensemble import LabelModel
from filters.ensemble.end_model import EndModel, EndModelSettings, fit_end_model, soft_labels
from filters.hashing import hashed
from filters.rules import Primitive
from pipeline.executors import Executor, some_at_once
from pipeline.scores import Scores
from pipeline.tables import embedding, holds_numbers, is_embedding, numbers, uid_words, uids


class Ballots(Protocol):
    """Votes of a pool; they are sent to where the shards are read."""

    @property
    def rules(self) -> Sequence[Primitive]:
        """M rules."""
        ...

    def of(self, shard: int) -> NDArray[np.int8]:
        """Return the votes of a shard's good rows, int8 [n, M]."""
        ...


@dataclass(frozen=True, slots=True)
class Known:
    """What an end model is fitted on and applied to.

    Attributes:
        scores: Columns of the pool.
        votes: Votes on its good rows.
        model: What it has learned of the rules.
        settings: Columns, rows, penalty, and whose p(keep) is replaced.
    """

    scores: Scores
    votes: Ballots
    model: LabelModel
    settings: EndModelSettings

    def soft_labels(self, shard: int) -> NDArray[np.float64]:
        """Return what is to be learned of a shard's good rows, NaN where nothing is."""
        votes_NM = self.votes.of(shard)
        veto_M = [rule.veto for rule in self.votes.rules]
        return soft_labels(self.model.predict(votes_NM), votes_NM, veto_M)

    def columns(self, shard: int) -> dict[str, NDArray[Any]]:
        """Return columns of a shard's good rows, numbers [n] and embeddings [n, D]; null is NaN.

        Raises:
            ValueError: One is neither.
        """
        table = self.scores.good(shard, list(self.settings.columns))
        return {name: _values(table, name) for name in self.settings.columns}

    def predict(self, end: EndModel, shard: int) -> NDArray[np.float64]:
        """Return p(keep) of a shard's good rows: the end model's for those it is used for."""
        p_n = end.predict(self.columns(shard))
        if self.settings.use == "all":
            return p_n
        votes_nM = self.votes.of(shard)
        return np.where((votes_nM < 0).all(axis=1), p_n, self.model.predict(votes_nM))


@dataclass(frozen=True, slots=True)
class _Sample:
    """Some pairs of the pool.

    Attributes:
        uid_N2: uint64 [N, 2], their uids as two numbers.
        shard_N: Index of each one's shard.
        row_N: Place among its shard's good rows.
        target_N: What the end model is to say of them.
    """

    uid_N2: NDArray[np.uint64]
    shard_N: NDArray[np.int64]
    row_N: NDArray[np.int64]
    target_N: NDArray[np.float64]

    def take(self, at: NDArray[np.int64]) -> "_Sample":
        """Return some of them in another order."""
        return _Sample(self.uid_N2[at], self.shard_N[at], self.row_N[at], self.target_N[at])

    def lowest(self, rows: int) -> "_Sample":
        """Return those of lowest hash, at most `rows` of them."""
        uid_N2 = self.uid_N2
        return self.take(np.lexsort((uid_N2[:, 1], uid_N2[:, 0], hashed(uid_N2)))[:rows])

    @classmethod
    def joined(cls, parts: Sequence["_Sample"]) -> "_Sample":
        """Return the pairs of several."""
        return cls(
            np.concatenate([part.uid_N2 for part in parts]),
            np.concatenate([part.shard_N for part in parts]),
            np.concatenate([part.row_N for part in parts]),
            np.concatenate([part.target_N for part in parts]),
        )


def fit_on_columns(known: Known, *, execute: Executor) -> EndModel:
    """Fit an end model on at most `settings.rows` pairs on which a rule votes.

    Raises:
        ValueError: There is no such pair, or a column is neither a number nor an embedding.
    """
    sample = _sampled(known, execute)
    if not len(sample.row_N):
        raise ValueError(
            "ensemble.end_model: got no pair on which a rule votes, expected some to learn from; "
            "add rules or take the end model out"
        )
    places = [(int(s), sample.row_N[sample.shard_N == s]) for s in np.unique(sample.shard_N)]
    read = dict(execute.map(_features, known, places, weights={}))
    by_uid = np.lexsort((sample.uid_N2[:, 1], sample.uid_N2[:, 0]))
    columns = {
        name: np.concatenate([read[shard][name] for shard, _ in places])[by_uid]
        for name in known.settings.columns
    }
    with threadpool_limits(1):  # the order of sums is that of one thread, on any machine
        settings = known.settings
        return fit_end_model(columns, sample.target_N[by_uid], l2=settings.l2, most=settings.most)


def _sampled(known: Known, execute: Executor) -> _Sample:
    """Return the pairs to fit on, shard after shard, each in its order."""
    found: list[_Sample] = []
    for part in execute.map(_sample, known, some_at_once(range(len(known.scores))), weights={}):
        found = [_Sample.joined([*found, part]).lowest(known.settings.rows)]
    return found[0].take(np.lexsort((found[0].row_N, found[0].shard_N)))


def _sample(known: Known, weights: Mapping[str, Path], shards: Sequence[int]) -> _Sample:
    del weights
    parts = []
    for shard in shards:
        target_N = known.soft_labels(shard)
        row_N = np.flatnonzero(~np.isnan(target_N))
        uid_N2 = uid_words(uids(known.scores.good(shard, ["uid"])))[row_N]
        parts.append(_Sample(uid_N2, np.full(len(row_N), shard), row_N, target_N[row_N]))
    return _Sample.joined(parts).lowest(known.settings.rows)


def _features(
    known: Known, weights: Mapping[str, Path], place: tuple[int, NDArray[np.int64]]
) -> tuple[int, dict[str, NDArray[Any]]]:
    del weights
    shard, row_N = place
    return shard, {name: value[row_N] for name, value in known.columns(shard).items()}


def _values(table: pa.Table, name: str) -> NDArray[Any]:
    field = table.schema.field(name)
    if is_embedding(field):
        value_ND = embedding(table, name).copy()
        value_ND[table.column(name).is_null().to_numpy()] = np.nan
        return value_ND
    if not holds_numbers(field):
        raise ValueError(
            f"ensemble.end_model: got column {name!r} of {field.type}, expected numbers or an "
            "embedding; take it out of its columns"
        )
    return numbers(table, name, np.float64)
