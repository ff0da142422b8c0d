"""Extractors, derived columns and rules of other packages, found by entry point.

A package names its classes in one of three groups, and from then on a config may name their kinds:

    [project.entry-points."thresher.rules"]
    loud = "loud_pictures:Loud"

Below are the unions of our classes and those found, made once, when this module is imported. What
is wrong with a plug-in is logged on one line and the plug-in left out: a run that does not want it
never has to care.
"""

import dataclasses
import functools
import logging
import operator
from collections.abc import Iterable, Mapping
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING, Any, get_args, get_type_hints

from filters import derive, extract, rules
from filters.derive import Derive
from filters.extract import Extractor
from filters.rules import ReadyMade

EXTRACTORS, DERIVES, RULES = "thresher.extractors", "thresher.derives", "thresher.rules"

logger = logging.getLogger(__name__)


def members(union: Any) -> tuple[type[Any], ...]:
    """Return the classes of a union, of which there may be one or none."""
    return get_args(union) or ((union,) if isinstance(union, type) else ())


def with_plugins(union: Any, base: type[Any], points: Iterable[EntryPoint]) -> Any:
    """Return a union of registered classes and of those that entry points add.

    Args:
        union: Of our own classes.
        base: What every one of them subclasses.
        points: Of one group. Of two that claim a kind the first package by name has it.
    """
    known = {kind_of(cls): cls for cls in members(union)}
    for point in sorted(points, key=lambda p: (package_of(p), p.name)):
        try:
            found = _checked(point.load(), base)
            _require_new(kind_of(found), known)
        except (Exception, SystemExit) as error:  # somebody else's code may raise anything
            _warn(point, error)
        else:
            known[kind_of(found)] = found
    return functools.reduce(operator.or_, known.values()) if known else union


def kind_of(cls: type[Any]) -> str:
    """Return the name in a config: the default of the field `kind`."""
    return str(next(f.default for f in dataclasses.fields(cls) if f.name == "kind"))


def package_of(point: EntryPoint) -> str:
    """Return the name of the package that an entry point came with."""
    return point.dist.name if point.dist is not None else point.module


def _checked(found: Any, base: type[Any]) -> type[Any]:
    """Refuse what would break every config once it were in the union."""
    if not (isinstance(found, type) and issubclass(found, base)):
        raise TypeError(f"got {found!r}, expected a subclass of {base.__module__}.{base.__name__}")
    if not dataclasses.is_dataclass(found):
        raise TypeError(f"got {found.__name__}, expected a frozen keyword-only dataclass")
    abstract: frozenset[str] = getattr(found, "__abstractmethods__", frozenset())
    if abstract:
        raise TypeError(f"got {found.__name__} without {', '.join(sorted(abstract))}")
    kinds = [f.default for f in dataclasses.fields(found) if f.name == "kind"]
    if get_args(get_type_hints(found).get("kind")) != tuple(kinds) or not kinds:
        raise TypeError(
            f'got {found.__name__} without a kind, expected a field kind: Literal["x"] = "x"'
        )
    from pydantic import TypeAdapter  # the door that its settings come in through

    TypeAdapter(found)
    return found


def _require_new(kind: str, known: Mapping[str, type[Any]]) -> None:
    if kind in known:
        raise ValueError(
            f"got kind {kind!r}, which {known[kind].__module__} has already, expected a new one"
        )


def _warn(point: EntryPoint, error: BaseException) -> None:
    package = package_of(point)
    what = " ".join(str(error).split())
    logger.warning(
        "plug-in %s: %s = %s is left out: %s: %s; repair it with `pip install --force-reinstall "
        "%s`, or remove it with `pip uninstall %s`",
        package, point.name, point.value, type(error).__name__, what, package, package,
    )  # fmt: skip


if TYPE_CHECKING:
    AnyExtractor = extract.AnyExtractor
    AnyDerive = derive.AnyDerive
    AnyRule = rules.AnyRule
else:
    AnyExtractor = with_plugins(extract.AnyExtractor, Extractor, entry_points(group=EXTRACTORS))
    AnyDerive = with_plugins(derive.AnyDerive, Derive, entry_points(group=DERIVES))
    AnyRule = with_plugins(rules.AnyRule, ReadyMade, entry_points(group=RULES))
