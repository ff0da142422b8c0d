"""What a config may name: every extractor, derived column and rule, as their classes tell it."""

import dataclasses
import inspect
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from filters.concepts import Consensus
from filters.extract import Column
from filters.plugins import AnyDerive, AnyExtractor, AnyRule, kind_of, members
from filters.rules import ReadyMade
from pipeline.relating.relation import READS, Relation
from pipeline.schema import BASE_SCHEMA

# What a column takes at most: arithmetic on other columns, the caption, pixels, a model that a core
# runs, a model that is worth an accelerator, somebody's server.
COSTS = ("none", "caption", "picture", "small model", "large model", "endpoint")
OTHERS = "not ours"  # a plug-in, or a derived column of a config's own, writes it
SOURCE = "Source: "
COMMON = ("kind", "name", "veto")  # fields that are no setting of their own


@dataclass(frozen=True, slots=True)
class Writer:
    """An extractor, a derived column or a relation.

    Attributes:
        kind: Name in a config.
        does: First line of its docstring.
        cost: One of `COSTS`, of what it reads included.
        columns: What it writes; empty if that depends on settings that have no default.
    """

    kind: str
    does: str
    cost: str
    columns: tuple[Column, ...]


@dataclass(frozen=True, slots=True)
class Listed:
    """A rule.

    Attributes:
        kind: Name in a config.
        does: First line of its docstring.
        columns: What it reads by default; empty if a config has to say.
        cost: That of the dearest column; of several that write one, the cheapest counts.
        defaults: Settings and their defaults, `name` alone without one.
        source: Whose thresholds they are.
    """

    kind: str
    does: str
    columns: tuple[str, ...]
    cost: str
    defaults: str
    source: str


def writers(relations: Sequence[type[Relation]] = ()) -> list[Writer]:
    """Return everything that writes columns.

    Args:
        relations: Those that the front door hands in; `consensus` is known.
    """
    found = [_extractor(cls) for cls in members(AnyExtractor)]
    costs = cheapest(found)
    for relation in (*relations, Consensus):
        for column, reads in _related(relation):
            cost = dearest(costs, reads)
            found.append(Writer(column.name, first_line(relation), cost, (column,)))
    costs = cheapest(found)
    return found + [_derive(cls, costs) for cls in members(AnyDerive)]


def rules(known: Iterable[Writer]) -> list[Listed]:
    """Return every rule; costs are those of the columns' writers."""
    costs = cheapest(known)
    return [_rule(cls, costs) for cls in members(AnyRule)]


def cheapest(known: Iterable[Writer]) -> dict[str, str]:
    """Map columns to the least cost at which one may be had; what every table has costs none."""
    costs = dict.fromkeys(BASE_SCHEMA.names, COSTS[0])
    for writer in known:
        for column in writer.columns if writer.cost != OTHERS else ():
            before = costs.get(column.name, writer.cost)
            costs[column.name] = min(before, writer.cost, key=COSTS.index)
    return costs


def dearest(costs: Mapping[str, str], columns: Iterable[str]) -> str:
    """Return the highest cost among columns; `OTHERS` if nothing we know of writes one."""
    found = [costs.get(column, OTHERS) for column in columns]
    return OTHERS if OTHERS in found else max(found, key=COSTS.index, default=COSTS[0])


def first_line(cls: type[Any]) -> str:
    """Return the first line of a class's docstring."""
    return (inspect.getdoc(cls) or "").partition("\n")[0]


def source(cls: type[Any]) -> str:
    """Return the paragraph `Source: ...` of a class's docstring on one line, without the word."""
    for paragraph in (inspect.getdoc(cls) or "").split("\n\n"):
        if paragraph.startswith(SOURCE):
            return " ".join(paragraph.removeprefix(SOURCE).split())
    return ""


def settings(cls: type[Any]) -> str:
    """Return the fields of a dataclass and their defaults: `share=0.3, of=best`."""
    shown = [f for f in dataclasses.fields(cls) if f.name not in COMMON]
    return ", ".join(
        f.name if f.default is dataclasses.MISSING else f"{f.name}={f.default}" for f in shown
    )


def example(cls: type[Any]) -> Any:
    """Return an instance of defaults, texts without one replaced by `<name>`; None if it cannot."""
    texts = {
        f.name: f"<{f.name}>"
        for f in dataclasses.fields(cls)
        if f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING
    }
    try:
        return cls(**texts)
    except (TypeError, ValueError, AttributeError):
        return None


def _extractor(cls: type[Any]) -> Writer:
    one = example(cls) or cls
    fields = [f.name for f in dataclasses.fields(cls)]
    cost = COSTS[1]  # word lists and n-grams; what is worth a GPU is below
    if one.pixels:  # true of a class alone where it is a property
        cost = COSTS[3] if _of(one, "weights") else COSTS[2]
    if cls.accelerator:
        cost = COSTS[4]
    if "endpoint" in fields:
        cost = COSTS[5]
    return Writer(kind_of(cls), first_line(cls), cost, _of(one, "columns"))


def _derive(cls: type[Any], costs: Mapping[str, str]) -> Writer:
    one = example(cls) or cls
    cost = dearest(costs, _of(one, "reads"))  # its files hold a few numbers, not a network of note
    return Writer(kind_of(cls), first_line(cls), cost, _of(one, "columns"))


def _of(one: Any, name: str) -> tuple[Any, ...]:
    """Read what may be a class variable, or a property that needs settings we do not have."""
    try:
        value = getattr(one, name)
    except (TypeError, ValueError, AttributeError):
        return ()
    return value if isinstance(value, tuple) else ()


def _related(relation: type[Relation]) -> list[tuple[Column, tuple[str, ...]]]:
    """Return what a relation writes, and what it reads for it."""
    views = relation.views.items()
    return [(relation.column, READS), *((c, (*READS, view)) for view, c in views)]


def _rule(cls: type[Any], costs: Mapping[str, str]) -> Listed:
    one = example(cls) if issubclass(cls, ReadyMade) else None
    columns = one.columns if one is not None else ()
    return Listed(
        kind_of(cls), first_line(cls), columns, dearest(costs, columns) if columns else "",
        settings(cls), source(cls),
    )  # fmt: skip
