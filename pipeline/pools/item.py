"""What a source gives: a picture somewhere on disk, its caption, and where both come from."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from pipeline.shards import read_range


@dataclass(frozen=True, slots=True)
class Picture:
    """Bytes of an encoded picture: a whole file, or a range of a file or URL.

    Attributes:
        location: Path, or any fsspec URL.
        offset: First byte.
        size: Number of bytes; -1 stands for the rest.
    """

    location: str
    offset: int = 0
    size: int = -1

    def read(self) -> bytes:
        """Read the bytes."""
        if self.size < 0:
            return Path(self.location).read_bytes()
        return read_range(self.location, self.offset, self.size)


@dataclass(frozen=True, kw_only=True, slots=True)
class Item:
    """One picture and one caption.

    Attributes:
        uid: 16 bytes.
        picture: Where the encoded picture lies.
        picture_uid: The same for items that share a picture (its captions in several languages), so
            that they fall on the same side of the split; 16 bytes.
        caption: Not empty.
        meta: Further values for the json; `category` is used when planting.
    """

    uid: bytes
    picture: Picture
    picture_uid: bytes
    caption: str
    meta: Mapping[str, Any] = field(default_factory=dict)

    @property
    def category(self) -> str:
        """Return the category, or an empty string."""
        return str(self.meta.get("category", ""))


@dataclass(frozen=True, slots=True)
class Collection:
    """All items of a source.

    Attributes:
        items: Each uid once.
        versions: Version of every part of the source.
        skipped: What the source holds that did not become an item, counted by reason.
    """

    items: tuple[Item, ...]
    versions: Mapping[str, str]
    skipped: Mapping[str, int]


class Source(Protocol):
    """Something that pools are built from."""

    def identify(self) -> dict[str, str]:
        """Return the versions of the source's parts, as far as they are known without fetching."""
        ...

    def collect(self, *, wanted: int | None, spool: Path) -> Collection:
        """Fetch the source where needed and return its items.

        Args:
            wanted: Items that will be enough where the source is a stream; None for all.
            spool: Existing folder for pictures that lie in no file yet.

        Raises:
            ValueError: It cannot be had here; the message says what else could be used.
        """
        ...


def uid_of(source: str, name: str) -> bytes:
    """Return the first 128 bits of BLAKE2b over (source, original name within it)."""
    return hashlib.blake2b(f"{source}\0{name}".encode(), digest_size=16).digest()


def one_line(text: str | None) -> str:
    """Collapse white space and drop control characters; None becomes an empty string."""
    return " ".join("".join(c if c.isprintable() else " " for c in text or "").split())
