"""SVG elements; ElementTree escapes text and balances tags by construction."""

from collections.abc import Sequence
from xml.etree.ElementTree import Element, SubElement, tostring

from markupsafe import Markup


def markup(svg: Element) -> Markup:
    """Return a drawing as it goes into the page."""
    return Markup(tostring(svg, encoding="unicode"))  # noqa: S704 -- escaped by ElementTree


def chart(width: int, height: int, title: str) -> Element:
    """Begin a chart; the title is read to those who cannot see it."""
    svg = Element("svg", {"class": "chart", "viewBox": f"0 0 {width} {height}", "role": "img"})
    add_title(svg, title)
    return svg


def add(parent: Element, tag: str, css: str, **attributes: str) -> Element:
    """Add an element."""
    return SubElement(parent, tag, {"class": css, **attributes} if css else attributes)


def add_title(parent: Element, text: str) -> None:
    """Add words that are shown where the pointer rests."""
    SubElement(parent, "title").text = text


def add_text(parent: Element, text: str, css: str, x: float, y: float) -> None:
    """Add words, if there are any."""
    if text:
        add(parent, "text", css, x=px_of(x), y=px_of(y)).text = text


def path_of(points: Sequence[tuple[float, float]]) -> str:
    """Return the data of a line through points."""
    return "M" + "L".join(f"{px_of(x)} {px_of(y)}" for x, y in points)


def px_of(value: float) -> str:
    """Write a length to a tenth of a pixel."""
    return f"{value:.1f}".removesuffix(".0")
