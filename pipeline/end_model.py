"""p(keep) from stored columns: fitted on a sample of the pool, then a shard at a time.

The sample are the pairs with the lowest hashes of their uids, put in order of uid, so neither how
the pool is cut into shards nor who finished first can touch a bit of the model.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from filters.ensemble.end_model import EndModel, EndModelSettings, fit_end_model
from pipeline.executors import Executor
from pipeline.scores import Scores
from pipeline.tables import embedding, is_embedding

AT_ONCE = 16  # shards of one task
SoftLabels = Callable[[int], NDArray[np.float64]]


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
        return self.take(np.lexsort((uid_N2[:, 1], uid_N2[:, 0], _hash(uid_N2)))[:rows])

    @classmethod
    def joined(cls, parts: Sequence["_Sample"]) -> "_Sample":
        """Return the pairs of several."""
        return cls(
            np.concatenate([part.uid_N2 for part in parts]),
            np.concatenate([part.shard_N for part in parts]),
            np.concatenate([part.row_N for part in parts]),
            np.concatenate([part.target_N for part in parts]),
        )


def fit_on_columns(
    scores: Scores, labels: SoftLabels, settings: EndModelSettings, *, execute: Executor
) -> EndModel:
    """Fit an end model on at most `settings.rows` pairs that have a soft label.

    Args:
        scores: Columns of the pool.
        labels: Soft labels of a shard's good rows (`filters.ensemble.end_model.soft_labels`),
            float64 [n], NaN where there is none; it is sent to where the shards are read.
        settings: Which columns, how many rows, the penalty.
        execute: Where shards are read.

    Raises:
        ValueError: No pair has a soft label, or a column is neither a number nor an embedding.
    """
    sample = _sampled(scores, labels, settings.rows, execute)
    if not len(sample.row_N):
        raise ValueError(
            "ensemble.end_model: got no pair on which a rule votes, expected some to learn from; "
            "add rules or take the end model out"
        )
    places = [(int(s), sample.row_N[sample.shard_N == s]) for s in np.unique(sample.shard_N)]
    read = dict(execute.map(_features, (scores, settings.columns), places, weights={}))
    by_uid = np.lexsort((sample.uid_N2[:, 1], sample.uid_N2[:, 0]))
    columns = {
        name: np.concatenate([read[shard][name] for shard, _ in places])[by_uid]
        for name in settings.columns
    }
    with threadpool_limits(1):  # the order of sums is that of one thread, on any machine
        return fit_end_model(columns, sample.target_N[by_uid], l2=settings.l2)


def apply_to_columns(
    scores: Scores, model: EndModel, *, execute: Executor
) -> tuple[NDArray[np.float64], ...]:
    """Return p(keep) of every shard's good rows."""
    p_keep: dict[int, NDArray[np.float64]] = {}
    for done in execute.map(_predict, (scores, model), _chunks(len(scores)), weights={}):
        p_keep.update(done)
    return tuple(p_keep[shard] for shard in range(len(scores)))


def read_columns(scores: Scores, shard: int, names: Sequence[str]) -> dict[str, NDArray[Any]]:
    """Return columns of a shard's good rows, numbers [n] and embeddings [n, D]; null is NaN.

    Raises:
        ValueError: One is neither.
    """
    table = scores.good(shard, list(names))
    return {name: _values(table, name) for name in names}


def _sampled(scores: Scores, labels: SoftLabels, rows: int, execute: Executor) -> _Sample:
    """Return the pairs to fit on, shard after shard, each in its order."""
    found: list[_Sample] = []
    for part in execute.map(_sample, (scores, labels, rows), _chunks(len(scores)), weights={}):
        found = [_Sample.joined([*found, part]).lowest(rows)]
    return found[0].take(np.lexsort((found[0].row_N, found[0].shard_N)))


def _sample(
    shared: tuple[Scores, SoftLabels, int], weights: Mapping[str, Path], shards: Sequence[int]
) -> _Sample:
    del weights
    scores, labels, rows = shared
    parts = []
    for shard in shards:
        target_N = labels(shard)
        row_N = np.flatnonzero(~np.isnan(target_N))
        uid_N2 = _uids(scores.good(shard, ["uid"]))[row_N]
        parts.append(_Sample(uid_N2, np.full(len(row_N), shard), row_N, target_N[row_N]))
    return _Sample.joined(parts).lowest(rows)


def _features(
    shared: tuple[Scores, tuple[str, ...]],
    weights: Mapping[str, Path],
    place: tuple[int, NDArray[np.int64]],
) -> tuple[int, dict[str, NDArray[Any]]]:
    del weights
    (scores, names), (shard, row_N) = shared, place
    read = read_columns(scores, shard, names)
    return shard, {name: value[row_N] for name, value in read.items()}


def _predict(
    shared: tuple[Scores, EndModel], weights: Mapping[str, Path], shards: Sequence[int]
) -> dict[int, NDArray[np.float64]]:
    del weights
    scores, model = shared
    return {s: model.predict(read_columns(scores, s, model.columns)) for s in shards}


def _chunks(shards: int) -> list[Sequence[int]]:
    return [range(at, min(at + AT_ONCE, shards)) for at in range(0, shards, AT_ONCE)]


def _values(table: pa.Table, name: str) -> NDArray[Any]:
    field = table.schema.field(name)
    if is_embedding(field):
        value_ND = embedding(table, name).copy()
        value_ND[table.column(name).is_null().to_numpy()] = np.nan
        return value_ND
    if not (pa.types.is_integer(field.type) or pa.types.is_floating(field.type)):
        raise ValueError(
            f"ensemble.end_model: got column {name!r} of {field.type}, expected numbers or an "
            "embedding; take it out of its columns"
        )
    return table.column(name).cast(pa.float64()).fill_null(np.nan).to_numpy()


def _uids(table: pa.Table) -> NDArray[np.uint64]:
    """Return uids as two numbers each, uint64 [n, 2], which sort as their bytes do."""
    data = b"".join(table.column("uid").to_pylist())
    return np.frombuffer(data, ">u8").astype(np.uint64).reshape(-1, 2)


def _hash(uid_N2: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Mix each uid into 64 bits (SplitMix64's finaliser), as uids may well be in order."""
    mixed_N = np.zeros(len(uid_N2), np.uint64)
    for word_N in uid_N2.T:
        mixed_N = mixed_N + word_N + np.uint64(0x9E3779B97F4A7C15)
        mixed_N = (mixed_N ^ (mixed_N >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        mixed_N = (mixed_N ^ (mixed_N >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        mixed_N ^= mixed_N >> np.uint64(31)
    return mixed_N
