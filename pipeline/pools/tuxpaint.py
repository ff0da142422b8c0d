"""Tux Paint's stamps: cut-out photographs and drawings with a sentence each, in 78 locales.

`NAME.txt` beside a picture holds the English sentence on its first line, then `xx.utf8=sentence`.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pipeline.pools.debian import Package, package, versions_here
from pipeline.pools.item import Collection, Item, Picture, one_line, uid_of

SOURCE = "tuxpaint"
STAMPS = "tuxpaint-stamps-default"
FOLDER = Path("usr/share/tuxpaint/stamps")
LICENCE = "GPL-2.0-or-later"
AUTHOR = "Tux Paint contributors"
ENGLISH, ALL = "en", "all"
MARK = ".utf8="


@dataclass(frozen=True, slots=True)
class TuxPaint:
    """The package, in some of its languages.

    Attributes:
        locales: One pair per picture and locale; `all` stands for every locale there is.
    """

    locales: tuple[str, ...] = (ENGLISH,)

    def identify(self) -> dict[str, str]:
        """Return the package's version if it is already here."""
        return versions_here(STAMPS)

    def collect(self, *, wanted: int | None, spool: Path) -> Collection:  # noqa: ARG002
        """Return the items of the chosen locales."""
        return read_tree(package(STAMPS), locales=self.locales)


def read_tree(stamps: Package, *, locales: tuple[str, ...]) -> Collection:
    """Return the items of an unpacked package, in the order of their names.

    Raises:
        ValueError: A locale that no stamp has a sentence in.
    """
    root = stamps.root / FOLDER
    skipped: Counter[str] = Counter({"svg": sum(1 for _ in root.rglob("*.svg"))})
    items: list[Item] = []
    known: set[str] = set()
    for path in sorted(root.rglob("*.png")):
        if path.is_symlink():
            skipped["link"] += 1
            continue
        sentences = dict(read_captions(path.with_suffix(".txt")))
        known |= sentences.keys()
        if not sentences:
            skipped["no_caption"] += 1
        chosen = sentences if ALL in locales else [c for c in locales if c in sentences]
        name = path.relative_to(root)
        items += [_item(name, path, code, sentences[code], stamps.version) for code in chosen]
    unknown = sorted(set(locales) - known - {ALL})
    if unknown:
        raise ValueError(
            f"locales: got {', '.join(unknown)}, expected {ALL} or some of "
            f"{', '.join(sorted(known)) or 'none: the package holds no caption'}"
        )
    return Collection(tuple(items), {stamps.name: stamps.version}, dict(skipped))


def read_captions(path: Path) -> Iterator[tuple[str, str]]:
    """Yield (locale, sentence) of one caption file; nothing where there is no file."""
    if not path.is_file():
        return
    lines = path.read_bytes().decode("utf-8", "replace").splitlines()
    english = one_line("".join(lines[:1]))
    if english and MARK not in english:
        yield ENGLISH, english
    for line in lines[1:]:
        locale, mark, sentence = line.partition(MARK)
        if mark and one_line(sentence):
            yield locale.strip(), one_line(sentence)


def _item(name: Path, path: Path, locale: str, sentence: str, version: str) -> Item:
    picture_uid = uid_of(SOURCE, name.as_posix())
    translated = uid_of(SOURCE, f"{name.as_posix()}@{locale}")
    return Item(
        uid=picture_uid if locale == ENGLISH else translated,
        picture=Picture(str(path)),
        picture_uid=picture_uid,
        caption=sentence,
        meta={
            "source": SOURCE,
            "version": version,
            "name": name.as_posix(),
            "category": name.parts[0],
            "licence": LICENCE,
            "author": AUTHOR,
            "title": name.stem,
            "keywords": list(name.parts[1:-1]),
            "language": locale,
        },
    )
