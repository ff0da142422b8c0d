"""Rules against planted trouble: a table of recall by kind, with the price beside it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pipeline.planted import CLEAN
from pipeline.report.text import count, plain

Told = Mapping[str, Mapping[str, Mapping[str, Any]]]


@dataclass(frozen=True, slots=True)
class Kind:
    """A column: a kind of trouble, or the clean pairs, and the rows of it that rules voted on."""

    title: str
    rows: int


@dataclass(frozen=True, slots=True)
class Cell:
    """Drop votes of one rule on one kind.

    Attributes:
        rows: How many.
        share: Of the kind, in [0, 1].
        heat: The share in percent, for the shading.
        title: Both in words.
    """

    rows: int
    share: float
    heat: int
    title: str


@dataclass(frozen=True, slots=True)
class Row:
    """One rule, a cell for each kind."""

    rule: str
    cells: tuple[Cell, ...]


@dataclass(frozen=True, slots=True)
class Caught:
    """The table.

    Attributes:
        kinds: Columns, clean pairs first.
        rows: Rules, in their order.
        has_clean: Whether the first column is that of false drops.
    """

    kinds: tuple[Kind, ...]
    rows: tuple[Row, ...]
    has_clean: bool


def caught_by_rule(told: Told) -> Caught | None:
    """Lay out `planted_rules` of the summary; None without any.

    Args:
        told: By rule and kind: `planted`, `dropped` and `share`.
    """
    if not told:
        return None
    first = next(iter(told.values()))
    names = sorted(first, key=lambda kind: (kind != CLEAN, kind))
    titles = ["false drops" if kind == CLEAN else plain(kind.replace("_", " ")) for kind in names]
    kinds = tuple(Kind(t, first[k]["planted"]) for t, k in zip(titles, names, strict=True))
    rows = tuple(
        Row(plain(rule), tuple(_cell(by_kind[kind]) for kind in names))
        for rule, by_kind in told.items()
    )
    return Caught(kinds, rows, CLEAN in first)


def _cell(found: Mapping[str, Any]) -> Cell:
    title = f"{count(found['dropped'])} of {count(found['planted'])}"
    return Cell(found["dropped"], found["share"], round(100 * found["share"]), title)
