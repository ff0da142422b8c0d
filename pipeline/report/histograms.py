"""Histograms of every numeric score column, kept pairs against dropped ones.

Letters: B bins, n good rows of one shard.
"""

import functools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import fsspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from markupsafe import Markup
from numpy.typing import NDArray

from filters.quantiles import quantile
from pipeline.deciding.decisions import undecided
from pipeline.report.charts import Cut, Labels, histogram
from pipeline.report.text import figure, plain
from pipeline.schema import Reason
from pipeline.scores import Scores
from pipeline.tables import numbers

BINS = 36
TAIL = 0.005  # share of rows beyond each end; the outermost bins take them in
LOG_RATIO = 100.0  # a positive column whose ends differ by more than this gets a logarithmic axis

KeptByShard = Mapping[int, NDArray[np.bool_]]


@dataclass(frozen=True, slots=True)
class Distribution:
    """One column.

    Attributes:
        column: Its name.
        meaning: What it is, with its unit.
        kept: Kept rows that have a value.
        dropped: Scored rows that have a value and were dropped.
        without: Scored rows without a value.
        chart: The histogram.
    """

    column: str
    meaning: str
    kept: int
    dropped: int
    without: int
    chart: Markup


def distributions(
    scores: Scores, decisions: pa.Table, rules: Sequence[dict[str, Any]]
) -> tuple[Distribution, ...]:
    """Draw the numeric columns in the order in which they were scored; those without values not.

    Raises:
        ValueError: Scores and decisions are of different pools.
    """
    if not len(scores):
        return ()
    kept = _kept_by_shard(decisions)
    drawn = (_distribution(scores, field, kept, rules) for field in _numeric_fields(scores))
    return tuple(d for d in drawn if d is not None)


def _numeric_fields(scores: Scores) -> list[pa.Field]:
    """Return the columns that count or measure; uint64 holds hashes, which do neither.

    Others were not scored but decided, such as the number of a cluster.
    """
    fields = []
    for url, columns in undecided(scores).tables(0):
        with fsspec.open(url, "rb") as stream:
            schema = pq.read_schema(stream)
        fields += [schema.field(name) for name in columns]
    return [f for f in fields if f.type in (pa.int32(), pa.float32())]


def _kept_by_shard(decisions: pa.Table) -> KeptByShard:
    """Return which good rows are kept, bool [n], for each shard that the decisions are of."""
    shards = np.unique(decisions.column("shard").to_numpy())
    scored = decisions.select(["shard", "reason", "p_keep"])
    scored = scored.filter(pc.is_valid(scored.column("p_keep")))
    kept = pc.equal(scored.column("reason"), str(Reason.OK)).to_numpy()
    ends = np.searchsorted(scored.column("shard").to_numpy(), shards, "right")
    return dict(zip(shards.tolist(), np.split(kept, ends[:-1]), strict=True))


def _distribution(
    scores: Scores,
    field: pa.Field,
    kept_by_shard: KeptByShard,
    rules: Sequence[dict[str, Any]],
) -> Distribution | None:
    read = functools.partial(_numbers, scores, field.name, kept_by_shard)
    low, high = quantile(read, TAIL), quantile(read, 1 - TAIL)
    if not (np.isfinite(low) and np.isfinite(high)):
        return None
    cuts = _cuts(field.name, rules)
    low, high = min([low, *(c.value for c in cuts)]), max([high, *(c.value for c in cuts)])
    is_log = low > 0 and high / low > LOG_RATIO
    edges = _edges(low, high, whole=field.type == pa.int32(), log=is_log)
    rows = {kept: np.zeros(len(edges) - 1, np.int64) for kept in (True, False)}
    without = 0
    for value_n, kept_n in _matched(read(), kept_by_shard):
        valid_n = ~np.isnan(value_n)
        without += int((~valid_n).sum())
        for kept in rows:
            inside = np.clip(value_n[valid_n & (kept_n == kept)], edges[0], edges[-1])
            rows[kept] += np.histogram(inside, edges)[0]
    about = {k.decode(): v.decode() for k, v in (field.metadata or {}).items()}
    unit = about.get("unit", "")
    labels = Labels(title=f"Histogram of {field.name}", x=unit, y="% of group")
    groups = {"kept": rows[True], "dropped": rows[False]}
    return Distribution(
        column=plain(field.name),
        meaning=about.get("meaning", ""),
        kept=int(rows[True].sum()),
        dropped=int(rows[False].sum()),
        without=without,
        chart=histogram(edges, groups, cuts=cuts, labels=labels, log=is_log),
    )


def _numbers(scores: Scores, column: str, shards: Iterable[int]) -> Iterator[NDArray[np.float32]]:
    """Yield a column of the good rows of some shards, a null as NaN."""
    for shard in shards:
        yield numbers(scores.good(shard, [column]), column, np.float32)


def _matched(
    values: Iterator[NDArray[np.float32]], kept_by_shard: KeptByShard
) -> Iterator[tuple[NDArray[np.float32], NDArray[np.bool_]]]:
    for value_n, (shard, kept_n) in zip(values, kept_by_shard.items(), strict=True):
        if len(value_n) != len(kept_n):
            raise ValueError(
                f"report: got {len(value_n)} scored rows in shard {shard}, expected {len(kept_n)} "
                "as in subset/scores.parquet; the pool has changed, run it again"
            )
        yield value_n, kept_n


def _edges(low: float, high: float, *, whole: bool, log: bool) -> NDArray[np.float64]:
    """Return B + 1 edges; bins of whole numbers hold equally many of them."""
    if log:
        return np.geomspace(low, high, BINS + 1)
    if whole:
        low, high = np.floor(low), np.ceil(high)
        step = max(1, int(np.ceil((high - low + 1) / BINS)))
        bins = int((high - low) // step) + 1
        return low - 0.5 + step * np.arange(bins + 1, dtype=np.float64)
    if high <= low:
        low, high = low - 0.5, high + 0.5
    return np.linspace(low, high, BINS + 1)


def _cuts(column: str, rules: Sequence[dict[str, Any]]) -> list[Cut]:
    """Return the finite cut points of the bands on a column."""
    found = []
    for rule in rules:
        if rule["kind"] != "band" or rule["column"] != column:
            continue
        for vote in ("keep", "drop"):
            value = rule.get(vote)
            if value is not None and np.isfinite(value):
                title = f"{plain(rule['name'])}: {vote} from {figure(value)}"
                found.append(Cut(float(value), vote, title))
    return found
