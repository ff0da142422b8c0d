"""Labels of a few pairs, and what a run has stored about those pairs.

Letters: N labelled pairs, or the rows of a shard; n those of them that are good and have a label.
"""

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pipeline.labelling.answers import RANDOM
from pipeline.schema import UID_BYTES, Reason
from pipeline.scores import Scores
from pipeline.tables import embedding, holds_numbers, is_embedding, numbers, read, uids

TARGET, CHOSEN = "label", "chosen"  # columns
HEX = re.compile("[0-9a-fA-F]{1,32}")


@dataclass(frozen=True, slots=True)
class Labels:
    """What people say of N pairs.

    Attributes:
        uid_N: Sorted, each once; 16 bytes.
        target_N: float64; 0 and 1 for classes, or any number.
        random_N: Pairs that were shown at random: shares hold for the pool among these alone. All
            of them where nobody says why they were shown.
    """

    uid_N: NDArray[np.bytes_]
    target_N: NDArray[np.float64]
    random_N: NDArray[np.bool_]

    def at_random(self) -> "Labels":
        """Return those of pairs that were shown at random."""
        some_N = self.random_N
        return Labels(self.uid_N[some_N], self.target_N[some_N], self.random_N[some_N])

    def places(self, uid_n: NDArray[np.bytes_]) -> NDArray[np.int64]:
        """Return where the labels of n pairs are, int64 [n]; -1 for a pair without."""
        if not len(self.uid_N):
            return np.full(len(uid_n), -1)
        place_n = np.minimum(np.searchsorted(self.uid_N, uid_n), len(self.uid_N) - 1)
        return np.where(self.uid_N[place_n] == uid_n, place_n, -1)


@dataclass(frozen=True, slots=True)
class Hits:
    """The labelled pairs of one shard; positions are those in the labels.

    Attributes:
        seen_h: int64; of pairs that the shard has, good or not.
        position_n: int64; of its good rows that have a label.
        row_n: int64; where these are among the shard's good rows.
    """

    seen_h: NDArray[np.int64]
    position_n: NDArray[np.int64]
    row_n: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class LabelledValues:
    """The labelled pairs that a run has values for, in the order of the labels.

    Attributes:
        values: float16 [n, D] of an embedding, float32 [n, M] of M scores.
        target_N: float64 [n].
        lacking: Labelled pairs of the pool without them, such as broken pictures.
    """

    values: NDArray[np.floating]
    target_N: NDArray[np.float64]
    lacking: int


def read_keep_labels(place: str, *, least: int = 1) -> Labels:
    """Read labels of 1 for keep and 0 for drop, as `thresher label` writes them.

    Args:
        place: Path or URL.
        least: Distinct labels that there have to be.

    Raises:
        ValueError: As `read_labels` does, or a label is neither 0 nor 1.
    """
    labels = read_labels(place, target=TARGET, least=least)
    if not (is_class_N := np.isin(labels.target_N, (0.0, 1.0))).all():
        raise ValueError(
            f"labels: got {labels.target_N[~is_class_N][0]:g} in column {TARGET!r} of {place}, "
            "expected 1 for keep or 0 for drop; leave the other rows out"
        )
    return labels


def read_labels(place: str, *, target: str, least: int = 2) -> Labels:
    """Read a Parquet file with `uid` (16 bytes, or hex digits) and a column of numbers.

    Where a column `chosen` says why each pair was shown, it is read too.

    Args:
        place: Path or URL.
        target: Name of the column.
        least: Distinct labels that there have to be.

    Raises:
        ValueError: It cannot be read, has no label, a uid that is none, or one uid twice.
    """
    table = read(place)
    if missing := {"uid", target} - set(table.column_names):
        raise ValueError(
            f"labels: got {place} without {', '.join(sorted(missing))}, expected columns uid and "
            f"{target}; `thresher label RUN` writes a file of uid and {TARGET}"
        )
    known = [_uid(value) for value in table.column("uid").to_pylist()]
    try:
        target_N = numbers(table, target, np.float64)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise ValueError(
            f"labels: got a column {target!r} of {table.schema.field(target).type} in {place}, "
            "expected numbers: 0 and 1 for classes, or a quantity"
        ) from error
    if not np.isfinite(target_N).all():
        raise ValueError(
            f"labels: got {int((~np.isfinite(target_N)).sum())} rows of {place} without a finite "
            f"{target!r}, expected a number in each; leave these rows out"
        )
    if len(set(known)) < len(known):
        ((twice, _),) = Counter(known).most_common(1)
        raise ValueError(
            f"labels: got {twice.hex()} twice in {place}, expected each uid once; decide for one"
        )
    if len(np.unique(target_N)) < least:
        found = f"only {target_N[0]:g}" if len(target_N) else "no row"
        raise ValueError(
            f"labels: got {found} in column {target!r} of {place}, expected both 0 and 1, or "
            "numbers that differ; label pairs of the other kind too"
        )
    uid_N = np.array(known, f"S{UID_BYTES}")
    order_N = np.argsort(uid_N)
    return Labels(uid_N[order_N], target_N[order_N], _at_random(table)[order_N])


def _at_random(table: pa.Table) -> NDArray[np.bool_]:
    if CHOSEN not in table.column_names:
        return np.ones(len(table), bool)
    return pc.equal(table.column(CHOSEN), RANDOM).fill_null(False).to_numpy()


def _uid(value: object) -> bytes:
    """Return the 16 bytes of a uid as a table or DataComp writes it."""
    if isinstance(value, bytes) and len(value) == UID_BYTES:
        return value
    if isinstance(value, str) and HEX.fullmatch(value):
        return bytes.fromhex(value.zfill(2 * UID_BYTES))
    raise ValueError(
        f"labels: got uid {value!r}, expected 16 bytes or up to 32 hex digits; take the uid column "
        "of a subset.parquet"
    )


def labelled_embeddings(scores: Scores, labels: Labels, *, column: str) -> LabelledValues:
    """Return a stored embedding of the labelled pairs.

    Raises:
        ValueError: The column is no embedding, or a label is of a pair that the run does not have.
    """
    _require_embedding(scores, column)
    return _collect(scores, labels, (column,), null=lambda values: ~values.any(axis=1))


def labelled_scores(scores: Scores, labels: Labels, *, columns: Sequence[str]) -> LabelledValues:
    """Return stored numbers of the labelled pairs, NaN for null.

    Raises:
        ValueError: There is no such column, one twice, or one that holds no number; or a label is
            of a pair that the run does not have.
    """
    if not columns or len(set(columns)) < len(columns):
        raise ValueError(
            f"scores: got {', '.join(columns) or 'none'}, expected at least one column, each once; "
            "correct --scores"
        )
    for field in scores.read(0, columns).schema:
        if not holds_numbers(field):
            raise ValueError(
                f"scores: got column {field.name!r} of {field.type}, expected numbers; leave it "
                "out of --scores"
            )
    return _collect(scores, labels, columns, null=lambda values: np.isnan(values).any(axis=1))


def find_labelled(scores: Scores, shard: int, labels: Labels) -> Hits:
    """Look the pairs of a shard up among the labels."""
    base = scores.read(shard, ["uid", "status"])
    position_N = labels.places(uids(base))
    is_hit_N = position_N >= 0
    is_good_N = pc.equal(base.column("status"), str(Reason.OK)).to_numpy()
    row_n = np.flatnonzero(is_hit_N[is_good_N])
    return Hits(position_N[is_hit_N], position_N[is_good_N][row_n], row_n)


def require_in_pool(labels: Labels, seen: Sequence[NDArray[np.int64]]) -> None:
    """Refuse labels of pairs that are not there.

    Args:
        labels: All of them.
        seen: Positions of those that shards have.

    Raises:
        ValueError: Some have been seen nowhere.
    """
    missing_N = np.ones(len(labels.uid_N), bool)
    missing_N[np.concatenate(seen)] = False
    if missing_N.any():
        raise ValueError(
            f"labels: got {int(missing_N.sum())} uids that this run does not have, such as "
            f"{labels.uid_N[missing_N][0].ljust(UID_BYTES, bytes(1)).hex()}, expected pairs of its "
            "pool; leave them out, or name the run that they are of"
        )


def _collect(
    scores: Scores,
    labels: Labels,
    columns: Sequence[str],
    *,
    null: Callable[[NDArray[np.floating]], Any],
) -> LabelledValues:
    seen, at, parts = [], [], []
    for shard in range(len(scores)):
        hits = find_labelled(scores, shard, labels)
        seen.append(hits.seen_h)
        if len(hits.row_n) or shard == 0:
            at.append(hits.position_n)
            parts.append(_values(scores.good(shard, columns).take(hits.row_n), columns))
    require_in_pool(labels, seen)
    position_n, first = np.unique(np.concatenate(at), return_index=True)  # a uid's first good row
    values = np.concatenate(parts)[first]
    whole = ~null(values)
    lacking = len(labels.uid_N) - int(whole.sum())
    return LabelledValues(values[whole], labels.target_N[position_n[whole]], lacking)


def _values(table: pa.Table, columns: Sequence[str]) -> NDArray[np.floating]:
    """Return an embedding, or numbers side by side."""
    if is_embedding(table.schema.field(columns[0])):
        return embedding(table, columns[0])
    return np.stack([numbers(table, column, np.float32) for column in columns], axis=1)


def _require_embedding(scores: Scores, column: str) -> None:
    found = scores.read(0, [column]).schema.field(0)
    if not is_embedding(found):
        known = [f.name for f in scores.read(0, scores.columns).schema if is_embedding(f)]
        raise ValueError(
            f"head: got column {column!r} of {found.type}, expected one of the embeddings "
            f"{', '.join(known)}; set --column"
        )
