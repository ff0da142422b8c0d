"""Open Clip Art Library: public-domain drawings with the titles their authors gave them.

Debian splits it into two packages with the same tree: PNG files, and SVG files whose RDF block
holds title, description, keywords, creator and licence. Titles are as people typed them: empty,
repeated a thousand times, in Italian, or a file name.
"""

import html
import re
import xml.etree.ElementTree as ET
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from pipeline.pools.debian import Package, package, versions_here
from pipeline.pools.item import Collection, Item, Picture, one_line, uid_of

SOURCE = "openclipart"
PICTURES, DRAWINGS = "openclipart-png", "openclipart-svg"
FOLDER = Path("usr/share/openclipart")
RDF_BLOCK = re.compile(rb"<rdf:RDF\b.*?</rdf:RDF\s*>", re.DOTALL)
EXPORTED = "hash"  # a keyword that an old exporter wrote into hundreds of drawings
LONGEST_BLOCK = 64 * 1024  # bytes; the longest in the package has 2,522
# Prefixes that old drawings declare on an outer element, which the block alone does not show.
OUTER = (b'<outer xmlns:rdf="rdf" xmlns:cc="cc" xmlns:dc="dc" xmlns:svg="svg">', b"</outer>")


@dataclass(frozen=True, kw_only=True, slots=True)
class Work:
    """The metadata of a drawing, each value one line or empty."""

    title: str = ""
    description: str = ""
    keywords: tuple[str, ...] = ()
    creator: str = ""
    licence: str = ""
    language: str = ""


@dataclass(frozen=True, slots=True)
class OpenClipart:
    """Both packages."""

    def identify(self) -> dict[str, str]:
        """Return the versions of the packages that are already here."""
        return versions_here(PICTURES, DRAWINGS)

    def collect(self, *, wanted: int | None, spool: Path) -> Collection:  # noqa: ARG002
        """Return one item per picture; a link to a picture is the same one under another name."""
        return read_tree(package(PICTURES), package(DRAWINGS))


def read_tree(pictures: Package, drawings: Package) -> Collection:
    """Return the items of two unpacked packages, in the order of their names."""
    root, svg_root = pictures.root / FOLDER / "png", drawings.root / FOLDER / "svg"
    skipped: Counter[str] = Counter()
    items: list[Item] = []
    for path in sorted(root.rglob("*.png")):
        if path.is_symlink():
            skipped["link"] += 1
            continue
        name = path.relative_to(root)
        work = _work_beside(svg_root, name)
        if work is None:
            skipped["no_metadata"] += 1
            work = Work()
        items.append(_item(name, path, work, pictures.version))
    if not items:
        raise ValueError(
            f"pool: got {root} without a picture, expected the files of {PICTURES}; "
            f"remove {pictures.root} to fetch the package again"
        )
    versions = {one.name: one.version for one in (pictures, drawings)}
    return Collection(tuple(items), versions, dict(skipped))


def parse_work(svg: bytes) -> Work | None:
    """Read the RDF block of a drawing; None without one.

    Only the block is parsed, never the document: it is bounded, and inside it no document type and
    so no entity can be declared. A block that is not well-formed is searched for its plain values.
    """
    found = RDF_BLOCK.search(svg)
    if found is None or len(found[0]) > LONGEST_BLOCK:
        return None
    block = found[0]
    if b"<!" not in block:
        try:
            return _from_xml(ET.fromstring(OUTER[0] + block + OUTER[1]))  # noqa: S314
        except ET.ParseError:
            pass  # the fallback follows
    return _from_text(block.decode("utf-8", "replace"))


def _item(name: Path, path: Path, work: Work, version: str) -> Item:
    uid = uid_of(SOURCE, name.as_posix())
    meta = {
        "source": SOURCE,
        "version": version,
        "name": name.as_posix(),
        "category": name.parts[0],
        "licence": work.licence,
        "author": work.creator,
        "title": work.title,
        "description": work.description,
        "keywords": list(work.keywords),
        "language": work.language,
    }
    return Item(
        uid=uid,
        picture=Picture(str(path)),
        picture_uid=uid,
        caption=compose_caption(work, name.stem),
        meta=meta,
    )


def compose_caption(work: Work, stem: str) -> str:
    """Return title, else description, else the cleaned file name, and the keywords after it.

    Keywords that the text has already are left out. Web alt texts read like this, and titles alone
    ("01", "gramastar", "Clipart by ...") halve what an encoder learns (LOG.md).
    """
    name = " ".join(re.sub(r"[\W_]+|\d+", " ", stem).split())
    text = work.title or work.description or name
    words = dict.fromkeys(work.keywords)
    more = [w for w in words if w != EXPORTED and w.lower() not in text.lower()]
    return one_line(", ".join((text, *more)))


def _work_beside(svg_root: Path, name: Path) -> Work | None:
    path = svg_root / name.with_suffix(".svg")
    if not path.is_file() or not path.resolve().is_relative_to(svg_root.resolve()):
        return None
    return parse_work(path.read_bytes())


def _from_xml(root: ET.Element) -> Work:
    work = next((e for e in root.iter() if _local(e) == "Work"), root)
    parts = {_local(child): child for child in work}

    def text(name: str) -> str:
        return one_line(parts[name].text) if name in parts else ""

    def inner(name: str, tag: str) -> list[str]:
        found = parts[name].iter() if name in parts else ()
        return [line for e in found if _local(e) == tag and (line := one_line(e.text))]

    licence = list(parts["license"].attrib.values()) if "license" in parts else []
    return Work(
        title=text("title"),
        description=text("description"),
        keywords=tuple(inner("subject", "li")),
        creator="".join(inner("creator", "title")[:1]),
        licence=one_line("".join(licence[:1])),
        language=text("language"),
    )


def _local(element: ET.Element) -> str:
    return element.tag.rpartition("}")[2]


def _from_text(block: str) -> Work:
    def values(pattern: str) -> list[str]:
        found = re.findall(pattern, block, re.DOTALL)
        return [line for value in found if (line := one_line(html.unescape(value)))]

    creator = re.search(r"<dc:creator\b.*?</dc:creator>", block, re.DOTALL)
    names = re.findall(r"<dc:title>([^<]*)</dc:title>", creator[0]) if creator else []
    head = re.match(r"<rdf:RDF\b[^>]*>\s*<cc:Work\b[^>]*>\s*<dc:title>([^<]*)</dc:title>", block)
    return Work(
        title=one_line(html.unescape(head[1])) if head else "",
        description="".join(values(r"<dc:description>([^<]*)</dc:description>")[:1]),
        keywords=tuple(values(r"<rdf:li>([^<]*)</rdf:li>")),
        creator=one_line(html.unescape("".join(names[:1]))),
        licence="".join(values(r"<cc:license\s+rdf:resource=\"([^\"]*)\"")[:1]),
        language="".join(values(r"<dc:language>([^<]*)</dc:language>")[:1]),
    )
