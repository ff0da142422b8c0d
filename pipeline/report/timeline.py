"""Scoring as it went, from the ledger: who did what when, what kept the cells busy, what was slow.

N records, C cells.
"""

import json
import posixpath
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from markupsafe import Markup
from numpy.typing import NDArray

from pipeline.report.lanes import AXIS, Work, draw_lanes
from pipeline.report.pauses import WorkAxis
from pipeline.report.text import plain
from pipeline.scores import Scores

MOST_LANES = 32
SLOWEST = 10
NAMED = 3  # columns by which a stage is told


@dataclass(frozen=True, slots=True)
class Busy:
    """What a step took of all cells' time; steps run side by side, so shares may exceed 1."""

    step: str
    seconds: float
    share: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Slow:
    """A shard that took long.

    Attributes:
        shard: Its identity.
        cell: Number of its lane, or of one that is not drawn.
        started_s: After the first start, by the clock.
        took_s: From lease to record.
        rows: Written.
        step: What took most of it; `""` if nothing was measured.
    """

    shard: str
    cell: int
    started_s: float
    took_s: float
    rows: int
    step: str


@dataclass(frozen=True, slots=True)
class Rest:
    """Cells that are not drawn."""

    cells: int
    shards: int
    seconds: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Timeline:
    """The section.

    Attributes:
        chart: Lanes, and rows per second below them.
        stages: What the colours say, in their order.
        cells: How many there were; a cell that died and its successor are two.
        rest: Those that are not drawn, or None.
        shards: Tables written.
        rows_per_s: While anything was going on.
        work_s: How long that was.
        pauses: Cuts of the axis.
        busy: Share of the cells' time in which they had a shard.
        steps: By share, largest first.
        slowest: By time, longest first.
    """

    chart: Markup
    stages: tuple[str, ...]
    cells: int
    rest: Rest | None
    shards: int
    rows_per_s: float
    work_s: float
    pauses: int
    busy: float
    steps: tuple[Busy, ...]
    slowest: tuple[Slow, ...]


def timeline_of(done: pa.Table, scores: Scores) -> Timeline | None:
    """Sum up what cells did for these scores; None if the ledger has nothing of it.

    Args:
        done: The ledger's table; what other runs did is left out, and what no cell did.
        scores: Score tables of the run.
    """
    stages = sorted({posixpath.basename(source.folder) for source in scores.sources})
    mine = pc.and_(
        pc.is_in(done.column("stage"), pa.array(stages)),
        pc.is_in(done.column("shard"), pa.array(scores.ids)),
    )
    done = done.filter(pc.and_(mine, pc.greater(done.column("took"), 0))).combine_chunks()
    if not len(done):
        return None
    work, names = _work(done)
    axis = WorkAxis.of(work.start_N, work.end_N, low=AXIS[0], high=AXIS[1])
    order, lanes = _lanes(work, len(names))
    took_C = np.bincount(work.cell_N, work.end_N - work.start_N)
    rest = order[~np.isin(order, lanes)]
    alive_s = _alive(work, axis, len(names))
    stage_names = [s for s in stages if pc.any(pc.equal(done.column("stage"), s)).as_py()]
    return Timeline(
        chart=draw_lanes(work, axis, {int(c): plain(names[c]) for c in lanes}, order),
        stages=tuple(_told(stage, scores) for stage in stage_names),
        cells=len(names),
        rest=Rest(len(rest), int(np.isin(work.cell_N, rest).sum()), float(took_C[rest].sum()))
        if len(rest)
        else None,
        shards=len(done),
        rows_per_s=float(work.rows_N.sum()) / max(axis.total_s, 1e-9),
        work_s=axis.total_s,
        pauses=len(axis.pauses),
        busy=float(took_C.sum()) / alive_s,
        steps=_steps(done, alive_s),
        slowest=_slowest(done, work, order),
    )


def _work(done: pa.Table) -> tuple[Work, list[str]]:
    """Return the records as arrays, and the cells' names in the order of the alphabet."""
    names, cell_N = _codes(done.column("cell"))
    end_N = done.column("at").to_numpy()
    return (
        Work(
            start_N=end_N - done.column("took").to_numpy(),
            end_N=end_N,
            rows_N=done.column("rows").to_numpy().astype(np.float64),
            cell_N=cell_N,
            stage_N=_codes(done.column("stage"))[1],
        ),
        names,
    )


def _codes(column: pa.ChunkedArray) -> tuple[list[str], NDArray[np.intp]]:
    """Return the distinct values, sorted, and each row's position among them."""
    encoded = column.combine_chunks().dictionary_encode()
    names = encoded.dictionary.to_pylist()
    rank = np.argsort(np.argsort(names))
    return sorted(names), rank[encoded.indices.to_numpy()]


def _lanes(work: Work, cells: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return all cells by their first start, and the busiest `MOST_LANES` of them in that order."""
    first_C = np.full(cells, np.inf)
    np.minimum.at(first_C, work.cell_N, work.start_N)
    order = np.argsort(first_C, kind="stable")
    took_C = np.bincount(work.cell_N, work.end_N - work.start_N)
    busiest = np.argsort(-took_C[order], kind="stable")[:MOST_LANES]
    return order, order[np.sort(busiest)]


def _alive(work: Work, axis: WorkAxis, cells: int) -> float:
    """Return the time from each cell's first start to its last end, pauses left out, summed."""
    first_C, last_C = np.full(cells, np.inf), np.full(cells, -np.inf)
    np.minimum.at(first_C, work.cell_N, work.start_N)
    np.maximum.at(last_C, work.cell_N, work.end_N)
    return max(float((axis.work(last_C) - axis.work(first_C)).sum()), 1e-9)


def _steps(done: pa.Table, alive_s: float) -> tuple[Busy, ...]:
    seconds = Counter[str]()
    for text in done.column("seconds").to_pylist():
        seconds.update(json.loads(text))
    ranked = sorted(seconds.items(), key=lambda item: (-item[1], item[0]))
    return tuple(Busy(plain(step), s, s / alive_s) for step, s in ranked)


def _slowest(done: pa.Table, work: Work, order: NDArray[np.intp]) -> tuple[Slow, ...]:
    number = {int(cell): i + 1 for i, cell in enumerate(order)}
    start = float(work.start_N.min())
    found = []
    for i in np.argsort(work.start_N - work.end_N, kind="stable")[:SLOWEST].tolist():
        seconds = json.loads(done.column("seconds")[i].as_py())
        found.append(
            Slow(
                shard=plain(done.column("shard")[i].as_py()),
                cell=number[int(work.cell_N[i])],
                started_s=float(work.start_N[i]) - start,
                took_s=float(work.end_N[i] - work.start_N[i]),
                rows=int(work.rows_N[i]),
                step=plain(max(sorted(seconds), key=lambda step: seconds[step], default="")),
            )
        )
    return tuple(found)


def _told(stage: str, scores: Scores) -> str:
    """Name a stage by what it writes."""
    columns: Sequence[str] = [
        c for s in scores.sources if posixpath.basename(s.folder) == stage for c in s.columns
    ]
    more = f" and {len(columns) - NAMED} more" if len(columns) > NAMED else ""
    return f"{plain(stage)}: {', '.join(map(plain, columns[:NAMED]))}{more}"
