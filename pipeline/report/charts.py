"""Five charts as inline SVG, drawn to a fixed viewBox and coloured by the page's style sheet."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from xml.etree.ElementTree import Element

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from pipeline.report.axes import Axis
from pipeline.report.svg import add, add_text, add_title, chart, markup, path_of, px_of
from pipeline.report.text import compact

SMALL, LARGE = (340, 200), (480, 260)  # px at which labels have their size; a phone shows 380
MAP, LARGEST = (1000, 420), 34  # px; and the radius of the largest disc
LEFT, RIGHT, TOP, BOTTOM = 46, 12, 16, 38
CUT_WORD = 30  # px of "keep" beside its line
MOST_POINTS = 300  # of a line; more are averaged in groups


@dataclass(frozen=True, slots=True)
class Cut:
    """A marked value on the x axis."""

    value: float
    label: str
    title: str


@dataclass(frozen=True, slots=True)
class Dot:
    """A point of a scatter chart, with a second y value hanging from it."""

    x: float
    y: float
    below: float
    title: str


@dataclass(frozen=True, slots=True)
class Bubble:
    """A disc on a map: `size` is its area, `shade` its colour, both in [0, 1]."""

    x: float
    y: float
    size: float
    shade: float
    title: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Labels:
    """Words around a chart; the title is read to those who cannot see it."""

    title: str
    x: str = ""
    y: str = ""


@dataclass(frozen=True, slots=True)
class _Plot:
    """An SVG with its axes drawn."""

    x: Axis
    y: Axis
    svg: Element


def histogram(
    edges: NDArray[np.float64],
    groups: Mapping[str, NDArray[np.int64]],
    *,
    cuts: Sequence[Cut],
    labels: Labels,
    log: bool = False,
) -> Markup:
    """Overlay the first group, filled, with the second, outlined; each as shares of its own rows.

    Args:
        edges: [B + 1] edges of the bins, ascending.
        groups: Rows per bin, [B], by name.
        cuts: Values to mark.
        labels: Words.
        log: Logarithmic x axis.
    """
    shares = [rows / max(rows.sum(), 1) for rows in groups.values()]
    highest = max(float(share.max()) for share in shares)
    plot = _plot((edges[0], edges[-1]), (0.0, 105 * highest or 1.0), labels, SMALL, log=log)
    at = [plot.x.at(edge) for edge in edges]
    for i, share in enumerate(shares):
        steps = [(px, plot.y.at(100 * s)) for j, s in enumerate(share) for px in at[j : j + 2]]
        outline = [(at[0], plot.y.at(0)), *steps, (at[-1], plot.y.at(0))]
        add(plot.svg, "path", f"area s{i}", d=path_of(outline))
    for j in range(len(edges) - 1):
        told = ", ".join(f"{name} {rows[j]:,}" for name, rows in groups.items())
        hover = add(
            plot.svg, "rect", "hover", x=px_of(at[j]), width=px_of(at[j + 1] - at[j]),
            y=px_of(plot.y.end), height=px_of(plot.y.start - plot.y.end),
        )  # fmt: skip
        add_title(hover, f"{compact(edges[j])} to {compact(edges[j + 1])}: {told}")
    for cut in cuts:
        _mark(plot, cut)
    return markup(plot.svg)


def lines(
    series: Mapping[str, NDArray[np.float64]], *, labels: Labels, size: tuple[int, int] = LARGE
) -> Markup:
    """Draw one line per series of points [n, 2]; points that are not finite are left out."""
    drawn = {name: _thin(p[np.isfinite(p).all(axis=1)]) for name, p in series.items()}
    every = np.concatenate([p for p in drawn.values() if len(p)])
    low, high = float(every[:, 1].min()), float(every[:, 1].max())
    margin = 0.05 * (high - low) or 0.5
    x_high = float(every[:, 0].max()) or 1.0
    plot = _plot((0.0, x_high), (low - margin, high + margin), labels, size)
    for i, (name, points) in enumerate(drawn.items()):
        if len(points):
            path = [(plot.x.at(a), plot.y.at(b)) for a, b in points]
            line = add(plot.svg, "path", f"line s{i}", d=path_of(path))
            add_title(line, f"{name}: ends at {points[-1, 1]:.4g}")
    return markup(plot.svg)


def scatter(dots: Sequence[Dot], *, labels: Labels) -> Markup:
    """Draw each dot's y as a ring, its `below` as a disc, and a thread between the two."""
    x_low, x_high = min(d.x for d in dots), max(d.x for d in dots)
    margin = 0.05 * (x_high - x_low) or 0.5
    top = max(max(d.y, d.below) for d in dots) * 1.05 or 1.0
    plot = _plot((x_low - margin, x_high + margin), (0.0, top), labels, LARGE)
    for dot in dots:
        px, ring, disc = plot.x.at(dot.x), plot.y.at(dot.y), plot.y.at(dot.below)
        group = add(plot.svg, "g", "dot")
        add_title(group, dot.title)
        add(group, "path", "thread", d=path_of([(px, ring), (px, disc)]))
        add(group, "circle", "ring s1", cx=px_of(px), cy=px_of(ring), r="3")
        add(group, "circle", "disc s0", cx=px_of(px), cy=px_of(disc), r="3")
    return markup(plot.svg)


def bubbles(discs: Sequence[Bubble], *, labels: Labels) -> Markup:
    """Draw discs on a plane whose axes mean nothing, largest first, so that none is hidden."""
    width, height = MAP
    x, y = (
        Axis(min(values), max(values) if max(values) > min(values) else min(values) + 1, *ends)
        for values, ends in (
            ([d.x for d in discs], (LARGEST, width - LARGEST)),
            ([d.y for d in discs], (height - LARGEST, LARGEST)),
        )
    )
    svg = chart(width, height, labels.title)
    for disc in sorted(discs, key=lambda d: -d.size):
        radius = max(1.5, LARGEST * float(np.sqrt(disc.size)))
        circle = add(
            svg, "circle", "bubble", cx=px_of(x.at(disc.x)), cy=px_of(y.at(disc.y)),
            r=px_of(radius), style=f"--shade:{disc.shade:.2f}",
        )  # fmt: skip
        add_title(circle, disc.title)
    return markup(svg)


def bar(start: float, end: float, *, css: str = "s0", zero: float | None = None) -> Markup:
    """Draw a bar over a table cell, from `start` to `end` of its width, both in [0, 1].

    The number stands in the cell beside it, so the bar is hidden from screen readers.
    """
    svg = Element("svg", {"class": "bar", "viewBox": "0 0 100 10", "preserveAspectRatio": "none"})
    svg.set("aria-hidden", "true")
    low, high = 100 * min(start, end), 100 * max(start, end)
    width = max(high - low, 0.4 if high > low else 0.0)  # what is there is seen
    add(svg, "rect", css, x=px_of(min(low, 100 - width)), width=px_of(width), y="0", height="10")
    if zero is not None:
        add(svg, "rect", "zero", x=px_of(100 * zero - 0.25), width="0.5", y="0", height="10")
    return markup(svg)


def _plot(
    x_range: tuple[float, float],
    y_range: tuple[float, float],
    labels: Labels,
    size: tuple[int, int],
    *,
    log: bool = False,
) -> _Plot:
    """Draw axes, ticks, grid and words."""
    width, height = size
    x = Axis(*x_range, LEFT, width - RIGHT, log=log)
    y = Axis(*y_range, height - BOTTOM, TOP)
    svg = chart(width, height, labels.title)
    for value in y.ticks():
        add(svg, "path", "grid", d=path_of([(x.start, y.at(value)), (x.end, y.at(value))]))
        add_text(svg, compact(value), "tick end", x.start - 6, y.at(value) + 4)
    for value in x.ticks():
        add(svg, "path", "axis", d=path_of([(x.at(value), y.start), (x.at(value), y.start + 4)]))
        add_text(svg, compact(value), "tick middle", x.at(value), y.start + 16)
    add(svg, "path", "axis", d=path_of([(x.start, y.start), (x.end, y.start)]))
    add_text(svg, labels.x, "label middle", (x.start + x.end) / 2, height - 4)
    add_text(svg, labels.y, "label", 2, 10)
    return _Plot(x, y, svg)


def _mark(plot: _Plot, cut: Cut) -> None:
    px = plot.x.at(cut.value)
    group = add(plot.svg, "g", f"cut {cut.label}")
    add_title(group, cut.title)
    add(group, "path", "", d=path_of([(px, plot.y.end), (px, plot.y.start)]))
    css, beside = ("tick end", -3) if px > plot.x.end - CUT_WORD else ("tick", 3)
    add_text(group, cut.label, css, px + beside, plot.y.end + 9)


def _thin(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Average neighbours, so that a line has at most `MOST_POINTS` points; float64 [n, 2]."""
    if len(points) <= MOST_POINTS:
        return points
    return np.stack([part.mean(axis=0) for part in np.array_split(points, MOST_POINTS)])
