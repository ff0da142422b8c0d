"""Four charts as inline SVG, drawn to a fixed viewBox and coloured by the page's style sheet.

Everything goes through ElementTree, so text is escaped and tags are balanced by construction.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from xml.etree.ElementTree import Element, SubElement, tostring

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from pipeline.report.axes import Axis
from pipeline.report.text import compact

SMALL, LARGE = (340, 200), (480, 260)  # px at which labels have their size; a phone shows 380
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
    svg: Element = field(default_factory=lambda: Element("svg"))

    def markup(self) -> Markup:
        return Markup(tostring(self.svg, encoding="unicode"))  # noqa: S704 -- escaped by ElementTree


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
        _add(plot.svg, "path", f"area s{i}", d=_path(outline))
    for j in range(len(edges) - 1):
        told = ", ".join(f"{name} {rows[j]:,}" for name, rows in groups.items())
        hover = _add(
            plot.svg, "rect", "hover", x=_px(at[j]), width=_px(at[j + 1] - at[j]),
            y=_px(plot.y.end), height=_px(plot.y.start - plot.y.end),
        )  # fmt: skip
        _title(hover, f"{compact(edges[j])} to {compact(edges[j + 1])}: {told}")
    for cut in cuts:
        _mark(plot, cut)
    return plot.markup()


def lines(series: Mapping[str, NDArray[np.float64]], *, labels: Labels) -> Markup:
    """Draw one line per series of points [n, 2]; points that are not finite are left out."""
    drawn = {name: _thin(p[np.isfinite(p).all(axis=1)]) for name, p in series.items()}
    every = np.concatenate([p for p in drawn.values() if len(p)])
    low, high = float(every[:, 1].min()), float(every[:, 1].max())
    margin = 0.05 * (high - low) or 0.5
    x_high = float(every[:, 0].max()) or 1.0
    plot = _plot((0.0, x_high), (low - margin, high + margin), labels, LARGE)
    for i, (name, points) in enumerate(drawn.items()):
        if len(points):
            path = [(plot.x.at(a), plot.y.at(b)) for a, b in points]
            line = _add(plot.svg, "path", f"line s{i}", d=_path(path))
            _title(line, f"{name}: ends at {points[-1, 1]:.4g}")
    return plot.markup()


def scatter(dots: Sequence[Dot], *, labels: Labels) -> Markup:
    """Draw each dot's y as a ring, its `below` as a disc, and a thread between the two."""
    x_low, x_high = min(d.x for d in dots), max(d.x for d in dots)
    margin = 0.05 * (x_high - x_low) or 0.5
    top = max(max(d.y, d.below) for d in dots) * 1.05 or 1.0
    plot = _plot((x_low - margin, x_high + margin), (0.0, top), labels, LARGE)
    for dot in dots:
        px, ring, disc = plot.x.at(dot.x), plot.y.at(dot.y), plot.y.at(dot.below)
        group = _add(plot.svg, "g", "dot")
        _title(group, dot.title)
        _add(group, "path", "thread", d=_path([(px, ring), (px, disc)]))
        _add(group, "circle", "ring s1", cx=_px(px), cy=_px(ring), r="3")
        _add(group, "circle", "disc s0", cx=_px(px), cy=_px(disc), r="3")
    return plot.markup()


def bar(start: float, end: float, *, css: str = "s0", zero: float | None = None) -> Markup:
    """Draw a bar over a table cell, from `start` to `end` of its width, both in [0, 1].

    The number stands in the cell beside it, so the bar is hidden from screen readers.
    """
    svg = Element("svg", {"class": "bar", "viewBox": "0 0 100 10", "preserveAspectRatio": "none"})
    svg.set("aria-hidden", "true")
    low, high = 100 * min(start, end), 100 * max(start, end)
    width = max(high - low, 0.4 if high > low else 0.0)  # what is there is seen
    _add(svg, "rect", css, x=_px(min(low, 100 - width)), width=_px(width), y="0", height="10")
    if zero is not None:
        _add(svg, "rect", "zero", x=_px(100 * zero - 0.25), width="0.5", y="0", height="10")
    return Markup(tostring(svg, encoding="unicode"))  # noqa: S704 -- escaped by ElementTree


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
    plot = _Plot(x, y)
    svg = plot.svg
    for name, value in (("class", "chart"), ("viewBox", f"0 0 {width} {height}"), ("role", "img")):
        svg.set(name, value)
    _title(svg, labels.title)
    for value in y.ticks():
        _add(svg, "path", "grid", d=_path([(x.start, y.at(value)), (x.end, y.at(value))]))
        _text(svg, compact(value), "tick end", x.start - 6, y.at(value) + 4)
    for value in x.ticks():
        _add(svg, "path", "axis", d=_path([(x.at(value), y.start), (x.at(value), y.start + 4)]))
        _text(svg, compact(value), "tick middle", x.at(value), y.start + 16)
    _add(svg, "path", "axis", d=_path([(x.start, y.start), (x.end, y.start)]))
    _text(svg, labels.x, "label middle", (x.start + x.end) / 2, height - 4)
    _text(svg, labels.y, "label", 2, 10)
    return plot


def _mark(plot: _Plot, cut: Cut) -> None:
    px = plot.x.at(cut.value)
    group = _add(plot.svg, "g", f"cut {cut.label}")
    _title(group, cut.title)
    _add(group, "path", "", d=_path([(px, plot.y.end), (px, plot.y.start)]))
    css, beside = ("tick end", -3) if px > plot.x.end - CUT_WORD else ("tick", 3)
    _text(group, cut.label, css, px + beside, plot.y.end + 9)


def _thin(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Average neighbours, so that a line has at most `MOST_POINTS` points; float64 [n, 2]."""
    if len(points) <= MOST_POINTS:
        return points
    return np.stack([part.mean(axis=0) for part in np.array_split(points, MOST_POINTS)])


def _add(parent: Element, tag: str, css: str, **attributes: str) -> Element:
    return SubElement(parent, tag, {"class": css, **attributes} if css else attributes)


def _title(parent: Element, text: str) -> None:
    SubElement(parent, "title").text = text


def _text(parent: Element, text: str, css: str, x: float, y: float) -> None:
    if text:
        _add(parent, "text", css, x=_px(x), y=_px(y)).text = text


def _path(points: Sequence[tuple[float, float]]) -> str:
    return "M" + "L".join(f"{_px(x)} {_px(y)}" for x, y in points)


def _px(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")
