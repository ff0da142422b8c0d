"""The drawing of a timeline: a lane per cell, a bar per shard, rows per second below.

N records, L lanes, E edges of the rates.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from xml.etree.ElementTree import Element

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from pipeline.report.axes import Axis
from pipeline.report.pauses import Floats, WorkAxis, rates
from pipeline.report.svg import add, add_text, add_title, chart, markup, path_of, px_of
from pipeline.report.text import compact, count, duration

WIDTH, TOP, BOTTOM, RATES, BETWEEN = 480, 18, 38, 64, 20  # px
AXIS = (46.0, 468.0)
COLOURS = 6  # of the page; later stages have the last one
WIDE = 3.0  # px from which a shard has a bar of its own
RIM = 0.6  # px between two shards that follow each other
BIN_PX = 4
LABEL_PX = 12  # a line of text
ROOM = 76  # px for a pause's length
UNITS = ((86_400.0, "days", 5), (3_600.0, "hours", 3), (60.0, "minutes", 3))


@dataclass(frozen=True, kw_only=True, slots=True)
class Work:
    """Records of a ledger.

    Attributes:
        start_N: Seconds since 1970.
        end_N: Likewise.
        rows_N: Rows written.
        cell_N: Number of the cell.
        stage_N: Number of the stage, which is its colour.
    """

    start_N: Floats
    end_N: Floats
    rows_N: Floats
    cell_N: NDArray[np.intp]
    stage_N: NDArray[np.intp]


def draw_lanes(
    work: Work, axis: WorkAxis, lanes: Mapping[int, str], order: NDArray[np.intp]
) -> Markup:
    """Draw the timeline.

    Args:
        work: All records.
        axis: From wall time to pixels.
        lanes: Names of the cells that are drawn, from top to bottom.
        order: All cells as they are numbered.
    """
    height = _lane_height(len(lanes))
    floor = TOP + height * len(lanes)
    bottom = floor + BETWEEN + RATES
    title = (
        f"Timeline of {count(len(work.start_N))} shards on {count(len(order))} cells over "
        f"{duration(axis.total_s)} of work, {count(len(axis.pauses))} pauses left out; below it "
        "rows per second"
    )
    svg = chart(WIDTH, round(bottom + BOTTOM), title)
    _draw_rates(svg, work, axis, floor + BETWEEN, bottom)
    _draw_axis(svg, axis, bottom)
    number = {int(cell): i + 1 for i, cell in enumerate(order)}
    for i, (cell, name) in enumerate(lanes.items()):
        _draw_lane(svg, work, axis, cell, f"cell {number[cell]}, {name}", TOP + i * height, height)
        if i % math.ceil(LABEL_PX / height) == 0:
            add_text(svg, str(number[cell]), "tick end", AXIS[0] - 6, TOP + (i + 0.5) * height + 4)
    _draw_pauses(svg, axis, bottom)
    add_text(svg, "cell", "label", 2, 10)
    return markup(svg)


def bars(start_N: Floats, end_N: Floats) -> tuple[Floats, Floats]:
    """Merge neighbours that could not be told apart; left and right ends in pixels, ascending.

    A bar of `WIDE` pixels stays alone; narrower ones that less than a pixel lies between become
    one. So there are never more than pixels, however many shards there were.
    """
    order = np.argsort(start_N, kind="stable")
    start, end = start_N[order], end_N[order]
    is_wide = end - start >= WIDE
    gap = start[1:] - np.maximum.accumulate(end)[:-1]
    begins = np.concatenate([[True], is_wide[1:] | is_wide[:-1] | (gap >= 1)])
    first = np.flatnonzero(begins)
    return start[first], np.maximum.reduceat(end, first)


def _lane_height(lanes: int) -> float:
    return 16.0 if lanes <= 8 else 12.0 if lanes <= 16 else 9.0  # noqa: PLR2004 -- by eye


def _draw_lane(
    svg: Element, work: Work, axis: WorkAxis, cell: int, name: str, top: float, height: float
) -> None:
    """Draw a cell's shards, a path for each stage."""
    mine = work.cell_N == cell
    for stage in np.unique(work.stage_N[mine]).tolist():
        which = mine & (work.stage_N == stage)
        start, end = work.start_N[which], work.end_N[which]
        lefts, rights = bars(axis.px(start), axis.px(end))
        data = "".join(_bars(lefts, rights, top + 1, height - 2))
        drawn = add(svg, "path", f"shards s{min(stage, COLOURS - 1)}", d=data)
        shards, busy_s = len(start), float((end - start).sum())
        rows = int(work.rows_N[which].sum())
        add_title(
            drawn, f"{name}: {count(shards)} shards, {count(rows)} rows, {duration(busy_s)} busy"
        )


def _bars(lefts: Floats, rights: Floats, top: float, height: float) -> Iterator[str]:
    for left, right in zip(lefts.tolist(), rights.tolist(), strict=True):
        width = max(right - left - RIM, RIM)
        yield f"M{px_of(left)} {px_of(top)}h{width:.2f}v{px_of(height)}h-{width:.2f}z"


def _draw_rates(svg: Element, work: Work, axis: WorkAxis, top: float, bottom: float) -> None:
    """Draw rows per second as steps."""
    edge_E = np.linspace(*AXIS, round((AXIS[1] - AXIS[0]) / BIN_PX) + 1)
    rate = rates(work.start_N, work.end_N, work.rows_N, axis, edge_E)
    y = Axis(0.0, 1.05 * float(rate.max()) or 1.0, bottom, top)
    for value in y.ticks()[::2]:
        add(svg, "path", "grid", d=path_of([(AXIS[0], y.at(value)), (AXIS[1], y.at(value))]))
        add_text(svg, compact(value), "tick end", AXIS[0] - 6, y.at(value) + 4)
    at = edge_E.tolist()
    steps = [(px, y.at(r)) for i, r in enumerate(rate.tolist()) for px in at[i : i + 2]]
    add(svg, "path", "rest", d=path_of([(at[0], bottom), *steps, (at[-1], bottom)]))
    add_text(svg, "rows/s", "label", 2, top - 8)


def _draw_axis(svg: Element, axis: WorkAxis, bottom: float) -> None:
    """Draw ticks at round amounts of work."""
    total = axis.total_s
    unit, name = next(((u, n) for u, n, most in UNITS if total >= most * u), (1.0, "seconds"))
    add(svg, "path", "axis", d=path_of([(AXIS[0], bottom), (AXIS[1], bottom)]))
    for value in Axis(0.0, max(total, 1e-6) / unit, *AXIS).ticks():
        px = axis.px_of_work(value * unit)
        add(svg, "path", "axis", d=path_of([(px, bottom), (px, bottom + 4)]))
        add_text(svg, compact(value), "tick middle", px, bottom + 16)
    left_out = ", pauses left out" if axis.pauses else ""
    add_text(
        svg, f"{name} since the first start{left_out}", "label middle", sum(AXIS) / 2, bottom + 34
    )


def _draw_pauses(svg: Element, axis: WorkAxis, bottom: float) -> None:
    """Mark what was cut; as many lengths as there is room for."""
    if not axis.pauses:
        return
    group = add(svg, "g", "cut")
    whole = duration(sum(length for _, length in axis.pauses))
    add_title(group, f"{count(len(axis.pauses))} pauses of {whole} in all, left out")
    drawn = named = -np.inf
    for px, length in axis.pauses:
        if px - drawn >= 1:
            add(group, "path", "", d=path_of([(px, TOP - 4), (px, bottom)]))
            drawn = px
        if px - named >= ROOM:
            css = "middle" if AXIS[0] + ROOM / 2 < px < AXIS[1] - ROOM / 2 else "end"
            add_text(group, duration(length), f"tick {css}", px, TOP - 7)
            named = px
