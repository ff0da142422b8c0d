"""`map` wherever an executor works, for what is pure and knows of no executor."""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from filters.concepts.clustering import Map
from pipeline.executors import Executor


def mapped(execute: Executor) -> Map:
    """Return a `map` whose calls are an executor's; results come in order.

    What a function is bound to (`functools.partial`) is sent once; both have to be of a module.
    """

    def call(function: Callable[[Any], Any], items: Iterable[Any]) -> list[Any]:
        found = dict(execute.map(_numbered, function, list(enumerate(items)), weights={}))
        return [found[i] for i in range(len(found))]

    return call


def _numbered(
    function: Callable[[Any], Any], weights: Mapping[str, Path], item: tuple[int, Any]
) -> tuple[int, Any]:
    del weights
    number, what = item
    return number, function(what)
