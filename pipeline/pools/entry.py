"""A pair as it will be written, and what was done to it."""

from dataclasses import dataclass
from enum import StrEnum

from pipeline.pools.damage import Damage
from pipeline.pools.item import Item
from pipeline.pools.looks import Look
from pipeline.pools.split import Seen


class Kind(StrEnum):
    """What was done to a pair; the word in `truth.parquet`."""

    CLEAN = "clean"  # nothing was done to it, and no earlier pair of the pool looks like it
    NATURAL_COPY = "natural_copy"  # nothing was done, but the source itself has it twice, or nearly
    SWAPPED = "swapped"
    EXACT_COPY = "exact_duplicate"
    RESIZED_COPY = "resized_duplicate"
    TEXT_ONLY = "text_only"
    TINY = "tiny"
    FOREIGN = "foreign"
    BOILERPLATE = "boilerplate"
    CORRUPT = "corrupt"


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """A pair as it will be written.

    Attributes:
        uid: 16 bytes.
        item: Where picture and json come from.
        look: Of the item's picture, before any damage.
        caption: As written.
        damage: Done to the picture's bytes, or None.
        kind: What was done.
        twin: For a copy the uid of its original, else None.
    """

    uid: bytes
    item: Item
    look: Look
    caption: str
    damage: Damage | None = None
    kind: Kind = Kind.CLEAN
    twin: bytes | None = None


def untouched(seen: Seen) -> Entry:
    """Return the entry of a pair as its source has it."""
    return Entry(uid=seen.item.uid, item=seen.item, look=seen.look, caption=seen.item.caption)
